"""Endings of calls: each call has one, with a slug that never changes and who ended it.

Records, metrics, logs and the console all show these; a slug may be added, never renamed.
"""

from dataclasses import dataclass
from enum import Enum, unique
from typing import Literal, TypeAlias

from offhook.events.types import CallEnded

Fault: TypeAlias = Literal["nobody", "caller", "twilio", "agent", "offhook", "operator"]
"""Party that ended the call. `nobody`: a normal end. `agent`: Deepgram's side."""


@unique
class Slug(Enum):
    """An ending of a call: its slug, who ended it, and its description."""

    CALLER_HUNG_UP = "caller_hung_up", "nobody", "the caller hung up"
    AGENT_HUNG_UP = "agent_hung_up", "nobody", "the agent said goodbye and hung up"
    TRANSFERRED = "transferred", "nobody", "the caller was transferred"
    OPERATOR_HUNG_UP = "operator_hung_up", "operator", "an operator ended the call"
    CALLER_SILENT = "caller_silent", "caller", "the caller said nothing"
    TIME_LIMIT = "time_limit", "offhook", "the call reached its time limit"

    SPEND_LIMIT = "spend_limit", "offhook", "the call reached its spend limit"
    CALL_REFUSED = "call_refused", "nobody", "the rules of inbound refused the call"

    NOT_ANSWERED = "not_answered", "nobody", "nobody answered the call that we placed"
    LINE_BUSY = "line_busy", "nobody", "the called number was busy"
    CALL_CANCELED = "call_canceled", "operator", "the outbound call was cancelled"
    CALL_FAILED = "call_failed", "twilio", "Twilio could not connect the call that we placed"
    MACHINE_ANSWERED = "machine_answered", "nobody", "an answering machine answered"
    MESSAGE_LEFT = "message_left", "nobody", "an answering machine gets our message"

    STREAM_NEVER_CAME = "stream_never_came", "twilio", "no stream was opened for the call"
    CALLER_LEG_LOST = "caller_leg_lost", "twilio", "the caller's socket broke off"
    CALLER_LEG_STUCK = "caller_leg_stuck", "twilio", "the caller's socket took nothing for 10 s"
    CALLER_LEG_GARBAGE = (
        "caller_leg_garbage",
        "twilio",
        "the caller's socket sent too much nonsense",
    )
    CALLER_LEG_OVERSIZED = (
        "caller_leg_oversized",
        "twilio",
        "the caller's socket sent a huge message",
    )
    CALLER_LEG_FORMAT = (
        "caller_leg_format",
        "twilio",
        "the caller's stream is not mu-law of 8000 Hz",
    )

    AGENT_BUSY = "agent_busy", "agent", "Deepgram has no room for another session"
    AGENT_KEY_REFUSED = "agent_key_refused", "agent", "Deepgram refused the key"
    AGENT_UNREACHABLE = "agent_unreachable", "agent", "Deepgram could not be reached"
    AGENT_SETTINGS_REFUSED = "agent_settings_refused", "agent", "Deepgram refused the Settings"
    AGENT_LOST = "agent_lost", "agent", "Deepgram's socket ended in mid-call"
    AGENT_SILENT = "agent_silent", "agent", "Deepgram's agent did not answer"
    AGENT_LEG_STUCK = "agent_leg_stuck", "agent", "Deepgram's socket took nothing for 10 s"
    AGENT_LEG_GARBAGE = "agent_leg_garbage", "agent", "Deepgram's socket sent too much nonsense"

    SERVER_FULL = "server_full", "offhook", "the server was at capacity"
    SHUT_DOWN = "shut_down", "operator", "the server was told to stop"
    SERVER_DIED = "server_died", "offhook", "the server died during the call"
    INTERNAL_ERROR = "internal_error", "offhook", "a fault in Offhook"

    def __init__(self, slug: str, fault: Fault, words: str) -> None:
        self.slug = slug
        self.fault: Fault = fault
        self.words = words

    @property
    def hangs_up(self) -> bool:
        """True if Offhook ends the phone call; else the caller is gone or hears the fallback."""
        return self in _OURS


@dataclass(frozen=True, slots=True)
class Ending:
    """The ending of one call. `detail` is the other side's own reason, if it gave one."""

    how: Slug
    detail: str = ""

    @property
    def wants_fallback(self) -> bool:
        """True if the call failed the caller, who may still be there to hear the fallback."""
        return self.how not in _MEANT and self.how.fault in (
            "agent",
            "offhook",
            "operator",
            "twilio",
        )

    def event(self, duration_ms: int) -> CallEnded:
        """Return the event of this ending, for a call of that length."""
        how = self.how
        return CallEnded(how.fault, how.slug, how.words, self.detail, duration_ms)


_OURS = frozenset(
    {
        Slug.AGENT_HUNG_UP,
        Slug.OPERATOR_HUNG_UP,
        Slug.CALLER_SILENT,
        Slug.TIME_LIMIT,
        Slug.SPEND_LIMIT,
    }
)
_MEANT = frozenset({Slug.TIME_LIMIT, Slug.SPEND_LIMIT, Slug.OPERATOR_HUNG_UP, Slug.SERVER_FULL})
"""Endings that one side caused as intended: their callers hear no fallback."""
