"""Reading of the whole configuration, with its agents, into one frozen Config."""

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import SecretStr

from offhook.config.agent_file import Agent
from offhook.config.agents import (
    by_rest,
    dialled_findings,
    dialling_rules,
    grace_mistakes,
    hours_remarks,
    path_from,
    read_lines,
)
from offhook.config.app_config import DEFAULT
from offhook.config.app_reading import (
    NOTHING,
    AppConfig,
    Overrides,
    app_config,
    read_file,
)
from offhook.config.environment import read_environment, secret_of
from offhook.config.parts import DOTENV
from offhook.errors import UserError
from offhook.text import urls
from offhook.yamlfile import Collected, Document, Finding, InvalidFileError

if TYPE_CHECKING:  # its metadata takes its time
    from offhook.policy.dial_policy import DialRules


def _unread() -> Any:
    raise RuntimeError("this configuration was not read from files")


@dataclass(frozen=True, kw_only=True)
class Config(AppConfig):
    """The whole configuration, with its agents."""

    lines: Mapping[str, Agent]
    """Called number, or `default`, to its agent. Never empty."""

    placers: tuple[Agent, ...] = ()
    """Agents that place calls and answer no line."""

    agents: Mapping[Path, Agent] = field(default_factory=dict)
    """Every agent of `lines`, and those to which they may transfer, by the path of its file."""

    documents: Mapping[Path, Document] = field(default_factory=dict, repr=False, compare=False)
    """The agent files as they were read, by path. They may hold secrets."""

    lookup_secrets: Mapping[str, SecretStr] = field(default_factory=dict)
    """Values of the environment, by the names in the agents' `lookup.secret_env`."""

    remarks: tuple[Finding, ...] = field(default=(), repr=False)
    """Remarks of `offhook check` about the agents' settings."""

    by_rest: tuple[Finding, ...] = field(default=(), repr=False)
    """Actions of agents that need Twilio's REST API, as errors for when it cannot be used."""

    read_again: Callable[[], "Config"] = field(default=_unread, repr=False, compare=False)
    """Read the same files once more, with the same environment and command line."""

    examine_again: "Callable[[], Examined]" = field(default=_unread, repr=False, compare=False)
    """Examine the same files once more, likewise, which raises no mistake of the agent files."""

    def agent_for(self, number: str | None) -> Agent | None:
        """Return the agent that answers a called number; None for the number: it is not known.

        None is the answer for a number that has no line when there is no default either.
        """
        agent = self.lines.get(number or DEFAULT, self.lines.get(DEFAULT))
        if agent is None and number is None and len(self.lines) == 1:
            return next(iter(self.lines.values()))
        return agent

    def agents_by_name(self) -> Mapping[str, Agent]:
        """Return every agent that can place calls."""
        return {agent.name: agent for agent in (*self.placers, *self.lines.values())}

    def caller_id_of(self, agent: Agent) -> str | None:
        """Return the number that people see when this agent rings them; None when none is set."""
        lines = self.lines.items()
        own = (line for line, of in lines if of.name == agent.name and line != DEFAULT)
        return agent.outbound.caller_id or self.outbound.caller_id or next(own, None)

    def dialling_rules(self) -> "DialRules":
        """Return the rules of dial_policy."""
        return dialling_rules(self.dialling, self.lines)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every key and token of AppConfig.secrets, and those of the agents' lookups."""
        secrets = [secret.get_secret_value() for secret in self.lookup_secrets.values()]
        for agent in self.agents.values():
            if agent.lookup is not None and agent.lookup.url is not None:
                secrets += urls.secrets_in(agent.lookup.url)
        return (*super().secrets, *secrets)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every URL that the server asks over HTTP, as it was written: egress.py trusts them.

        Twilio's REST API is one of them if there are credentials for it.
        """
        agents = (*self.agents.values(), *self.lines.values(), *self.placers)
        lookups = {agent.lookup.url for agent in agents if agent.lookup is not None}
        rest = [] if self.twilio.rest_account is None else [self.twilio.rest_origin]
        return (*rest, *sorted(filter(None, lookups)))

    def require_rest_of_agents(self) -> None:
        """Raise InvalidFileError E-DIAL-02 for what agents can do by REST alone, without it.

        A rehearsal dials no one and needs no REST API.
        """
        if self.by_rest and self.twilio.rest_account is None:
            raise InvalidFileError("E-DIAL-02", self.by_rest)

    def require_lookup_secrets(self) -> Mapping[str, SecretStr]:
        """Return the lookups' secrets by name. Raises UserError E-LOOKUP-01 when one is missing."""
        for name in _lookup_secrets(self.lines):
            if name not in self.lookup_secrets:
                raise UserError(
                    "E-LOOKUP-01",
                    f"No secret for a lookup. Looked in: {name}, {DOTENV}.",
                    "Set it there, or remove secret_env from the agent file.",
                )
        return self.lookup_secrets


