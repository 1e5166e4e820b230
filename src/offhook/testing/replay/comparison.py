"""Comparison of a replayed call with its capture: the verdict, and the facts behind it.

Two runs of the same call are never equal: a machine is busy, an answer comes a little later and is
then cut a little earlier. The compared values, and their tolerances, are chosen so that an
unchanged agent always gets the verdict `same` (docs/design/capture.md).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from offhook import audio
from offhook.testing.replay import audio_diff, message_diff
from offhook.testing.replay.audio_diff import AnswerTimes, SpeechPair
from offhook.testing.replay.call_side import CallSide
from offhook.testing.replay.captured import AgentWire, Captured, told
from offhook.testing.replay.difference import TIME_MS, Difference
from offhook.testing.replay.replayer import enact
from offhook.testing.simulator.twilio.call_report import CallParty, LegReport
from offhook.testing.simulator.twilio.stream import SimulatedStream

LATE_MS: Final = 250
"""Delay in ms of the caller's audio above which this machine is too busy to compare two calls."""

Verdict: TypeAlias = Literal["same", "different", "too_busy"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Result of a comparison: the verdict, and the facts behind it."""

    speech: tuple[SpeechPair, ...]
    answers: tuple[AnswerTimes, ...]
    differences: tuple[Difference, ...]
    late_ms: int
    """Longest delay in ms with which this machine sent the caller's audio."""
    is_audio_only: bool
    """True if the messages of the agent's connection were not available."""

    @property
    def verdict(self) -> Verdict:
        """Verdict on the call; `too_busy` if a slow machine may have caused the differences."""
        if not self.differences:
            return "same"
        return "different" if self.late_ms <= LATE_MS else "too_busy"

    @property
    def same(self) -> bool:
        """True if the replayed call has no differences from its capture."""
        return self.verdict == "same"


def compare_call(
    captured: Captured, report: LegReport[CallParty], now: AgentWire | None
) -> Comparison:
    """Compare a replayed call with its capture, including faults and the number of streams."""
    found = [Difference(0, fault) for fault in report.faults]
    if not report.streams:
        found.append(Difference(0, "no stream was opened; captured: one was"))
        return Comparison((), (), tuple(found), 0, now is None)
    if len(report.streams) > 1:
        found.append(Difference(0, f"{len(report.streams)} streams were opened; captured: one"))
    comparison = compare(captured, report.streams[0], now)
    return replace(comparison, differences=(*found, *comparison.differences))


def compare(captured: Captured, replayed: SimulatedStream, now: AgentWire | None) -> Comparison:
    """Compare a replayed stream with a captured one.

    `now` has the messages of the agent's connection in the replay, if they were available. Without
    it, speech is compared by its sound, and function calls are not compared.
    """
    then = told(captured.lines)
    before, after = CallSide(enact(captured)), CallSide(replayed)
    heard = tuple(audio_diff.speech_pairs(before, after))
    answered = tuple(audio_diff.answers(before, after))
    found = list(audio_diff.differences(heard, answered, before, after, by_sound=now is None))
    found += _endings(captured, then, before, now, after)
    if now is not None:
        found += message_diff.differences(then, before, now, after)
    found.sort(key=lambda one: one.at_ms)
    return Comparison(heard, answered, tuple(found), _late_ms(replayed), now is None)


def _endings(
    captured: Captured, then: AgentWire, before: CallSide, now: AgentWire | None, after: CallSide
) -> Iterator[Difference]:
    late = after.ended - before.ended
    if captured.ended_by == "server":
        if after.stream.ended_by != "server":
            what = f"the server did not end the call; captured: it did, after {before.ended} ms"
            yield Difference(after.ended, what)
        elif abs(late) > 2 * TIME_MS:
            what = f"the server ended the call {audio_diff.later(late)} than captured"
            yield Difference(after.ended, what)
    elif after.stream.ended_by != "caller" and late < -TIME_MS:
        what = "the server ended the call; captured: the caller was there longer"
        yield Difference(after.ended, what)
    elif now is not None and None not in (then.ending, now.ending) and then.ending != now.ending:
        what = f"the call ended as {now.ending}; captured: {then.ending}"
        yield Difference(after.ended, what)


def _late_ms(stream: SimulatedStream) -> int:
    if stream.dropped:  # reported as a fault, and `sent_at` no longer matches the frames
        return 0
    frame_s = audio.FRAME_MS / 1000
    late = (at - stream.started_at - n * frame_s for n, at in enumerate(stream.sent_at, 1))
    return round(1000 * max(late, default=0.0))
