"""What an agent does beside the call: send texts, take messages, stop calls to a number.

Each method returns what happened, in words that an agent can pass on, and raises ToolError in such
words when nothing did. `note` publishes an event of the call, before anything is waited for where
that is possible, so that a hang-up loses nothing.
"""

import logging
from collections.abc import Callable
from typing import Final, TypeAlias

from offhook.clock import Clock
from offhook.config import Texts
from offhook.events.types import DialRefused, DoNotCall, Event, MessageTaken
from offhook.policy.dial_policy import DialPolicy, is_number
from offhook.tools.builtin.texts import CALLER, TEXT_MAX
from offhook.tools.declare import ToolError
from offhook.twilio.errors import TwilioRefusedError, TwilioUnreachableError
from offhook.twilio.rest import TwilioRest
from offhook.twilio.sms import segments

_log: Final = logging.getLogger("offhook.messaging")

Note: TypeAlias = Callable[[Event], None]


class Messaging:
    """The messaging of one server. `recorded`: whether there is a record to keep something in."""

    def __init__(
        self, guard: DialPolicy, rest: TwilioRest | None, clock: Clock, *, recorded: bool
    ) -> None:
        self._guard = guard
        self._rest = rest
        self._clock = clock
        self._recorded = recorded

    async def send_text(
        self,
        texts: Texts | None,
        call_sid: str,
        party: str,
        text: str,
        to: str,
        note: Note,
    ) -> str:
        """Send a text to the other party's number, `party`, or to a destination of `texts`."""
        if texts is None:
            raise ToolError("this agent has no number to send texts from")
        if self._rest is None:
            raise ToolError("no texts can be sent here: there are no credentials for it")
        if to != CALLER and to not in texts.destinations:
            raise ToolError(f"there is no destination {to!r}")
        if not 1 <= len(text) <= TEXT_MAX:
            raise ToolError(f"a text has 1 to {TEXT_MAX} characters; this one has {len(text)}")
        number = party if to == CALLER else texts.destinations[to].to
        if not is_number(number):
            raise ToolError("the caller's number is withheld, so no text can be sent to it")
        now = self._clock.now()
        refused = await self._guard.check(
            "text", number, now, segments=segments(text), call_sid=call_sid
        )
        if refused is not None:
            note(DialRefused("text", refused.slug, number))
            raise ToolError(f"the text was not sent: {refused.words}")
        try:
            await self._rest.send_message(to=number, from_=texts.from_, body=text)
        except TwilioRefusedError as twilio:
            _log.warning("a text was not sent: %s", twilio)
            raise ToolError(f"the text was not sent: {twilio.words}") from None
        except TwilioUnreachableError as unreachable:
            _log.warning("a text was not sent: %s", unreachable)
            if unreachable.sent:
                # No error: after one a model tries again, and the text may be there already.
                return "it is not known whether the text was sent; do not send it again"
            raise ToolError("the text was not sent: Twilio could not be reached") from None
        return "the text is on its way"

    def take_message(self, name: str, number: str, text: str, note: Note) -> str:
        """Keep a message in the record of the call."""
        self._need_record("a message")
        note(MessageTaken(name, number, text))
        return "the message is kept for the people here"

    def stop_calling(self, party: str, note: Note) -> str:
        """Put the other party on the list of numbers that are never called."""
        self._need_record("such a wish")
        if not is_number(party):
            raise ToolError("the number is withheld, so it cannot be put on the list")
        note(DoNotCall(party))
        return "this number will not be called again"

    def _need_record(self, what: str) -> None:
        if not self._recorded:
            raise ToolError(f"there is no record here in which {what} could be kept")
