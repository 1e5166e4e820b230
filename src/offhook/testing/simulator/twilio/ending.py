"""How a rehearsed call ends, as it is seen from Twilio's side."""

from typing import Literal, TypeAlias

Ending: TypeAlias = Literal[
    "caller_hung_up",
    "hangup_verb",
    "end_of_document",
    "rejected",
    "stream_closed",
    "stream_failed",
    "application_error",
    "given_up",
    "ended_by_rest",
    "out_of_time",
    "not_answered",
    "far_end_hung_up",
]
"""`stream_…`: the call was placed to a stream URL, where no TwiML follows. `given_up`: it was not
over when the rehearsal's time was up. `out_of_time`: its own, that it was created with.
`far_end…`: of a leg that was dialled, when nobody is left to speak with."""
