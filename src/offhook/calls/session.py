"""One live call: two sockets, one Call, one timer. The only place that knows both legs.

It feeds the call what happened, does what the call commands, and re-arms the timer. It never
waits, so that a caller's audio leaves for Deepgram, and a `clear` for Twilio, in the turn of the
loop in which the cause came in.
"""

import logging
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from offhook.audio import milliseconds
from offhook.call import inputs
from offhook.call.call import Call
from offhook.call.call_settings import CallSettings
from offhook.call.commands import (
    CancelTool,
    ChangeAgent,
    ClearCaller,
    Command,
    DialAgent,
    End,
    HangUpAgent,
    LeaveStream,
    MaskCaller,
    Note,
    Play,
    Reply,
    RunTool,
    SendAudio,
    SendSettings,
    TellAgent,
    TransferCaller,
)
from offhook.call.ending import Ending
from offhook.call.handoff_actions import HandoffAction
from offhook.call.inputs import Input
from offhook.call.requests import CallRequest
from offhook.call_context import of_call
from offhook.capture.tap import Tap, Tapped
from offhook.clock import Clock, Timer
from offhook.deepgram import messages as deepgram
from offhook.deepgram.leg import AgentLeg, Dial
from offhook.deepgram.settings import Change, Part
from offhook.events.types import (
    DELAY_EDGES_MS,
    AgentDisconnected,
    AudioDropped,
    CallEnded,
    CallEvent,
    DelaysSampled,
    Event,
    FunctionFinishedLate,
    Leg,
    RecordingFailed,
    RecordingStarted,
    Subscriber,
)
from offhook.net.websocket import Channel, UnreachableError, UpgradeRefusedError
from offhook.recordings.recorder import CallRecorder, Recordings
from offhook.twilio import messages as twilio
from offhook.twilio.stream import CallerLeg

_log: Final = logging.getLogger("offhook.session")


ToolNews: TypeAlias = inputs.ToolBegan | inputs.ToolFinished | inputs.ToolFinishedLate


class Tools(Protocol):
    """What runs the functions of one call."""

    def run(
        self,
        call_id: str,
        name: str,
        arguments: str,
        told: Callable[[ToolNews], None],
    ) -> None:
        """Begin to run a function; `told` is told of its beginning and its end, each later.

        It is told of the beginning of what cannot be taken back, and of no end of what was
        cancelled, unless it ran to its end all the same.
        """

    def cancel(self, call_id: str, *, over: bool) -> None:
        """Stop it: the agent does not want the answer, or the call is `over`."""


class Line(Protocol):
    """What becomes of a call's line when we leave its stream: Twilio's doing, told by us."""

    def leave(self, call_sid: str, errand: HandoffAction, close: Callable[[], None]) -> None:
        """Have Twilio go on an errand; `close` closes the stream, if that is how."""

    def drop(self, call_sid: str, close: Callable[[], None]) -> None:
        """End the phone call; `close` closes the stream: then Twilio asks what comes after."""

    def put_through(self, call_sid: str, destination: str) -> None:
        """The caller wants to be put through: the call is asked to leave for it, if it may."""


@dataclass(frozen=True, slots=True)
class AgentSession:
    """What an agent is in one call: its limits, its Settings as Deepgram gets them, its functions.

    `settings` are made with their greeting or without, and with what was said before. `change` is
    settings.Settings.change with the agent's functions. `recording`: its calls are recorded.
    """

    call_settings: CallSettings
    settings: Callable[[bool, Sequence[deepgram.History]], bytes]
    change: Callable[[Part, Any], Change]
    tools: Tools
    recording: bool = False


MESSAGES_MAX: Final = 1000
"""Messages of Deepgram's within MESSAGES_WINDOW_S; each further one is nonsense, and ignored."""
MESSAGES_WINDOW_S: Final = 10.0

SAMPLE_EVERY: Final = 50
"""Of one in so many pieces of audio, each way, the delay is taken: about once a second."""


class _Delays:
    """Counts of delays, by events.DELAY_EDGES_MS."""

    def __init__(self) -> None:
        self.counts = [0] * (len(DELAY_EDGES_MS) + 1)

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(DELAY_EDGES_MS, seconds * 1000)] += 1


