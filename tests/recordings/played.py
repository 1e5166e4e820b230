"""A recording beside the truth: what the simulated Twilio said and played, byte for byte."""

from collections.abc import Iterator
from dataclasses import dataclass

from offhook.audio import BYTES_PER_SECOND, SILENCE
from offhook.testing.simulator.twilio.stream import SimulatedStream


@dataclass(frozen=True, slots=True)
class Compared:
    """One stretch that the caller heard without a gap; differences in ms, later is positive."""

    began_at: float
    """In seconds of the stream."""
    size: int
    """Bytes that are the same."""
    start_ms: float
    end_ms: float
    cut: bool


class DifferentError(AssertionError):
    """The recording does not hold what was played."""


def compare(stream: SimulatedStream, right: bytes, near_ms: int = 40) -> Iterator[Compared]:
    """Every stretch of what was played, found in the right side; and nothing but silence else.

    A beginning or a cut may be `near_ms` from the truth. Raises DifferentError.
    """
    near = 8 * near_ms
    done = 0
    for number, burst in enumerate(stream.bursts):
        first = _sample(stream, burst.began)
        truth = bytes(stream.heard[first : _sample(stream, burst.ended)])
        loud = truth.rstrip(SILENCE)
        # A cut may come earlier in the recording than at Twilio: so much has to be there.
        sure = loud[: -near or None] if burst.cut_by else loud
        low = max(done, first - near)
        at = right.find(sure, low, first + near + len(sure))
        if at < 0 or not sure:
            raise DifferentError(f"what began at {first / BYTES_PER_SECOND:.3f} s is not there")
        if right[done:at].strip(SILENCE):
            raise DifferentError(f"something is there before {at / BYTES_PER_SECOND:.3f} s")
        # Where it ends here: not before the next can begin is anything else.
        limit = at + len(loud) + near
        if number + 1 < len(stream.bursts):
            limit = min(limit, _sample(stream, stream.bursts[number + 1].began) - near)
        end = at + len(right[at:limit].rstrip(SILENCE))
        same = min(len(loud), end - at)
        if right[at : at + same] != loud[:same]:
            raise DifferentError(
                f"what began at {first / BYTES_PER_SECOND:.3f} s is something else"
            )
        yield Compared(
            first / BYTES_PER_SECOND,
            same,
            (at - first) / 8,
            (end - first - len(loud)) / 8,
            burst.cut_by == "clear",
        )
        done = end
    if right[done:].strip(SILENCE):
        raise DifferentError("something is there after the last that was played")


def _sample(stream: SimulatedStream, at: float) -> int:
    return round((at - stream.started_at) * BYTES_PER_SECOND)
