"""Telephones that a scenario's server can call; twilio/calls/people.py simulates them.

telephones:
"+12025550123": busy
"+12025550124": {after_s: 1, keys: "1", talks_s: 2}
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, TypeAlias, get_args

from pydantic import Field, model_validator

from offhook.testing.scenarios.expectation import OneOrMore, ScenarioPart
from offhook.testing.simulator.twilio.calls.people import Reaction

REACTIONS: Final = get_args(Reaction)

_Seconds: TypeAlias = Annotated[float, Field(ge=0)]


class AnsweringMachine(ScenarioPart):
    """An answering machine: a greeting, then a beep."""

    greeting_s: Annotated[float, Field(gt=0)] = 4.0
    beep: bool = True


class Callee(ScenarioPart):
    """A person with a telephone. The value of `does` alone may stand for the mapping."""

    does: Reaction = "answers"
    after_s: _Seconds | None = None
    """Seconds of ringing before `does` happens; the default is 2."""
    keys: OneOrMore[Annotated[str, Field(pattern="^[0-9*#]*$")]] = ()
    """Keys to press at the first request for keys, the second, and so on; "" presses none."""
    talks_s: _Seconds = 3.0
    """Seconds from the transfer to this person until they hang up."""
    hang_up_after_s: _Seconds | None = None
    """Seconds from the answer until the person hangs up, whatever else happens."""

    machine: AnsweringMachine | None = None
    """Answering machine that answers instead of the person."""

    short: ClassVar[Mapping[str, Any]] = {"enum": list(REACTIONS)}

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        return {"does": value} if isinstance(value, str) else value
