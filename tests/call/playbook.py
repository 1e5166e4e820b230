"""Conversations with a Call, written as they happen: `>>` goes in, `<<` comes out.

    (
        call
        >> CallAnnounced()
        << DialAgent()
        >> Wait(15)
        << HangUpAgent()
    )

What comes out is named in full and in order; `<< ...` stands for all that came and is not of
interest, and `<< Phase.TALKING` for where the call is. The next `>>`, and the end of the test, fail
if something came out that nobody named. `Wait` serves every deadline at its time, as the session
does, and is served late on request.
"""

import dataclasses
import difflib
from collections.abc import Callable
from dataclasses import dataclass
from types import EllipsisType
from typing import Any, NoReturn, Self, TypeAlias, get_args

from offhook.audio import BYTES_PER_MS, FRAME_BYTES
from offhook.call.call import Call
from offhook.call.call_settings import CallSettings
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
    Piece,
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
from offhook.call.ending import Ending, Slug
from offhook.call.inputs import CallAnnounced, Input, Requested
from offhook.call.phases import Phase
from offhook.deepgram import messages as deepgram
from offhook.deepgram.changes import Change
from offhook.events.types import (
    AgentAnnounced,
    AgentConnected,
    AgentHeard,
    AgentSaid,
    CallEnded,
    CallerSaid,
    CallerSpeechBegan,
    CallStarted,
    Event,
    FunctionAnswered,
    OperatorTookOver,
)
from offhook.twilio import messages as twilio

STREAM_SID = "MZ0"

CONNECTED = twilio.Connected()
START = twilio.Start(STREAM_SID, twilio.StartDetails("AC0", "CA0"))
STOP = twilio.Stop(STREAM_SID)
WELCOME = deepgram.Welcome("request-1")
APPLIED = deepgram.SettingsApplied()
BARGE_IN = deepgram.UserStartedSpeaking()
AUDIO_DONE = deepgram.AgentAudioDone()


def mark(name: str) -> twilio.Mark:
    """Twilio echoes a mark."""
    return twilio.Mark(STREAM_SID, twilio.MarkName(name))


def key(digit: str) -> twilio.Dtmf:
    """The caller presses a key."""
    return twilio.Dtmf(STREAM_SID, twilio.DtmfDetails(digit))


def caller(text: str) -> deepgram.ConversationText:
    """Deepgram confirms a turn of the caller."""
    return deepgram.ConversationText("user", text)


def agent(text: str) -> deepgram.ConversationText:
    """Deepgram announces a piece of what the agent says."""
    return deepgram.ConversationText("assistant", text)


def inject(text: str, behavior: str = "default") -> TellAgent:
    """The agent is told to say something."""
    return TellAgent(deepgram.InjectAgentMessage(text, behavior))  # type: ignore[arg-type]


KEEP_ALIVE = TellAgent(deepgram.KeepAlive())


@dataclass(frozen=True)
class Frame:
    """Audio of the caller comes in: 20 ms, if nothing else is said."""

    audio: bytes = b"\x01" * FRAME_BYTES


@dataclass(frozen=True)
class Speech:
    """Audio of the agent comes in, in one chunk."""

    audio: bytes


def speech(ms: int) -> Speech:
    """So many milliseconds of agent audio."""
    return Speech(b"\x02" * (ms * BYTES_PER_MS))


@dataclass(frozen=True)
class Operator:
    """Audio of the operator who has taken the call over comes in: 20 ms."""

    audio: bytes = b"\x03" * FRAME_BYTES


@dataclass(frozen=True)
class Wait:
    """So many seconds pass. `late`: nobody serves a deadline until they have passed."""

    seconds: float
    late: bool = False


@dataclass(frozen=True)
class Forwarded:
    """The caller's frame goes to the agent at once."""

    audio: bytes = b"\x01" * FRAME_BYTES


@dataclass(frozen=True)
class Sent:
    """Audio goes to Twilio, with the mark after it."""

    size: int
    mark: str | None = None


Given: TypeAlias = Input | Frame | Speech | Operator | Wait
Expected: TypeAlias = Command | Event | Forwarded | Sent | Phase
_EVENTS = get_args(Event)
_ROUNDING = 1e-6
"""Seconds: what is due at the end of a Wait is served, however its sums were rounded."""
_Output: TypeAlias = Command | Forwarded | Sent
_Progress: TypeAlias = AgentAnnounced | AgentHeard


