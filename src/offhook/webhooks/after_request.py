"""Requests to /twilio/after: their meaning and the document that answers them. Pure functions.

Twilio asks there after a stream, a transfer's dial, a farewell, and at a call's end. Twilio repeats
requests, and a repeated one may be late (twilio.md §4.1). So the query of each address names its
subject: the same request gets the same answer, and an old one changes nothing.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from offhook.events.types import HandoffOutcome
from offhook.twilio import call_status
from offhook.webhooks.auth import Form


@dataclass(frozen=True, slots=True)
class AfterRequest:
    """Facts of a request to /twilio/after."""

    is_over: bool = False
    """True if the call has ended (its CallStatus is final)."""

    is_last: bool = False
    """True if the request follows a farewell, or a voicemail."""

    outcome: HandoffOutcome | None = None
    """Outcome of a dial; None when there was none."""

    left: int | None = None
    """Number of the handoff that a dial belonged to."""

    stream: int = 0
    """Stream that has ended, by the number of handoffs before it."""

    @classmethod
    def of(cls, form: Form) -> "AfterRequest":
        """Return the facts in the fields and the query of a request."""
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
    """State of a known call, as far as an answer depends on it."""

    leaves: int = 0
    """Number of times that the call left its stream on purpose."""

    is_away: bool = False
    """True while the call is leaving its stream."""

    is_interrupted: bool = False
    """True while the caller has no stream because it broke off."""

    has_ended: bool = False
    """True once the call core has ended the call."""


class News(Enum):
    """Fact about a call that a request reports."""

    CALL_OVER = auto()
    HANDOFF_DONE = auto()
    STREAM_LEFT = auto()
    """The stream that was left on purpose has closed: its handoff begins."""
    STREAM_LOST = auto()
    """The stream that we think open is gone. What the request means is news again after that."""
    CALLER_RETURNING = auto()
    """The stream broke off: the caller gets another one."""


class AfterAnswer(Enum):
    """TwiML document that answers a request."""

    NOTHING = auto()
    HANG_UP = auto()
    APOLOGY = auto()
    FALLBACK = auto()
    FAREWELL = auto()
    """The document for the call's ending."""
    CONTINUE = auto()
    """The stream again, or the handoff for which it was left."""


_ENDED_DIAL: Final = ("reached", None)


def news_of(request: AfterRequest, call: KnownCall | None) -> tuple[News, ...]:
    """Return the news in a request that the call does not know yet, in order."""
    is_return = call is not None and request.outcome is not None and request.left == call.leaves
    if request.is_over:
        return (News.HANDOFF_DONE, News.CALL_OVER) if is_return else (News.CALL_OVER,)
    if call is None or request.is_last:
        return ()
    if request.left is not None and request.outcome is not None:
        return (News.HANDOFF_DONE,) if is_return else ()
    if call.has_ended:
        return ()
    if call.is_interrupted:
        is_last = request.stream in (call.leaves - 1, call.leaves)
        return (News.CALLER_RETURNING,) if is_last else ()
    if call.is_away and request.stream == call.leaves - 1:
        return (News.STREAM_LEFT,)
    if not call.is_away and request.stream == call.leaves:
        return (News.STREAM_LOST,)
    return ()


def answer_to(request: AfterRequest, call: KnownCall | None) -> AfterAnswer:
    """Return the document for a request; `call` is its state after the news."""
    if request.is_over:
        return AfterAnswer.NOTHING
    if request.is_last or (call is None and request.outcome is not None):
        # After a farewell, or a dial of an earlier run of this server, nothing is dialled again.
        return AfterAnswer.HANG_UP if request.outcome in _ENDED_DIAL else AfterAnswer.APOLOGY
    if call is None:
        # The call was lost in a restart, or never reached us; the caller waits.
        return AfterAnswer.FALLBACK
    if call.has_ended and request.left is not None and request.outcome == "reached":
        # The two people have talked, so the caller needs no further words.
        return AfterAnswer.HANG_UP
    return AfterAnswer.FAREWELL if call.has_ended else AfterAnswer.CONTINUE
