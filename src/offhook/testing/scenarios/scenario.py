"""Scenario files: a rehearsed conversation in YAML, with the caller's side step by step.

    dialogue: dialogue.yaml
    steps:
      - expect: How can I help you
      - say: What are your opening hours?
      - barge_in: {after: Monday to Friday, say: "Wait, I meant Sunday."}
      - expect: {says: closed, interrupted_within_ms: 600}
      - press: "12#"
      - stay_silent: 5
      - fault: agent:close=1011
      - hang_up

A caller is silent otherwise, and stays on the line when the steps are done. `{{name}}` stands for
the value of a variable.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from offhook import yamlfile
from offhook.errors import UserError
from offhook.testing.faults import fault as faults
from offhook.testing.faults.fault import Fault, FaultError
from offhook.testing.scenarios.callee import Callee
from offhook.testing.scenarios.expectation import ExpectCall, ExpectTurn, Phrase, ScenarioPart
from offhook.testing.simulator.deepgram.script import Script
from offhook.testing.simulator.twilio.line_echo import EchoSettings
from offhook.yamlfile import Document, Finding, InvalidFileError, Loc, Place

_VARIABLE: Final = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")


def _quoted(value: Any) -> Any:
    if isinstance(value, int):
        raise yamlfile.refuse(
            "This is a number to YAML, which drops a leading + or 0.",
            'Put it in quotes, as in "+12025550142".',
        )
    return value


def _fault(value: Any) -> Fault:
    try:
        return faults.read(str(value))
    except FaultError as error:
        raise yamlfile.refuse(error.what, error.fix) from None


_FaultText = Annotated[
    Fault,
    PlainValidator(_fault),
    WithJsonSchema({"type": "string", "pattern": faults.PATTERN}),
]
_Digits = Annotated[str, BeforeValidator(_quoted)]
_Wait = Annotated[float, Field(gt=0)]
"""Seconds to wait for the agent, after which the step has failed and the next begins."""


class WaitForAgent(ScenarioPart):
    """Wait until the agent has spoken since the caller's last turn, and is then quiet."""

    quiet_ms: Annotated[int, Field(ge=0)] = 600
    timeout: _Wait = 20.0


class BargeIn(ScenarioPart):
    """Speak while the agent does: some time after it became audible, or after a phrase."""

    say: str | None = None
    clip: str | None = None
    """WAV file to play instead of `say`, relative to the scenario's file."""
    after_ms: Annotated[int, Field(ge=0)] | None = None
    after: Phrase | None = None
    """Phrase of the agent after which the caller speaks, instead of `after_ms`."""
    timeout: _Wait = 20.0

    @model_validator(mode="after")
    def _one_of_each(self) -> "BargeIn":
        if (self.say is None) == (self.clip is None):
            raise yamlfile.refuse("A barge-in says one thing.", "Write one of: say, clip.")
        if (self.after_ms is None) == (self.after is None):
            raise yamlfile.refuse(
                "A barge-in begins at one moment.",
                "Write one of: after_ms, for a time; after, for a phrase.",
            )
        return self


class HangUpStep(ScenarioPart):
    """End the call."""


class ScenarioStep(ScenarioPart):
    """A single action or expectation of the caller: exactly one of the fields is set."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    say: str | None = None
    clip: str | None = None
    """WAV file to play, relative to the scenario's file: speech, music or noise."""
    barge_in: BargeIn | None = None
    wait_for_agent: WaitForAgent | None = None
    expect: ExpectTurn | None = None
    press: Annotated[str, BeforeValidator(_quoted), Field(pattern=r"^[0-9*#A-D]+$")] | None = None
    wait: Annotated[float, Field(ge=0)] | None = None
    """Seconds to wait, in which the agent may go on speaking."""
    stay_silent: Annotated[float, Field(gt=0)] | None = None
    """Seconds of a turn in which the caller is silent; the agent's speech then is its answer."""
    fault: _FaultText | None = None
    """Fault of the agent, media stream, a webhook or REST: src/offhook/testing/faults/README.md."""
    hang_up: HangUpStep | None = None

    short: ClassVar[Mapping[str, Any]] = {"enum": ["wait_for_agent", "hang_up"]}

    @property
    def sound(self) -> str | None:
        """Text that is said in this step, or the file that is played, or None."""
        if self.barge_in is not None:
            return self.barge_in.say or self.barge_in.clip
        return self.say or self.clip

    @property
    def file(self) -> str | None:
        """File that is played in this step, or None."""
        return self.barge_in.clip if self.barge_in is not None else self.clip

    @property
    def is_turn(self) -> bool:
        """True if this is a turn of the caller, which the agent may answer."""
        return self.sound is not None or self.press is not None or self.stay_silent is not None

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        """Expand the name of a step without options."""
        if isinstance(value, str):
            return {value: {}}
        if isinstance(value, dict):
            return {name: {} if options is None else options for name, options in value.items()}
        raise _not_one_thing()

    @model_validator(mode="after")
    def _is_one_thing(self) -> "ScenarioStep":
        if len(self.model_fields_set) != 1:
            raise _not_one_thing()
        return self


