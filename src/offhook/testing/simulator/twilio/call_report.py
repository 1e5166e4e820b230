"""Report of a rehearsed call: its events, its measured times, and its audio as a WAV file."""

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
    """Entry of Twilio's debugger, with its code; without a code, a remark of the simulator."""

    code: int | None
    text: str


@dataclass(frozen=True, slots=True)
class TwimlDocument:
    """Response to a request for TwiML."""

    url: str
    """URL that was requested, without its connection overrides."""
    status: int
    body: str


Sound: TypeAlias = Literal[
    "say", "play", "ringing", "stream", "together", "waiting", "recording", "keypad"
]
"""Sound on a line: `together` is talk with others, `waiting` the music before they come."""


@dataclass(frozen=True, slots=True)
class LineSpan:
    """Period in which a sound is on the line. Times are in seconds of the clock."""

    sound: Sound
    began: float
    ended: float


class CallParty(StreamParty, Protocol):
    """Person on a call, who takes part in all of its streams, one after another."""

    @property
    def faults(self) -> Sequence[str]:
        """Descriptions of what this person expected and did not get."""

    def call_ended(self) -> None:
        """Note that the call is over."""


PartyT_co = TypeVar("PartyT_co", bound=CallParty, covariant=True)


@dataclass(slots=True)
class LegReport(Generic[PartyT_co]):
    """Report of one call. Times are in seconds of the clock."""

    account_sid: str
    call_sid: str
    caller: PartyT_co
    answered_at: float = math.nan
    ended_at: float = math.nan
    ending: Ending = "application_error"
    documents: list[TwimlDocument] = field(default_factory=list)
    verbs: list[Verb] = field(default_factory=list)
    """Verbs that were executed; of <Dial> and <Record>, only the parts that are simulated."""
    notes: list[DebuggerNote] = field(default_factory=list)
    streams: list[SimulatedStream] = field(default_factory=list)
    line: list[LineSpan] = field(default_factory=list)
    """Sounds that were on the line, in the order in which they ended."""

    def silences(self, at_least_s: float = 1.0) -> list[tuple[float, float]]:
        """Return beginning and end of each silence on the line between answer and end of the call.

        Silences shorter than `at_least_s` are left out, because a server is asked between two
        verbs. A stream counts as sound throughout: the caller measures silences within it.
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
        """Descriptions of everything that went wrong in the call; empty if nothing did."""
        return [*self.faults_on_the_line, *self.caller.faults]

    @property
    def faults_on_the_line(self) -> list[str]:
        """Faults that Twilio sees, as opposed to those that the caller finds."""
        faults = [
            f"{note.code} {note.text}"
            for note in self.notes
            # A server that closes its stream on purpose also causes 31921 (twilio.md §1.9).
            if note.code is not None and note.code != stream.SERVER_CLOSED
        ]
        if self.ending == "given_up":
            lasted = self.ended_at - self.answered_at
            faults.append(f"the call was not over when its time was up, after {lasted:.0f} s")
        return faults

    def write_wav(self, path: Path) -> None:
        """Write the caller's audio (left) and the agent's (right) from the answer to the end."""
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
