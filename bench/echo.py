"""Figures of `barge_in`: sounds that were taken for the caller, and callers who meant it.

    python -m bench.echo            # prints the tables of docs/barge-in.md
    python -m bench.echo --write    # and writes them there

The real rules of a call hear a simulated line in virtual time. On the line are recorded speech of
the agent and its echo, noise, and recorded callers; turns are found in the audio as the stand-in
finds them. Deepgram's own recogniser is not among it: what that takes for speech, and how soon,
only a live account tells.
"""

import argparse
import random
import statistics
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy

from offhook import audio
from offhook.call.call import Call
from offhook.call.call_settings import CallSettings
from offhook.call.commands import ClearCaller, Command, Note, Piece, Play
from offhook.call.inputs import CallAnnounced, Input
from offhook.deepgram import messages as deepgram
from offhook.events.types import InterruptionSuppressed
from offhook.testing.simulator.speech import clips, mulaw
from offhook.testing.simulator.speech.turn_finder import TurnChange, TurnFinder
from offhook.testing.simulator.twilio.line_echo import EchoSettings, LineEcho
from offhook.twilio import messages as twilio

PAGE: Final = Path(__file__).parents[1] / "docs" / "barge-in.md"
SETTINGS: Final = {
    "off": CallSettings(silence_s=0),
    "`min_speech_ms: 400`": CallSettings(silence_s=0, min_speech_s=0.4),
    "`echo_guard`": CallSettings(silence_s=0, echo_guard=True),
    "both": CallSettings(silence_s=0, echo_guard=True, min_speech_s=0.4),
}
DELAYS_MS: Final = (60, 120, 250, 400, 600, 900)
LOSSES_DB: Final = (6, 12, 18, 24)
ROOM_MS: Final = 300
LINE_DBFS: Final = -60.0
NETWORK_S: Final = 0.04
"""Seconds of one way between server and Twilio."""
ANSWER_S: Final = 0.8
"""Seconds from the end of a turn to the agent's next words."""
PACE: Final = 3
"""Speed of the agent's audio on its way, in multiples of its playing time."""
AFTER_S: Final = 0.8
"""Seconds after a caller's words until they are confirmed, which may be what cuts the agent."""
FRAME_S: Final = audio.FRAME_MS / 1000
FULL: Final = 32768.0

Sound = Callable[[int], Any]
"""Samples of a frame, by its number."""


@dataclass
class Outcome:
    """What happened in one call. Times are in seconds of the call."""

    cleared: list[float] = field(default_factory=list)
    suppressed: list[tuple[float, str]] = field(default_factory=list)
    agent_s: float = 0.0
    """Seconds for which the agent was audible."""