def _not_one_thing() -> PydanticCustomError:
    known = ", ".join(ScenarioStep.model_fields)
    return yamlfile.refuse("A step is one thing that the caller does.", f"Write one of: {known}.")


class LineEchoPart(ScenarioPart):
    """Echo of a caller's line: the agent's speech comes back with the caller's."""

    delay_ms: Annotated[int, Field(ge=0, le=2000)]
    """Milliseconds after which it comes back."""
    loss_db: Annotated[float, Field(ge=0, le=60)] = 12.0
    """Decibels by which it is weaker."""
    room_ms: Annotated[int, Field(ge=0, le=2000)] = 0
    """Milliseconds in which a room lets it fade by 60 dB; 0: no room."""

    @property
    def settings(self) -> EchoSettings:
        """The echo in the form that the line uses."""
        return EchoSettings(self.delay_ms, self.loss_db, self.room_ms)


class PlacedCaller(ScenarioPart):
    """Call that the agent places to the caller: docs/outbound.md."""

    agent: str
    variables: dict[str, str] = Field(default_factory=dict)


class ScenarioCaller(ScenarioPart):
    """A caller: their number, the number they call, their steps, their expectations of the call."""

    from_: Annotated[_Digits, Field(alias="from")] = "+12025550142"
    to: _Digits = "+12025550100"
    noise_dbfs: Annotated[float, Field(ge=-90, le=-50)] | None = None
    """Level of noise on the caller's line, in dBFS; without it, silence is digital silence."""
    echo: LineEchoPart | None = None
    """Echo of the caller's line; none without it."""
    placed: PlacedCaller | None = None
    """Call of the agent to this person; their number `from` must be one of the telephones."""
    steps: tuple[ScenarioStep, ...] = ()
    expect: ExpectCall | None = None


class Scenario(ScenarioCaller):
    """A rehearsed conversation, or several that begin at the same time."""

    name: str | None = None
    """Name of the scenario in reports; the default is its file's name."""
    dialogue: str | None = None
    """Dialogue file of the called agent, relative to this file: the source of the words that can be
    heard, their meanings, and the agent's functions."""
    vars: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Values of variables; --var NAME=VALUE overrides them."""
    time_limit_s: Annotated[float, Field(gt=0)] = 120.0
    """Seconds after which a call that is not over fails and is hung up."""
    config: str | None = None
    """The offhook.yaml of a server, relative to this file, that runs within the rehearsal for this
    scenario only, whatever the command line says."""
    script: Script | None = None
    """Script of that server's agent, turn by turn, whatever the caller says."""
    telephones: dict[_Digits, Callee] | None = None
    """Telephones that can be called, by number; the server then uses the REST API of a simulated
    account. Any other number does not exist."""
    callers: dict[str, ScenarioCaller] = Field(default_factory=dict)
    """Several callers by name, who call at the same time; instead of `steps`."""

    @property
    def has_faults(self) -> bool:
        """True if a step is a fault."""
        return any(step.fault for person in self.people.values() for step in person.steps)

    @property
    def people(self) -> Mapping[str, ScenarioCaller]:
        """All callers by name."""
        return self.callers or {"caller": self}

    @model_validator(mode="after")
    def _somebody_calls(self) -> "Scenario":
        if bool(self.callers) == bool(self.steps or self.placed):
            raise yamlfile.refuse(
                "A scenario has steps, or callers who have them.", "Write one of: steps, callers."
            )
        if (self.config is None) != (self.script is None):
            raise yamlfile.refuse(
                "The server of a scenario has a configuration, and an agent that plays a script.",
                "Write both: config, script.",
            )
        if self.telephones is not None and self.config is None:
            raise yamlfile.refuse(
                "Only the server of a scenario can ring its telephones.",
                "Write config, the server's offhook.yaml, and script, what its agent does.",
            )
        for person in self.people.values():
            if person.placed is not None and person.from_ not in (self.telephones or {}):
                raise yamlfile.refuse(
                    f"There is no telephone {person.from_}, and it is to be called.",
                    "Add it to telephones.",
                )
        own = self.model_fields_set & (ScenarioCaller.model_fields.keys() - {"steps"})
        if self.callers and own:
            key = min(own).removesuffix("_")
            raise yamlfile.refuse(
                f"There are several callers, and {key} belongs to none of them.",
                f"Write {key} within each caller.",
            )
        for name, person in self.callers.items():
            if not person.steps and person.placed is None:
                raise yamlfile.refuse(f"{name} has nothing to do.", "Write steps there.")
        return self


