"""Losses of the agent's leg: what happened, whether another leg is tried, the ending if none is."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from offhook.call.ending import Slug
from offhook.call.owed_text import OwedText
from offhook.deepgram import retry
from offhook.deepgram.retry import Retry
from offhook.events.types import AgentLossCause

HOLD_AFTER_S: Final = 0.7
"""Seconds of silence after a loss before the caller hears that the line is held."""

_SETTINGS_ERRORS: Final = frozenset(
    {
        "INVALID_SETTINGS",
        "UNPARSABLE_CLIENT_MESSAGE",
        "INVALID_AGENT_ID",
        "AGENT_ID_NOT_SUPPORTED",
        "FAILED_TO_START_LISTENING",
    }
)


class AgentLoss(NamedTuple):
    """Loss of a leg, whether it was in use or still being opened.

    Attributes:
        why: What happened.
        code: Deepgram's Error code, close code or HTTP status; empty without one.
        retry: Whether another leg is dialled.
        ending: Ending of the call if no leg replaces this one.
        detail: Detail of that ending.
    """

    why: AgentLossCause
    code: str
    retry: Retry
    ending: Slug
    detail: str


@dataclass(slots=True)
class Outage:
    """Time without an agent's leg, from a loss until another leg is ready.

    Attributes:
        loss: The loss with which it began.
        began_at: When that was, in seconds; when the call's first leg was dialled, if it failed.
        in_talk: True if the two sides were talking.
        was_cut: True if the loss cut the agent short.
        was_caller_speaking: True if the caller was in a turn that Deepgram had not confirmed.
        functions_done: Functions that had finished in the call by then.
        attempts: Legs dialled since.
        hold_at: When the caller hears at the earliest that the line is held, in seconds.
        is_held: True once the caller has heard that.
        dial_at: When the next leg is dialled, in seconds; None while one is being dialled, and
            during last words, after which none may be needed.
        owed: Text that the next session is told first; known once its Settings are sent.
    """

    loss: AgentLoss
    began_at: float
    hold_at: float
    is_held: bool = False
    in_talk: bool = False
    was_cut: bool = False
    was_caller_speaking: bool = False
    functions_done: int = 0
    attempts: int = 0
    dial_at: float | None = None
    owed: OwedText | None = None


def refused(status: int, *, may_be_ours: bool) -> AgentLoss:
    """Return the loss of a leg whose upgrade was answered with an HTTP status (deepgram.md §1.3).

    `may_be_ours`: it was to replace a leg of the same call, which Deepgram may still count.
    """
    ending = Slug.AGENT_UNREACHABLE
    if status == 429:
        ending = Slug.AGENT_BUSY
    elif status in (401, 402, 403):
        ending = Slug.AGENT_KEY_REFUSED
    again = retry.after_status(status, may_be_ours=may_be_ours)
    return AgentLoss("refused", str(status), again, ending, f"HTTP {status}")


def exchanged() -> AgentLoss:
    """Return the loss of a leg that Offhook closes so that the next one finds room."""
    return AgentLoss("no_spare", "", Retry.YES, Slug.AGENT_BUSY, "")


def unreachable(why: str) -> AgentLoss:
    """Return the loss of a leg for which no socket could be opened."""
    return AgentLoss("unreachable", "", Retry.YES, Slug.AGENT_UNREACHABLE, why)


def too_late(limit_s: float) -> AgentLoss:
    """Return the loss of a leg that was not ready `limit_s` seconds after it was dialled."""
    detail = f"no SettingsApplied within {limit_s:.3g} s"
    return AgentLoss("too_late", "", Retry.YES, Slug.AGENT_UNREACHABLE, detail)


def stuck() -> AgentLoss:
    """Return the loss of a leg whose socket takes no data."""
    return AgentLoss("stuck", "", Retry.ONCE, Slug.AGENT_LEG_STUCK, "")


def garbage(what: str) -> AgentLoss:
    """Return the loss of a leg that broke the protocol too often, most recently by `what`."""
    return AgentLoss("garbage", "", Retry.ONCE, Slug.AGENT_LEG_GARBAGE, what)


def failed(code: str, *, is_ready: bool) -> AgentLoss:
    """Return the loss of a leg after an Error of that code (deepgram.md §3.4)."""
    ending = Slug.AGENT_LOST
    if not is_ready:
        is_refusal = code in _SETTINGS_ERRORS
        ending = Slug.AGENT_SETTINGS_REFUSED if is_refusal else Slug.AGENT_UNREACHABLE
    return AgentLoss("error", code, retry.after_error(code), ending, code)


def silent(limit_s: float, code: str, *, is_first: bool) -> AgentLoss:
    """Return the loss of a leg that did not answer within `limit_s` seconds of the last notice.

    `code` is the Error that it sent, if any. Another leg is dialled for the first one only.
    """
    again = Retry.ONCE if is_first else Retry.NEVER
    return AgentLoss("silent", code, again, Slug.AGENT_SILENT, code or f"{limit_s:.3g} s")


def closed(code: int | None, why: str, *, is_ready: bool) -> AgentLoss:
    """Return the loss of a leg whose socket is gone; `code` is None when it was cut off."""
    ending = Slug.AGENT_LOST if is_ready else Slug.AGENT_UNREACHABLE
    return AgentLoss("closed", str(code or ""), retry.after_close(code), ending, why)
