"""A subscriber that silences recordings where personal data was taken out of the texts."""

from offhook.events.types import (
    CallEnded,
    CallEvent,
    CallReleased,
    RecordingStarted,
    UtteranceRedacted,
)
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
            case UtteranceRedacted():
                began = self._began.get(call_sid) or self._resumed(call_sid)
                if began is None:
                    return
                name, began_ms = began
                start_ms, end_ms = event.start_ms - began_ms, event.end_ms - began_ms
                self._recordings.silence(name, start_ms, end_ms, event.leg)
            case CallEnded() | CallReleased():
                self._began.pop(call_sid, None)

    def _resumed(self, call_sid: str) -> tuple[str, int] | None:
        """Return name and begin of a recording that another process began; None without one."""
        of = self._recordings.resumed.get(call_sid)
        return None if of is None else (of.name, of.start_ms)
