"""Ends of a rehearsed call, as Twilio sees them."""

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
"""Reason for the end of a call. `stream_…`: the call was placed to a stream URL, where no TwiML
follows. `given_up`: the call was not over when the rehearsal's time limit was reached.
`out_of_time`: the call reached its own time limit. `far_end…`: a dialled leg ended because nobody
is left to speak with."""
