"""Session of one live call: two sockets, one Call and one timer.

No other module knows both legs. The session passes inputs to the call, performs the call's commands
and sets the timer again. It never waits, so a caller's audio leaves for Deepgram, and a `clear` for
Twilio, in the turn of the event loop in which the cause came in.
"""

import logging
import random
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from offhook.call import inputs
from offhook.call.call import Call
from offhook.call.commands import (
    AwaitCaller,
    CancelTool,
    ChangeAgent,
    ClearCaller,
    Command,
    DialAgent,
    DialSpare,
    End,
    HangUpAgent,
    HangUpSpare,
    KeepChanges,
    LeaveStream,
    LetGo,
    MaskCaller,
    Note,
    Play,
    ReleaseOperator,
    Reply,
    RunTool,
    SendAudio,
    SendSettings,
    SettleSpare,
    TellAgent,
    TransferCaller,
    UseSpare,
)
from offhook.call.ending import Ending
from offhook.call.requests import CallRequest
from offhook.call.rollover import SESSION_S
from offhook.call_context import of_call
from offhook.calls.agent_legs import AgentLegs
from offhook.calls.agent_session import AgentSession, ToolNews
from offhook.calls.audio_delays import SAMPLE_EVERY, AudioDelays
from offhook.calls.caller_stream import CallerStream
from offhook.calls.control import CallControl
from offhook.calls.operators import Operators
from offhook.calls.pause_gate import PauseGate
from offhook.calls.pending_replies import PendingReplies
from offhook.calls.session_recording import SessionRecording
from offhook.capture.tap import Tap, Tapped
from offhook.clock import Clock
from offhook.deepgram import messages as deepgram
from offhook.deepgram.changes import Change
from offhook.deepgram.leg import Dial
from offhook.deepgram.settings import Part
from offhook.events.types import (
    AgentDisconnected,
    CallEnded,
    CallEvent,
    CallReleased,
    Event,
    FunctionFinishedLate,
    Subscriber,
)
from offhook.net.websocket import Channel
from offhook.recordings.recorder import Recordings
from offhook.twilio import messages as twilio
from offhook.twilio.stream import Recorder

_log: Final = logging.getLogger("offhook.session")


