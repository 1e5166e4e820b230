"""State that the parts of a call share: its phase, its settings and its output."""

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
        """Return when `tick` has something to do, in seconds; None: never."""

    def tick(self, now: float) -> None:
        """Do what is due by now, if anything."""


class CallState:
    """The phase, the settings and the output of one call.

    `do` gets each command, in order. `end` ends the call, once; it takes the ending, the other
    side's own reason, and the time.
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
        """The phrases of the call's agent."""
        return self.settings.phrases

    def step(self, step: Step) -> None:
        """Move to the phase that follows from this step."""
        self.phase = after(self.phase, step)

    def do(self, command: Command) -> None:
        """Give a command; once the call has ended, give none."""
        if self.ending is None:
            self._do(command)

    def note(self, event: Event) -> None:
        """Publish an event to the subscribers."""
        self.do(Note(event))

    def ms_since_start(self, now: float) -> int:
        """Return the length of the call so far, in milliseconds."""
        return to_ms(now - self._began)


def to_ms(seconds: float) -> int:
    """Convert seconds to whole milliseconds."""
    return round(seconds * 1000)


def earliest(*times: float | None) -> float | None:
    """Return the earliest of some times, in seconds; None when there is none."""
    first: float | None = None  # A loop, for speed: it runs for every part at every mark.
    for at in times:
        if at is not None and (first is None or at < first):
            first = at
    return first


def is_due(at: float | None, now: float) -> bool:
    """Return whether a time is set and has come."""
    return at is not None and now >= at
