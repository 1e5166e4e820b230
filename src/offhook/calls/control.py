"""Control of one live call, used by its tools, its keypad, the API and commands."""

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any, Final

from offhook.call.handoff_actions import HandoffAction, SendDigits
from offhook.call.inputs import RequestCancelled
from offhook.call.phrases import Phrases, fill
from offhook.call.requests import CallRequest, HangUp, Leave, TakeOver, Tell, Update
from offhook.calls.call_entry import CallEntry
from offhook.calls.call_updates import CallUpdates
from offhook.calls.messaging import Messaging
from offhook.calls.transfers import Transfers
from offhook.capture.tap import NewCall
from offhook.deepgram.changes import Change
from offhook.deepgram.settings import Part
from offhook.errors import UserError
from offhook.events.types import CallEnded, Event, OperatorActed
from offhook.tools.declare import ToolError
from offhook.tools.requests import (
    ControlRequest,
    SendText,
    SetRecording,
    StartTransfer,
    StopCalling,
    TakeMessage,
    UpdateAgent,
)


class CallControl:
    """Control of one call: performs requests to it.

    It exists from the first news of a call, so that the lookup function has it, too. Requests that
    need a live call are refused before the call has begun and after it is over.

    Attributes:
        call: The call, as it was when it came in.
        entry: The call in the registry; None as long as it is being looked up.
    """

    def __init__(
        self,
        call: NewCall,
        transfers: Transfers,
        messaging: Messaging,
        updates: CallUpdates,
        note: Callable[[str, Event], None],
    ) -> None:
        self.call: Final = call
        self.entry: CallEntry | None = None
        self._transfers = transfers
        self._messaging = messaging
        self._updates = updates
        self._note_of_call = note
        self._is_disowned = False

    @property
    def _phrases(self) -> Phrases:
        """Phrases of the call's agent; the English ones before there is an agent."""
        return self.entry.agent.phrases if self.entry is not None else Phrases()

    @property
    def party(self) -> str:
        """Number of the person at the other end; empty when it is not known."""
        return self.call.to if self.call.outbound else self.call.number_of_caller

    async def operate(self, by: str, operation: str, request: ControlRequest) -> str:
        """Perform a request of a person, and publish who asked for which operation.

        Raises as `perform` does.
        """
        try:
            what = await self.perform(request)
        except (ToolError, UserError) as refused:
            self._note(OperatorActed(by, operation, "refused", str(refused)))
            raise
        self._note(OperatorActed(by, operation, "done", what))
        return what

    def check_take_over(self, by: str, operation: str) -> None:
        """Raise ToolError, and publish it, if a person cannot take the call over now."""
        refused = self._phrases.no_call
        if self.entry is not None and self.entry.session is not None:
            refused = self.entry.session.refusal(TakeOver(by)) or ""
        if refused:
            self._note(OperatorActed(by, operation, "refused", refused))
            raise ToolError(refused)

    async def perform(self, request: ControlRequest) -> str:
        """Perform a request, and return what happened.

        Raises ToolError, in words for the one who asked, when the request fails, and
        UserError E-SET-01 or E-SET-02 for a block of Settings that cannot be used.
        """
        # Before anything else: after a pause of this process another one may have the call.
        if self.entry is not None and self.entry.session is not None:
            await self.entry.session.until_known()
        if self._is_disowned:
            raise ToolError(self._phrases.no_call)
        match request:
            case UpdateAgent():
                return await self._update(request.part, request.block)
            case StartTransfer():
                return await self._transfers.begin(self._live_entry(), request)
            case SendText():
                texts = self.entry.agent.texts if self.entry is not None else None
                return await self._messaging.send_text(
                    texts,
                    self.call.call_sid,
                    self.party,
                    request.text,
                    request.to,
                    self._note,
                    self._phrases,
                )
            case TakeMessage():
                return self._messaging.take_message(
                    request.name, request.number, request.text, self._note, self._phrases
                )
            case StopCalling():
                return await self._messaging.stop_calling(self.party, self._note, self._phrases)
            case SetRecording():
                if not self.set_recording(request.is_on):
                    raise ToolError(self._phrases.not_recorded)
                return "what is said is recorded" if request.is_on else "the recording is paused"
            case Leave(SendDigits()) if self.call.by == "browser":
                raise ToolError(self._phrases.no_telephone)
            case Leave(SendDigits()) if not self._may_leave():
                raise ToolError(self._phrases.keys_impossible)
            case _:
                done, what = await self.request(request)
                if not done:
                    raise ToolError(what)
                return what

    async def request(self, request: CallRequest) -> tuple[bool, str]:
        """Make a request of the call; return whether it was done, and what happened.

        A cancelled task withdraws its request.
        """
        entry = self.entry
        session = entry.session if entry is not None else None
        if entry is None or session is None:
            return False, self._phrases.no_call
        reply: asyncio.Future[tuple[bool, str]] = asyncio.get_running_loop().create_future()

        def replied(done: bool, what: str) -> None:
            if not reply.done():
                reply.set_result((done, what))

        # Looked at before the request, which may end the call.
        cannot_ask = self._updates.rest is None and entry.is_telephone
        is_beyond_reach = not entry.has_stream and cannot_ask
        number = session.ask(request, replied)
        try:
            done, what = await reply
        except asyncio.CancelledError:
            # Nobody waits for it: an operation that is withdrawn must not be done later.
            session.receive(RequestCancelled(number))
            raise
        if done and is_beyond_reach and isinstance(request, HangUp):
            what = self._phrases.beyond_reach
        return done, what

    def set_recording(self, is_on: bool) -> bool:
        """Record the call, or silence on both sides, from now on. Any thread may call this.

        Return False when there is no such call, or it is not recorded.
        """
        session = self.entry.session if self.entry is not None else None
        return session is not None and session.set_recording(is_on)

    def disown(self) -> None:
        """Perform nothing and publish nothing from now on, as another process has the call."""
        self._is_disowned = True
        self._note_of_call = _note_nothing

    # --- requests of the session ---------------------------------------------------------------

    def leave_stream(self, action: HandoffAction, close: Callable[[], None]) -> None:
        """Have Twilio perform an action; `close` closes the stream, if that is needed."""
        self._live_entry().handoff.leave(action, close)

    def await_caller(self) -> None:
        """Have Twilio open another stream, as the one before broke off."""
        self._live_entry().handoff.break_off()

    def keep_changes(self, changes: tuple[Change, ...]) -> None:
        """Keep the changes that were made of the agent, should this process die."""
        if self.entry is not None and self.entry.session is not None:
            self.entry.changes = changes
            self.entry.keep()

    def end_phone_call(self, close: Callable[[], None]) -> None:
        """End the phone call; `close` closes the stream, and Twilio then asks what comes after."""
        if self.call.by == "browser":
            close()
        else:
            self._updates.hang_up(self.call.call_sid, close)

    def ended(self, event: CallEnded) -> CallEnded:
        """Return the ending as it is recorded: what is Twilio's of a telephone is the caller's."""
        if self.call.by == "browser" and event.fault == "twilio":
            return dataclasses.replace(event, fault="caller")
        return event

    def transfer_by_key(self, destination: str) -> None:
        """Transfer a caller who has pressed the key of a destination."""
        # In a task: the call, which commands this, must not wait for Twilio.
        _ = self._updates.start(self.call.call_sid, self._transfer_by_key(destination))

    async def _transfer_by_key(self, destination: str) -> None:
        phrases = self._phrases
        try:
            await self.perform(StartTransfer(destination, phrases.key_summary))
        except ToolError as refused:
            words = phrases.key_transfer_failed
            words = fill(words, destination=destination, reason=str(refused))
            await self.request(Tell(words))

    # --- inside --------------------------------------------------------------------------------

    async def _update(self, part: Part, block: Any) -> str:
        session = self._live_entry().session
        assert session is not None, "it is live"
        return await self.perform(Update(session.change(part, block)))

    def _live_entry(self) -> CallEntry:
        if self.entry is None or self.entry.session is None:
            raise ToolError(self._phrases.no_call)
        return self.entry

    def _may_leave(self) -> bool:
        """Return whether the call may leave its stream; finished calls are refused elsewhere."""
        entry = self.entry
        return entry is None or entry.session is None or entry.handoff.is_possible

    def _note(self, event: Event) -> None:
        self._note_of_call(self.call.call_sid, event)


def _note_nothing(call_sid: str, event: Event) -> None:
    """Publish nothing: the call is another process's."""
