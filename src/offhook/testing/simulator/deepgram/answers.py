"""Answer of a dialogue policy to one turn: its text, function calls and reports.

A policy begins before the turn is certain to be over (deepgram.md §4.4). Until the turn is
confirmed, the answer is held here; only functions that need not wait are called.
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
    """Function call that a policy requests."""

    name: str
    arguments: Mapping[str, Any] | str
    """Arguments by name, or the JSON text that a model wrote, which may be invalid."""
    example: str | None = None
    """Result of the function where the agent must run it itself."""
    early: bool = False
    """True to call it before the turn is confirmed, unless Settings say `defer_until_eot`."""
    id: str | None = None
    """Id that the model gave the call; None to generate one."""


@dataclass(slots=True)
class Times:
    """Times of the steps of an answer, in seconds of the clock; None before the step."""

    paused: float | None = None
    """Time at which the caller had been silent long enough to end a turn."""
    heard: float | None = None
    token: float | None = None
    """Time of the first piece of a model's answer."""
    text: float | None = None
    """Time of the first complete piece of text to say."""
    spoken: float | None = None
    """Time at which the text was passed to the TextToSpeech."""
    sound: float | None = None
    tools: float = 0.0
    """Seconds that functions took."""


@dataclass(eq=False)
class TurnAnswer:
    """Answer to one turn, with the words that the caller is reported to have said."""

    session: "StandInTurns"
    now: Callable[[], float]
    words: str | None
    """Words reported for the caller; None if nobody spoke or nothing was recognised."""
    is_turn: bool = True
    """False for an answer to a silence, which no turn of the caller precedes."""
    meant: str = ""
    """Meaning that the policy gave to the words, for display."""
    flaws: ScriptTurn | None = None
    """Turn of the script whose faults apply to this answer."""
    ends: bool = False
    """True if the session ends when the caller has heard this answer."""
    is_done: bool = False
    """True once the policy has nothing more to say."""
    is_confirmed: bool = False
    is_dropped: bool = False
    has_spoken: bool = False
    times: Times = field(default_factory=Times)
    _held: deque[Callable[[], None]] = field(default_factory=deque)

    # --- Methods for the policy ---

    def say(self, text: str) -> None:
        """Say `text` after the text that was said before."""
        if self.times.text is None:
            self.times.text = self.now()

        def speak() -> None:
            self.has_spoken = True
            self.session.speak(text, self)

        if text.strip():
            self._when_confirmed(speak)

    def send(self, message: ServerMessage) -> None:
        """Send a message, such as AgentThinking or a Warning, to the client."""
        self._when_confirmed(lambda: self.session.wire.send(message))

    def fail(self, error: Error) -> None:
        """End the session with `error`."""
        self.is_done = True
        self._when_confirmed(lambda: self.session.wire.fail(error))

    def call(
        self,
        wanted: Sequence[WantedFunction],
        answered: Callable[[Sequence[str]], None],
        slow: Callable[[], None] | None = None,
    ) -> None:
        """Call functions. `answered` gets all their results at once, in the order of `wanted`.

        `slow` is called once if the results take long. Neither is called after the answer was
        dropped.
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
        """Finish the answer. With `end`, the session closes when the caller has heard it."""
        if self.is_done or self.is_dropped:
            return
        self.is_done = True
        self.ends = end
        self._when_confirmed(lambda: self.session.finish(self))

    # --- Methods for the session ---

    def confirm(self) -> None:
        """Confirm the turn: perform the held actions now, and later ones at once."""
        self.is_confirmed = True
        if self.words is not None:
            self.session.wire.say("user", self.words, self.meant)
        if self.flaws is not None:
            self.session.spoil(self.flaws)
        while self._held and not self.is_dropped:
            self._held.popleft()()

    def drop(self) -> None:
        """Drop the answer: discard its held actions and ignore later ones."""
        self.is_dropped = True
        self._held.clear()

    @property
    def is_text_only(self) -> bool:
        """True if the script gives this answer text but no audio."""
        return self.flaws is not None and self.flaws.fault == "text_only"

    def latency(self) -> LatencyReport:
        """Return the latencies that were measured for the answer."""
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
