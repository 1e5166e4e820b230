"""What became of a rehearsed call: what happened, what was measured, and the call as a WAV file."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal, Protocol, TypeAlias, TypeVar

from offhook import audio
from offhook.recordings.wav import StereoWriter
from offhook.testing.simulator.twilio import stream
from offhook.testing.simulator.twilio.ending import Ending
from offhook.testing.simulator.twilio.stream import SimulatedStream, StreamParty
from offhook.testing.simulator.twilio.verbs import Verb


@dataclass(frozen=True, slots=True)
class DebuggerNote:
    """What Twilio's debugger would show, with its code; without a code, a remark of ours."""

    code: int | None
    text: str


@dataclass(frozen=True, slots=True)
class TwimlDocument:
    """One answer to a request for TwiML."""

    url: str
    status: int
    body: str


Sound: TypeAlias = Literal[
    "say", "play", "ringing", "stream", "together", "waiting", "recording", "keypad"
]
"""What can be on a line, besides silence: `together` with others, `waiting` for them (music)."""


@dataclass(frozen=True, slots=True)
class LineSpan:
    """Time in which something is on the line. Times are the clock's, in seconds."""

    sound: Sound
    began: float
    ended: float


class CallParty(StreamParty, Protocol):
    """A person on a call: on all of its streams, one after another."""

    @property
    def faults(self) -> Sequence[str]:
        """What this person waited for in vain."""

    def call_ended(self) -> None:
        """Take note that the call is over."""


PartyT_co = TypeVar("PartyT_co", bound=CallParty, covariant=True)


@dataclass(slots=True)
class LegReport(Generic[PartyT_co]):
    """What became of one call. Times are the clock's, in seconds."""

    account_sid: str
    call_sid: str
    caller: PartyT_co
    answered_at: float = math.nan
    ended_at: float = math.nan
    ending: Ending = "application_error"
    documents: list[TwimlDocument] = field(default_factory=list)
    verbs: list[Verb] = field(default_factory=list)
    """Those that were executed; <Dial> and <Record> only in so far as they stand here."""
    notes: list[DebuggerNote] = field(default_factory=list)
    streams: list[SimulatedStream] = field(default_factory=list)
    line: list[LineSpan] = field(default_factory=list)
    """What was on the line, in the order in which it ended."""

    def silences(self, at_least_s: float = 1.0) -> list[tuple[float, float]]:
        """When nothing at all was on the line between answer and end: from and until.

        Shorter ones are left out: between two verbs a server is asked. Within a stream it is the
        agent's to speak, and the caller's to measure it.
        """
        found: list[tuple[float, float]] = []
        until = self.answered_at
        for span in sorted(self.line, key=lambda span: span.began):
            found.append((until, span.began))
            until = max(until, span.ended)
        found.append((until, self.ended_at))
        return [(began, ended) for began, ended in found if ended - began >= at_least_s]

    @property
    def faults(self) -> list[str]:
        """Why the call did not go as it should have; nothing, if it did."""
        return [*self.faults_on_the_line, *self.caller.faults]

    @property
    def faults_on_the_line(self) -> list[str]:
        """Those that were not the caller's to find."""
        faults = [
            f"{note.code} {note.text}"
            for note in self.notes
            # 31921 also when a server closes its stream on purpose (twilio.md §1.9).
            if note.code is not None and note.code != stream.SERVER_CLOSED
        ]
        if self.ending == "given_up":
            lasted = self.ended_at - self.answered_at
            faults.append(f"the call was not over when its time was up, after {lasted:.0f} s")
        return faults

    def write_wav(self, path: Path) -> None:
        """Write what was said (left) and heard (right) from the answer to the end."""
        with path.open("wb") as file:
            writer = StereoWriter(file)
            written = 0
            for one in self.streams:
                begin = round((one.started_at - self.answered_at) * audio.BYTES_PER_SECOND)
                gap = audio.SILENCE * max(0, begin - written)
                writer.write(gap, gap)
                writer.write(bytes(one.spoken), bytes(one.heard))
                written += len(gap) + len(one.spoken)
            writer.close()
