"""Descriptions of the agents of a call process: plain dataclasses, ready for JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from offhook.yamlfile import Finding


@dataclass(frozen=True, slots=True)
class AgentFinding:
    """A finding of `offhook check`. `line` and `column` count from 1; None: there is no place.

    `file` is empty for what no file has set, such as a variable of the environment.
    """

    level: Literal["error", "remark"]
    file: str
    line: int | None
    column: int | None
    text: str
    fix: str

    @classmethod
    def of(cls, finding: Finding) -> "AgentFinding":
        """Return a finding as `offhook check` tells it: a probable mistake is an error there."""
        place = finding.place
        level: Literal["error", "remark"] = "remark" if finding.level == "remark" else "error"
        file = "" if place is None else str(place.path)
        if place is None or not place.line:
            return cls(level, file, None, None, finding.text, finding.fix)
        return cls(level, file, place.line, place.column, finding.text, finding.fix)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSummary:
    """An agent in use. `file` is its file's path; empty for Deepgram's tutorial, which has none.

    `lines` are the numbers that it answers, or `default`; an agent without lines is reached by a
    transfer, or `places_calls`. `variables` are the defaults of `{{name}}` in its file,
    `destinations` the names of those to whom it transfers callers. `greeting` is None where it
    is not known here.
    """

    name: str
    file: str
    lines: list[str]
    places_calls: bool
    records: bool
    variables: dict[str, str]
    destinations: list[str]
    greeting: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFunction:
    """A function of an agent. `parameters` is the JSON Schema that the agent is given.

    `place` is its file and line; empty for one that comes with Offhook. `irreversible`: it pays,
    books or sends something, and is not stopped once it runs. `process`: it runs in a process of
    its own.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    place: str
    irreversible: bool
    repeatable: bool
    process: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentDetails:
    """All of one agent, as it was loaded.

    `text` is its file without comments, with `***` in place of secrets. `is_changed`: the file has
    other content by now, which a reload would use. `findings` are those of the file as it was
    loaded.
    """

    agent: AgentSummary
    text: str
    is_changed: bool
    findings: list[AgentFinding] = field(default_factory=list)
    functions: list[AgentFunction] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class TrialRequest:
    """A function to try: `arguments` is JSON, `variables` are those of the call it is told of.

    `confirmed`: a function that cannot be taken back may run.
    """

    agent: str
    function: str
    arguments: str = field(repr=False)
    variables: Mapping[str, str] = field(repr=False)
    confirmed: bool
