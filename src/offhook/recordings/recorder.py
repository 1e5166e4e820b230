"""Recorders: one CallRecorder a call, and Recordings, which writes the audio of all of them."""

import contextlib
import logging
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from offhook.audio import BYTES_PER_SECOND, FRAME_BYTES, milliseconds
from offhook.clock import Clock
from offhook.concurrency.background_thread import ThreadOwner
from offhook.events.types import (
    Event,
    ProtocolViolation,
    RecordingEnded,
    RecordingFailed,
    RecordingPaused,
    RecordingResumed,
)
from offhook.recordings import reading
from offhook.recordings.disk_writer import DiskWriter, file_of_call
from offhook.recordings.files import LocalFiles
from offhook.recordings.growing import GrowingRecording
from offhook.recordings.repair import SUFFIX, repair
from offhook.recordings.silencing import Side, samples
from offhook.recordings.timeline import Timeline

_log: Final = logging.getLogger("offhook.recordings")

WAITING_BYTES: Final = 64 * 1024 * 1024
"""Bytes of audio of all calls that wait for the disk: 40 s of a hundred calls. A recording whose
next second finds no room is stopped, and the others go on."""

ASKED_MAX: Final = 64
"""Pauses and resumptions that are kept between two frames of a call."""


class CallRecorder:
    """The recording of a call, from the audio on the caller's wire. `note` publishes its events.

    No fault in here reaches the call: the recording stops, and publishes an event. Everything
    is called on the event loop, but for `pause` and `resume`, which any thread may call.
    """

    def __init__(
        self,
        name: str,
        file: GrowingRecording,
        writer: DiskWriter,
        clock: Clock,
        note: Callable[[Event], None],
        timeline: Timeline | None = None,
    ) -> None:
        self.name: Final = name
        self._file = file
        self._writer = writer
        self._now = clock.now
        self._note = note
        self._timeline = timeline or Timeline(clock.now())
        self._over = False
        self._paused = False
        self._to_pause = False
        self._masked = False
        self._permitted = True
        # Pauses and resumptions that any thread asked for, and when; the last ASKED_MAX of them.
        self._asked: deque[tuple[bool, float]] = deque(maxlen=ASKED_MAX)
        writer.put(file, b"")

    # --- what is on the caller's wire ---

    def heard(self, timestamp: str | int, audio: bytes) -> None:
        """Take a frame of Twilio's; `timestamp` is Twilio's time, in ms."""
        if self._over:
            return
        try:
            if self._asked:
                self._obey()
            timeline, faults = self._timeline, self._timeline.faults
            timeline.heard(timestamp, audio, self._now())
            if timeline.faults != faults == 0:
                self._note(ProtocolViolation("caller", "a media timestamp that makes no sense"))
            done = timeline.take()
            if done is not None:
                self._put(done)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is not the call's business
            self._break(error)

    def played(self, audio: bytes) -> None:
        """Take audio that went to Twilio, to be played."""
        if self._over:
            return
        try:
            if self._asked:
                self._obey()
            self._timeline.played(audio, self._now())
        except Exception as error:  # noqa: BLE001 - as above
            self._break(error)

    def cut(self) -> None:
        """Take a `clear` that went to Twilio."""
        if self._over:
            return
        try:
            self._timeline.cut(self._now())
        except Exception as error:  # noqa: BLE001 - as above
            self._break(error)

    def stay_paused(self) -> None:
        """Record silence from now on, as before: the recording was paused in another process."""
        self._to_pause = self._paused = True
        self._timeline.pause(self._now())

    def resume_stream(self) -> None:
        """Go on with a new stream of the caller's, whose time begins anew."""
        if self._over:
            return
        try:
            self._timeline.restart(self._now())
        except Exception as error:  # noqa: BLE001 - as above
            self._break(error)

    # --- requests ---

    def pause(self) -> bool:
        """Record silence on both sides from now on. Return False if nothing is recorded."""
        return self._ask(pause=True)

    def resume(self) -> bool:
        """Resume the recording. Return False if nothing is recorded."""
        return self._ask(pause=False)

    def mask(self, on: bool) -> None:
        """Record silence on both sides while `on` is True, whatever else is asked. On the loop."""
        if self._over:
            return
        try:
            self._obey()
            self._masked = on
            self._settle(self._now())
        except Exception as error:  # noqa: BLE001 - as above
            self._break(error)

    def permit(self, on: bool) -> None:
        """Record while `on` is True, and silence otherwise, whatever is asked. On the loop.

        An agent that has taken over may be one that is not recorded.
        """
        if self._over:
            return
        try:
            self._obey()
            self._permitted = on
            self._settle(self._now())
        except Exception as error:  # noqa: BLE001 - as above
            self._break(error)

    def finish(self) -> None:
        """End the recording. The last audio is written soon after."""
        if self._over:
            return
        try:
            self._obey()
            self._put(self._timeline.finish(self._now()))
            if not self._over:
                self._note(RecordingEnded(milliseconds(self._timeline.length)))
        except Exception as error:  # noqa: BLE001 - as above
            self._break(error)
        self._close()

    def hand_over(self) -> None:
        """Write what there is, and end nothing: another process goes on with the recording."""
        if self._over:
            return
        try:
            self._obey()
            self._put(self._timeline.finish(self._now()))
        except Exception as error:  # noqa: BLE001 - as above
            self._break(error)
        self._close()

    def abandon(self) -> None:
        """End here, without what there is: another process may have gone on with the file."""
        if not self._over:
            self._file.abandon()
            self._close()

    # --- within ---

    def _ask(self, *, pause: bool) -> bool:
        if self._over:
            return False
        # The time is noted here, and applied with the next frame, on the loop.
        self._asked.append((pause, self._now()))
        return self._permitted

    def _obey(self) -> None:
        while self._asked:
            self._to_pause, at = self._asked.popleft()
            self._settle(at)

    def _settle(self, at: float) -> None:
        pause = self._to_pause or self._masked or not self._permitted
        if pause == self._paused:
            return
        self._paused = pause
        if pause:
            self._timeline.pause(at)
            self._note(RecordingPaused())
        else:
            self._timeline.resume(at)
            self._note(RecordingResumed())

    def _put(self, sides: tuple[bytes, bytes]) -> None:
        self._writer.put(self._file, b"".join(sides))
        if self._file.why is not None:
            self._note(RecordingFailed(self._file.why))
            self._close()

    def _break(self, error: Exception) -> None:
        if not self._over:
            _log.exception("a fault in a recorder")
            self._file.stop(type(error).__name__)
            self._note(RecordingFailed(type(error).__name__))
            self._close()

    def _close(self) -> None:
        if not self._over:
            self._over = True
            self._writer.close(self._file)


