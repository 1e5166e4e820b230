"""The answer to one turn: what a policy says, calls and reports, on its way into the session.

A policy begins before the turn is certain to be over (deepgram.md §4.4). Until the turn
is confirmed the answer waits here; only functions that need not wait are called.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from offhook.deepgram.messages import Error, LatencyReport, ServerMessage
from offhook.testing.simulator.deepgram.script import ScriptTurn

if TYPE_CHECKING:
    from offhook.testing.simulator.deepgram.turns import StandInTurns


@dataclass(frozen=True, slots=True)
class WantedFunction:
    """A function that a policy wants run."""

    name: str
    arguments: Mapping[str, Any] | str
    """By name, or as the JSON text that a model wrote, right or not."""
    example: str | None = None
    """What it answers where the agent is to run it itself."""
    early: bool = False
    """Not to wait until the turn is confirmed, unless Settings say `defer_until_eot`."""
    id: str | None = None
    """The model's own; else one is made."""


@dataclass(slots=True)
class Times:
    """When what happened, in seconds of the clock; None: not yet."""

    paused: float | None = None
    """The caller's last sound was a turn's silence ago."""
    heard: float | None = None
    token: float | None = None
    """The first piece of a model's answer."""
    text: float | None = None
    """The first whole piece to say."""
    spoken: float | None = None
    """The voice was asked for it."""
    sound: float | None = None
    tools: float = 0.0
    """Seconds that functions took."""


@dataclass(eq=False)
class TurnAnswer:
    """What the caller is reported to have said, and what is answered."""

    session: "StandInTurns"
    now: Callable[[], float]
    words: str | None
    """None: nothing is reported, because nobody spoke or nothing was recognised."""
    is_turn: bool = True
    """False for what the agent says unasked."""
    meant: str = ""
    """What the policy took it for, for people who watch."""
    flaws: ScriptTurn | None = None
    """The turn of a script whose faults it has."""
    ends: bool = False
    """The session is over when this has been heard."""
    is_done: bool = False
    """The policy has no more to say."""
    is_confirmed: bool = False
    is_dropped: bool = False
    has_spoken: bool = False
    times: Times = field(default_factory=Times)
    _held: deque[Callable[[], None]] = field(default_factory=deque)

    # --- What a policy does ---

    def say(self, text: str) -> None:
        """Say this, after what was said before."""
        if self.times.text is None:
            self.times.text = self.now()

        def speak() -> None:
            self.has_spoken = True
            self.session.speak(text, self)

        if text.strip():
            self._when_confirmed(speak)

    def send(self, message: ServerMessage) -> None:
        """Tell the client: AgentThinking, a Warning."""
        self._when_confirmed(lambda: self.session.wire.send(message))

    def fail(self, error: Error) -> None:
        """End the session with this."""
        self.is_done = True
        self._when_confirmed(lambda: self.session.wire.fail(error))

    def call(
        self,
        wanted: Sequence[WantedFunction],
        answered: Callable[[Sequence[str]], None],
        slow: Callable[[], None] | None = None,
    ) -> None:
        """Have functions run. `answered` gets their answers, in that order, when all are there.

        `slow` is called once if that takes long. Neither is called when the answer was dropped.
        """
        if self.is_dropped:
            return
        asked_at = self.now()

        def answers(contents: Sequence[str]) -> None:
            self.times.tools += self.now() - asked_at
            answered(contents)

        def is_slow() -> None:
            if slow is not None:
                slow()
                pause()

        def pause() -> None:
            self._when_confirmed(lambda: self.session.pause(self))

        pause()
        self.session.call(wanted, answers, is_slow)

    def done(self, *, end: bool = False) -> None:
        """Finish the answer; with `end`, the agent closes the session when it has been heard."""
        if self.is_done or self.is_dropped:
            return
        self.is_done = True
        self.ends = end
        self._when_confirmed(lambda: self.session.finish(self))

    # --- What the session does ---

    def confirm(self) -> None:
        """Let out what waits, and hold back nothing more: the turn is over."""
        self.is_confirmed = True
        if self.words is not None:
            self.session.wire.say("user", self.words, self.meant)
        if self.flaws is not None:
            self.session.spoil(self.flaws)
        while self._held and not self.is_dropped:
            self._held.popleft()()

    def drop(self) -> None:
        """Drop the answer: nothing else comes of it."""
        self.is_dropped = True
        self._held.clear()

    @property
    def is_text_only(self) -> bool:
        """Whether it is one without sound, as a script may have it."""
        return self.flaws is not None and self.flaws.fault == "text_only"

    def latency(self) -> LatencyReport:
        """Return what was measured of the answer."""
        times = self.times

        def between(first: float | None, last: float | None) -> float | None:
            if first is None or last is None or last < first:
                return None
            return round(last - first, 4)

        return LatencyReport(
            stt_latency=between(times.paused, times.heard),
            ttt_token_latency=between(times.heard, times.token),
            ttt_text_latency=between(times.heard, times.text),
            ttt_tool_latency=round(times.tools, 4) if times.tools else None,
            tts_latency=between(times.spoken, times.sound),
            total_latency=between(times.paused, times.sound),
        )

    def _when_confirmed(self, act: Callable[[], None]) -> None:
        if self.is_dropped:
            return
        if self.is_confirmed and not self._held:
            act()
        else:
            self._held.append(act)