class Contract:
    """What the session relies on, whatever comes in: held against every command of a call."""

    def __init__(self) -> None:
        self.dialled = False
        self.applied = False
        self.has_spare = False
        self.started = False
        self.over = False
        self.is_masked = False
        self.has_operator = False
        self.sent = 0
        self.owed: set[str] = set()
        """Functions that were begun, and have neither been answered nor called off."""
        self.asked: set[int] = set()
        """What was asked from outside, and has had no reply."""

    def enter(self, message: Input) -> None:
        if isinstance(message, twilio.Start):
            self.started = True
        elif isinstance(message, deepgram.SettingsApplied):
            self.applied = self.dialled
        elif isinstance(message, Requested) and not self.over:
            self.asked.add(message.id)

    def play(self, pieces: list[Piece]) -> None:
        if pieces:
            assert not self.over, "audio after the end"
            assert self.started, "audio to Twilio before the stream"
        self.sent += sum(len(audio) for audio, _ in pieces)

    def leave(self, commands: list[Command]) -> None:
        for command in commands:
            assert not self.over, f"{command} after the end"
            match command:
                case DialAgent():
                    assert not self.dialled, "a second agent leg"
                    self.dialled = True
                case HangUpAgent():
                    assert self.dialled, "no agent leg to hang up"
                    self.dialled = self.applied = False
                case DialSpare():
                    assert not self.has_spare, "a second spare leg"
                    assert self.applied, "a spare for nothing"
                    self.has_spare = True
                case SettleSpare():
                    assert self.has_spare, "Settings without a spare leg"
                case UseSpare():
                    assert self.has_spare, "no spare leg to use"
                    self.has_spare = False
                    self.dialled = True  # Without a leg before it, its Settings are not applied.
                case HangUpSpare():
                    assert self.has_spare, "no spare leg to hang up"
                    self.has_spare = False
                case SendSettings():
                    assert self.dialled, "Settings without a leg"
                case TellAgent(deepgram.FunctionCallResponse(id=str(call_id)) as answer):
                    assert self.applied, "an answer to an agent that is gone"
                    refused = answer.content.startswith('{"error"')
                    assert call_id in self.owed or refused, "an answer to nothing that has run"
                    self.owed.discard(call_id)
                case TellAgent() | SendAudio():
                    assert self.applied, f"{command} before SettingsApplied"
                case RunTool():
                    assert command.id not in self.owed, "a function that runs already"
                    self.owed.add(command.id)
                case CancelTool(why="too_late"):
                    assert command.id in self.owed, "an answer is due all the same"
                case CancelTool():
                    self.owed.remove(command.id)
                case LeaveStream() | AwaitCaller():
                    assert self.started, "no stream to leave"
                    assert not self.dialled, "the agent would listen to nobody"
                    self.started = False
                case ChangeAgent():
                    assert not self.dialled, "the agent before is there"
                case TransferCaller():
                    assert self.started, "nobody to transfer"
                case MaskCaller():
                    assert command.on is not self.is_masked, "as before"
                    self.is_masked = command.on
                case Note(OperatorTookOver()):
                    self.has_operator = True
                case ReleaseOperator():
                    assert self.has_operator, "nobody to tell"
                    self.has_operator = False
                case Reply():
                    self.asked.remove(command.id)
                case Play():
                    self.play(list(command.pieces))
                case ClearCaller():
                    assert self.started, "a clear before the stream"
                case Note(FunctionAnswered(id=str(call_id))):
                    # Without an agent to answer, the result is kept for the next one.
                    self.owed.discard(call_id)
                case Note(CallEnded()):
                    assert isinstance(commands[-1], End)
                    assert commands[-2] is command
                case End():
                    assert isinstance(commands[-2], Note)
                    assert isinstance(commands[-2].event, CallEnded)
                    assert not self.owed, "functions that nobody stopped"
                    assert not self.asked, "somebody outside waits for a reply"
                    assert not self.has_operator, "an operator who does not know of the end"
                    self.over = True
                case LetGo():
                    assert not self.owed, "functions that nobody stopped"
                    assert not self.asked, "somebody outside waits for a reply"
                    self.over = True
                case Note():
                    pass