class Session:
    """One call and its two legs.

    `brief_for` tells what another agent is, by its name; `ended` is called once, at the end.
    Whoever is to see what goes over the two wires is the `tap`; `recordings` record what is said,
    from the stream's start to the end.
    """

    def __init__(
        self,
        call_sid: str,
        brief: AgentSession,
        *,
        clock: Clock,
        dial: Dial,
        publish: Subscriber,
        line: Line,
        ended: Callable[["Session"], None],
        brief_for: Callable[[str], AgentSession],
        tap: Tap | None = None,
        recordings: Recordings | None = None,
    ) -> None:
        self.call_sid = call_sid
        self._began = clock.now()
        self._call = Call(brief.call_settings, self._began, self._do)
        self._brief = brief
        self._brief_for = brief_for
        self._clock = clock
        self._now = clock.now
        self._tapped = Tapped(call_sid, tap, clock) if tap is not None else None
        self._dial = self._tapped.agent(dial) if self._tapped is not None else dial
        self._publish = publish
        self._line = line
        self._ended = ended
        self._asks = 0
        self._over = False
        self._breaking = False
        self._inbox: deque[Input] = deque()
        self._deciding = False
        self._fault: Exception | None = None
        self._replies: dict[int, Callable[[bool, str], None]] = {}
        self._recordings = recordings
        self._recorder: CallRecorder | None = None
        self._caller: CallerLeg | None = None
        self._agent: AgentLeg | None = None
        self._agent_open_at: float | None = None
        self._timer: Timer | None = None
        self._timer_at = 0.0
        self._messages = 0
        self._messages_since = self._began
        self._pieces_to_agent = 0
        self._pieces_to_caller = 0
        self._to_agent = _Delays()
        self._to_caller = _Delays()
        self._to_clear = _Delays()

    @property
    def ending(self) -> Ending | None:
        """How the call ended, once it has."""
        return self._call.ending

    @property
    def has_stream(self) -> bool:
        """Whether a verified stream has come."""
        return self._caller is not None

    @property
    def has_agent(self) -> bool:
        """Whether the agent's leg is up, or being dialled."""
        return self._agent is not None

    def begin(self, channel: Channel, start: twilio.Start) -> None:
        """Twilio's stream is verified: this channel is the caller's leg from now on.

        So is that of a caller who comes back after an errand.
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
        if self._recorder is not None:
            self._recorder.resume_stream()
        elif self._recordings is not None:
            self._recorder = self._recordings.begin(self.call_sid, self._clock, self.note)
            self.note(RecordingStarted(self._recorder.name))
        self._caller = CallerLeg(channel, start.stream_sid, self, self._recorder)
        channel.receiver = self._caller

    def receive(self, message: Input) -> None:
        """Tell the call what happened. A fault in what follows ends this call, and no other.

        What happens while the call decides, as when a command fills a socket, is told next.
        """
        self._inbox.append(message)
        if not self._deciding:
            self._decide(self._take_inbox)

    def _take_inbox(self) -> None:
        while self._inbox:
            self._call.receive(self._inbox.popleft(), self._now())

    def _decide(self, decide: Callable[[], None]) -> None:
        """Let the call decide, and arm the timer for what comes next."""
        self._deciding = True
        try:
            decide()
            self._take_inbox()
            self._arm()
        except Exception as error:  # noqa: BLE001 - it ends this call alone
            self._fault = self._fault or error
        finally:
            self._deciding = False
        fault, self._fault = self._fault, None
        if fault is not None:
            self._break(fault)

    def ask(self, wish: CallRequest, replied: Callable[[bool, str], None]) -> int:
        """Ask something of the call; `replied` is told once whether it was done, and what happened.

        It may be told before this returns. Returns the number that RequestCancelled names.
        """
        self._asks += 1
        ask = self._asks
        self._replies[ask] = replied
        self.receive(inputs.Requested(ask, wish))
        if self.ending is not None:
            self._forget_asks()
        return ask

    def change(self, part: Part, block: Any) -> Change:
        """The message that changes a part of the agent. Raises UserError E-SET-01 and E-SET-02."""
        return self._brief.change(part, block)

    def note(self, event: Event) -> None:
        """Tell whoever subscribes of something that the call need not know."""
        at_ms = round((self._now() - self._began) * 1000)
        self._publish(CallEvent(self.call_sid, at_ms, event))

    def pause_recording(self) -> bool:
        """Record silence from now on, from any thread. False when the call is not recorded."""
        return self._recorder is not None and self._recorder.pause()

    def resume_recording(self) -> bool:
        """Record what is said again, from any thread. False when the call is not recorded."""
        return self._recorder is not None and self._recorder.resume()

    # --- the audio path -----------------------------------------------------------------------

    def on_caller_audio(self, audio: bytes) -> None:
        """Caller → agent."""
        heard = self._call.hear(audio, self._now())
        if heard is not None and self._agent is not None:
            self._agent.send_audio(heard)
            if not self._pieces_to_agent % SAMPLE_EVERY:
                self._to_agent.add(self._held())
            self._pieces_to_agent += 1

    def on_agent_audio(self, audio: bytes) -> None:
        """Agent → caller."""
        pieces = self._call.speak(audio, self._now())
        if pieces and self._caller is not None:
            self._caller.play(pieces)
            if not self._pieces_to_caller % SAMPLE_EVERY:
                self._to_caller.add(self._held())
            self._pieces_to_caller += 1

    def _held(self) -> float:
        """Seconds since the process woke up for the present piece of work."""
        return max(0.0, self._now() - self._clock.woke_at())

    # --- what the legs tell --------------------------------------------------------------------

    def on_caller_message(self, message: twilio.FromTwilio | twilio.UnknownTwilioMessage) -> None:
        """Twilio said something."""
        self.receive(message)

    def on_agent_message(
        self, message: deepgram.ServerMessage | deepgram.UnknownAgentMessage
    ) -> None:
        """Deepgram said something, or floods us."""
        now = self._now()
        if now - self._messages_since > MESSAGES_WINDOW_S:
            self._messages, self._messages_since = 0, now
        self._messages += 1
        if self._messages > MESSAGES_MAX:
            self.on_agent_garbage("too many messages")
        else:
            self.receive(message)

    def on_caller_garbage(self, what: str) -> None:
        """Twilio's socket broke its protocol."""
        self.receive(inputs.GarbageReceived("caller", what))

    def on_agent_garbage(self, what: str) -> None:
        """Deepgram's socket broke its protocol."""
        self.receive(inputs.GarbageReceived("agent", what))

    def on_caller_writable(self, writable: bool) -> None:
        """Twilio's socket is full, or takes data again."""
        self._on_writable("caller", writable)

    def on_agent_writable(self, writable: bool) -> None:
        """Deepgram's socket is full, or takes data again."""
        self._on_writable("agent", writable)

    def _on_writable(self, leg: Leg, writable: bool) -> None:
        self.receive(inputs.LegRecovered(leg) if writable else inputs.LegStalled(leg))

    def on_caller_dropped(self, size: int) -> None:
        """Agent audio found no room."""
        self.note(AudioDropped("caller", milliseconds(size), "full"))

    def on_agent_dropped(self, size: int) -> None:
        """Caller audio had waited too long."""
        self.note(AudioDropped("agent", milliseconds(size), "full"))

    def on_caller_lost(self, why: str, *, oversized: bool, ours: bool) -> None:
        """Twilio's socket is gone."""
        if ours:
            self.receive(inputs.CallBroke(why))
        self.receive(inputs.LegLost("caller", why, oversized))

    def on_agent_open(self) -> None:
        """Deepgram's socket is open."""
        self._agent_open_at = self._now()

    def on_agent_lost(self, why: str, *, ours: bool) -> None:
        """Deepgram's socket is gone."""
        self._agent = None
        self._note_agent_gone()
        if ours:
            self.receive(inputs.CallBroke(why))
        self.receive(inputs.LegLost("agent", why))

    def on_agent_failed(self, error: UpgradeRefusedError | UnreachableError) -> None:
        """Deepgram's socket could not be opened."""
        self._agent = None
        if isinstance(error, UpgradeRefusedError):
            self.receive(inputs.AgentLegRefused(error.status))
        else:
            self.receive(inputs.AgentLegUnreachable(str(error)))

    # --- what the call commands ----------------------------------------------------------------

    def _do(self, command: Command) -> None:
        """Do what the call commands. A fault waits until the call has decided the rest."""
        try:
            self._obey_one(command)
        except Exception as error:  # noqa: BLE001 - what is left is done all the same
            self._fault = self._fault or error

    def _obey_one(self, command: Command) -> None:
        match command:
            case Note():
                if isinstance(command.event, CallEnded):
                    self._close_accounts()
                self.note(command.event)
            case Play():
                if self._caller is not None:
                    self._caller.play(command.pieces)
            case ClearCaller():
                if self._caller is not None:
                    self._caller.clear()
                    self._to_clear.add(self._held())
            case TellAgent():
                if self._agent is not None:
                    self._agent.send(deepgram.write(command.message))
            case SendAudio():
                if self._agent is not None:
                    self._agent.send_audio(command.audio)
            case SendSettings():
                if self._agent is not None:
                    settings = self._brief.settings(command.greeting, command.history)
                    self._agent.send(settings)
            case RunTool():
                self._run_tool(command)
            case CancelTool():
                self._brief.tools.cancel(command.id, over=command.why == "call_over")
            case DialAgent():
                with of_call(self.call_sid):
                    self._agent = AgentLeg(self, self._dial)
            case HangUpAgent():
                self._hang_up_agent()
            case LeaveStream():
                self._leave_stream(command.action)
            case ChangeAgent():
                self._brief = self._brief_for(command.agent)
                self._record_as_agent_says()
            case TransferCaller():
                self._line.put_through(self.call_sid, command.destination)
            case MaskCaller():
                self._conceal(command.on)
            case Reply():
                self._replies.pop(command.id)(command.done, command.what)
            case End():
                self._end()

    def _break(self, error: Exception) -> None:
        """End the call for a fault in Offhook; what has ended is left as it is."""
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
        except Exception:  # noqa: BLE001 - the call ends, whatever is wrong with a part of it
            _log.exception("a fault while a call ended", extra={"call_sid": self.call_sid})

    def _close_accounts(self) -> None:
        """Tell what has to be told before the end."""
        self._guarded(self._note_delays)
        self._guarded(self._note_agent_gone)
        if self._recorder is not None:
            self._guarded(self._recorder.finish)

    def _note_agent_gone(self) -> None:
        if self._agent_open_at is not None:
            self.note(AgentDisconnected(round((self._now() - self._agent_open_at) * 1000)))
            self._agent_open_at = None

    def _note_delays(self) -> None:
        counts = (self._to_agent.counts, self._to_caller.counts, self._to_clear.counts)
        to_agent, to_caller, to_clear = (tuple(each) for each in counts)
        self.note(DelaysSampled(to_agent, to_caller, to_clear))

    def _run_tool(self, command: RunTool) -> None:
        called_at = self._now()

        def told(news: ToolNews) -> None:
            self._unguarded(lambda: self._on_tool_news(command.name, called_at, news))

        with of_call(self.call_sid):
            self._brief.tools.run(command.id, command.name, command.arguments, told)

    def _on_tool_news(self, name: str, called_at: float, news: ToolNews) -> None:
        if not isinstance(news, inputs.ToolFinishedLate):
            self.receive(news)
            return
        # Nothing hangs on it for the call, which may be over.
        after_ms = round((self._now() - called_at) * 1000)
        self.note(FunctionFinishedLate(news.id, name, news.outcome, news.content, after_ms))

    def _hang_up_agent(self) -> None:
        self._note_agent_gone()
        if self._agent is not None:
            self._agent.hang_up()
            self._agent = None

    def _leave_stream(self, errand: HandoffAction) -> None:
        caller, self._caller = self._caller, None
        if self._recorder is not None:
            self._recorder.cut()
        if caller is not None:
            self._line.leave(self.call_sid, errand, caller.leave())

    def _record_as_agent_says(self) -> None:
        """Record what another agent says, or no more.

        A recording is never begun here: the announcement comes before the stream, or not at all.
        """
        if self._recorder is not None:
            self._recorder.permit(self._brief.recording)
        elif self._brief.recording:
            self.note(RecordingFailed("the caller was not told at the beginning of the call"))

    def _conceal(self, on: bool) -> None:
        if self._recorder is not None:
            self._recorder.conceal(on)
        if self._tapped is not None:
            self._tapped.concealed = on

    def _forget_asks(self) -> None:
        for replied in self._replies.values():
            replied(False, "the call is over")
        self._replies.clear()

    def _end(self) -> None:
        self._over = True
        self._guarded(self._hang_up_agent)
        self._guarded(self._end_line)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        tapped = self._tapped
        if tapped is not None:
            self._guarded(lambda: tapped.end(self.ending))
        self._guarded(self._forget_asks)
        self._guarded(lambda: self._ended(self))

    def _end_line(self) -> None:
        ending = self.ending
        if ending is not None and ending.how.hangs_up:
            close = self._caller.close if self._caller is not None else _nothing
            self._line.drop(self.call_sid, close)
        elif self._caller is not None:
            self._caller.close()

    # --- the timer -----------------------------------------------------------------------------

    def _arm(self) -> None:
        # Deadlines mostly move away, with every frame: the timer is left to fire early then, and
        # is armed anew only when something falls due sooner than it.
        due = self._call.deadline()
        if due is None or (self._timer is not None and self._timer_at <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = due
        self._timer = self._clock.call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._decide(lambda: self._call.tick(self._now()))

    def _unguarded(self, work: Callable[[], None]) -> None:
        """Do what no socket has called for, whose closing would tell of a fault."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - see above
            self._break(error)


def _nothing() -> None:
    """There is no stream to close."""