class Session(AgentLegs):
    """Session of one call and its two legs."""

    __slots__ = (
        "_agent_session",
        "_began",
        "_control",
        "_delays",
        "_ended",
        "_publish",
        "_recording",
        "_replies",
        "_stream",
        "_switch_agent",
        "_tapped",
        "operators",
    )

    def __init__(
        self,
        call_sid: str,
        agent: AgentSession,
        *,
        clock: Clock,
        dial: Dial,
        publish: Subscriber,
        control: CallControl,
        ended: Callable[["Session"], None],
        switch_agent: Callable[[str], AgentSession],
        tap: Tap | None = None,
        recordings: Recordings | None = None,
        session_s: float = SESSION_S,
        began: float | None = None,
        dial_spare: Dial | None = None,
        spare_settled: Callable[[str], None] | None = None,
        dials_ahead: bool = True,
        gate: PauseGate | None = None,
    ) -> None:
        """Begin a call without a leg.

        Args:
            call_sid: Twilio's CallSid.
            agent: The agent that answers.
            clock: The server's clock.
            dial: Opens the agent's leg.
            publish: Called with every event of the call.
            control: Ends, leaves and transfers the phone call.
            ended: Called once, at the end.
            switch_agent: Gives the call to the agent of that name.
            tap: Sees what goes over the two wires.
            recordings: Record what is said, from the stream's start to the end.
            session_s: Seconds of an agent session after which another one takes over.
            began: Begin of the call by the clock, if another process had it before; else now.
            dial_spare: Opens a leg beside the agent's, if there is room; else `dial` does.
            spare_settled: Called when a spare leg is gone, or serves the call.
            dials_ahead: The agent is dialled ahead of the stream, which comes to this process.
            gate: Holds what happens after a pause of the process; None without a fleet.
        """
        tapped = self._tapped = Tapped(call_sid, tap, clock) if tap is not None else None
        spare = dial_spare or dial
        if tapped is not None:
            dial, spare = tapped.agent(dial), tapped.agent(spare)
        began = clock.now() if began is None else began

        def make(do: Callable[[Command], None]) -> Call:
            return Call(
                agent.call_settings,
                began,
                do,
                session_s=session_s,
                # Not for secrecy: it spreads the dials of calls that lose their agents together.
                spread=random.random(),
                asks_after=control.call.webhook,
                dials_ahead=dials_ahead,
            )

        super().__init__(call_sid, clock, gate, make, dial, spare, spare_settled)
        self._began = began
        self._agent_session = agent
        self._switch_agent = switch_agent
        self._publish = publish
        self._control = control
        self._ended = ended
        self._replies = PendingReplies()
        self._recording = SessionRecording(call_sid, recordings, clock, self.note)
        self.operators: Final = Operators(self, clock)
        self._stream = CallerStream(control, self._recording, self.operators, tapped)
        self._delays = AudioDelays(clock)

    @property
    def ending(self) -> Ending | None:
        """Ending of the call; None while it lasts."""
        return self._call.ending

    @property
    def has_stream(self) -> bool:
        """True once a verified stream has come."""
        return self._stream.leg is not None

    def take_over(self, died: inputs.ProcessDied) -> None:
        """Go on with a call whose process has died. Called first, if at all."""
        resumed = died.call
        if resumed.agent_since_ms is not None:  # Deepgram charges for it all the same.
            self.note(AgentDisconnected(max(0, resumed.last_ms - resumed.agent_since_ms)))
        if resumed.started_ms is not None:
            paused = resumed.is_paused
            self._recording.resume(resumed.recording, is_paused=paused, began=self._began)
        self.receive(died)

    def begin(self, channel: Channel, start: twilio.Start) -> None:
        """Make the channel of a verified stream the caller's leg.

        Called again for a caller who comes back to a stream.
        """
        try:
            self._stream.begin(channel, start, self)
        except Exception as error:  # noqa: BLE001 - it ends this call alone
            channel.close()
            self._break(error)
        self.receive(start)

    def release(self, epoch: int) -> Callable[[], None]:
        """Give the call up in good order: another process goes on with it.

        Return what closes its stream: Twilio asks then what comes next, and somebody must know.
        """
        close = self._stream.detach()
        if not self._is_over:
            self._recording.hand_over()
            self._give_away(inputs.Released(CallReleased("handed_over", epoch)))
        return close

    def fence(self, epoch: int) -> None:
        """Drop the call without a sound: another process has it by now.

        Nothing more is said, done, dialled or recorded, whatever is still under way.
        """
        if not self._is_over:
            publish, self._publish = self._publish, _publish_nothing
            self._control.disown()
            if self._gate is not None and self._gate.is_shut(self._now()):
                self._recording.abandon()  # The other process may write to its file.
            else:
                self._recording.hand_over()
            self._give_away(inputs.Released(CallReleased("fenced", epoch)))
            publish(CallEvent(self.call_sid, self.ms(), CallReleased("fenced", epoch)))

    async def until_known(self) -> None:
        """Wait, after a pause of the process, until it is known that it has the call still."""
        if self._gate is not None:
            await self._gate.until_open()

    def ask(self, request: CallRequest, replied: Callable[[bool, str], None]) -> int:
        """Make a request of the call; return the number that RequestCancelled names.

        `replied` is called once, perhaps before this returns: whether the request was done,
        and what happened.
        """
        number = self._replies.add(replied)
        self.receive(inputs.Requested(number, request))
        if self._is_over:
            self._replies.refuse(self._call.phrases.call_over)
        return number

    def refusal(self, request: CallRequest) -> str | None:
        """Return why a request would be refused now; None when it would not be."""
        return self._call.refusal(request)

    def change(self, part: Part, block: Any) -> Change:
        """Return the message that changes a part of the agent.

        Raises UserError E-SET-01 and E-SET-02.
        """
        return self._agent_session.change(part, block)

    def note(self, event: Event) -> None:
        """Publish an event that the call does not need."""
        call_event = CallEvent(self.call_sid, self.ms(), event)
        if self._gate is not None and self._gate.is_shut(self._now()):
            self._gate.hold(partial(self._publish, call_event))
            return
        self._publish(call_event)

    def ms(self) -> int:
        """Return the length of the call so far, in milliseconds."""
        return round((self._now() - self._began) * 1000)

    @property
    def taken_by(self) -> str:
        """Name of the operator who speaks with the caller; empty while the agent does."""
        return self._call.taken_by

    def unheard(self) -> bytes:
        """Return what went to Twilio and is not played yet: what the caller hears from now on."""
        leg = self._stream.leg
        if leg is None:
            return b""
        audio = self._call.unheard(self._now())
        return audio[: max(0, len(audio) - leg.held_back)]

    def record(self, recorder: Recorder | None) -> None:
        """Give the caller's leg, if there is one, what is to get its audio from now on."""
        self._stream.record(recorder)

    def _record_again(self) -> None:
        """Record the stream again, as the call is this process's still."""
        self.record(self.operators.over(self._recording.recorder))

    def set_recording(self, is_on: bool) -> bool:
        """Record the call, or silence, from now on; return whether the call is recorded.

        Any thread may call this.
        """
        return self._recording.set_on(is_on)

    # --- the audio path -----------------------------------------------------------------------

    def on_caller_audio(self, audio: bytes) -> None:
        """Pass audio of the caller on to the agent."""
        now = self._now()
        if self._gate is not None and self._gate.is_shut(now):
            if self._stream.stop_recording():
                self._gate.hold(self._record_again)
            self._gate.hold(partial(self.on_caller_audio, audio), len(audio))
            return
        heard = self._call.hear(audio, now)
        if heard is not None and self._agent is not None:
            self._agent.send_audio(heard)
            delays = self._delays.to_agent
            if not delays.pieces % SAMPLE_EVERY:
                delays.add(self._delays.held())
            delays.pieces += 1

    def on_agent_audio(self, audio: bytes) -> None:
        """Pass audio of the agent on to the caller."""
        now = self._now()
        if self._gate is not None and self._gate.is_shut(now):
            self._gate.hold(partial(self.on_agent_audio, audio), len(audio))
            return
        pieces = self._call.speak(audio, now)
        caller = self._stream.leg
        if pieces and caller is not None:
            caller.play(pieces)
            delays = self._delays.to_caller
            if not delays.pieces % SAMPLE_EVERY:
                delays.add(self._delays.held())
            delays.pieces += 1

    def on_operator_audio(self, audio: bytes) -> None:
        """Pass audio of an operator on to the caller."""
        now = self._now()
        if self._gate is not None and self._gate.is_shut(now):
            return  # What an operator said seconds ago is of no use.
        pieces = self._call.relay(audio, now)
        if pieces and self._stream.leg is not None:
            self._stream.leg.play(pieces)

    # --- what the call commands ----------------------------------------------------------------

    def _perform(self, command: Command) -> None:
        match command:
            case Note():
                event = command.event
                if isinstance(event, CallEnded):
                    self._close_accounts()
                    event = self._control.ended(event)
                elif isinstance(event, CallReleased):
                    self._close_accounts()
                self.note(event)
            case Play():
                if self._stream.leg is not None:
                    self._stream.leg.play(command.pieces)
            case ClearCaller():
                if self._stream.leg is not None:
                    self._stream.leg.clear()
                    self._delays.to_clear.add(self._delays.held())
            case TellAgent():
                if self._agent is not None:
                    self._agent.send(deepgram.write(command.message))
            case SendAudio():
                if self._agent is not None:
                    self._agent.send_audio(command.audio)
            case SendSettings():
                if self._agent is not None:
                    settings = self._agent_session.settings(
                        command.greeting, command.history, command.changes
                    )
                    self._agent.send(settings)
            case RunTool():
                self._run_tool(command)
            case CancelTool():
                self._agent_session.tools.cancel(command.id, over=command.why == "call_over")
            case DialAgent():
                self._dial_agent(command.place)
            case HangUpAgent():
                self._hang_up_agent()
            case DialSpare():
                self._dial_beside(command.place)
            case SettleSpare():
                if self._spare is not None:
                    settings = self._agent_session.settings(False, command.history, command.changes)
                    self._spare.send(settings)
            case UseSpare():
                self._use_spare()
            case HangUpSpare():
                self._hang_up_spare()
            case LeaveStream():
                self._stream.leave(command.action)
            case AwaitCaller():
                self._stream.await_caller()
            case ChangeAgent():
                self._agent_session = self._switch_agent(command.agent)
                self._recording.permit(self._agent_session.recording)
            case KeepChanges():
                self._control.keep_changes(command.changes)
            case TransferCaller():
                self._control.transfer_by_key(command.destination)
            case MaskCaller():
                self._stream.mask(command.on)
            case ReleaseOperator():
                self.operators.release(command.why)
            case Reply():
                self._replies.reply(command.id, command.done, command.what)
            case End() | LetGo():
                self._end()

    def _close_accounts(self) -> None:
        """Publish the last events before the end."""
        self._guarded(lambda: self.note(self._delays.sampled()))
        self._guarded(self._note_agent_gone)
        self._guarded(self._hang_up_spare)
        self._guarded(self.operators.finish)
        self._guarded(self._recording.finish)

    def _run_tool(self, command: RunTool) -> None:
        called_at = self._now()

        def told(news: ToolNews) -> None:
            self._contained(lambda: self._on_tool_news(command.name, called_at, news))

        with of_call(self.call_sid):
            self._agent_session.tools.run(command.id, command.name, command.arguments, told)

    def _on_tool_news(self, name: str, called_at: float, news: ToolNews) -> None:
        if not isinstance(news, inputs.ToolFinishedLate):
            self.receive(news)
            return
        # The call, which may be over, does not need it.
        after_ms = round((self._now() - called_at) * 1000)
        self.note(FunctionFinishedLate(news.id, name, news.outcome, news.content, after_ms))

    def _end_uncommanded(self, ending: Ending | None) -> None:
        if ending is None:
            self._guarded(self._close_accounts)
        else:
            self.note(ending.event(self.ms()))
        self._end()

    def _end(self) -> None:
        self._is_over = True
        guarded, tapped, how = self._guarded, self._tapped, self.ending
        guarded(self._hang_up_agent)
        guarded(self._hang_up_spare)
        guarded(self.operators.finish)  # again, if the call has ended without its last events
        guarded(lambda: self._stream.end(hangs_up=how is not None and how.how.hangs_up))
        # Cuts the cycles of references between the session and its parts, so that the memory of a
        # call is free once both sockets are closed: a garbage collection would stop every call.
        self._timer.end()
        self._stream.let_go()
        if tapped is not None:
            guarded(lambda: tapped.end(how))
        guarded(lambda: self._replies.refuse(self._call.phrases.call_over))
        guarded(lambda: self._ended(self))


def _publish_nothing(event: CallEvent) -> None:
    """Publish nothing: the call is another process's."""
