"""Messaging of an agent: send texts, take messages, stop calls to a number.

Each method returns what happened, in words that an agent can pass on, and raises ToolError in such
words when it failed. `note` publishes an event of the call, where possible before any wait, so that
a hang-up loses nothing.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from offhook.call.phrases import Phrases, fill
from offhook.calls.refusal_words import refusal_words
from offhook.clock import Clock
from offhook.config import Texts
from offhook.errors import UserError
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
    """Messaging of one server.

    `recorded`: there is a record in which messages can be kept. `bar` keeps a number that must not
    be called again, and raises UserError if it cannot; None: there is nothing to keep it in.
    """

    def __init__(
        self,
        dial_policy: DialPolicy,
        rest: TwilioRest | None,
        clock: Clock,
        *,
        recorded: bool,
        bar: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self._dial_policy = dial_policy
        self._rest = rest
        self._clock = clock
        self._recorded = recorded
        self._bar = bar

    async def send_text(
        self,
        texts: Texts | None,
        call_sid: str,
        party: str,
        text: str,
        to: str,
        note: Note,
        phrases: Phrases,
    ) -> str:
        """Send a text to the other party's number, `party`, or to a destination of `texts`."""
        if texts is None:
            raise ToolError(phrases.texts_off)
        if self._rest is None:
            raise ToolError(phrases.texts_impossible)
        if to != CALLER and to not in texts.destinations:
            raise ToolError(fill(phrases.no_destination, destination=repr(to)))
        if not 1 <= len(text) <= TEXT_MAX:
            sizes = {"most": str(TEXT_MAX), "length": str(len(text))}
            raise ToolError(fill(phrases.text_length, **sizes))
        number = party if to == CALLER else texts.destinations[to].to
        if not is_number(number):
            raise ToolError(phrases.text_withheld)
        now = self._clock.now()
        refused = await self._dial_policy.check(
            "text", number, now, segments=segments(text), call_sid=call_sid
        )
        if refused is not None:
            note(DialRefused("text", refused.slug, number))
            reason = refusal_words(phrases, refused)
            raise ToolError(fill(phrases.text_not_sent, reason=reason))
        try:
            await self._rest.send_message(
                to=number, from_=texts.from_, body=text, for_call=call_sid
            )
        except TwilioRefusedError as twilio:
            _log.warning("a text was not sent: %s", twilio)
            reason = refusal_words(phrases, twilio)
            raise ToolError(fill(phrases.text_not_sent, reason=reason)) from None
        except TwilioUnreachableError as unreachable:
            _log.warning("a text was not sent: %s", unreachable)
            if unreachable.sent:
                # Not an error: after an error a model tries again, and would send the text twice.
                return phrases.text_uncertain
            reason = phrases.reason_unreachable
            raise ToolError(fill(phrases.text_not_sent, reason=reason)) from None
        return phrases.text_sent

    def take_message(self, name: str, number: str, text: str, note: Note, phrases: Phrases) -> str:
        """Keep a message in the record of the call."""
        if not self._recorded:
            raise ToolError(phrases.message_impossible)
        note(MessageTaken(name, number, text))
        return phrases.message_kept

    async def stop_calling(self, party: str, note: Note, phrases: Phrases) -> str:
        """Put the other party on the list of numbers that are never called.

        On return the number is barred on this machine, whatever ends the call or the server.
        """
        if self._bar is None:
            raise ToolError(phrases.stop_impossible)
        if not is_number(party):
            raise ToolError(phrases.stop_withheld)
        note(DoNotCall(party))
        try:
            await self._bar(party)
        except UserError as error:
            _log.error("a number could not be barred: %s %s %s", error.code, error.what, error.fix)
            raise ToolError(phrases.stop_impossible) from None
        return phrases.not_called_again
