"""Facts of a live call that no event tells, for the process that goes on with it after a crash.

The live call's file (journal/live_files.py) has them as lines of their own; the last one counts. It
holds numbers, variables and the stream's token as they are, for as long as the call lasts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from offhook.call.handoff_actions import Dial, HandoffAction, JoinConference, SendDigits
from offhook.calls.call_entry import CalledPerson, CallEntry
from offhook.deepgram.changes import Change
from offhook.events.types import CameBy


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveFacts:
    """Facts of one live call.

    Attributes:
        account_sid: Account of the call.
        agent: Name of the agent that answered first.
        by: Way in which the call came.
        from_: Number that called.
        to: Number that was called.
        values: Values of `{{name}}`.
        token: Token of the current stream, or of the next one.
        origin: Our https address.
        boot: Boot of the machine, to which `began_s` belongs; empty if the system names none.
        began_s: Begin of the call, in seconds of the machine's monotonic clock.
        streams: Number of handoffs so far.
        action: Reason for leaving the stream, by its kind.
        has_begun: True if Twilio was given the action.
        is_returning: True if the action is over.
        changes: Messages that changed the agent.
        person: Person who is called for the caller, or is to meet them.
    """

    account_sid: str
    agent: str
    by: CameBy
    from_: str
    to: str
    values: Mapping[str, str]
    token: str | None = field(repr=False)
    origin: str
    boot: str
    began_s: float
    streams: int = 0
    action: Mapping[str, Any] | None = None
    has_begun: bool = False
    is_returning: bool = False
    changes: tuple[Change, ...] = ()
    person: CalledPerson | None = None

    @property
    def handoff_action(self) -> HandoffAction | None:
        """The reason for leaving the stream. Raises msgspec.MsgspecError for an unknown one."""
        for name, given in (self.action or {}).items():
            if name in _ACTIONS:
                return msgspec.convert(given, _ACTIONS[name])
        return None


_ACTIONS: Final[Mapping[str, type[HandoffAction]]] = {
    kind.__name__: kind for kind in (Dial, JoinConference, SendDigits)
}

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(LiveFacts)

MARK: Final = b"{"
"""First byte of a line with facts; lines of events begin with another one."""


def facts_of(entry: CallEntry, boot: str) -> LiveFacts:
    """Return the facts of a live call as they are now. `boot` names this boot of the machine."""
    call, handoff = entry.control.call, entry.handoff
    action = handoff.action
    return LiveFacts(
        account_sid=entry.account_sid,
        agent=call.agent,
        by=call.by,
        from_=call.from_,
        to=call.to,
        values=entry.values,
        token=entry.token,
        origin=entry.origin,
        boot=boot,
        began_s=entry.began,
        streams=handoff.count,
        action=None if action is None else {type(action).__name__: action},
        has_begun=handoff.has_begun,
        is_returning=handoff.is_returning,
        changes=entry.changes,
        person=entry.person,
    )


def encoded(facts: LiveFacts) -> bytes:
    """Return the line of a call's facts."""
    return _ENCODER.encode(facts)


def decoded(line: bytes) -> LiveFacts:
    """Return the facts of a line. Raises msgspec.MsgspecError for any other line."""
    return _DECODER.decode(line)
