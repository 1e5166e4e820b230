"""The agents that new calls get, which can be replaced while the server runs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from offhook.config.agent_file import Agent
from offhook.config.app_reading import AppConfig
from offhook.config.inbound_settings import InboundSettings
from offhook.config.reading import Config
from offhook.errors import UserError
from offhook.tools.modules import Latest

_TAKES_EFFECT: Final = frozenset(
    {
        "outbound.agents",
        "outbound.caller_id",
        *(f"inbound.{name}" for name in InboundSettings.model_fields),
    }
)
"""Settings of offhook.yaml, beside `lines`, that a reload applies."""


class CurrentAgents:
    """The agents of the configuration that was read last. All of them are replaced at once.

    A live call keeps its agent, which may transfer to agents that have been removed since: so an
    agent is found by file and by name as long as the server runs.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._by_file: dict[Path, Agent] = {}
        self._by_name: dict[str, Agent] = {}
        self.use(config)

    def use(self, config: Config) -> None:
        """Give the agents of a configuration to new calls from now on."""
        self._config = config
        self._by_file |= config.agents
        self._by_name |= {agent.name: agent for agent in config.agents.values()}

    @property
    def config(self) -> Config:
        """The configuration that was read last."""
        return self._config

    def agent_for(self, number: str | None) -> Agent | None:
        """Return the agent that answers a called number, as Config.agent_for."""
        return self._config.agent_for(number)

    def by_name(self) -> Mapping[str, Agent]:
        """Return every agent that can place calls."""
        return self._config.agents_by_name()

    def every(self) -> Mapping[str, Agent]:
        """Return every agent of the configuration that was read last, by its name."""
        agents = self._config.agents.values()
        return {agent.name: agent for agent in agents} | dict(self.by_name())

    def python_files(self) -> Iterator[Latest[Any]]:
        """Return what was loaded from users' Python files for the agents of now.

        Those of an agent that was removed are not loaded again.
        """
        for agent in self.every().values():
            yield from agent.python_files

    def find(self, name: str) -> Agent | None:
        """Return the agent of that name; None if the configuration has none."""
        return self._by_name.get(name) or self.by_name().get(name)

    def caller_id_of(self, agent: Agent) -> str | None:
        """Return the number that people see when this agent rings them, as Config.caller_id_of."""
        return self._config.caller_id_of(agent)

    def of_file(self, path: Path) -> Agent:
        """Return the agent of a file to which an agent may transfer."""
        return self._by_file[path]

    def named(self, name: str) -> Agent:
        """Return the agent of that name to which an agent may transfer."""
        return self._by_name[name]


@dataclass(frozen=True, slots=True)
class ReloadReport:
    """Result of a reload."""

    agents: tuple[str, ...]
    """Names of all agents that are in use now."""

    lines: int
    """Number of lines that they answer."""

    restart: tuple[str, ...]
    """Settings of offhook.yaml and of the environment that have changed, and that only a restart
    applies."""

    @classmethod
    def of(cls, started: AppConfig, config: Config) -> "ReloadReport":
        """Return the report on a configuration, for a server that was started with another."""
        every = {agent.name for agent in (*config.agents.values(), *config.lines.values())}
        return cls(tuple(sorted(every)), len(config.lines), tuple(_changed(started, config)))


def check_reload(started: Config, config: Config, *, is_recording: bool) -> None:
    """Raise UserError for agents that a running server cannot use.

    `started` is the configuration that the server was started with. `is_recording` is True if the
    server was started with a folder of recordings.

    Raises InvalidFileError E-DIAL-02 and UserError E-LOOKUP-01 as at the start, and E-CFG-07 for
    agents that need what is only set up at the start.
    """
    config.require_rest_of_agents()
    config.require_lookup_secrets()
    if config.lookup_secrets.keys() - started.lookup_secrets.keys():
        raise _restart("A lookup has a secret_env that had not been read at the start")
    if frozenset(config.addresses) - frozenset(started.addresses):
        raise _restart("A lookup has a url that had not been allowed at the start")
    if config.inbound.spend.is_set and config.records.prices != started.records.prices:
        raise _restart("inbound.spend is set, and records.prices has changed since the start")
    if not is_recording and any(agent.recording for agent in config.lines.values()):
        raise _restart("An agent records calls, and none did at the start")


def _restart(why: str) -> UserError:
    return UserError(
        "E-CFG-07",
        f"{why}. Nothing has changed.",
        "Restart offhook serve to use these agent files.",
    )


def _changed(started: AppConfig, config: AppConfig) -> Iterator[str]:
    for section in fields(AppConfig):
        old, new = getattr(started, section.name), getattr(config, section.name)
        if old is None or new is None:  # an optional section that is not written
            if old is not new:
                yield section.name
            continue
        for name in type(new).model_fields:
            setting = f"{section.name}.{name}"
            if setting not in _TAKES_EFFECT and getattr(old, name) != getattr(new, name):
                yield setting
