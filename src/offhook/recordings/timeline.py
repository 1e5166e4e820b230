"""Both sides of a call on Twilio's media timeline. No I/O.

Left is what the caller said, placed by `media.timestamp` (twilio.md §1.3): frames may be missing,
doubled or out of order. Right is what was *played* of what the agent said: it begins when it was
sent, or behind what Twilio still plays, and a `clear` cuts it where playback is.

Positions are samples since the stream started, of which each is a byte. Times are seconds.
"""

from typing import Final

from offhook.audio import BYTES_PER_MS, BYTES_PER_SECOND, FRAME_BYTES, SILENCE

FLUSH: Final = BYTES_PER_SECOND
"""Samples that are handed on at once, at least: a second."""

HOLD: Final = 200 * BYTES_PER_MS
"""Samples that are held back, 200 ms, so that a frame out of order still finds its place."""

GAP_MAX: Final = 60 * BYTES_PER_SECOND
"""Samples of the longest silence that missing frames, or the clock, may add in one piece."""

AHEAD_MAX: Final = 10 * BYTES_PER_SECOND
"""Samples by which Twilio's time may differ from ours. A timestamp further off is a fault."""

LATE_MAX: Final = 2 * BYTES_PER_SECOND
"""Samples by which a frame may be late; beyond, the clock has jumped."""

PLAY_MAX: Final = 600 * BYTES_PER_SECOND
"""Samples of audio that wait to be played: Twilio holds ten minutes and drops the rest (§1.6)."""


class Timeline:
    """The timeline of a call, from `began`, when its stream started.

    `take` hands on audio that is complete, and `finish` the rest: of each the left side and the
    right side, equally long.
    """

    def __init__(self, began: float) -> None:
        self.faults = 0
        """Frames whose timestamp made no sense, or that came too late to be placed."""
        self._began = began
        # Audio before `base` was handed on; `edge` is where the caller's audio ends. The
        # present was at `known` at the time `known_at`, and moves on with the clock.
        self._base = 0
        self._edge = 0
        self._known = 0
        self._known_at = began
        self._shift = 0
        self._left = bytearray()
        self._right = bytearray()
        self._pauses: list[tuple[int, int | None]] = []

    @classmethod
    def at(cls, position: int, now: float) -> "Timeline":
        """Return a timeline that is at that position now: audio before it is written already."""
        timeline = cls(now - position / BYTES_PER_SECOND)
        timeline._base = timeline._edge = timeline._known = timeline._shift = position
        timeline._known_at = now
        return timeline

    # --- what happens ---

    def heard(self, timestamp: str | int, audio: bytes, now: float) -> None:
        """Take a frame of the caller's; `timestamp` is Twilio's, in ms."""
        at = self._place(timestamp, len(audio), now)
        if at is None:
            return
        edge = self._edge
        if at > edge:
            self._left += SILENCE * (at - edge)
        start = at - self._base
        self._left[start : start + len(audio)] = audio
        self._edge = edge = max(edge, at + len(audio))
        present = self._present(now)
        # Twilio sends a frame when it is over, so it tells the present, unless it was held up on
        # its way. Then the clock is right, but for its drift: a sample for each such frame.
        self._known = present - 1 if edge < present <= edge + LATE_MAX else edge
        self._known_at = now

    def played(self, audio: bytes, now: float) -> None:
        """Take audio that was sent to Twilio: it plays now, or after what waits there already."""
        at = self._present(now)
        end = self._base + len(self._right)
        if at > end:
            self._right += SILENCE * (at - end)
            end = at
        self._right += audio[: PLAY_MAX - (end - at)]

    def cut(self, now: float) -> None:
        """Drop what has not been played: a `clear` was sent."""
        del self._right[self._present(now) - self._base :]

    def restart(self, now: float) -> None:
        """Begin a new stream: its time 0 is now, at a whole frame."""
        at = self._present(now)
        at += -at % FRAME_BYTES
        self._left += SILENCE * (at - self._edge)
        self._edge = self._known = self._shift = at
        self._known_at = now

    def pause(self, now: float) -> None:
        """Silence both sides from now on. Must not be called again before `resume`."""
        at = self._present(now)
        if self._pauses and self._pauses[-1][1] == at:
            at, _ = self._pauses.pop()
        self._pauses.append((at, None))

    def resume(self, now: float) -> None:
        """Stop silencing both sides. Must be called after `pause`."""
        began, _ = self._pauses.pop()
        at = self._present(now)
        if at > began:
            self._pauses.append((began, at))

    # --- complete audio ---

    def take(self) -> tuple[bytes, bytes] | None:
        """Return the audio that cannot change any more, when it is a second or more."""
        size = self._edge - HOLD - self._base
        return self._behind(size) if size >= FLUSH else None

    def finish(self, now: float) -> tuple[bytes, bytes]:
        """Return the rest, up to the last whole frame that Twilio's time has room for."""
        missing = (self._present(now) - self._edge) // FRAME_BYTES * FRAME_BYTES
        self._left += SILENCE * missing
        self._edge += missing
        return self._behind(self._edge - self._base)

    @property
    def length(self) -> int:
        """Number of samples that were handed on."""
        return self._base

    def _behind(self, size: int) -> tuple[bytes, bytes]:
        left, right = self._left[:size], self._right[:size]
        del self._left[:size], self._right[:size]
        right += SILENCE * (size - len(right))
        base, end = self._base, self._base + size
        for began, ended in self._pauses:
            first = max(began, base)
            last = end if ended is None else min(ended, end)
            if first < last:
                silent = SILENCE * (last - first)
                left[first - base : last - base] = silent
                right[first - base : last - base] = silent
        self._pauses = [pause for pause in self._pauses if pause[1] is None or pause[1] > end]
        self._base = end
        return bytes(left), bytes(right)

    # --- where things are ---

    def _present(self, now: float) -> int:
        """Return Twilio's position now; it is never before the edge."""
        passed = round((now - self._known_at) * BYTES_PER_SECOND)
        return self._known + max(0, min(passed, GAP_MAX))

    def _place(self, timestamp: str | int, size: int, now: float) -> int | None:
        """Return the position of a frame; None when that was handed on already."""
        try:
            due = int(timestamp) * BYTES_PER_MS
        except ValueError:
            due = -1
        at = due + self._shift
        if at == self._edge:
            return at
        clock = round((now - self._began) * BYTES_PER_SECOND)
        if due >= 0 and (-AHEAD_MAX <= at - self._edge <= GAP_MAX and at - clock <= AHEAD_MAX):
            if at >= self._base:
                return at
            self.faults += 1
            return None
        # The frame is placed at its arrival, as are later ones: no silence of hours, nothing lost.
        self.faults += 1
        at = max(self._edge, self._present(now) - size)
        if due >= 0:
            self._shift = at - due
        return at