class Line:
    """A call on a simulated line: the agent speaks one utterance after another, until cut.

    `has_words`: Deepgram finds words in what it takes for speech, and the agent answers them.
    """

    def __init__(
        self,
        settings: CallSettings,
        echo: EchoSettings | None,
        noise: Sound,
        seed: str,
        *,
        has_words: bool = True,
    ) -> None:
        self.now = 0.0
        self._has_words = has_words
        self.outcome = Outcome()
        self._random = random.Random(zlib.crc32(seed.encode()))
        self._echo = LineEcho(echo) if echo is not None else None
        self._noise = noise
        self._finder = TurnFinder(500)
        self._call = Call(settings, 0.0, self._do)
        self._to_twilio: deque[tuple[float, Piece | None]] = deque()
        self._back: deque[tuple[float, str]] = deque()
        self._buffer = bytearray()
        self._marks: deque[tuple[int, str]] = deque()
        self._played = 0
        self._speech = b""
        self._sent = 0
        self._speaks_at: float | None = 0.3
        self._frame = 0
        for message in (
            CallAnnounced(),
            deepgram.Welcome("r"),
            deepgram.SettingsApplied(),
            twilio.Start("MZ", twilio.StartDetails("AC", "CA")),
        ):
            self._receive(message)

    @property
    def is_audible(self) -> bool:
        """True while the caller hears the agent."""
        return bool(self._buffer)

    @property
    def _waits(self) -> bool:
        """True while the agent lets somebody finish; noise without words does not keep it."""
        return self._has_words and self._finder.speaking

    def run(self, seconds: float, voice: bytes = b"") -> None:
        """Go on for some time, in which the caller says `voice` from the first frame on."""
        end = self.now + seconds
        place = 0
        while self.now < end:
            said = voice[place : place + audio.FRAME_BYTES]
            place += audio.FRAME_BYTES
            self._step(said + audio.SILENCE * (audio.FRAME_BYTES - len(said)))

    def _step(self, said: bytes) -> None:
        self.now += FRAME_S
        self._frame += 1
        self._call.tick(self.now)
        self._speak()
        heard = self._play()
        while self._back and self._back[0][0] <= self.now:
            self._receive(twilio.Mark("MZ", twilio.MarkName(self._back.popleft()[1])))
        if self._echo is not None:
            said = self._echo.mix(said, heard)
        noise = self._noise(self._frame)
        frame = mulaw.encode(numpy.clip(mulaw.decode(said) + noise, -32767, 32767))
        self._call.hear(frame, self.now)
        for change in self._finder.hear(frame):
            self._turn(change)
        self._call.tick(self.now)

    def _turn(self, change: TurnChange) -> None:
        if change is TurnChange.STARTED:
            self._receive(deepgram.UserStartedSpeaking())
            if self._speech:  # Deepgram stops to speak, whatever is done here.
                self._speech = b""
                self._receive(deepgram.AgentAudioDone())
            self._speaks_at = None
        elif self._has_words:
            self._receive(deepgram.ConversationText("user", "words"))
            self._speaks_at = self.now + ANSWER_S

    def _speak(self) -> None:
        if self._speech:
            size = PACE * audio.FRAME_BYTES
            chunk, self._speech = self._speech[:size], self._speech[size:]
            self._send(self._call.speak(chunk, self.now))
            if not self._speech:
                self._receive(deepgram.AgentAudioDone())
        elif self._speaks_at is None and not self._buffer and not self._waits:
            self._speaks_at = self.now + self._random.uniform(0.3, 0.8)
        elif self._speaks_at is not None and self.now >= self._speaks_at:
            self._speaks_at = None
            names = self._random.sample(clips.names("agent-"), 2)
            self._receive(deepgram.ConversationText("assistant", "words"))
            self._speech = audio.silence(150).join(clips.load(name) for name in names)

    # --- Twilio ---

    def _play(self) -> bytes:
        while self._to_twilio and self._to_twilio[0][0] <= self.now:
            piece = self._to_twilio.popleft()[1]
            if piece is None:
                self._buffer.clear()
                while self._marks:
                    self._back.append((self.now + NETWORK_S, self._marks.popleft()[1]))
                continue
            self._buffer += piece[0]
            if piece[1] is not None:
                self._marks.append((self._played + len(self._buffer), piece[1]))
        heard = bytes(self._buffer[: audio.FRAME_BYTES])
        del self._buffer[: audio.FRAME_BYTES]
        self._played += len(heard)
        self.outcome.agent_s += FRAME_S if heard else 0
        while self._marks and self._marks[0][0] <= self._played:
            self._back.append((self.now + NETWORK_S, self._marks.popleft()[1]))
        return heard + audio.SILENCE * (audio.FRAME_BYTES - len(heard))

    # --- the call ---

    def _receive(self, message: Input) -> None:
        self._call.receive(message, self.now)

    def _send(self, pieces: Sequence[Piece]) -> None:
        self._to_twilio.extend((self.now + NETWORK_S, piece) for piece in pieces)

    def _do(self, command: Command) -> None:
        match command:
            case Play():
                self._send(command.pieces)
            case ClearCaller():
                self.outcome.cleared.append(self.now)
                self._to_twilio.append((self.now + NETWORK_S, None))
            case Note(InterruptionSuppressed() as event):
                self.outcome.suppressed.append((self.now, event.cause))


