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
]
"""`stream_…`: the call was placed to a stream URL, where no TwiML follows. `given_up`: it was not
over when its time was up, and Twilio hung up."""