class ResumedRecording(NamedTuple):
    """A recording that another process began `start_ms` after its call, which `call_began`.

    `call_began` is in seconds of the clock.
    """

    name: str
    start_ms: int
    call_began: float


class Recordings(ThreadOwner):
    """Recordings of calls into `store`, while entered. First repairs recordings after a crash."""

    def __init__(self, store: LocalFiles) -> None:
        self._store = store
        self.thread: DiskWriter = DiskWriter("recordings", WAITING_BYTES, self._repair)
        self._live: dict[str, GrowingRecording] = {}
        self.resumed: dict[str, ResumedRecording] = {}
        """Recordings that another process began, by CallSid, until they are finished."""

    def _after_stop(self, *, in_time: bool) -> None:
        if not in_time:
            _log.warning("E-AUD-02 The last seconds of the recordings were not written in time.")

    def begin(self, call_sid: str, clock: Clock, note: Callable[[Event], None]) -> CallRecorder:
        """Return the recorder of a call whose stream starts now. Does not block."""
        name = file_of_call(call_sid, datetime.now(UTC), SUFFIX)
        file = GrowingRecording(self._store, name, call_sid, lambda: self._over(name))
        self._live[name] = file
        return CallRecorder(name, file, self.thread, clock, note)

    def resume(
        self, of: ResumedRecording, call_sid: str, clock: Clock, note: Callable[[Event], None]
    ) -> CallRecorder:
        """Return a recorder that goes on with a recording of a process that died.

        The time since its last audio is silent.
        """
        name, now = of.name, clock.now()
        passed_s = now - of.call_began - of.start_ms / 1000
        position = max(0, round(passed_s * BYTES_PER_SECOND))
        position -= position % FRAME_BYTES
        self.resumed[call_sid] = of

        def over() -> None:
            self.resumed.pop(call_sid, None)
            self._over(name)

        file = GrowingRecording(self._store, name, call_sid, over, position)
        self._live[name] = file
        timeline = Timeline.at(position, now)
        return CallRecorder(name, file, self.thread, clock, note, timeline)

    def silence(self, name: str, start_ms: int, end_ms: int, side: Side) -> None:
        """Silence a stretch of a recording for good, live or not, from any thread.

        Times are of the recording, which begins at its RecordingStarted; the stretch may lie ahead.
        Blocks when the recording is finished, and then raises as reading.silence does.
        """
        live = self._live.get(name)
        if live is not None and live.silence(samples(start_ms), samples(end_ms), side):
            self.thread.put(live, b"")
        else:
            reading.silence(self._store, name, start_ms, end_ms, side)

    def _over(self, name: str) -> None:
        self._live.pop(name, None)

    def _repair(self) -> None:
        with contextlib.suppress(OSError):
            found = repair(self._store)
            if found.repaired:
                _log.info(
                    "%d recordings that a crash left unfinished are repaired", len(found.repaired)
                )
            for name in found.unreadable:
                _log.warning("E-AUD-05 %s is not a recording, or cannot be repaired.", name)
