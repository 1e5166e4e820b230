"""Comparison of two calls by their audio: when the agent speaks, how long, and how it sounds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from offhook.testing.replay.call_side import AgentUtterance, CallSide, SpeechSpan
from offhook.testing.replay.difference import TIME_MS, Difference
from offhook.testing.replay.sound_distance import sound_alike

LENGTH_SHARE: Final = 0.1
"""Share of an utterance's length by which it may differ, in addition to TIME_MS."""

MARKS: Final = 3
MARKS_SHARE: Final = 0.25
"""Number of passed marks, and share of their number in addition, by which two calls may differ."""


@dataclass(frozen=True, slots=True)
class SpeechPair:
    """Utterances of the agent at about the same time in both calls; None where it said nothing."""

    captured: AgentUtterance | None
    replayed: AgentUtterance | None

    @property
    def by_chance(self) -> bool:
        """True if only one call has the utterance, because it was cut off just after its start."""
        only = self.replayed if self.captured is None else self.captured
        alone = self.captured is None or self.replayed is None
        return alone and only is not None and only.broken_off and only.spoken <= TIME_MS


@dataclass(frozen=True, slots=True)
class AnswerTimes:
    """Milliseconds from the end of a caller's turn, at `asked`, to its answer in both calls."""

    asked: int
    captured: int | None
    replayed: int | None


def speech_pairs(before: CallSide, after: CallSide) -> Iterator[SpeechPair]:
    """Yield the utterances of both calls, paired where they overlap or lie TIME_MS apart at most.

    A pause that is long enough to split an utterance in only one call is therefore no difference.
    """
    both = [(one, before) for one in before.agent] + [(one, after) for one in after.agent]
    both.sort(key=lambda one: one[0].began)
    together: list[tuple[SpeechSpan, CallSide]] = []
    until = 0
    for one, side in both:
        if together and one.began > until + TIME_MS:
            yield _pair(together, before, after)
            together, until = [], 0
        together.append((one, side))
        until = max(until, one.ended)
    if together:
        yield _pair(together, before, after)


def _pair(
    together: Sequence[tuple[SpeechSpan, CallSide]], before: CallSide, after: CallSide
) -> SpeechPair:
    then = before.speech([one for one, side in together if side is before])
    now = after.speech([one for one, side in together if side is after])
    return SpeechPair(then, now)


def answers(before: CallSide, after: CallSide) -> Iterator[AnswerTimes]:
    """Yield, for each turn of the caller, the times to the agent's answer in both calls."""
    turns = before.caller
    for turn, following in zip_longest(turns, turns[1:]):
        until = following.began if following is not None else max(before.ended, after.ended)
        then, now = (
            next((o.began - turn.ended for o in side.agent if turn.ended <= o.began < until), None)
            for side in (before, after)
        )
        yield AnswerTimes(turn.ended, then, now)


# --- differences ---------------------------------------------------------------------------------


def differences(
    heard: Sequence[SpeechPair],
    answered: Sequence[AnswerTimes],
    before: CallSide,
    after: CallSide,
    *,
    by_sound: bool,
) -> Iterator[Difference]:
    """Yield the differences that a caller would notice; with `by_sound`, also other words."""
    found = [one for pair in heard for one in _speech(pair, by_sound=by_sound)]
    yield from found
    explained = [one.at_ms for one in found]
    explained += [one.began for p in heard if p.by_chance for one in _both(p)]
    yield from _late_answers(answered, explained, before, after)
    yield from _marks(before, after)


def _both(pair: SpeechPair) -> list[AgentUtterance]:
    return [one for one in (pair.captured, pair.replayed) if one is not None]


def _speech(pair: SpeechPair, *, by_sound: bool) -> Iterator[Difference]:
    then, now = pair.captured, pair.replayed
    if pair.by_chance:
        return
    if then is None:
        assert now is not None  # one of the two is there
        yield Difference(now.began, f"the agent spoke {_s(now.spoken)}; captured: nothing")
    elif now is None:
        what = f"the agent said nothing; captured: {_s(then.spoken)} of speech"
        yield Difference(then.began, what)
    elif abs(now.began - then.began) > TIME_MS:
        what = f"the agent began {later(now.began - then.began)} than captured"
        yield Difference(now.began, what)
    elif abs(now.spoken - then.spoken) > TIME_MS + LENGTH_SHARE * then.spoken:
        what = f"the agent spoke {_s(now.spoken)}{_interrupted(now)}; captured:"
        yield Difference(now.began, f"{what} {_s(then.spoken)}{_interrupted(then)}")
    elif abs(now.ended - then.ended) > 2 * TIME_MS + LENGTH_SHARE * then.spoken:
        what = f"the agent fell silent {later(now.ended - then.ended)} than captured"
        yield Difference(now.ended, what)
    elif by_sound and not all(map(sound_alike, then.sounds, now.sounds)):
        yield Difference(now.began, "what the agent said sounds different from the capture")


def _late_answers(
    answered: Sequence[AnswerTimes], explained: Sequence[int], before: CallSide, after: CallSide
) -> Iterator[Difference]:
    """Yield late or missing answers, except where another difference explains them.

    An answer may lie within a longer utterance: the other call then needs an onset at its time.
    """
    for answer in answered:
        for took, other in ((answer.captured, after), (answer.replayed, before)):
            if took is None:
                continue
            at = answer.asked + took
            if any(abs(one - at) <= 2 * TIME_MS for one in explained):
                continue
            if any(abs(onset - at) <= TIME_MS for onset in other.onsets):
                continue
            now, then = _took(answer.replayed), _took(answer.captured)
            yield Difference(at, f"the caller was answered {now}; captured: {then}")
            break


def _marks(before: CallSide, after: CallSide) -> Iterator[Difference]:
    then, now = (sum(e.played for e in side.stream.echoes) for side in (before, after))
    if abs(then - now) > MARKS + MARKS_SHARE * max(then, now):
        what = f"{now} marks were passed by playback; captured: {then}"
        yield Difference(after.ended, what)


# --- words ---------------------------------------------------------------------------------------


def later(ms: int) -> str:
    """Return a time difference with its direction, such as "300 ms later"."""
    return f"{abs(ms)} ms {'later' if ms > 0 else 'earlier'}"


def _s(ms: int) -> str:
    return f"{ms / 1000:.1f} s"


def _took(ms: int | None) -> str:
    return "never" if ms is None else f"after {ms} ms"


def _interrupted(speech: AgentUtterance) -> str:
    return ", then interrupted" if speech.interrupted else ""
