"""Whether a replayed call went as its capture did: at the caller's ear, and on the agent's wire.

Two runs of the same call are never equal: a machine is busy, an answer comes a little later and is
then cut a little earlier. What is compared, and how far it may differ, is chosen so that the same
agent is found the same every time (docs/design/capture.md).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Final, Literal, TypeAlias

from offhook import audio
from offhook.rehearsal.caller import is_speech
from offhook.rehearsal.captured import Captured, FunctionCall, Text, Told, told
from offhook.rehearsal.likeness import sound_alike
from offhook.rehearsal.replay import enact
from offhook.rehearsal.report import CallReport
from offhook.rehearsal.stream import SimulatedStream

TIME_MS: Final = 700
"""By how much a time may differ: when the agent begins, and when it falls silent."""

LENGTH_SHARE: Final = 0.1
"""By how much more, of all that is said without a longer pause, its length may differ."""

PAUSE_MS: Final = 300
"""A shorter silence is part of what is said."""

TURN_PAUSE_MS: Final = 600
"""A shorter silence of the caller is part of his turn."""

BLIP_MS: Final = 60
"""Shorter sounds are not counted as speech."""

LATE_MS: Final = 250
"""A machine that sends the caller's audio later than this is too busy to tell two calls apart."""

MARKS: Final = 3
MARKS_SHARE: Final = 0.25
"""By how many the marks that playback passed may differ."""

Verdict: TypeAlias = Literal["same", "different", "too_busy"]


@dataclass(frozen=True, slots=True)
class Span:
    """Speech without a pause, in ms from the stream's start."""

    began: int
    ended: int


@dataclass(frozen=True, slots=True)
class Speech:
    """What the agent said in one go on one side. `spoken` ms of it are sound, the rest pauses."""

    began: int
    ended: int
    spoken: int
    cut: bool
    """Whether a `clear` threw away what was to follow."""
    sounds: tuple[bytes, ...] = field(repr=False)
    """What was played of it, a piece for each time that it was cut."""


@dataclass(frozen=True, slots=True)
class Passage:
    """What the agent said at about the same time on both sides; None where it said nothing."""

    captured: Speech | None
    replayed: Speech | None


@dataclass(frozen=True, slots=True)
class Answer:
    """How long the agent took to answer the caller's turn that ended at `asked`, in ms."""

    asked: int
    captured: int | None
    replayed: int | None


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that was not as captured, `at_ms` from the stream's start."""

    at_ms: int
    what: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """The verdict, and all that it is made of."""

    passages: tuple[Passage, ...]
    answers: tuple[Answer, ...]
    differences: tuple[Difference, ...]
    late_ms: int
    """By how much this machine sent the caller's own audio too late, at worst."""
    by_ear: bool
    """Whether the agent's wire was not in sight."""

    @property
    def verdict(self) -> Verdict:
        """`too_busy`: there are differences, and the machine may be to blame for them."""
        if not self.differences:
            return "same"
        return "different" if self.late_ms <= LATE_MS else "too_busy"

    @property
    def same(self) -> bool:
        """Whether the call went as captured."""
        return self.verdict == "same"


def compare_call(captured: Captured, report: CallReport, now: Told | None) -> Comparison:
    """Compare a call as it was placed again, with what became of it beside its stream."""
    found = [Difference(0, fault) for fault in report.faults]
    if not report.streams:
        found.append(Difference(0, "no stream was opened; captured: one was"))
        return Comparison((), (), tuple(found), 0, now is None)
    if len(report.streams) > 1:
        found.append(Difference(0, f"{len(report.streams)} streams were opened; captured: one"))
    verdict = compare(captured, report.streams[0], now)
    return replace(verdict, differences=(*found, *verdict.differences))


