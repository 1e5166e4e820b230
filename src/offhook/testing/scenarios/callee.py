"""Who can be rung in a scenario, as its file says it: twilio/calls/people.py does it.

people:
"+12025550123": busy
"+12025550124": {after_s: 1, keys: "1", talks_s: 2}
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias, get_args

from pydantic import Field, model_validator

from offhook.testing.scenarios.expectation import OneOrMore, ScenarioPart

Does: TypeAlias = Literal["answers", "busy", "no-answer", "declines", "failed"]
"""When the telephone rings. `declines`: presses the red button. `failed`: it does not exist."""

DOES: Final = get_args(Does)

_Seconds: TypeAlias = Annotated[float, Field(ge=0)]


class AnsweringMachine(ScenarioPart):
    """What answers in the place of a person."""

    greeting_s: Annotated[float, Field(gt=0)] = 4.0
    beep: bool = True


class Callee(ScenarioPart):
    """Somebody with a telephone. What they do when it rings, alone, stands for the rest."""

    does: Does = "answers"
    after_s: _Seconds | None = None
    """Seconds of ringing before that: two, if nothing is said."""
    keys: OneOrMore[Annotated[str, Field(pattern="^[0-9*#]*$")]] = ()
    """What is pressed when keys are asked for, the first time, the second; "" is nothing."""
    talks_s: _Seconds = 3.0
    """Hangs up so long after having been put through."""
    hang_up_after_s: _Seconds | None = None
    """Hangs up so long after the answer, whatever is going on."""

    machine: AnsweringMachine | None = None
    """It answers in the person's place."""

    short: ClassVar[Mapping[str, Any]] = {"enum": list(DOES)}

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        return {"does": value} if isinstance(value, str) else value