class Examined(NamedTuple):
    """A configuration, and everything that there is to say about it."""

    config: Config | None
    """The configuration; None if there is an error."""

    found: Collected
    """Every error, in offhook.yaml, in the agent files and in what is around them."""

    remarks: tuple[Finding, ...]
    by_rest: tuple[Finding, ...]
    """Findings of Config.by_rest, if there are no credentials for the REST API."""


def load(
    path: Path | None, environ: Mapping[str, str], *, overrides: Overrides = NOTHING
) -> Config:
    """Return the configuration. `path` None is ./offhook.yaml if it is there, else the defaults.

    Raises UserError: E-YAML-01 to 03 and E-SET-01 for the files, of which all but the first are a
    InvalidFileError with every finding; E-CFG-01 to 04 for what is around them.
    """
    read = examine(path, environ, overrides=overrides)
    read.found.raise_errors(read.remarks)
    assert read.config is not None  # what prevents it is an error
    return read.config


def examine(
    path: Path | None, environ: Mapping[str, str], *, overrides: Overrides = NOTHING
) -> Examined:
    """Read everything that `load` reads. A mistake in one part leaves the others to be read.

    Raises UserError E-YAML-01 or E-YAML-02 for an offhook.yaml that is no YAML.
    """
    found = Collected()
    env = found.attempt(functools.partial(read_environment, environ)) or {}
    read = read_file(path, env, found)
    file, document = read
    app = found.attempt(functools.partial(app_config, read, env, overrides))
    lines, agents, remarks = read_lines(file.lines, file.outbound.agents, document, found)
    found.add("E-DIAL-01", dialled_findings(agents, file.dialling, file.lines))
    placers = tuple(path_from(document, path) for path in file.outbound.agents)
    rest = tuple(by_rest(agents))
    if app is None or found.code:
        missing = rest if app is not None and app.twilio.rest_account is None else ()
        return Examined(None, found, remarks, missing)
    given = dict(environ)

    def read_again() -> Config:
        """Read the same files with the same environment; a `partial` would show its secrets."""
        return load(path, given, overrides=overrides)

    def examine_again() -> Examined:
        """Examine the same files, likewise."""
        return examine(path, given, overrides=overrides)

    config = Config(
        **vars(app),
        lines=lines,
        placers=tuple(agents[path].agent for path in placers),
        agents={path: read.agent for path, read in agents.items()},
        documents={path: read.document for path, read in agents.items()},
        lookup_secrets={
            name: SecretStr(secret)
            for name in _lookup_secrets(lines)
            if (secret := secret_of(env, name)) is not None
        },
        remarks=(
            *remarks,
            *hours_remarks(agents, placers),
            *grace_mistakes(app.server.grace_seconds, document, agents),
        ),
        by_rest=rest,
        read_again=read_again,
        examine_again=examine_again,
    )
    missing = rest if app.twilio.rest_account is None else ()
    return Examined(config, found, config.remarks, missing)


def _lookup_secrets(lines: Mapping[str, Agent]) -> Iterator[str]:
    for agent in lines.values():
        if agent.lookup is not None and agent.lookup.secret_env is not None:
            yield agent.lookup.secret_env
