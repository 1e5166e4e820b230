"""The caller's keys: which of them are one entry, and secrets that only their asker is told.

An entry ends with `#`, or when no key follows in time. An action is that of an *entry*, not of a
key: a caller who types an order number that begins with 0 is not transferred at its first digit,
and what a key does never depends on how fast the next one comes. It costs the time of one pause.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

ENTRY_MAX: Final = 32
"""Keys of one entry; with the last of them it is finished."""

TONES_S: Final = 1.0
"""How long after a secret's last key its tone may yet be heard; keys are masked until then."""

_KEYS: Final = frozenset("0123456789*#ABCD")
"""What Twilio sends (twilio.md §1.3)."""


@dataclass(frozen=True, slots=True)
class TransferByKey:
    """Transfer the caller to a destination of the agent file."""

    destination: str


@dataclass(frozen=True, slots=True)
class HangUpByKey:
    """End the call when the farewell was heard."""

    farewell: str = ""


@dataclass(frozen=True, slots=True)
class SayByKey:
    """Have the agent say this."""

    text: str


Action: TypeAlias = TransferByKey | HangUpByKey | SayByKey
"""What an entry of a single key can be mapped to in the agent file."""


class Keypad:
    """The keypad of one call. `timeout_s`: how long the next key of an entry is waited for."""

    def __init__(self, timeout_s: float, actions: Mapping[str, Action]) -> None:
        self._timeout_s = timeout_s
        self._actions = actions
        self._entry = ""
        self.due: float | None = None
        """When what was entered so far is all, in seconds."""

    def press(self, key: str, now: float) -> list[str | Action]:
        """Take a key; return the entries and actions that are complete with it."""
        if key not in _KEYS:
            return []
        if key == "#":
            return self.finish() or self._alone(key)
        if key == "*" and key in self._actions:
            return [*self.finish(), *self._alone(key)]
        self._entry += key
        self.due = now + self._timeout_s
        return self.finish() if len(self._entry) == ENTRY_MAX else []

    def finish(self) -> list[str | Action]:
        """End the entry; return it, or its action, or nothing if there was none."""
        entry = self._entry
        self.forget()
        return (self._alone(entry) or [entry]) if entry else []

    def forget(self) -> None:
        """Forget what was entered so far."""
        self._entry = ""
        self.due = None

    def _alone(self, entry: str) -> list[str | Action]:
        action = self._actions.get(entry)
        return [] if action is None else [action]


class Secret:
    """Digits that were asked for: kept here, told once, and noted nowhere."""

    def __init__(
        self, request_id: int, prompt: str, max_digits: int, timeout_s: float, now: float
    ) -> None:
        self.request_id: Final = request_id
        self.prompt: Final = prompt
        self.timeout_s: Final = timeout_s
        self.began: Final = now
        self._max_digits = max_digits
        self.pressed_at = now
        self.digits = ""

    def press(self, key: str, now: float) -> bool:
        """Take a key; return whether it was the last one."""
        self.pressed_at = now
        if key in _KEYS and key != "#":
            self.digits += key
        return key == "#" or len(self.digits) == self._max_digits