# --- noises: samples of a frame, by its number -------------------------------------------------


def white(dbfs: float) -> Sound:
    """Noise of a line."""
    rng = numpy.random.default_rng(1)
    samples = rng.standard_normal(audio.BYTES_PER_SECOND * 7) * FULL * 10 ** (dbfs / 20)
    return looped(samples)


def looped(samples: Any) -> Sound:
    """A recording, again and again."""
    frames = len(samples) // audio.FRAME_BYTES
    cut = samples[: frames * audio.FRAME_BYTES].reshape(frames, audio.FRAME_BYTES)

    def sound(number: int) -> Any:
        return cut[number % frames]

    return sound


def both(one: Sound, other: Sound) -> Sound:
    """Two noises at once."""
    return lambda number: one(number) + other(number)


def bursts(length_ms: tuple[int, int], dbfs: float, every_s: float, low: int) -> Sound:
    """Bursts of noise with a soft end: clicks when short, coughs when long. `low`: how dull."""
    rng = numpy.random.default_rng(2)
    draw = random.Random(2)
    samples = numpy.zeros(audio.BYTES_PER_SECOND * 60)
    at = 1.0
    while at < 59:
        size = draw.randint(*length_ms) * audio.BYTES_PER_MS
        burst = rng.standard_normal(size + low)
        burst = numpy.convolve(burst, numpy.ones(low) / low**0.5, "valid")[:size]
        burst *= numpy.minimum(1, numpy.linspace(3, 0, size)) * FULL * 10 ** (dbfs / 20)
        begin = int(at * audio.BYTES_PER_SECOND)
        samples[begin : begin + size] += burst
        at += draw.uniform(0.5, 1.5) * every_s
    return looped(samples)


