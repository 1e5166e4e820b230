"""Check of the configuration: whatever keeps `offhook serve` from starting, in one round."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from offhook.config import AppConfig, Config, Overrides, examine, load_app
from offhook.doctor.check import Check, bad, good
from offhook.errors import UserError
from offhook.serving.listen import check_certificate
from offhook.yamlfile import Finding, InvalidFileError

NAME: Final = "configuration"

SHOWN_MAX: Final = 20
"""Mistakes that are told one by one: `offhook check` tells all."""


@dataclass(frozen=True, slots=True)
class ReadSetUp:
    """A configuration as far as it could be read, and what is wrong with it.

    Attributes:
        checks: What was found while reading.
        app: The configuration without agents; None when offhook.yaml or .env cannot be read.
        config: The whole configuration; None when an agent file has a mistake.
    """

    checks: tuple[Check, ...]
    app: AppConfig | None
    config: Config | None


def read_set_up(path: Path | None, environ: Mapping[str, str], overrides: Overrides) -> ReadSetUp:
    """Read the configuration as `offhook serve` does, without raising UserError."""
    try:
        examined = examine(path, environ, overrides=overrides)
    except UserError as problem:
        return ReadSetUp(tuple(_mistakes(problem)), None, None)
    config = examined.config
    found = _told(examined.found.code, [*examined.found.findings, *examined.remarks])
    if config is not None:
        found += [check for ask in _asked(config) for check in _tried(ask)]
        return ReadSetUp(tuple(found) or (_good(config),), config, config)
    try:
        return ReadSetUp(tuple(found), load_app(path, environ, overrides=overrides), None)
    except UserError:
        return ReadSetUp(tuple(found), None, None)


def _told(code: str, findings: Iterable[Finding]) -> list[Check]:
    """Return the errors among findings, and what is probably a mistake."""
    wrong = [finding for finding in findings if finding.level != "remark"]
    return [
        bad(NAME, f"{code} {each}" if each.level == "error" else str(each), each.fix)
        for each in wrong[:SHOWN_MAX]
    ]


def _mistakes(problem: UserError) -> list[Check]:
    if isinstance(problem, InvalidFileError):
        return _told(problem.code, problem.findings)
    return [bad(NAME, f"{problem.code} {problem.what}", problem.fix)]


def _asked(config: Config) -> tuple[Callable[[], object], ...]:
    """Return what `offhook serve` asks at its start, but for the keys that are tried by use."""
    asked: list[Callable[[], object]] = [
        config.require_rest_of_agents,
        config.require_lookup_secrets,
        config.server.require_operator_listen,
        config.require_fleet,
        lambda: check_certificate(config),
    ]
    if config.records.webhook.url is not None:
        asked.append(config.require_webhook_secrets)
    return tuple(asked)


def _tried(ask: Callable[[], object]) -> list[Check]:
    try:
        ask()
    except UserError as problem:
        return _mistakes(problem)
    return []


def _good(config: Config) -> Check:
    agents = len({agent.name for agent in (*config.lines.values(), *config.placers)})
    said = f"{_count(agents, 'agent')} on {_count(len(config.lines), 'line')}"
    if config.remarks:
        said += f"; {_count(len(config.remarks), 'remark')}, which offhook check shows"
    return good(NAME, said)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
