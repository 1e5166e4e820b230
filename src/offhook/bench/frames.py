"""What the load puts into its audio, and how it is checked at the other end.

Each frame is 20 ms, 160 bytes: a head of 24 bytes, then bytes that are always the same. The head is
a multiple of three, so that its base64 stands by itself in Twilio's payload.
"""

from binascii import b2a_base64
from struct import Struct
from typing import Final

from offhook.audio import FRAME_BYTES

HEAD: Final = Struct("<IIQQ")
"""Utterance, number of the frame in it, time of sending in ns, and one thing more.

That is, from an agent: how many frames the utterance before this one had, 0 if it was cut short.
From a caller, whose audio is a single utterance: when its last `clear` came in, in ns, 0 if none
did, which tells the agent's end how long a barge-in took though the two ends share nothing.
"""

BODY: Final = bytes(range(FRAME_BYTES - HEAD.size))
HEAD_64: Final = HEAD.size // 3 * 4
BODY_64: Final = b2a_base64(BODY, newline=False)
"""The base64 of a frame: so many characters for the head, then always these."""

SAMPLE: Final = 7
"""Of one frame in so many the delay is taken."""


class FrameFaults:
    """What became of the frames that did not come once and in order."""

    def __init__(self) -> None:
        self.lost = 0
        self.disordered = 0
        self.doubled = 0
        self.damaged = 0


class Order:
    """Holds the frames of one direction of one call against the order in which they were sent."""

    __slots__ = ("_faults", "_missing", "_next", "_utterance")

    def __init__(self, faults: FrameFaults) -> None:
        self._faults = faults
        self._utterance = -1
        self._next = 0
        self._missing: set[int] = set()

    def check(self, utterance: int, number: int, size_before: int) -> None:
        """One frame came. What is missing of an utterance before this that was cut is not lost."""
        if number == self._next and utterance == self._utterance:
            self._next = number + 1
            return
        faults = self._faults
        if self._utterance < 0:  # the bridge may drop what came before the agent was there
            self._utterance, self._next = utterance, number + 1
            return
        if utterance < self._utterance:
            faults.disordered += 1
            return
        if utterance > self._utterance:
            skipped = utterance - self._utterance - 1
            faults.lost += skipped or max(0, size_before - self._next)
            self._utterance, self._next = utterance, 0
            self._missing.clear()
        if number in self._missing:
            self._missing.remove(number)
            faults.lost -= 1
            faults.disordered += 1
        elif number < self._next:
            faults.doubled += 1
        else:
            faults.lost += number - self._next
            self._missing.update(range(self._next, number))
            self._next = number + 1
