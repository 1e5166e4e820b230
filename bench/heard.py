"""The text that a record says was heard of a cut utterance, against what Twilio really played.

    python -m bench.heard [--interruptions 2000] [--seed 1]

Whole calls on a clock that jumps: our session between a simulated Twilio and an agent that knows
when it says each word. The agent speaks replies.txt, its words timed by eSpeak NG, whose regular
speech is then made irregular: every voice has a rate and pauses of its own, every word a length of
its own. How audio and texts come is different in each call: how much faster than they play, in
which chunks, a sentence at a time or all at once, each text before its audio, long before, or
after. The caller interrupts at random moments.

Each word's sound is a value of its own, so the words that were played are read from the very bytes
that the simulated Twilio played: a word counts when more than half of it was. The error of an
interruption is the difference in words, summed over the utterances that it cut.

Exits with 1 when the median is over one word or the 95th percentile over three.
"""

import argparse
import asyncio
import json
import math
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal, TypeAlias

from tests.memory_sockets import connect_in_memory
from tests.whole_server import ACCOUNT, NoTools, configured, empty_office, nothing_known

from offhook import audio
from offhook.calls.call_updates import CallUpdates
from offhook.calls.compose import compose
from offhook.clock import Timer
from offhook.concurrency.server_tasks import ServerTasks
from offhook.deepgram import messages
from offhook.events.types import AgentSaid, CallEvent
from offhook.net.websocket import Channel, Closed, Receiver, UnreachableError, UpgradeRefusedError
from offhook.policy.dial_policy import DialPolicy, DialRules
from offhook.policy.inbound_policy import InboundPolicy, InboundRules
from offhook.testing.simulator.twilio.stream import LineControls, SimulatedStream
from offhook.testing.virtual_clock import VirtualClock
from offhook.webhooks.pending_streams import PendingStreams

MEDIAN_MAX = 1
P95_MAX = 3

REPLIES = Path(__file__).with_name("replies.txt")
PAUSE = b"\x7f"
"""Mu-law's other zero, which the simulated Twilio puts in no gap of its own."""
VALUES = bytes(value for value in range(256) if value not in (0x7F, 0xFF))
"""A word's sound is one of these, all of it. They come round again after 254 words."""
ONE_SOUND = re.compile(rb"([^\x7f\xff])\1*", re.DOTALL)
SENTENCE = re.compile(r"(?<=[.!?]) (?=[A-Z])")
Texts: TypeAlias = Literal["before", "early", "ahead", "after"]
"""Each at the beginning of its audio, or while that of the one before comes, or all of them first,
or each at the end of its audio."""
TEXTS: Final[tuple[Texts, ...]] = ("before", "early", "ahead", "after")
TURNS = 12
"""In a call."""


# --- what is said ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Word:
    """From when to when it is heard, in seconds from the beginning of its reply."""

    text: str
    begins: float
    ends: float


