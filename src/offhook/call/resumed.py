"""A call that another process had, by its events: what the process that goes on with it must know.

Source of what the agent is told: deepgram.md §5.4.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from offhook.call.phrases import Phrases, fill
from offhook.call.unfinished_speech import UnfinishedSpeech
from offhook.deepgram.messages import FinishedFunction
from offhook.events.types import (
    AgentAnnounced,
    AgentConnected,
    AgentDisconnected,
    AgentHeard,
    AgentMuted,
    AgentSaid,
    AgentSwitched,
    AgentTold,
    CallEnded,
    CallerBack,
    CallerLeft,
    CallerSaid,
    CallReleased,
    CallStarted,
    CallTakenOver,
    Dialled,
    Event,
    FunctionAnswered,
    FunctionCalled,
    FunctionDropped,
    KeysEntered,
    OperatorHandedBack,
    OperatorTookOver,
    RecordingEnded,
    RecordingFailed,
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    StreamBroke,
    TransferFailed,
)

KEPT: Final[frozenset[type[Event]]] = frozenset(
    {
        AgentAnnounced,
        AgentConnected,
        AgentDisconnected,
        AgentHeard,
        AgentMuted,
        AgentSaid,
        AgentSwitched,
        AgentTold,
        CallerBack,
        CallerLeft,
        CallerSaid,
        CallReleased,
        CallStarted,
        CallTakenOver,
        Dialled,
        FunctionAnswered,
        FunctionCalled,
        FunctionDropped,
        KeysEntered,
        OperatorHandedBack,
        OperatorTookOver,
        RecordingEnded,
        RecordingFailed,
        RecordingPaused,
        RecordingResumed,
        RecordingStarted,
        StreamBroke,
        TransferFailed,
    }
)
"""Types of events that a live call's file needs: those that `ResumedCall.take` uses."""

Turn: TypeAlias = CallerSaid | AgentSaid | AgentTold | FinishedFunction
"""A part of the conversation, as ConversationHistory takes it."""


@dataclass(frozen=True, slots=True)
class OpenFunction:
    """A function that had no answer when the process died; it was called at `at_ms` of the call."""

    called: FunctionCalled
    at_ms: int


@dataclass(frozen=True, slots=True)
class Retold:
    """The conversation for an agent that goes on with it.

    Attributes:
        turns: What was said before, oldest first.
        push: Turn of the caller that had no answer, to be repeated; None for none.
        goes_on: True if the agent is to be told to go on with what it was saying, or doing.
    """

    turns: tuple[Turn, ...]
    push: str | None = None
    goes_on: bool = False