def compare(captured: Captured, replayed: SimulatedStream, now: Told | None) -> Comparison:
    """Compare a replayed stream with a captured one.

    `now` is what the agent's wire told in the replay, if that could be tapped; without it, what was
    said is compared by its sound, and functions are not.
    """
    then = told(captured.lines)
    before, after = _Side(enact(captured), then), _Side(replayed, now)
    passages = tuple(_passages(before, after))
    answers = tuple(_answers(before, after))
    found = [*_by_ear(passages, by_sound=now is None), *_marks(before, after)]
    found += _late_answers(answers, found, before, after)
    found += _endings(captured, before, after)
    if now is not None:
        found += [*_texts(before, after, then, now), *_functions(then, now)]
    found.sort(key=lambda one: one.at_ms)
    return Comparison(passages, answers, tuple(found), _late_ms(replayed), now is None)


def _late_ms(stream: SimulatedStream) -> int:
    frame_s = audio.FRAME_MS / 1000
    if stream.dropped:  # a fault of its own, and the times are no longer those of the frames
        return 0
    late = (at - stream.started_at - n * frame_s for n, at in enumerate(stream.sent_at, 1))
    return round(1000 * max(late, default=0.0))


class _Side:
    """One of the two calls, in ms from its stream's start."""

    def __init__(self, stream: SimulatedStream, told: Told | None) -> None:
        self.stream = stream
        self.told = told
        self.caller = spans(bytes(stream.spoken), TURN_PAUSE_MS)
        self.agent = spans(bytes(stream.heard), PAUSE_MS)
        self.onsets = [one.began for one in spans(bytes(stream.heard), 100)]
        self.cleared = [self.ms(at) for at in stream.cleared_at]
        self.bursts = [
            (self.place(burst.began), self.place(burst.ended), burst.cut_by)
            for burst in stream.bursts
        ]
        self.ended = audio.milliseconds(len(stream.heard))

    def ms(self, at: float) -> int:
        return round(1000 * (at - self.stream.started_at))

    def place(self, at: float) -> int:
        return round(audio.BYTES_PER_SECOND * (at - self.stream.started_at))

    def speech(self, parts: Sequence[Span]) -> Speech | None:
        if not parts:
            return None
        began, ended = parts[0].began, parts[-1].ended
        first = (began - PAUSE_MS) * audio.BYTES_PER_MS
        last = (ended + PAUSE_MS) * audio.BYTES_PER_MS
        sounds, cut = [bytearray()], False
        for start, end, cut_by in self.bursts:
            if start < last and end > first:
                # Only what was sent: a gap on the way is no part of what was said.
                sounds[-1] += self.stream.heard[max(start, first) : min(end, last)]
                if cut_by is not None:
                    cut |= cut_by == "clear"
                    sounds.append(bytearray())
        spoken = sum(one.ended - one.began for one in parts)
        return Speech(began, ended, spoken, cut, tuple(bytes(one) for one in sounds if one))


def spans(sound: bytes, pause_ms: int) -> list[Span]:
    """The stretches of speech in mu-law audio, of which shorter silences are a part."""
    found: list[Span] = []
    for place in range(0, len(sound), audio.FRAME_BYTES):
        if not is_speech(sound[place : place + audio.FRAME_BYTES]):
            continue
        began = audio.milliseconds(place)
        if found and began - found[-1].ended < pause_ms:
            began = found.pop().began
        found.append(Span(began, audio.milliseconds(place) + audio.FRAME_MS))
    return [one for one in found if one.ended - one.began >= BLIP_MS]


# --- at the ear ----------------------------------------------------------------------------------


def _passages(before: _Side, after: _Side) -> Iterator[Passage]:
    """What belongs together: stretches of either side that overlap, were they a little longer.

    So a pause that is one in one run and none in the other makes no difference.
    """
    both = [(one, before) for one in before.agent] + [(one, after) for one in after.agent]
    both.sort(key=lambda pair: pair[0].began)
    together: list[tuple[Span, _Side]] = []
    until = 0
    for one, side in both:
        if together and one.began > until + TIME_MS:
            yield _passage(together, before, after)
            together, until = [], 0
        together.append((one, side))
        until = max(until, one.ended)
    if together:
        yield _passage(together, before, after)


