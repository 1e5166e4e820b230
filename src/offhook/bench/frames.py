"""Frames of the load's audio, and their check at the other end.

Each frame is 20 ms, 160 bytes: a head of 24 bytes, then bytes that are always the same. The head is
a multiple of three, so that its base64 stands by itself in Twilio's payload.
"""

from binascii import b2a_base64
from struct import Struct
from typing import Final

from offhook.audio import FRAME_BYTES

HEAD: Final = Struct("<IIQQ")
"""Head of a frame: utterance, number of the frame in it, time of sending in ns, and a fourth field.

The fourth field is, from an agent, the number of frames of the previous utterance, 0 if it was cut
short. From a caller, whose audio is a single utterance, it is the time of the last `clear` in ns, 0
without one, from which the agent's end computes the time of a barge-in.
"""

BODY: Final = bytes(range(FRAME_BYTES - HEAD.size))
HEAD_64: Final = HEAD.size // 3 * 4
BODY_64: Final = b2a_base64(BODY, newline=False)
"""The base64 of a frame's body, which follows HEAD_64 characters for the head."""

SAMPLE: Final = 7
"""Frames of which one is sampled for its delay."""


class FrameFaults:
    """Counts of the frames that did not come once and in order."""

    def __init__(self) -> None:
        self.lost = 0
        self.disordered = 0
        self.doubled = 0
        self.damaged = 0


class Order:
    """Checker of the order of frames, for one direction of a call."""

    __slots__ = ("_faults", "_missing", "next", "utterance")

    def __init__(self, faults: FrameFaults) -> None:
        self._faults = faults
        self.utterance = -1
        self.next = 0
        self._missing: set[int] = set()

    def check(self, utterance: int, number: int, size_before: int) -> None:
        """Take a frame. Missing frames of an earlier utterance that was cut are not lost."""
        if number == self.next and utterance == self.utterance:
            self.next = number + 1
            return
        faults = self._faults
        if self.utterance < 0:  # the bridge may drop what came before the agent was there
            self.utterance, self.next = utterance, number + 1
            return
        if utterance < self.utterance:
            faults.disordered += 1
            return
        if utterance > self.utterance:
            skipped = utterance - self.utterance - 1
            faults.lost += skipped or max(0, size_before - self.next)
            self.utterance, self.next = utterance, 0
            self._missing.clear()
        if number in self._missing:
            self._missing.remove(number)
            faults.lost -= 1
            faults.disordered += 1
        elif number < self.next:
            faults.doubled += 1
        else:
            faults.lost += number - self.next
            self._missing.update(range(self.next, number))
            self.next = number + 1
