"""The agents of a call process, as its operator sees them; and trials of their functions."""

import asyncio
import contextlib
import io
import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from offhook import variables
from offhook.calls.agent_session import values_for
from offhook.capture.masking import Masks
from offhook.config import Agent, Config
from offhook.config.current_agents import CurrentAgents
from offhook.errors import UserError
from offhook.link.agent_records import (
    AgentDetails,
    AgentFinding,
    AgentFunction,
    AgentSummary,
    TrialRequest,
)
from offhook.tools import builtin
from offhook.tools.declare import Call
from offhook.tools.files import AnyTool, Toolbox
from offhook.tools.threads import NoThreadError, Threads
from offhook.tools.trials import FunctionTrial, FunctionTrials

TEXT_MAX: Final = 256 * 1024
"""Characters of an agent file that are shown; the rest is cut off, visibly."""

READ_S: Final = 10.0
"""Seconds that the files of an agent's functions may take to load: they are Python that runs."""

_T = TypeVar("_T")


class AgentDirectory:
    """Tells of the agents that new calls get now. `threads` read files.

    A file that hangs while it is loaded blocks one of them, and neither calls nor other requests.
    """

    def __init__(self, agents: CurrentAgents, trials: FunctionTrials, threads: Threads) -> None:
        self._agents = agents
        self._trials = trials
        self._threads = threads

    def summaries(self) -> list[AgentSummary]:
        """Return every agent in use, by name."""
        config = self._agents.config
        masks = Masks(config.secrets)
        return [_summary(config, *found, masks) for _, found in sorted(_in_use(config).items())]

    async def details(self, name: str) -> AgentDetails:
        """Return all of one agent.

        Raises UserError E-AGENT-01 for an unknown one, and E-AGENT-05 when its files hang.
        """
        config = self._agents.config
        path, agent = _found(config, name)

        def read() -> AgentDetails:
            return _details(config, path, agent)

        return await self._in_thread(read)

    async def try_function(self, asked: TrialRequest) -> FunctionTrial:
        """Run a function of an agent without a call, under the limits of one.

        Raises UserError: E-AGENT-01 and E-AGENT-02 for an unknown agent or function, E-AGENT-03 for
        one that cannot be taken back and is not confirmed, E-AGENT-04 while too many run, and
        E-AGENT-05 when its file hangs.
        """
        _, agent = _found(self._agents.config, asked.agent)
        toolbox: Toolbox = await self._in_thread(agent.tool_files.toolbox.refresh)
        tool = toolbox.get(asked.function)
        if tool is None:
            raise _no_function(asked, toolbox)
        if tool.irreversible and not asked.confirmed:
            raise UserError(
                "E-AGENT-03",
                f"{tool.name} cannot be taken back: what it does is done for good, and it was not"
                " run.",
                'To run it all the same, send "confirmed": true.',
            )
        sid = f"TRIAL{secrets.token_hex(8)}"
        given, _ = variables.taken(asked.variables)
        call = Call(
            sid,
            agent.name,
            None,
            None,
            values_for(agent, sid, "", "", given),
            _phrases=agent.phrases,
        )
        return await self._trials.run(toolbox, call, tool.name, asked.arguments)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        try:
            async with asyncio.timeout(READ_S):
                read: _T = await self._threads.run("agent files", work)
                return read
        except (TimeoutError, NoThreadError):
            raise UserError(
                "E-AGENT-05",
                f"The agent's files were not read within {READ_S:g} s: a file of functions hangs"
                " while it is loaded.",
                "See in the log at which line it is, and correct that file.",
            ) from None


def _in_use(config: Config) -> dict[str, tuple[Path | None, Agent]]:
    """Return the agents with their files, by name."""
    found: dict[str, tuple[Path | None, Agent]] = {
        agent.name: (None, agent) for agent in (*config.lines.values(), *config.placers)
    }
    return found | {agent.name: (path, agent) for path, agent in config.agents.items()}


def _found(config: Config, name: str) -> tuple[Path | None, Agent]:
    found = _in_use(config)
    if name not in found:
        raise UserError(
            "E-AGENT-01",
            "No agent of that name is in use now; earlier calls may have had it.",
            f"There are: {', '.join(sorted(found))}.",
        )
    return found[name]


def _no_function(asked: TrialRequest, toolbox: Toolbox) -> UserError:
    there = ", ".join(toolbox) or "none"
    return UserError(
        "E-AGENT-02",
        f"The agent {asked.agent} has no function of that name.",
        f"Its functions are: {there}.",
    )


def _summary(config: Config, path: Path | None, agent: Agent, masks: Masks) -> AgentSummary:
    return AgentSummary(
        name=agent.name,
        file="" if path is None else str(path),
        lines=sorted(line for line, of in config.lines.items() if of.name == agent.name),
        places_calls=any(of.name == agent.name for of in config.placers),
        records=agent.recording,
        variables=masks.message(dict(agent.variables)),
        destinations=[] if agent.transfer is None else list(agent.transfer.destinations),
        greeting=agent.settings.greeting,
    )


def _details(config: Config, path: Path | None, agent: Agent) -> AgentDetails:
    masks = Masks(config.secrets)
    document = None if path is None else config.documents.get(path)
    value = json.loads(agent.settings.message()) if document is None else document.value
    text = _written(masks.message(value))
    is_changed = False
    if path is not None and document is not None:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            is_changed = path.read_text(encoding="utf-8-sig") != document.text
    toolbox = agent.tool_files.toolbox.refresh()
    return AgentDetails(
        agent=_summary(config, path, agent, masks),
        text=text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}\n# … (cut)\n",
        is_changed=is_changed,
        findings=[
            AgentFinding.of(finding)
            for finding in config.remarks
            if (None if finding.place is None else finding.place.path) == path
        ],
        functions=[_function(tool) for tool in toolbox.values()],
    )


def _function(tool: AnyTool) -> AgentFunction:
    return AgentFunction(
        name=tool.name,
        description=tool.description,
        parameters=tool.parameters,
        place="" if tool.name in builtin.NAMES else f"{Path(tool.file).name}:{tool.line}",
        irreversible=tool.irreversible,
        repeatable=tool.repeatable,
        process=tool.process,
    )


def _written(value: Any) -> str:
    """Return values as YAML, texts of several lines as blocks."""
    yaml = YAML()
    yaml.width = 100
    yaml.allow_unicode = True
    out = io.StringIO()
    yaml.dump(_in_blocks(value), out)
    return out.getvalue()


def _in_blocks(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _in_blocks(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_in_blocks(part) for part in value]
    if isinstance(value, str) and "\n" in value:
        return LiteralScalarString(value)
    return value