@dataclass(frozen=True, slots=True)
class Loaded:
    """A scenario, with its file if it has one."""

    scenario: Scenario
    document: Document | None = None

    @property
    def file(self) -> str:
        """Path of the scenario's file; empty without one."""
        return "" if self.document is None else str(self.document.path)

    @property
    def name(self) -> str:
        """Name of the scenario; its file's path if it has none."""
        return self.scenario.name or self.file

    def person_at(self, name: str) -> Loc:
        """Return the location of a caller in the file."""
        return ("callers", name) if self.scenario.callers else ()

    def place(self, *loc: str | int) -> Place | None:
        """Return the place in the file where the value at `loc` begins, or None without a file."""
        return None if self.document is None else self.document.place(loc)

    def beside(self, name: str) -> Path:
        """Return the path of a file that the scenario names, relative to the scenario's own."""
        return Path(name) if self.document is None else self.document.path.parent / name

    def sounds(self) -> Iterator[tuple[str, bool, Place | None]]:
        """Yield each sound of a caller: text or file, True for a file, and its place."""
        for name, person in self.scenario.people.items():
            for index, step in enumerate(person.steps):
                if step.sound is not None:
                    place = self.place(*self.person_at(name), "steps", index)
                    yield step.sound, step.file is not None, place


def load(path: Path, variables: Mapping[str, str] | None = None) -> Loaded:
    """Read a scenario from a file. Raises InvalidFileError (E-YAML-01 to -03) with every mistake.

    `variables` are those of the command line, whose values are text: a text that is a whole number
    becomes a number. Variables that the scenario's `vars` do not have are ignored.
    """
    document = yamlfile.read(path)
    _fill_in(document, variables or {})
    return Loaded(yamlfile.validate(Scenario, document), document)


class at:  # noqa: N801 - reads as a word
    """Context manager that adds the place in a file to the message of a UserError."""

    def __init__(self, place: Place | None) -> None:
        self._place = place

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, UserError) and self._place is not None:
            raise UserError(error.code, f"{self._place} {error.what}", error.fix) from None


def asking(text: str, *, clip: bool = False) -> Scenario:
    """Return a scenario of one question: hear the greeting, ask, hear the answer, hang up."""
    return Scenario(
        name=text,
        steps=(
            ScenarioStep(wait_for_agent=WaitForAgent()),
            ScenarioStep(clip=text) if clip else ScenarioStep(say=text),
            ScenarioStep(wait_for_agent=WaitForAgent()),
            ScenarioStep(hang_up=HangUpStep()),
        ),
    )


# --- Variables -----------------------------------------------------------------------------------


def _fill_in(document: Document, given: Mapping[str, str]) -> None:
    """Put values in the place of `{{name}}`, everywhere but in `vars`."""
    value = document.value
    own = value.get("vars") if isinstance(value, dict) else None
    known: dict[str, Any] = dict(own) if isinstance(own, dict) else {}
    for name in known.keys() & given.keys():
        known[name] = _number_or_text(given[name])
    if isinstance(value, dict):
        for key in value.keys() - {"vars"}:
            value[key] = _filled(value[key], known, document, (key,))


def _number_or_text(text: str) -> str | int:
    return int(text) if re.fullmatch(r"0|-?[1-9][0-9]{0,17}", text) else text


def _filled(value: Any, known: Mapping[str, Any], document: Document, loc: Loc) -> Any:
    if isinstance(value, dict):
        return {key: _filled(each, known, document, (*loc, key)) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, known, document, (*loc, i)) for i, each in enumerate(value)]
    if not isinstance(value, str):
        return value

    def of(name: str) -> Any:
        if name not in known:
            close = yamlfile.nearest(name, known)
            fix = f'Did you mean "{close}"?' if close else f"Add {name} to vars."
            text = f"No variable is called {name}."
            raise InvalidFileError("E-YAML-03", [Finding("error", text, fix, document.place(loc))])
        return known[name]

    whole = _VARIABLE.fullmatch(value)
    if whole:
        return of(whole[1])  # a number stays one
    return _VARIABLE.sub(lambda found: str(of(found[1])), value)
