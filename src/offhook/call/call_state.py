"""What the parts of a call share: where the call is, its settings, and its one way out."""

from collections.abc import Callable
from typing import Protocol

from offhook.call.call_settings import CallSettings
from offhook.call.commands import Command, Note
from offhook.call.ending import Ending, Slug
from offhook.call.phases import Phase, Step, after
from offhook.call.phrases import Phrases
from offhook.events.types import Event


class CallPart(Protocol):
    """A part of a call that has deadlines of its own."""

    def due(self) -> float | None:
        """Return when `tick` has something to do, in seconds; None: not at all."""

    def tick(self, now: float) -> None:
        """Do what is due by now; nothing when nothing is."""


class CallState:
    """The phase, the settings and the output of one call.

    `do` is told each command, in order. `end` ends the call, once: how, the other side's own
    reason, and the time.
    """

    def __init__(
        self,
        settings: CallSettings,
        now: float,
        do: Callable[[Command], None],
        end: Callable[[Slug, str, float], None],
    ) -> None:
        self.phase = Phase.WAITING
        self.ending: Ending | None = None
        self.settings = settings
        self.end = end
        self._began = now
        self._do = do

    @property
    def phrases(self) -> Phrases:
        """The sentences of the call's agent."""
        return self.settings.phrases

    def step(self, step: Step) -> None:
        """Move to the phase that the table has for this step."""
        self.phase = after(self.phase, step)

    def do(self, command: Command) -> None:
        """Command something; a part that had more to do when the call ended commands nothing."""
        if self.ending is None:
            self._do(command)

    def note(self, event: Event) -> None:
        """Tell whoever subscribes."""
        self.do(Note(event))

    def ms_since_start(self, now: float) -> int:
        """Return the length of the call so far."""
        return to_ms(now - self._began)


def to_ms(seconds: float) -> int:
    """Return whole milliseconds."""
    return round(seconds * 1000)


def earliest(*times: float | None) -> float | None:
    """Return the first of some times; None when there is none."""
    first: float | None = None  # A loop, for speed: it runs for every part at every mark.
    for at in times:
        if at is not None and (first is None or at < first):
            first = at
    return first


def is_due(at: float | None, now: float) -> bool:
    """Return whether there is such a time and it has come."""
    return at is not None and now >= at
