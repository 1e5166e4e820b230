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
from offhook.call.handoff_actions import HandoffAction
from offhook.call.inputs import Input
from offhook.call.requests import CallRequest
from offhook.call.rollover import SESSION_S
from offhook.call_context import of_call
from offhook.calls.agent_session import AgentSession, ToolNews
from offhook.calls.audio_delays import SAMPLE_EVERY, AudioDelays
from offhook.calls.control import CallControl
from offhook.calls.deadline_timer import DeadlineTimer
from offhook.calls.leg_inputs import LegInputs
from offhook.calls.operators import Operators
from offhook.calls.pause_gate import PauseGate
from offhook.calls.session_recording import SessionRecording
from offhook.calls.spare_leg import SpareLeg
from offhook.capture.tap import Tap, Tapped
from offhook.clock import Clock
from offhook.deepgram import messages as deepgram
from offhook.deepgram.changes import Change
from offhook.deepgram.leg import AgentLeg, Dial
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
from offhook.net.websocket import Channel, UnreachableError, UpgradeRefusedError
from offhook.recordings.recorder import Recordings
from offhook.twilio import messages as twilio
from offhook.twilio.stream import CallerLeg, Recorder

_log: Final = logging.getLogger("offhook.session")


class Session(LegInputs):
    """Session of one call and its two legs."""

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
        super().__init__(clock.now)
        self.call_sid = call_sid
        self._began = clock.now() if began is None else began
        # Not for secrecy: it spreads the dials of calls that lose their agents together.
        spread = random.random()
        self._call = Call(
            agent.call_settings,
            self._began,
            self._do,
            session_s=session_s,
            spread=spread,
            asks_after=control.call.webhook,
            dials_ahead=dials_ahead,
        )
        self._agent_session = agent
        self._switch_agent = switch_agent
        self._clock = clock
        self._tapped = Tapped(call_sid, tap, clock) if tap is not None else None
        self._dial = self._tapped.agent(dial) if self._tapped is not None else dial
        spare = dial_spare or dial
        self._dial_spare = self._tapped.agent(spare) if self._tapped is not None else spare
        self._spare_settled = spare_settled
        self._gate = gate
        self._publish = publish
        self._control = control
        self._ended = ended
        self._requests = 0
        self._over = False
        self._breaking = False
        self._inbox: list[Input] = []
        self._deciding = False
        self._fault: Exception | None = None
        self._replies: dict[int, Callable[[bool, str], None]] = {}
        self._recording = SessionRecording(call_sid, recordings, clock, self.note)
        self.operators: Final = Operators(self, clock)
        self._caller: CallerLeg | None = None
        self._agent: AgentLeg | None = None
        self._agent_open_at: float | None = None
        self._spare: SpareLeg | None = None
        self._timer = DeadlineTimer(clock, self._on_timer)
        self._pieces_to_agent = 0
        self._pieces_to_caller = 0
        self._delays = AudioDelays()

    @property
    def ending(self) -> Ending | None:
        """Ending of the call; None while it lasts."""
        return self._call.ending

    @property
    def has_stream(self) -> bool:
        """True once a verified stream has come."""
        return self._caller is not None

    @property
    def has_agent(self) -> bool:
        """True while the agent's leg is up, or being dialled."""
        return self._agent is not None

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
            self._take_stream(channel, start)
        except Exception as error:  # noqa: BLE001 - as in receive
            channel.close()
            self._break(error)
        self.receive(start)

    def _take_stream(self, channel: Channel, start: twilio.Start) -> None:
        if self._tapped is not None:
            channel = self._tapped.caller(channel, start)
        self._recording.begin_stream()
        recorder = self.operators.over(self._recording.recorder)
        self._caller = CallerLeg(channel, start.stream_sid, self, recorder)
        channel.receiver = self._caller

    def release(self, epoch: int) -> Callable[[], None]:
        """Give the call up in good order: another process goes on with it.

        Return what closes its stream: Twilio asks then what comes next, and somebody must know.
        """
        caller, self._caller = self._caller, None
        close = caller.leave() if caller is not None else _nothing
        if not self._over:
            self._recording.hand_over()
            self._leave(CallReleased("handed_over", epoch))
        return close

    def fence(self, epoch: int) -> None:
        """Drop the call without a sound: another process has it by now.

        Nothing more is said, done, dialled or recorded, whatever is still under way.
        """
        if not self._over:
            publish, self._publish = self._publish, _publish_nothing
            self._control.disown()
            self._recording.hand_over()
            self._leave(CallReleased("fenced", epoch))
            publish(CallEvent(self.call_sid, self.ms(), CallReleased("fenced", epoch)))

    async def until_known(self) -> None:
        """Wait, after a pause of the process, until it is known that it has the call still."""
        if self._gate is not None:
            await self._gate.until_open()

    def _leave(self, event: CallReleased) -> None:
        if self._gate is not None:
            self._gate.drop()
        try:
            self._call.receive(inputs.Released(event), self._now())
        except Exception:  # noqa: BLE001 - the other process has the call in spite of a fault
            _log.exception("a fault while a call was given up", extra={"call_sid": self.call_sid})
        if not self._over:
            self._guarded(self._close_accounts)
            self._end()
        self._inbox.clear()

    def receive(self, message: Input) -> None:
        """Pass an input to the call. A fault in its handling ends this call, and no other.

        Inputs that arise while the call decides, as when a command fills a socket, are
        passed next.
        """
        if self._gate is not None and self._gate.is_shut(self._now()):
            self._gate.hold(partial(self.receive, message))
            return
        self._inbox.append(message)
        if not self._deciding:
            self._decide(self._take_inbox)

    def _take_inbox(self) -> None:
        while self._inbox:
            self._call.receive(self._inbox.pop(0), self._now())

    def _decide(self, decide: Callable[[], None]) -> None:
        """Let the call decide, then set the timer to its next deadline."""
        self._deciding = True
        try:
            decide()
            self._take_inbox()
            self._timer.arm(self._call.deadline())
        except Exception as error:  # noqa: BLE001 - it ends this call alone
            self._fault = self._fault or error
        finally:
            self._deciding = False
        fault, self._fault = self._fault, None
        if fault is not None:
            self._break(fault)

    def ask(self, request: CallRequest, replied: Callable[[bool, str], None]) -> int:
        """Make a request of the call; return the number that RequestCancelled names.

        `replied` is called once, perhaps before this returns: whether the request was done,
        and what happened.
        """
        self._requests += 1
        number = self._requests
        self._replies[number] = replied
        self.receive(inputs.Requested(number, request))
        if self._over:
            self._refuse_requests()
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

    def record(self, recorder: Recorder | None) -> None:
        """Give the caller's leg, if there is one, what is to get its audio from now on."""
        if self._caller is not None:
            self._caller.record(recorder)

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
            self._gate.hold(partial(self.on_caller_audio, audio), len(audio))
            return
        heard = self._call.hear(audio, now)
        if heard is not None and self._agent is not None:
            self._agent.send_audio(heard)
            if not self._pieces_to_agent % SAMPLE_EVERY:
                self._delays.to_agent.add(self._held())
            self._pieces_to_agent += 1

    def on_agent_audio(self, audio: bytes) -> None:
        """Pass audio of the agent on to the caller."""
        now = self._now()
        if self._gate is not None and self._gate.is_shut(now):
            self._gate.hold(partial(self.on_agent_audio, audio), len(audio))
            return
        pieces = self._call.speak(audio, now)
        if pieces and self._caller is not None:
            self._caller.play(pieces)
            if not self._pieces_to_caller % SAMPLE_EVERY:
                self._delays.to_caller.add(self._held())
            self._pieces_to_caller += 1

    def on_operator_audio(self, audio: bytes) -> None:
        """Pass audio of an operator on to the caller."""
        now = self._now()
        if self._gate is not None and self._gate.is_shut(now):
            return  # What an operator said seconds ago is of no use.
        pieces = self._call.relay(audio, now)
        if pieces and self._caller is not None:
            self._caller.play(pieces)

    def _held(self) -> float:
        """Seconds since the process woke up for the current piece of work."""
        return max(0.0, self._now() - self._clock.woke_at())

    # --- the agent's socket; what else the legs tell: LegInputs ----------------------------------

    def on_agent_open(self) -> None:
        """Start to count the agent's connection time, as Deepgram's socket is open."""
        self._agent_open_at = self._now()

    def on_agent_lost(self, why: str, code: int | None, *, ours: bool) -> None:
        """Report that Deepgram's socket is gone."""
        self._agent = None
        self._note_agent_gone()
        if ours:
            self.receive(inputs.CallBroke(why))
        self.receive(inputs.LegLost("agent", why, code=code))

    def on_agent_failed(self, error: UpgradeRefusedError | UnreachableError) -> None:
        """Report that Deepgram's socket could not be opened."""
        self._agent = None
        if isinstance(error, UpgradeRefusedError):
            self.receive(inputs.AgentLegRefused(error.status))
        else:
            self.receive(inputs.AgentLegUnreachable(str(error)))

    # --- what the call commands ----------------------------------------------------------------

    def _do(self, command: Command) -> None:
        """Perform a command of the call. A fault is handled once the call has decided the rest."""
        try:
            self._obey_one(command)
        except Exception as error:  # noqa: BLE001 - the other commands are still performed
            self._fault = self._fault or error

    def _obey_one(self, command: Command) -> None:
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
                if self._caller is not None:
                    self._caller.play(command.pieces)
            case ClearCaller():
                if self._caller is not None:
                    self._caller.clear()
                    self._delays.to_clear.add(self._held())
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
                with of_call(self.call_sid):
                    self._agent = AgentLeg(self, self._dial, command.place)
            case HangUpAgent():
                self._hang_up_agent()
            case DialSpare():
                with of_call(self.call_sid):
                    self._spare = SpareLeg(
                        self, self._dial_spare, command.place, self._now, self._on_spare_settled
                    )
            case SettleSpare():
                if self._spare is not None:
                    settings = self._agent_session.settings(False, command.history, command.changes)
                    self._spare.send(settings)
            case UseSpare():
                self._use_spare()
            case HangUpSpare():
                self._hang_up_spare()
            case LeaveStream():
                self._leave_stream(command.action)
            case AwaitCaller():
                self._await_caller()
            case ChangeAgent():
                self._agent_session = self._switch_agent(command.agent)
                self._recording.permit(self._agent_session.recording)
            case KeepChanges():
                self._control.keep_changes(command.changes)
            case TransferCaller():
                self._control.transfer_by_key(command.destination)
            case MaskCaller():
                self._mask(command.on)
            case ReleaseOperator():
                self.operators.release(command.why)
            case Reply():
                self._replies.pop(command.id)(command.done, command.what)
            case End() | LetGo():
                self._end()

    def _break(self, error: Exception) -> None:
        """End the call after a fault in Offhook; a call that is over is left alone."""
        _log.error("a fault in a call", exc_info=error, extra={"call_sid": self.call_sid})
        if self._over or self._breaking:
            return
        self._breaking = self._deciding = True
        what, now = type(error).__name__, self._now()
        try:
            self._call.receive(inputs.CallBroke(what), now)
        except Exception:  # noqa: BLE001 - then it ends without its rules
            _log.exception("the rules of a call cannot end it", extra={"call_sid": self.call_sid})
        ending = self._call.ending
        if ending is None:
            ending = self._call.give_up(what, now)
        if not self._over:  # even that has failed
            self.note(ending.event(round((now - self._began) * 1000)))
            self._end()
        self._inbox.clear()
        self._deciding = False

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception:  # noqa: BLE001 - the call must end in spite of a fault
            _log.exception("a fault while a call ended", extra={"call_sid": self.call_sid})

    def _close_accounts(self) -> None:
        """Publish the last events before the end."""
        self._guarded(self._note_delays)
        self._guarded(self._note_agent_gone)
        self._guarded(self._hang_up_spare)
        self._guarded(self.operators.finish)
        self._guarded(self._recording.finish)

    def _note_agent_gone(self) -> None:
        if self._agent_open_at is not None:
            self.note(AgentDisconnected(round((self._now() - self._agent_open_at) * 1000)))
            self._agent_open_at = None

    def _note_delays(self) -> None:
        self.note(self._delays.sampled())

    def _run_tool(self, command: RunTool) -> None:
        called_at = self._now()

        def told(news: ToolNews) -> None:
            self._unguarded(lambda: self._on_tool_news(command.name, called_at, news))

        with of_call(self.call_sid):
            self._agent_session.tools.run(command.id, command.name, command.arguments, told)

    def _on_tool_news(self, name: str, called_at: float, news: ToolNews) -> None:
        if not isinstance(news, inputs.ToolFinishedLate):
            self.receive(news)
            return
        # The call, which may be over, does not need it.
        after_ms = round((self._now() - called_at) * 1000)
        self.note(FunctionFinishedLate(news.id, name, news.outcome, news.content, after_ms))

    def _hang_up_agent(self) -> None:
        self._note_agent_gone()
        if self._agent is not None:
            self._agent.hang_up()
            self._agent = None

    def _use_spare(self) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            self._hang_up_agent()
            self._agent, self._agent_open_at = spare.hand_over(self)

    def _on_spare_settled(self) -> None:
        if self._spare_settled is not None:
            self._spare_settled(self.call_sid)

    def _hang_up_spare(self) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.hang_up()

    def _leave_stream(self, action: HandoffAction) -> None:
        caller, self._caller = self._caller, None
        self._recording.cut()
        self.operators.cut()
        if caller is not None:
            self._control.leave_stream(action, caller.leave())

    def _await_caller(self) -> None:
        caller, self._caller = self._caller, None
        self._recording.cut()
        self.operators.cut()
        if caller is not None:
            caller.leave()()  # It may be half-open.
        self._control.await_caller()

    def _mask(self, is_on: bool) -> None:
        self._recording.mask(is_on)
        self.operators.mask(is_on)
        if self._tapped is not None:
            self._tapped.concealed = is_on

    def _refuse_requests(self) -> None:
        for replied in self._replies.values():
            replied(False, self._call.phrases.call_over)
        self._replies.clear()

    def _end(self) -> None:
        self._over = True
        self._guarded(self._hang_up_agent)
        self._guarded(self._hang_up_spare)
        self._guarded(self.operators.finish)  # again, if the call has ended without its last events
        self._guarded(self._end_line)
        self._let_go()
        tapped = self._tapped
        if tapped is not None:
            self._guarded(lambda: tapped.end(self.ending))
        self._guarded(self._refuse_requests)
        self._guarded(lambda: self._ended(self))

    def _let_go(self) -> None:
        """Cut the cycles of references between the session and its parts.

        Without them the memory of a call is free as soon as both sockets are closed. A garbage
        collection would stop every call.
        """
        self._timer.end()
        self._recording.let_go()
        self._caller = None

    def _end_line(self) -> None:
        ending = self.ending
        if ending is not None and ending.how.hangs_up:
            close = self._caller.close if self._caller is not None else _nothing
            self._control.end_phone_call(close)
        elif self._caller is not None:
            self._caller.close()

    def _on_timer(self) -> None:
        if self._gate is not None and self._gate.is_shut(self._now()):
            self._gate.hold(self._on_timer)
            return
        self._decide(lambda: self._call.tick(self._now()))

    def _unguarded(self, work: Callable[[], None]) -> None:
        """Perform work that no socket has caused, and handle its faults."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - see above
            self._break(error)


def _nothing() -> None:
    """Do nothing: there is no stream to close."""


def _publish_nothing(event: CallEvent) -> None:
    """Publish nothing: the call is another process's."""
