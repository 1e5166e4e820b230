"""The settings of a call: its limits, its keys, and what its agent says and is told."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from offhook.call.keypad import Action
from offhook.call.phrases import Phrases


@dataclass(frozen=True, slots=True)
class CallSettings:
    """The settings of one call; times are in seconds."""

    max_s: float = 1800.0
    silence_s: float = 60.0
    """Of the caller's silence, half until the question and half until the goodbye; 0: no limit."""
    phrases: Phrases = field(default_factory=Phrases)
    key_s: float = 2.0
    """How long the next key of an entry is waited for."""
    actions: Mapping[str, Action] = field(default_factory=dict)
    """What an entry of that one key does, in place of being told to the agent."""
    forces_turns: bool = False
    """Whether Deepgram takes ForceEndTurn, as it does with Flux (deepgram.md §2.17)."""
