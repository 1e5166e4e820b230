"""The meaning of a request to /twilio/after, and the document that answers it: pure functions.

Twilio asks there after a stream, a transfer's dial, a farewell, and at a call's end. Requests are
repeated, and a repeated one may be late (twilio.md §4.1). So the query of each address says what it
is about: the same question gets the same answer, and an old one changes nothing.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from offhook.events.types import HandoffOutcome
from offhook.twilio import call_status
from offhook.webhooks.auth import Form


@dataclass(frozen=True, slots=True)
class AfterRequest:
    """The facts of a request to /twilio/after."""

    is_over: bool = False
    """Whether the call has ended (its CallStatus is final)."""

    is_last: bool = False
    """Whether it follows a farewell, or a voicemail."""

    outcome: HandoffOutcome | None = None
    """How a dial went; None when none has run."""

    left: int | None = None
    """The number of the departure from a stream that a dial belonged to."""

    stream: int = 0
    """The stream that has ended, by the number of departures before it."""

    @classmethod
    def of(cls, form: Form) -> "AfterRequest":
        """Return what the fields and the query of a request say."""
        dialled, left = form.get("DialCallStatus"), form.get("left")
        return cls(
            is_over=form.get("CallStatus") in call_status.FINAL,
            is_last="last" in form or "RecordingUrl" in form or "RecordingSid" in form,
            outcome=None if dialled is None else call_status.outcome_of_dial(dialled),
            left=None if left is None else int(left),
            stream=int(form.get("stream", "0")),
        )


@dataclass(frozen=True, slots=True)
class KnownCall:
    """The state of a known call, as far as an answer depends on it."""

    leaves: int = 0
    """How often its stream was left on purpose."""

    is_away: bool = False
    """Whether its stream is being left now."""

    has_ended: bool = False
    """Whether the call core has ended it."""


class News(Enum):
    """A fact about a call that a request tells."""

    CALL_OVER = auto()
    HANDOFF_DONE = auto()
    STREAM_LEFT = auto()
    """The stream closed that we left on purpose: what it was left for begins."""
    STREAM_LOST = auto()


class AfterAnswer(Enum):
    """The TwiML document that answers a request."""

    NOTHING = auto()
    HANG_UP = auto()
    APOLOGY = auto()
    FALLBACK = auto()
    FAREWELL = auto()
    """What the call's ending asks for."""
    CONTINUE = auto()
    """The stream again, or what it was left for."""


_ENDED_DIAL: Final = ("reached", None)


def news_of(request: AfterRequest, call: KnownCall | None) -> tuple[News, ...]:
    """Return what a request tells that the call does not know yet, in order."""
    is_return = call is not None and request.outcome is not None and request.left == call.leaves
    if request.is_over:
        return (News.HANDOFF_DONE, News.CALL_OVER) if is_return else (News.CALL_OVER,)
    if call is None or request.is_last:
        return ()
    if request.left is not None and request.outcome is not None:
        return (News.HANDOFF_DONE,) if is_return else ()
    if call.has_ended:
        return ()
    if call.is_away and request.stream == call.leaves - 1:
        return (News.STREAM_LEFT,)
    if not call.is_away and request.stream == call.leaves:
        return (News.STREAM_LOST,)
    return ()


def answer_to(request: AfterRequest, call: KnownCall | None) -> AfterAnswer:
    """Return the document for a request; `call` is as it is once the news has been told."""
    if request.is_over:
        return AfterAnswer.NOTHING
    if request.is_last or (call is None and request.outcome is not None):
        # After a farewell, or a dial of an earlier run of this server, nothing is dialled again.
        return AfterAnswer.HANG_UP if request.outcome in _ENDED_DIAL else AfterAnswer.APOLOGY
    if call is None:
        # A restart lost the call, or it never reached us: its caller waits.
        return AfterAnswer.FALLBACK
    if call.has_ended and request.left is not None and request.outcome == "reached":
        # The two have talked: a caller who was not told of the end has no more to hear.
        return AfterAnswer.HANG_UP
    return AfterAnswer.FAREWELL if call.has_ended else AfterAnswer.CONTINUE
