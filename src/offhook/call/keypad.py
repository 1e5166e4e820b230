"""Keys of the caller, grouped into entries, and secrets that go only to the one who asked.

An entry ends with `#`, or when no key follows in time. An action belongs to an *entry*, not to a
key: a caller who types an order number that begins with 0 is not transferred at its first digit,
and the effect of a key never depends on how fast the next one comes. The price is one pause.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

ENTRY_MAX: Final = 32
"""Keys of one entry at most; the last of them completes it."""

TONES_S: Final = 1.0
"""Seconds after a secret's last key in which its tone may still be heard; keys stay masked."""

_KEYS: Final = frozenset("0123456789*#ABCD")
"""Keys that Twilio sends (twilio.md §1.3)."""


@dataclass(frozen=True, slots=True)
class TransferByKey:
    """Transfer the caller to a destination of the agent file."""

    destination: str


@dataclass(frozen=True, slots=True)
class HangUpByKey:
    """End the call once the farewell was heard."""

    farewell: str = ""


@dataclass(frozen=True, slots=True)
class SayByKey:
    """Have the agent say a text."""

    text: str


Action: TypeAlias = TransferByKey | HangUpByKey | SayByKey
"""Actions to which the agent file can map an entry of a single key."""


class Keypad:
    """Keypad of one call. `timeout_s`: seconds to wait for the next key of an entry."""

    def __init__(self, timeout_s: float, actions: Mapping[str, Action]) -> None:
        self._timeout_s = timeout_s
        self._actions = actions
        self._entry = ""
        self.due: float | None = None
        """Time in seconds at which the current entry is complete; None without an entry."""

    def press(self, key: str, now: float) -> list[str | Action]:
        """Take a key; return the entries and actions that it completes."""
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
        """End the entry; return it or its action, or nothing when it is empty."""
        entry = self._entry
        self.forget()
        return (self._alone(entry) or [entry]) if entry else []

    def forget(self) -> None:
        """Forget the current entry."""
        self._entry = ""
        self.due = None

    def _alone(self, entry: str) -> list[str | Action]:
        action = self._actions.get(entry)
        return [] if action is None else [action]


class Secret:
    """Digits entered on request: kept here, passed on once, and recorded nowhere."""

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
