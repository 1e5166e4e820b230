"""Reloading of the agent files of a running server."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, TypeVar

from offhook.config import Config
from offhook.config.agents import dialling_rules
from offhook.config.current_agents import CurrentAgents, ReloadReport, check_reload
from offhook.config.reading import Examined
from offhook.errors import UserError
from offhook.policy.dial_policy import DialPolicy
from offhook.policy.inbound_policy import InboundPolicy
from offhook.tools.threads import NoThreadError, Threads
from offhook.yamlfile import Collected, Finding

_log: Final = logging.getLogger("offhook.server")

READ_S: Final = 40.0
"""Seconds that reading all files may take: those of functions are Python that runs."""

_T = TypeVar("_T")


class AgentReloader:
    """Reads offhook.yaml, the agent files and their tool files again, and checks all of them.

    A mistake changes nothing. Live calls keep their agents.

    Attributes:
        threads: Threads in which files are read: a tool file that hangs blocks nothing else.
    """

    def __init__(
        self,
        config: Config,
        agents: CurrentAgents,
        policy: DialPolicy,
        inbound: InboundPolicy,
        *,
        is_recording: bool,
    ) -> None:
        self.threads: Final = Threads()
        self._started = config
        self._agents = agents
        self._policy = policy
        self._inbound = inbound
        self._is_recording = is_recording
        self._reloading = asyncio.Lock()

    async def reload(self) -> ReloadReport:
        """Use the files as they are now. Raises UserError as `load` and `check_reload` do."""
        async with self._reloading:
            config: Config = await self._read(self._started.read_again)
            check_reload(self._started, config, is_recording=self._is_recording)
            self._agents.use(config)
            # Countries of the lines are those that may be dialled, unless `dialling` names some.
            self._policy.rules = dialling_rules(self._started.dialling, config.lines)
            self._inbound.rules = config.inbound.rules
        report = ReloadReport.of(self._started, config)
        _log.info("agents were read again: %s", ", ".join(report.agents))
        for finding in config.remarks:
            if finding.level == "mistake":
                _log.warning("%s %s", finding, finding.fix)
        if report.restart:
            _log.warning("only a restart applies: %s", ", ".join(report.restart))
        return report

    async def check(self) -> list[Finding]:
        """Return what `offhook check` says of the files as they are now, which changes nothing.

        Raises UserError E-AGENT-06 when a file hangs.
        """

        def examined() -> list[Finding]:
            found = Collected()
            read: Examined | None = found.attempt(self._started.examine_again)
            if read is None:
                return found.findings
            return [*read.found.findings, *read.by_rest, *read.remarks]

        return await self._read(examined)

    async def _read(self, work: Callable[[], _T]) -> _T:
        """Read files in a thread. Raises UserError E-AGENT-06 when that takes too long."""
        try:
            async with asyncio.timeout(READ_S):
                read: _T = await self.threads.run("agent files", work)
                return read
        except (TimeoutError, NoThreadError):
            raise UserError(
                "E-AGENT-06",
                f"The files were not read within {READ_S:g} s, and nothing has changed: a file of"
                " functions hangs while it is loaded.",
                "See in the log at which line it is, and correct that file.",
            ) from None