def _passage(together: list[tuple[Span, _Side]], before: _Side, after: _Side) -> Passage:
    then = before.speech([one for one, side in together if side is before])
    now = after.speech([one for one, side in together if side is after])
    return Passage(then, now)


def _by_ear(passages: Sequence[Passage], *, by_sound: bool) -> Iterator[Difference]:
    for passage in passages:
        then, now = passage.captured, passage.replayed
        if then is None:
            assert now is not None
            what = f"the agent spoke {_s(now.spoken)}; captured: nothing"
            yield Difference(now.began, what)
        elif now is None:
            what = f"the agent said nothing; captured: {_s(then.spoken)} of speech"
            yield Difference(then.began, what)
        elif abs(now.began - then.began) > TIME_MS:
            what = f"the agent began {_later(now.began - then.began)} than captured"
            yield Difference(now.began, what)
        elif abs(now.spoken - then.spoken) > TIME_MS + LENGTH_SHARE * then.spoken:
            what = f"the agent spoke {_s(now.spoken)}{_cut(now)}; captured: {_s(then.spoken)}"
            yield Difference(now.began, what + _cut(then))
        elif abs(now.ended - then.ended) > 2 * TIME_MS + LENGTH_SHARE * then.spoken:
            what = f"the agent fell silent {_later(now.ended - then.ended)} than captured"
            yield Difference(now.ended, what)
        elif by_sound and not all(map(sound_alike, then.sounds, now.sounds)):
            yield Difference(now.began, "what the agent said sounds different from the capture")


def _answers(before: _Side, after: _Side) -> Iterator[Answer]:
    """For each turn of the caller, the first speech of the agent that follows it, on each side."""
    turns = before.caller
    for turn, following in zip_longest(turns, turns[1:]):
        until = following.began if following is not None else max(before.ended, after.ended)
        firsts = [
            next((o.began - turn.ended for o in side.agent if turn.ended <= o.began < until), None)
            for side in (before, after)
        ]
        yield Answer(turn.ended, firsts[0], firsts[1])


def _late_answers(
    answers: Sequence[Answer], found: Sequence[Difference], before: _Side, after: _Side
) -> Iterator[Difference]:
    """Answers inside of what else is said: where one is, the other side has a beginning too."""
    for answer in answers:
        for took, other in ((answer.captured, after), (answer.replayed, before)):
            if took is None:
                continue
            at = answer.asked + took
            told_already = any(abs(one.at_ms - at) <= 2 * TIME_MS for one in found)
            if told_already or any(abs(onset - at) <= TIME_MS for onset in other.onsets):
                continue
            words = ["no answer" if ms is None else f"after {ms} ms" for ms in _both(answer)]
            what = f"the caller was answered: {words[1]}; captured: {words[0]}"
            yield Difference(at, what)
            break


def _both(answer: Answer) -> tuple[int | None, int | None]:
    return answer.captured, answer.replayed


def _marks(before: _Side, after: _Side) -> Iterator[Difference]:
    then, now = (sum(e.played for e in side.stream.echoes) for side in (before, after))
    if abs(then - now) > MARKS + MARKS_SHARE * max(then, now):
        what = f"{now} marks were passed by playback; captured: {then}"
        yield Difference(after.ended, what)


