"""Recording of one session: begun with its first stream, interrupted while the stream is left."""

from collections.abc import Callable

from offhook.clock import Clock
from offhook.events.types import Event, RecordingFailed, RecordingStarted
from offhook.recordings.recorder import CallRecorder, Recordings, ResumedRecording


class SessionRecording:
    """Recording of a call into `recordings`, if the call has any.

    Attributes:
        recorder: Receiver of the call's audio; None when the call is not recorded.
    """

    def __init__(
        self,
        call_sid: str,
        recordings: Recordings | None,
        clock: Clock,
        note: Callable[[Event], None],
    ) -> None:
        self.recorder: CallRecorder | None = None
        self._call_sid = call_sid
        self._recordings = recordings
        self._clock = clock
        self._note = note
        self._resumed: ResumedRecording | None = None
        self._is_paused = False

    def resume(self, recording: tuple[str, int] | None, *, is_paused: bool, began: float) -> None:
        """Go on with the recording of a call that began at `began`, from its next stream on.

        `recording` is its name and its beginning in ms of the call. A call that was not recorded
        before its process died is not recorded now.
        """
        if recording is None:
            self._recordings = None
            return
        name, start_ms = recording
        self._resumed = ResumedRecording(name, start_ms, began)
        self._is_paused = is_paused

    def begin_stream(self) -> None:
        """Start or resume recording, as a stream has come."""
        if self.recorder is not None:
            self.recorder.resume_stream()
        elif self._recordings is not None and self._resumed is not None:
            self.recorder = self._recordings.resume(
                self._resumed, self._call_sid, self._clock, self._note
            )
            if self._is_paused:
                self.recorder.stay_paused()
        elif self._recordings is not None:
            self.recorder = self._recordings.begin(self._call_sid, self._clock, self._note)
            self._note(RecordingStarted(self.recorder.name))

    def cut(self) -> None:
        """Record nothing while the stream is left."""
        if self.recorder is not None:
            self.recorder.cut()

    def permit(self, is_permitted: bool) -> None:
        """Continue to record under another agent of the call, or stop, as the agent's file says.

        A recording never begins here: the announcement comes before the stream, or not at
        all.
        """
        if self.recorder is not None:
            self.recorder.permit(is_permitted)
        elif is_permitted:
            self._note(RecordingFailed("the caller was not told at the beginning of the call"))

    def mask(self, is_on: bool) -> None:
        """Keep the caller's side out of the recording while a secret is entered."""
        if self.recorder is not None:
            self.recorder.mask(is_on)

    def set_on(self, is_on: bool) -> bool:
        """Record the call, or silence, from now on. Any thread may call this.

        Return False when the call is not recorded.
        """
        if self.recorder is None:
            return False
        return self.recorder.resume() if is_on else self.recorder.pause()

    def let_go(self) -> None:
        """Refer to the owner no more: the call is over."""
        self.recorder = None
        self._note = _nothing

    def hand_over(self) -> None:
        """Write what there is; another process goes on with the recording, and may end it."""
        if self.recorder is not None:
            self.recorder.hand_over()

    def abandon(self) -> None:
        """End here, without what there is: another process may have gone on with the file."""
        if self.recorder is not None:
            self.recorder.abandon()

    def finish(self) -> None:
        """End the recording with the call."""
        if self.recorder is not None:
            self.recorder.finish()


def _nothing(event: Event) -> None:
    """Publish nothing: the call is over."""
