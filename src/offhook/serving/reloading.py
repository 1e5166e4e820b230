"""Reloading of the agent files of a running server."""

import asyncio
import logging
from typing import Final

from offhook.config import Config
from offhook.config.agents import dialling_rules
from offhook.config.current_agents import CurrentAgents, ReloadReport, check_reload
from offhook.policy.dial_policy import DialPolicy
from offhook.policy.inbound_policy import InboundPolicy
from offhook.tools.threads import Threads

_log: Final = logging.getLogger("offhook.server")


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
            config: Config = await self.threads.run("agent files", self._started.read_again)
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