class ResumedCall:
    """A call by its events, in their order.

    Attributes:
        started_ms: Time in ms of the call at which its first stream came; None before.
        last_ms: Time in ms of the call of the last event.
        agent: Name of the agent that took over last; empty for the first one.
        is_muted: True while the agent is muted.
        taken: Name of the operator who speaks with the caller, and since when in ms of the call;
            None while the agent does.
        open: Functions without an answer, by id.
        answered: Functions that were answered, with their answers.
        recording: Name of the recording and its beginning in ms of the call; None without one.
        is_paused: True while the recording is paused.
        untold: A failed transfer of which the agent was not told.
        ringing: Destination of a person who was being asked to take the call; empty for none.
        agent_since_ms: Time in ms of the call since which the agent's leg was up; None: it was not.
        is_over: True if the call has ended, and its process died before its file was removed.
        taken_over_ms: Times in ms of the call at which processes took it over, of which none has
            given it up in good order since.
    """

    def __init__(self) -> None:
        self.started_ms: int | None = None
        self.last_ms = 0
        self.agent = ""
        self.is_muted = False
        self.taken: tuple[str, int] | None = None
        self.open: dict[str, OpenFunction] = {}
        self.answered: list[tuple[FunctionCalled, FunctionAnswered]] = []
        self.recording: tuple[str, int] | None = None
        self.is_paused = False
        self.untold: TransferFailed | None = None
        self.ringing = ""
        self.agent_since_ms: int | None = None
        self.is_over = False
        self.taken_over_ms: list[int] = []
        self._has_spoken = False
        self._stream_since_ms: int | None = None
        self._streamed_ms = 0
        """Time in ms for which the caller was on streams before the present one."""
        self._turns: list[Turn | KeysEntered] = []
        self._speech = UnfinishedSpeech()

    @property
    def utterances(self) -> int:
        """Number of the agent's utterances so far, unfinished ones included."""
        return self._speech.begun

    @property
    def greets(self) -> bool:
        """True if the call's present agent has said nothing yet, so that it is to greet."""
        return not self._has_spoken

    @property
    def streamed_ms(self) -> int:
        """Time in ms for which the caller was on a stream, until the last event."""
        since_ms = self._stream_since_ms
        return self._streamed_ms + (0 if since_ms is None else self.last_ms - since_ms)

    @property
    def cut(self) -> list[AgentSaid]:
        """The utterances in which the agent was when the process died, as if cut then."""
        return [said for _, said in self._speech.cut()]

    def take(self, event: Event, at_ms: int) -> None:
        """Take an event, which came at `at_ms` of the call."""
        self.last_ms = max(self.last_ms, at_ms)
        self._speech.take(event, at_ms)
        self._count_stream(event, at_ms)
        match event:
            case CallStarted():
                self.started_ms = at_ms
            case CallerSaid() | AgentTold() | KeysEntered():
                self._turns.append(event)
                self.untold = None if isinstance(event, AgentTold) else self.untold
            case AgentAnnounced() | AgentHeard():
                self._has_spoken = True
            case AgentSaid():
                self._has_spoken = True
                self._turns.append(event)
            case AgentSwitched():
                self.agent, self._has_spoken = event.agent, False
            case AgentMuted():
                self.is_muted = event.on
            case AgentConnected():
                self.agent_since_ms = at_ms
            case AgentDisconnected():
                self.agent_since_ms = None
            case FunctionCalled() | FunctionAnswered() | FunctionDropped():
                self._take_function(event, at_ms)
            case CallTakenOver():
                self.taken_over_ms.append(at_ms)
            case CallReleased():
                self.taken_over_ms.clear()
            case CallEnded():
                self.is_over = True
            case _:
                self._take_other(event, at_ms)

    def _count_stream(self, event: Event, at_ms: int) -> None:
        if isinstance(event, CallStarted | CallerBack) and self._stream_since_ms is None:
            self._stream_since_ms = at_ms
        elif self._stream_since_ms is not None and isinstance(event, _WITHOUT_STREAM):
            # Of a process that died the time until its last event is known.
            after_ms = event.after_ms if isinstance(event, CallTakenOver) else 0
            self._streamed_ms += at_ms - after_ms - self._stream_since_ms
            self._stream_since_ms = None

    def _take_function(
        self, event: FunctionCalled | FunctionAnswered | FunctionDropped, at_ms: int
    ) -> None:
        if isinstance(event, FunctionCalled):
            self.open[event.id] = OpenFunction(event, at_ms)
            return
        # A dropped function was cancelled, and gets no answer (deepgram.md §4.4).
        function = self.open.pop(event.id, None)
        if function is not None and isinstance(event, FunctionAnswered):
            self.answered.append((function.called, event))
            self._turns.append(finished(function.called, event.content))

    def _take_other(self, event: Event, at_ms: int) -> None:
        match event:
            case RecordingStarted():
                self.recording = event.name, at_ms
            case RecordingEnded() | RecordingFailed():
                self.recording = None
            case RecordingPaused() | RecordingResumed():
                self.is_paused = isinstance(event, RecordingPaused)
            case Dialled(kind="warm-transfer"):
                self.ringing = event.destination
            case TransferFailed():
                self.ringing, self.untold = "", event
            case OperatorTookOver():
                self.taken = event.by, at_ms
            case OperatorHandedBack():
                self.taken = None
            case CallerLeft() | CallerBack():
                self.ringing = ""

    def retold(self, phrases: Phrases, unknown: Mapping[str, FinishedFunction]) -> Retold:
        """Return the conversation. `unknown` are functions whose outcome nobody knows.

        A turn of the caller's that had no answer is taken out, to be repeated: so the agent answers
        it. If functions were answered since, it stays in its place, and the agent is to go on.
        """
        turns: list[Turn] = [_told(turn, phrases) for turn in self._turns]
        cut = [said for said in self.cut if said.text]
        turns += cut
        asked = next(
            (at for at in reversed(range(len(turns))) if isinstance(turns[at], _ASKS)), None
        )
        later = turns[asked + 1 :] if asked is not None else turns
        has_answer = any(isinstance(turn, AgentSaid) and turn.text for turn in later)
        turns += unknown.values()
        if self.untold is not None or self.ringing:
            return Retold(tuple(turns))
        if cut or unknown:
            return Retold(tuple(turns), goes_on=True)
        if asked is None or has_answer:
            return Retold(tuple(turns))
        # Functions stand behind the turn that led to them, so that turn cannot come last.
        if any(isinstance(turn, FinishedFunction) for turn in later):
            return Retold(tuple(turns), goes_on=True)
        # Answered as a message of its own (deepgram.md §2.15), but not at the end of a context.
        question = turns.pop(asked)
        assert isinstance(question, _ASKS)
        return Retold(tuple(turns), push=question.text)


_ASKS: Final = (CallerSaid, AgentTold)

_WITHOUT_STREAM: Final = (CallerLeft, StreamBroke, CallReleased, CallTakenOver)
"""Events after which the caller is on no stream until CallerBack."""


def finished(called: FunctionCalled, content: str) -> FinishedFunction:
    """Return a function for the history of the conversation, with what it was answered."""
    return FinishedFunction(
        id=called.id,
        name=called.name,
        client_side=True,
        arguments=called.arguments,
        response=content,
        thought_signature=called.thought_signature or None,
    )


def _told(turn: "Turn | KeysEntered", phrases: Phrases) -> Turn:
    if isinstance(turn, KeysEntered):
        return AgentTold(fill(phrases.keys_pressed, keys=turn.digits))
    return turn
