"""The settings of a call: its limits, its keys, and what its agent says and is told."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from offhook.call.keypad import Action
from offhook.call.phrases import Phrases


@dataclass(frozen=True, slots=True)
class CallSettings:
    """The settings of one call; times are in seconds."""

    max_s: float = 1800.0
    spend_s: float | None = None
    """Seconds for which the caller may talk until the spend limit of a call; None: no limit."""
    silence_s: float = 60.0
    """Seconds of caller silence: half until the question, half until the goodbye. 0: no limit."""
    answer_s: float = 8.0
    """Seconds that the agent may be silent when it owes an answer: it is asked to say something,
    then given up after as many. 0: no limit."""
    phrases: Phrases = field(default_factory=Phrases)
    key_s: float = 2.0
    """Seconds to wait for the next key of an entry."""
    actions: Mapping[str, Action] = field(default_factory=dict)
    """Actions by key: an entry of that single key performs one, and the agent is not told of it."""
    forces_turns: bool = False
    """True if Deepgram takes ForceEndTurn, as it does with Flux (deepgram.md §2.17)."""
    is_stored: bool = False
    """True if Deepgram stores the agent, so that Settings carry no change and no conversation."""
    echo_guard: bool = False
    """True if the agent's own echo does not interrupt it."""
    min_speech_s: float = 0.0
    """Seconds that a sound of the caller must go on to interrupt the agent; 0: any does."""
    protects_greeting: bool = False
    """True if nothing that is said during the agent's greeting interrupts it."""
