"""State that the parts of a call share: its phase, its settings and its output."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from offhook.call.agent_loss import AgentLoss
from offhook.call.call_settings import CallSettings
from offhook.call.commands import Command, End, LetGo, Note
from offhook.call.ending import Ending, Slug
from offhook.call.phases import OperatorState, Phase, Step, after
from offhook.call.phrases import Phrases, fill
from offhook.call.requests import SwitchAgent
from offhook.events.types import Event, InterruptionCause


class CallPart(Protocol):
    """A part of a call that has deadlines of its own."""

    def due(self) -> float | None:
        """Return when `tick` has something to do, in seconds; None: never."""

    def tick(self, now: float) -> None:
        """Do what is due by now, if anything."""


@dataclass(frozen=True, slots=True)
class CallSteps:
    """Steps of the whole call that a part of it may take. The last argument is the time.

    Attributes:
        end: Ends the call, once, with the other side's own reason.
        close: Has the agent say last words, and ends the call.
        switch: Hangs up on the agent and dials another one.
        begin_talking: Lets both sides hear each other.
        interrupt: Cuts the agent, as the caller speaks, for the cause that is given.
        lose_agent: Replaces the agent's leg, which is lost, or ends the call.
        go_on: Goes on after last words: dials an agent if its leg was lost during them.
        expect_answer: Notes that the agent was told something that it answers to.
        end_functions: Notes that the agent has the results of all functions that it has called.
    """

    end: Callable[[Slug, str, float], None]
    close: Callable[[Slug, str, float], None]
    switch: Callable[[SwitchAgent, float], None]
    begin_talking: Callable[[float], None]
    interrupt: Callable[[InterruptionCause, float], None]
    lose_agent: Callable[[AgentLoss, float], None]
    go_on: Callable[[float], None]
    expect_answer: Callable[[float], None]
    end_functions: Callable[[float], None]


def _nothing(*_: Any) -> None:
    """Do nothing: the call is over."""


_NO_STEPS: Final = CallSteps(*[_nothing] * 9)


class CallState:
    """The phase, the settings and the output of one call. `do` gets each command, in order.

    Attributes:
        phase: The phase of the call.
        operator: The state of an operator who speaks with the caller.
        taken_by: The name of that operator; empty while the agent speaks with the caller.
        ending: The ending of the call; None while it lasts.
        settings: The limits and phrases of the current agent.
        steps: Steps of the whole call; they do nothing once it is over.
    """

    def __init__(
        self,
        settings: CallSettings,
        now: float,
        do: Callable[[Command], None],
        steps: CallSteps,
    ) -> None:
        self.phase = Phase.WAITING
        self.operator = OperatorState.ABSENT
        self.taken_by = ""
        self.ending: Ending | None = None
        self.settings = settings
        self.steps = steps
        self._began = now
        self._do = do

    @property
    def phrases(self) -> Phrases:
        """The phrases of the call's agent."""
        return self.settings.phrases

    @property
    def is_taken(self) -> bool:
        """True while an operator speaks with the caller, or was lost a moment ago."""
        return self.operator is not OperatorState.ABSENT

    @property
    def operator_speaks(self) -> str:
        """The phrase that says which operator speaks with the caller; empty while none does."""
        if not self.is_taken:
            return ""
        return fill(self.phrases.operator_speaks, operator=self.taken_by)

    def step(self, step: Step) -> None:
        """Move to the phase that follows from this step."""
        self.phase = after(self.phase, step)

    def do(self, command: Command) -> None:
        """Give a command; once the call has ended, give none."""
        if self.ending is None:
            self._do(command)

    def finish(self, ending: Ending) -> None:
        """Set the ending and give the last command: from here on no part can give another.

        Nor does the state refer to the call and its owner any more, nor they to each other: a
        call that is over must not wait for a garbage collection, which stops every call.
        """
        do, self._do, self.steps = self._do, _nothing, _NO_STEPS
        self.ending = ending
        do(End(ending))

    def let_go(self) -> None:
        """Give the last command of a call that another process goes on with: it has no ending."""
        do, self._do, self.steps = self._do, _nothing, _NO_STEPS
        do(LetGo())

    def note(self, event: Event) -> None:
        """Publish an event to the subscribers."""
        self.do(Note(event))

    def at(self, ms: int) -> float:
        """Return the time in seconds at which the call was so many milliseconds long."""
        return self._began + ms / 1000

    def ms_since_start(self, now: float) -> int:
        """Return the length of the call so far, in milliseconds."""
        return to_ms(now - self._began)


def to_ms(seconds: float) -> int:
    """Convert seconds to whole milliseconds."""
    return round(seconds * 1000)


def earliest(*times: float | None) -> float | None:
    """Return the earliest of some times, in seconds; None without any time."""
    first: float | None = None  # A loop, for speed: it runs for every part at every mark.
    for at in times:
        if at is not None and (first is None or at < first):
            first = at
    return first


def is_due(at: float | None, now: float) -> bool:
    """Return whether a time is set and has come."""
    return at is not None and now >= at