def babble(voices: int, dbfs: float) -> Sound:
    """Several voices at once, who never pause for long."""
    draw = random.Random(3)
    samples = numpy.zeros(audio.BYTES_PER_SECOND * 60)
    for _ in range(voices):
        place = draw.randrange(audio.BYTES_PER_SECOND)
        while place < len(samples):
            said = mulaw.decode(clips.load(draw.choice(clips.names("caller-"))))
            size = min(len(said), len(samples) - place)
            samples[place : place + size] += said[:size]
            place += size + draw.randrange(audio.BYTES_PER_SECOND // 2)
    samples *= FULL * 10 ** (dbfs / 20) / numpy.sqrt(numpy.mean(samples**2))
    return looped(samples)


QUIET: Final = white(LINE_DBFS)
NOISES: Final[dict[str, Sound]] = {
    "line noise, -45 dBFS": white(-45),
    "clicks of 5 to 30 ms": both(QUIET, bursts((5, 30), -15, 2, 2)),
    "coughs of 180 to 350 ms": both(QUIET, bursts((180, 350), -18, 4, 6)),
    "babble of six voices, -40 dBFS": both(QUIET, babble(6, -40)),
    "babble of six voices, -30 dBFS": both(QUIET, babble(6, -30)),
    "one voice far away, -35 dBFS": both(QUIET, babble(1, -35)),
}


# --- what is measured --------------------------------------------------------------------------


def false_clears(
    settings: CallSettings, echo: EchoSettings | None, noise: Sound, s: float
) -> float:
    """Return how often a minute of the agent's speech was cut, while nobody spoke."""
    line = Line(settings, echo, noise, f"{echo}", has_words=echo is not None)
    line.run(s)
    return len(line.outcome.cleared) * 60 / max(line.outcome.agent_s, 1)


@dataclass
class Kept:
    """What became of callers who barged in. Times are ms from their first sound to the clear."""

    cut: list[float] = field(default_factory=list)
    missed: int = 0

    @property
    def share(self) -> float:
        """Share of those over whom the agent would have gone on speaking, had they not cut it."""
        return len(self.cut) / max(1, len(self.cut) + self.missed)


def barge_ins(settings: CallSettings, echo: EchoSettings | None, number: int) -> Kept:
    """Let callers barge in, each in a call of their own, at any moment of the second utterance."""
    kept = Kept()
    names = [name for name in clips.names("caller-") if len(clips.load(name)) > 4800]
    for each in range(number):
        draw = random.Random(each)
        line = Line(settings, echo, QUIET, f"{each}")
        # On a line whose echo cuts the agent, nobody gets to speak over it.
        line.run(draw.uniform(1.0, 4.0) if each % 2 else draw.uniform(4.0, 7.0))
        limit = line.now + 10
        while not line.is_audible and line.now < limit:
            line.run(FRAME_S)
        line.run(draw.uniform(0.1, 0.6))
        if not line.is_audible:
            continue
        begins = line.now
        before = len(line.outcome.cleared)
        loud = 10 ** (-draw.choice((0.0, 6.0)) / 20)
        voice = mulaw.encode(mulaw.decode(clips.load(draw.choice(names))) * loud)
        line.run(len(voice) / audio.BYTES_PER_SECOND, voice)
        is_audible = line.is_audible
        line.run(AFTER_S)
        cleared = line.outcome.cleared[before:]
        if cleared:
            kept.cut.append((cleared[0] - begins) * 1000)
        elif is_audible:
            kept.missed += 1
    return kept


def echoes() -> Iterator[EchoSettings]:
    """Yield the lines with echo."""
    for delay in DELAYS_MS:
        for loss in LOSSES_DB:
            yield EchoSettings(delay, loss, ROOM_MS if (delay + loss) % 4 else 0)


def tables(seconds: float, callers: int) -> str:
    """Measure, and return the tables in Markdown."""
    names = list(SETTINGS)
    rows = ["| on the line | " + " | ".join(names) + " |", "| --- |" + " ---: |" * len(names)]
    for loss in LOSSES_DB:
        lines = [echo for echo in echoes() if echo.loss_db == loss]
        rates = [
            statistics.mean(false_clears(settings, echo, QUIET, seconds) for echo in lines)
            for settings in SETTINGS.values()
        ]
        rows.append(f"| echo, {loss} dB weaker | " + " | ".join(f"{r:.1f}" for r in rates) + " |")
    for name, noise in NOISES.items():
        rates = [false_clears(each, None, noise, 2 * seconds) for each in SETTINGS.values()]
        rows.append(f"| {name} | " + " | ".join(f"{rate:.1f}" for rate in rates) + " |")
    rows += ["", "| callers who barge in | " + " | ".join(names) + " |", rows[1]]
    lines_of = {"a line without echo": [None]} | {
        f"echo, {loss} dB weaker": [EchoSettings(delay, loss, ROOM_MS) for delay in (120, 600)]
        for loss in LOSSES_DB
    }
    for name, on in lines_of.items():
        cells = []
        for settings in SETTINGS.values():
            found = [barge_ins(settings, echo, callers // len(on)) for echo in on]
            cut = [ms for one in found for ms in one.cut]
            missed = sum(one.missed for one in found)
            if not cut:
                cells.append("-")
                continue
            p50, p95 = (numpy.percentile(cut, q) for q in (50, 95))
            share = len(cut) / (len(cut) + missed)
            cells.append(f"{share:.0%}, {p50:.0f} / {p95:.0f} ms")
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def write(text: str) -> None:
    """Put the tables between the marks of the page."""
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split("<!-- bench.echo -->\n", 1)
    _, after = rest.split("<!-- end -->", 1)
    PAGE.write_text(f"{before}<!-- bench.echo -->\n{text}\n<!-- end -->{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure barge_in.")
    parser.add_argument("--seconds", type=float, default=30, help="of each line")
    parser.add_argument("--callers", type=int, default=40, help="who barge in on each line")
    parser.add_argument("--write", action="store_true", help="the tables into docs/barge-in.md")
    options = parser.parse_args()
    text = tables(options.seconds, options.callers)
    print(text)
    if options.write:
        write(text)


if __name__ == "__main__":
    main()