def replies() -> list[list[list[Word]]]:
    """Each reply's sentences, of words."""
    texts = REPLIES.read_text("utf-8").splitlines()
    command = [sys.executable, "-m", "bench.word_times"]
    done = subprocess.run(
        command, input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    found = []
    for text, times in zip(texts, json.loads(done.stdout), strict=True):
        rest = iter(times)
        sentences = SENTENCE.split(text)
        found.append([[Word(word, *next(rest)) for word in one.split()] for one in sentences])
        assert next(rest, None) is None
    return found


@dataclass(frozen=True, slots=True)
class Manner:
    """How the agent of one call speaks, and how what it says comes to us."""

    stretch: float
    unevenness: float
    """The standard deviation of the logarithm of a word's length."""
    pauses: float
    """Times as long as eSpeak NG's."""
    margin_ms: int
    """Silence around each sentence, at most, on either side."""
    speed: float
    """Times as fast as it plays."""
    chunk: int
    """Bytes, the largest."""
    lead_s: float
    """A sentence is sent so long before the one before it has been played."""
    texts: Texts
    twilio_s: float
    deepgram_s: float
    """The ways there, one direction."""


def any_manner(draw: random.Random) -> Manner:
    return Manner(
        stretch=draw.uniform(0.75, 1.25),
        unevenness=draw.uniform(0.1, 0.3),
        pauses=draw.uniform(0.5, 2.5),
        margin_ms=draw.choice((0, 100, 250)),
        speed=math.exp(draw.uniform(math.log(1.1), math.log(30))),
        chunk=draw.choice((160, 960, 1280, 5000)),
        lead_s=draw.choice((0.3, 0.6, 1.5, 3600)),
        texts=draw.choices(TEXTS, (5, 2, 2, 1))[0],
        twilio_s=draw.uniform(0.005, 0.1),
        deepgram_s=draw.uniform(0.005, 0.08),
    )


@dataclass(slots=True)
class Sentence:
    text: str
    sound: bytes


@dataclass(slots=True)
class Utterance:
    sentences: list[Sentence]
    words: range
    """Their numbers in the call."""


class Mouth:
    """Makes the sound of words, and tells from sound which words it is."""

    def __init__(self, manner: Manner, draw: random.Random) -> None:
        self._manner = manner
        self._draw = draw
        self.sizes: list[int] = []
        """Bytes of each word of the call."""

    def utter(self, reply: Sequence[Sequence[Word]]) -> Utterance:
        first = len(self.sizes)
        words = [word for sentence in reply for word in sentence]
        pauses = [max(0.0, after.begins - word.ends) for word, after in pairwise(words)]
        sentences = []
        at = 0
        for sentence in reply:
            sound = bytearray(self._margin())
            for word in sentence:
                sound += self._word(word)
                at += 1
                if at < len(words):
                    sound += _pause(pauses[at - 1] * self._manner.pauses)
            sound += self._margin()
            sentences.append(Sentence(" ".join(word.text for word in sentence), bytes(sound)))
        return Utterance(sentences, range(first, len(self.sizes)))

    def _word(self, word: Word) -> bytes:
        length = (word.ends - word.begins) * self._manner.stretch
        length *= math.exp(self._draw.gauss(0, self._manner.unevenness))
        size = max(80, round(length * audio.BYTES_PER_SECOND))
        value = VALUES[len(self.sizes) % len(VALUES)]
        self.sizes.append(size)
        return bytes([value]) * size

    def _margin(self) -> bytes:
        return _pause(self._draw.uniform(0, self._manner.margin_ms / 1000))

    def played(self, heard: bytes) -> set[int]:
        """The words of which more than half is in there."""
        played = Counter[int]()
        number = 0
        for sound in ONE_SOUND.finditer(heard):
            number += (VALUES.index(sound[1]) - number) % len(VALUES)
            played[number] += len(sound[0])
        return {number for number, size in played.items() if 2 * size > self.sizes[number]}


def _pause(seconds: float) -> bytes:
    return PAUSE * round(seconds * audio.BYTES_PER_SECOND)


# --- a call ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class Turn:
    """What the agent said until it was interrupted, or was heard out."""

    utterances: list[Utterance]
    said: list[AgentSaid]
    played: list[int] = field(default_factory=list)
    """Words of each utterance, in truth."""

    @property
    def cut(self) -> bool:
        """Whether that hindered anything from being heard, or is thought to have."""
        whole = sum(len(utterance.words) for utterance in self.utterances)
        return sum(self.played) < whole or any(one.interrupted for one in self.said)

    @property
    def unannounced(self) -> int:
        """Words that were played, and in no text that had come: nobody can have them on record."""
        return sum(
            max(0, played - len(said.intended.split()))
            for said, played in zip(self.said, self.played, strict=False)
        )

    @property
    def differences(self) -> list[int]:
        """Words on record less words played, of each utterance, as far as it was announced."""
        # What had not begun to come has no place in the record, and was not played.
        assert not any(self.played[len(self.said) :])
        return [
            len(said.text.split()) - min(played, len(said.intended.split()))
            for said, played in zip(self.said, self.played, strict=False)
        ]

    @property
    def error(self) -> int:
        return sum(map(abs, self.differences))


class Silent:
    """A caller whom only the agent hears: a stream.Party."""

    def next_frame(self, line: LineControls, heard: bytes, now: float) -> bytes:
        return audio.silence(audio.FRAME_MS)


class Dialled:
    def cancel(self) -> None:
        pass


class Conversation:
    """One call on a clock that jumps; it is also the agent of it, a wire.Receiver."""

    def __init__(self, known: Sequence[list[list[Word]]], manner: Manner, seed: int) -> None:
        self.manner = manner
        self._known = known
        self._draw = random.Random(seed)
        self._mouth = Mouth(manner, self._draw)
        self._clock = clock = VirtualClock(1000.0)
        self._happened: list[CallEvent] = []
        self._timers: list[tuple[float, bool, Timer]] = []
        """Of the present turn: when, whether it is audio, and what calls it off."""
        self._channel: Channel
        self._ready = False
        self._turns: list[Turn] = []
        limits = {"max_minutes": 1440, "silence_seconds": 0}
        calls = compose(
            configured("ws://127.0.0.1:1/", limits=limits),
            clock=clock,
            dial=self._dial,
            publish=self._happened.append,
            tools=lambda toolbox, call: NoTools(clock),
            look_up=nothing_known,
            messaging=empty_office(clock),
            dial_policy=DialPolicy(DialRules()),
            inbound=InboundPolicy(InboundRules(), clock, lambda ms, tier: 0),
            updates=CallUpdates(None, ServerTasks(asyncio.TaskGroup())),
        )
        self._stream = SimulatedStream(
            Silent(),
            clock,
            account_sid=ACCOUNT,
            call_sid="CA" + "2" * 32,
            stream_sid="MZ" + "3" * 32,
        )
        lobby = PendingStreams(clock, calls.intake.admit, lambda why: None)
        connect_in_memory(clock, self._stream, lobby.receiver(), manner.twilio_s)
        assert clock.run_until(lambda: self._ready, 5)

    def run(self, turns: int = TURNS) -> list[Turn]:
        """A random conversation, from beginning to end."""
        draw = self._draw
        for _ in range(turns):
            some = [draw.choice(self._known) for _ in range(1 + (draw.random() < 0.15))]
            self.say(some, draw.random() if draw.random() < 0.8 else None)
        return self.hang_up()

    def say(self, some: Sequence[Sequence[Sequence[Word]]], interrupted_at: float | None) -> None:
        """The agent says these, one behind the other, and the caller answers.

        The caller interrupts when that part of the time has passed in which all would be heard;
        None: in silence, afterwards.
        """
        draw, clock = self._draw, self._clock
        before = len(self._happened)
        self._timers.clear()
        utterances = [self._mouth.utter(reply) for reply in some]
        begins = ends = clock.now()
        for utterance in utterances:
            ends = self._send(utterance, begins, ends)
            begins = self._timers[-1][0] + draw.uniform(0, 0.5)
        if interrupted_at is None:
            clock.run(ends - clock.now() + 1)
        else:
            clock.run(interrupted_at * (ends - clock.now() + self.manner.twilio_s))
        self._hear_the_caller()
        clock.run(draw.uniform(0.3, 1))
        self._tell(messages.ConversationText("user", "Something else."))
        clock.run(draw.uniform(0.3, 1))
        said = [h.event for h in self._happened[before:] if isinstance(h.event, AgentSaid)]
        self._turns.append(Turn(utterances, said))

    def hang_up(self) -> list[Turn]:
        """End the call; what became of each turn."""
        self._stream.hang_up()
        self._clock.run(1)
        played = self._mouth.played(bytes(self._stream.heard))
        for turn in self._turns:
            turn.played = [len(played.intersection(one.words)) for one in turn.utterances]
        return self._turns

    # --- what comes from the session ---

    def _dial(
        self,
        receiver: Receiver,
        failed: Callable[[UpgradeRefusedError | UnreachableError], None],
        place: int,
    ) -> Dialled:
        connect_in_memory(self._clock, receiver, self, self.manner.deepgram_s)
        return Dialled()

    def on_open(self, socket: Channel) -> None:
        self._channel = socket
        self._tell(messages.Welcome("bench"))

    def on_text(self, text: bytes) -> None:
        if messages.read_ours(text) == messages.UnknownAgentMessage("Settings"):
            self._tell(messages.SettingsApplied())
            self._ready = True

    def on_binary(self, data: bytes) -> None:
        pass

    def on_writable(self, writable: bool) -> None:
        pass

    def on_close(self, closed: Closed) -> None:
        pass

    # --- what goes to it ---

    def _send(self, utterance: Utterance, begins: float, plays_from: float) -> float:
        """Send it from that time on; when it has been played, if all goes on at once."""
        draw = self._draw
        at = before = begins
        plays_until = plays_from
        for sentence in utterance.sentences:
            text = messages.ConversationText("assistant", sentence.text)
            tell = partial(self._tell, text)
            if at > begins:
                at = max(at, plays_until - self.manner.lead_s)
            first, text_at = at, {"ahead": begins, "early": draw.uniform(before, at)}
            if self.manner.texts != "after":
                self._at(text_at.get(self.manner.texts, at), tell, is_audio=False)
            for chunk in self._chunks(sentence.sound):
                self._at(at, partial(self._channel.send_binary, chunk))
                plays_until = max(plays_until, at) + len(chunk) / audio.BYTES_PER_SECOND
                at += len(chunk) / audio.BYTES_PER_SECOND / self.manner.speed
            if self.manner.texts == "after":
                self._at(at, tell, is_audio=False)
            before = first
        self._at(at, partial(self._tell, messages.AgentAudioDone()))
        return plays_until

    def _chunks(self, sound: bytes) -> Iterator[bytes]:
        at = 0
        while at < len(sound):
            size = self._draw.randint(1, self.manner.chunk)
            yield sound[at : at + size]
            at += size

    def _hear_the_caller(self) -> None:
        """The caller speaks: nothing more is said, but for the audio that is under way."""
        now = self._clock.now()
        self._tell(messages.UserStartedSpeaking())
        late = now + self._draw.uniform(0, 0.1)
        unfinished = False
        for at, is_audio, timer in self._timers:
            if at > (late if is_audio else now):
                timer.cancel()
                unfinished = True
        if unfinished:
            self._at(late, partial(self._tell, messages.AgentAudioDone()))

    def _at(self, when: float, do: Callable[[], None], *, is_audio: bool = True) -> None:
        self._timers.append((when, is_audio, self._clock.call_at(when, do)))

    def _tell(self, message: messages.ServerMessage) -> None:
        self._channel.send_text(messages.write(message))


# --- figures --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Figures:
    """Of the interruptions that cut something, and of what was heard out."""

    cut: list[tuple[Manner, Turn]]
    heard_out: list[tuple[Manner, Turn]]

    def error(self, part: float, *, strict: bool = False) -> int:
        """That quantile of the errors, in words; `strict`: with what nobody could know."""
        errors = sorted(turn.error + strict * turn.unannounced for _, turn in self.cut)
        return errors[math.ceil(part * len(errors)) - 1]


def measure(interruptions: int, seed: int) -> Figures:
    """Make calls until so many interruptions have cut something."""
    known = replies()
    draw = random.Random(seed)
    cut: list[tuple[Manner, Turn]] = []
    heard_out: list[tuple[Manner, Turn]] = []
    while len(cut) < interruptions:
        manner = any_manner(draw)
        for turn in Conversation(known, manner, draw.getrandbits(32)).run():
            (cut if turn.cut else heard_out).append((manner, turn))
    return Figures(cut[:interruptions], heard_out)


def described(figures: Figures) -> Iterator[str]:
    turns = [turn for _, turn in figures.cut]
    count = len(turns)
    yield f"{count} interruptions that cut something, {len(figures.heard_out)} turns heard out"
    yield f"  error in words: median {figures.error(0.5)}, p95 {figures.error(0.95)},"
    counts = Counter(turn.error for turn in turns)
    yield "  " + ", ".join(f"{error}: {counts[error] / count:.1%}" for error in sorted(counts))
    bias = sum(sum(turn.differences) for turn in turns) / count
    yield f"  on record less played, mean: {bias:+.2f} words"
    lost = [turn.unannounced for turn in turns if turn.unannounced]
    yield f"  {sum(lost)} words more were played whose text had not come, in {len(lost)} of them;"
    strictly = figures.error(0.5, strict=True), figures.error(0.95, strict=True)
    yield "  these counted too: median {}, p95 {}".format(*strictly)
    for texts in TEXTS:
        part = Figures([one for one in figures.cut if one[0].texts == texts], [])
        if part.cut:
            errors = f"median {part.error(0.5)}, p95 {part.error(0.95)}"
            yield f"  texts {texts}: {len(part.cut)} interruptions, {errors}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Heard text against what was played.")
    parser.add_argument("--interruptions", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    figures = measure(arguments.interruptions, arguments.seed)
    print("\n".join(described(figures)))
    return figures.error(0.5) > MEDIAN_MAX or figures.error(0.95) > P95_MAX


if __name__ == "__main__":
    sys.exit(main())