class Playbook:
    """One call, and the conversation with it so far."""

    def __init__(
        self, plan: CallSettings | None = None, now: float = 1000.0, **options: Any
    ) -> None:
        self.now = now
        self._options = options
        self._commands: list[Command] = []
        self.listeners: list[Callable[[Command], None]] = []
        """Told each command."""
        self.call = Call(plan or CallSettings(), now, self._commands.append, **options)
        self.contract = Contract()
        self._script: list[str] = []
        self._out: list[_Output] = []
        self.kept: tuple[Change, ...] = ()
        """Changes of the agent that were to be kept. A conversation does not name them."""
        self.held: list[tuple[float, bytes]] = []
        """Hold sounds, and when they were sent. A conversation does not name them."""
        self.progress: list[_Progress] = []
        self.speech = 0
        """How often the call has told that the caller began to speak."""
        """Events about an utterance before its end. A conversation does not name them."""

    def under(self, plan: CallSettings) -> Self:
        """Begin under another plan."""
        assert not self._script
        self.call = Call(plan, self.now, self._commands.append, **self._options)
        return self

    def __rshift__(self, given: Given) -> Self:
        self.finish()
        self._script.append(f">> {_short(given)}")
        match given:
            case Wait():
                self._wait(given)
            case Frame():
                heard = self.call.hear(given.audio, self.now)
                if heard is not None:
                    self._out.append(Forwarded(heard))
            case Speech() | Operator():
                is_agent = isinstance(given, Speech)
                take = self.call.speak if is_agent else self.call.relay
                pieces = take(given.audio, self.now)
                self._take(self.commanded())
                self.contract.play(pieces)
                self._out += [Sent(len(audio), name) for audio, name in pieces]
            case _:
                self.contract.enter(given)
                self.call.receive(given, self.now)
                self._take(self.commanded())
        return self

    def __lshift__(self, expected: Expected | EllipsisType) -> Self:
        if isinstance(expected, EllipsisType):
            self._script += [f"<< {_short(output)}" for output in self._out]
            self._out.clear()
            return self
        if isinstance(expected, Phase):
            self.finish()
            assert self.call.phase is expected
            return self
        if isinstance(expected, _EVENTS):
            expected = Note(expected)
        if not self._out or not _same(self._out[0], expected):
            self._fail([f"<< {_short(expected)}"])
        self._script.append(f"<< {_short(self._out.pop(0))}")
        return self

    def finish(self) -> None:
        """Fail if something came out that was not named."""
        if self._out:
            self._fail([])

    def talking(self) -> Self:
        """Announce the call, bring up both legs, and leave it in TALKING."""
        (
            self
            >> CallAnnounced()
            << DialAgent()
            >> WELCOME
            << SendSettings()
            >> APPLIED
            << AgentConnected("request-1", 0)
            >> START
            << CallStarted()
            << Phase.TALKING
        )
        return self

    def _wait(self, wait: Wait) -> None:
        end = self.now + wait.seconds
        while not wait.late:
            deadline = self.call.deadline()
            if deadline is None or deadline > end + _ROUNDING:
                break
            self.now = max(self.now, deadline)
            self._tick()
            after = self.call.deadline()
            assert after is None or after > self.now, "a deadline was not met"
        self.now = max(self.now, end)
        self._tick()

    def commanded(self) -> list[Command]:
        """Return what the call has commanded since it was asked last."""
        commands = self._commands.copy()
        self._commands.clear()
        for command in commands:
            for listener in self.listeners:
                listener(command)
        return commands

    def _tick(self) -> None:
        waits = self.call.phase is Phase.SETTLING
        self.call.tick(self.now)
        commands = self.commanded()
        if waits:  # Then nothing of an agent's can be played.
            sounds = [each for each in commands if isinstance(each, Play)]
            self.held += [(self.now, b"".join(part for part, _ in each.pieces)) for each in sounds]
            self.contract.leave(list(sounds))
            commands = [each for each in commands if not isinstance(each, Play)]
        self._take(commands)

    def _take(self, commands: list[Command]) -> None:
        self.contract.leave(commands)
        for command in commands:
            if isinstance(command, Note) and isinstance(command.event, CallerSpeechBegan):
                self.speech += 1
            elif isinstance(command, Note) and isinstance(command.event, _Progress):
                self.progress.append(command.event)
            elif isinstance(command, KeepChanges):
                self.kept = command.changes
            elif isinstance(command, Play):
                self._out += [Sent(len(audio), name) for audio, name in command.pieces]
            else:
                self._out.append(command)

    def _fail(self, expected: list[str]) -> NoReturn:
        came = [f"<< {_short(output)}" for output in self._out]
        self._out.clear()  # Said once: the end of the test need not repeat it.
        lines = [
            "the conversation went differently (- expected, + came):",
            *(f"  {line}" for line in self._script),
            *(line for line in difflib.ndiff(expected, came) if not line.startswith("?")),
            f"  phase {self.call.phase.value}, {self.now:g} s",
        ]
        raise AssertionError("\n".join(lines))


def _short(thing: object) -> str:
    audio = getattr(thing, "audio", None)
    if isinstance(audio, bytes):
        return f"{type(thing).__name__}(<{len(audio)} bytes>)"
    if isinstance(thing, Note):
        return repr(thing.event)
    return repr(thing)


def _same(output: object, expected: object) -> bool:
    """Equal; a start that is not expected to be at a certain time may be at any."""
    if (
        isinstance(output, Note)
        and isinstance(expected, Note)
        and isinstance(output.event, AgentSaid | CallerSaid)
        and isinstance(expected.event, AgentSaid | CallerSaid)
        and expected.event.start_ms is None
    ):
        output = Note(dataclasses.replace(output.event, start_ms=None))
    return output == expected


def ends(call: Playbook, how: Slug, detail: str = "") -> Playbook:
    """The call ends here and now; nothing else comes out."""
    elapsed = round((call.now - 1000) * 1000)
    return (
        call
        << CallEnded(how.fault, how.slug, how.words, detail, elapsed)
        << End(Ending(how, detail))
    )