def _endings(captured: Captured, before: _Side, after: _Side) -> Iterator[Difference]:
    ended_by, now = captured.ended_by, after.stream.ended_by
    if ended_by == "server" and now != "server":
        yield Difference(
            after.ended, f"the server did not end the call; captured: it did, {_at(before.ended)}"
        )
    elif ended_by == "server" and abs(after.ended - before.ended) > 2 * TIME_MS:
        what = f"the server ended the call {_later(after.ended - before.ended)} than captured"
        yield Difference(after.ended, what)
    elif ended_by != "server" and now != "caller" and before.ended - after.ended > TIME_MS:
        yield Difference(
            after.ended, "the server ended the call; captured: the caller was there longer"
        )
    elif before.told is not None and after.told is not None:
        then, slug = before.told.ending, after.told.ending
        if then is not None and slug is not None and then != slug:
            yield Difference(after.ended, f"the call ended as {slug}; captured: {then}")


# --- on the agent's wire -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Turn:
    """What the caller was understood to say, and what the agent replied until he spoke again.

    `surely` is what it had told of its reply a while before it was interrupted: all else is a
    matter of milliseconds. All of it, if it was not.
    """

    at_ms: float
    caller: str
    agent: str
    surely: str


def _turns(texts: Sequence[Text], side: _Side) -> list[_Turn]:
    begins = [n for n, text in enumerate(texts) if text.role == "user"]
    turns = []
    for begin, end in zip_longest([-1, *begins], begins):
        at_ms = texts[begin].at_ms if begin >= 0 else 0.0
        until = texts[end].at_ms if end is not None else float("inf")
        cuts = [at for at in side.cleared if at_ms <= at <= until]
        if end is None and side.bursts and side.bursts[-1][2] == "end":
            cuts.append(side.ended)
        sure = min(cuts, default=float("inf")) - TIME_MS
        replies = texts[begin + 1 : end]
        caller = texts[begin].content if begin >= 0 else ""
        all_of_it = " ".join(text.content for text in replies)
        surely = " ".join(text.content for text in replies if text.at_ms < sure)
        turns.append(_Turn(at_ms, caller, all_of_it, surely))
    return turns


def _texts(before: _Side, after: _Side, then: Told, now: Told) -> Iterator[Difference]:
    for old, new in zip_longest(_turns(then.texts, before), _turns(now.texts, after)):
        if new is None:
            what = f"the caller was not understood to say anything; captured: {old.caller!r}"
            yield Difference(round(old.at_ms), what)
        elif old is None:
            what = f"the caller was understood to say {new.caller!r}; captured: nothing"
            yield Difference(round(new.at_ms), what)
        elif _plain(old.caller) != _plain(new.caller):
            what = f"the caller was understood to say {new.caller!r}; captured: {old.caller!r}"
            yield Difference(round(new.at_ms), what)
        elif not _same_reply(old, new):
            what = f"the agent said {new.agent!r}; captured: {old.agent!r}"
            yield Difference(round(new.at_ms), what)


def _same_reply(old: _Turn, new: _Turn) -> bool:
    return _begins(new.agent, old.surely) and _begins(old.agent, new.surely)


def _begins(reply: str, words: str) -> bool:
    return _plain(reply).startswith(_plain(words))


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _functions(then: Told, now: Told) -> Iterator[Difference]:
    for old, new in zip_longest(then.functions, now.functions):
        if new is None:
            yield Difference(round(old.at_ms), f"no function was called; captured: {_call(old)}")
        elif old is None:
            yield Difference(round(new.at_ms), f"{_call(new)} was called; captured: none")
        elif (old.name, old.arguments) != (new.name, new.arguments):
            what = f"{_call(new)} was called; captured: {_call(old)}"
            yield Difference(round(new.at_ms), what)


def _call(call: FunctionCall) -> str:
    return f"{call.name}({call.arguments})"


# --- words ---------------------------------------------------------------------------------------


def _s(ms: int) -> str:
    return f"{ms / 1000:.1f} s"


def _at(ms: int) -> str:
    return f"after {_s(ms)}"


def _later(ms: int) -> str:
    return f"{abs(ms)} ms {'later' if ms > 0 else 'earlier'}"


def _cut(speech: Speech) -> str:
    return ", then interrupted" if speech.cut else ""
