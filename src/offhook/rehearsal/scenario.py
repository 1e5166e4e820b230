"""A scenario: what the caller of a rehearsal does, step by step, as a YAML file says it.

    steps:
      - wait_for_agent
      - say: What are your opening hours?
      - barge_in: {after_ms: 1200, say: "Wait, I meant Sunday."}
      - wait_for_agent: {quiet_ms: 900, timeout: 30}
      - press: "12#"
      - hang_up

The caller is silent otherwise, and stays on the line when the steps are done.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from offhook import yamlfile
from offhook.errors import Problem
from offhook.rehearsal import clips


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def _quoted(value: Any) -> Any:
    if isinstance(value, int):
        raise yamlfile.refuse(
            "This is a number to YAML, which drops a leading + or 0.",
            'Put it in quotes, as in "+12025550142".',
        )
    return value


_Digits = Annotated[str, BeforeValidator(_quoted)]


class WaitForAgent(_Part):
    """Until the agent has spoken since the caller's last turn, and then been quiet."""

    quiet_ms: Annotated[int, Field(ge=0)] = 600
    timeout: Annotated[float, Field(gt=0)] = 20.0
    """Seconds; then the step has failed and the next begins."""


class BargeIn(_Part):
    """Speak while the agent does: `after_ms` after its speech became audible."""

    say: str
    after_ms: Annotated[int, Field(ge=0)]
    timeout: Annotated[float, Field(gt=0)] = 20.0
    """Seconds to wait for the agent to speak; then the step has failed and the next begins."""


class HangUp(_Part):
    """End the call."""


class Step(_Part):
    """One thing that the caller does: exactly one of the fields is set."""

    say: str | None = None
    barge_in: BargeIn | None = None
    wait_for_agent: WaitForAgent | None = None
    press: Annotated[str, BeforeValidator(_quoted), Field(pattern=r"^[0-9*#A-D]+$")] | None = None
    wait: Annotated[float, Field(ge=0)] | None = None
    """Seconds of silence."""
    hang_up: HangUp | None = None

    @property
    def text(self) -> str | None:
        """What is said in this step, if anything is."""
        return self.barge_in.say if self.barge_in else self.say

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        """A step without options may be its name alone."""
        if isinstance(value, str):
            return {value: {}}
        if isinstance(value, dict):
            return {name: {} if options is None else options for name, options in value.items()}
        raise _not_one_thing()

    @model_validator(mode="after")
    def _is_one_thing(self) -> "Step":
        if len(self.model_fields_set) != 1:
            raise _not_one_thing()
        return self


def _not_one_thing() -> PydanticCustomError:
    known = ", ".join(Step.model_fields)
    return yamlfile.refuse("A step is one thing that the caller does.", f"Write one of: {known}.")


class Scenario(_Part):
    """One call: who calls which number, and what the caller does."""

    from_: Annotated[_Digits, Field(alias="from")] = "+12025550142"
    to: _Digits = "+12025550100"
    noise_dbfs: Annotated[float, Field(ge=-90, le=-50)] | None = None
    """Level of the noise on the caller's line; without it, silence is digital silence."""
    steps: tuple[Step, ...]


def read(path: Path) -> Scenario:
    """The scenario in a file. Raises BadFile, or Problem E-REH-01 for what cannot be said."""
    document = yamlfile.read(path)
    scenario = yamlfile.validate(Scenario, document)
    for index, step in enumerate(scenario.steps):
        if step.text is not None:
            try:
                recorded(step.text)
            except Problem as problem:
                place = document.place(("steps", index))
                raise Problem(problem.code, f"{place} {problem.what}", problem.fix) from None
    return scenario


def asking(text: str) -> Scenario:
    """One question: let the agent greet, ask, hear the answer, hang up."""
    return Scenario(
        steps=(
            Step(wait_for_agent=WaitForAgent()),
            Step(say=text),
            Step(wait_for_agent=WaitForAgent()),
            Step(hang_up=HangUp()),
        )
    )


def recorded(text: str) -> bytes:
    """The recording of a caller that has this name or says this. Raises Problem E-REH-01."""
    known = clips.names("caller-")
    name = text if text in known else clips.find(text)
    if name is None:
        lines = "".join(f"\n    {clips.text(name)}" for name in known)
        raise Problem(
            "E-REH-01",
            f'Nobody has recorded "{text}", and a caller\'s speech is not synthesised yet.',
            f"Use a recording of your own (--clip FILE.wav), or say one of:{lines}",
        )
    return clips.load(name)
