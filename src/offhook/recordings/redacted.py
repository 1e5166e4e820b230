"""A subscriber that silences recordings where personal data was taken out of the texts."""

from offhook.events.types import CallEnded, CallEvent, RecordingStarted, UtteranceRedacted
from offhook.recordings.recorder import Recordings


class SilenceRedacted:
    """A subscriber that keeps when each live recording began, and silences stretches of it."""

    def __init__(self, recordings: Recordings) -> None:
        self._recordings = recordings
        self._began: dict[str, tuple[str, int]] = {}

    def __call__(self, call_event: CallEvent) -> None:
        """Silence what was redacted, in the recording of its call."""
        call_sid, event = call_event.call_sid, call_event.event
        match event:
            case RecordingStarted():
                self._began[call_sid] = event.name, call_event.at_ms
            case UtteranceRedacted() if call_sid in self._began:
                name, began_ms = self._began[call_sid]
                start_ms, end_ms = event.start_ms - began_ms, event.end_ms - began_ms
                self._recordings.silence(name, start_ms, end_ms, event.leg)
            case CallEnded():
                self._began.pop(call_sid, None)
