"""A recording of an hour, beside what the simulated Twilio really played.

    python -m bench.recording [--seconds 3600] [--seed 5]

On a clock that jumps, so an hour takes well under a minute. Exits with 1 when the two differ.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.recordings.played import DifferentError, compare
from tests.recordings.talk import talk

NEAR_MS = 40
LENGTH_MS = 20


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=5)
    asked = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        rehearsal, left, right = talk(Path(folder), asked.seconds, asked.seed)
    took = time.monotonic() - began
    stream = rehearsal.stream
    try:
        compared = list(compare(stream, right, NEAR_MS))
    except DifferentError as different:
        print(different)
        return 1
    cuts = [one for one in compared if one.cut]
    starts = [one.start_ms for one in compared]
    ends = [one.end_ms for one in cuts]
    longer = (len(left) - len(stream.spoken)) / 8
    same = left[160 : 160 + len(stream.spoken)] == stream.spoken
    print(f"one call of {asked.seconds:g} s, made in {took:.1f} s")
    print(f"stretches that were played   {len(compared)}, of which {len(cuts)} were cut")
    print(f"bytes of them, all the same  {sum(one.size for one in compared)}")
    print(f"starts, beside the truth     {min(starts):+.1f} to {max(starts):+.1f} ms")
    print(f"cuts, beside the truth       {min(ends):+.1f} to {max(ends):+.1f} ms")
    print(f"longer than Twilio's time    {longer:+.1f} ms")
    print(f"the caller's side the same   {same}")
    near = all(abs(ms) <= NEAR_MS for ms in starts + ends)
    return 0 if near and same and abs(longer) <= LENGTH_MS else 1


if __name__ == "__main__":
    sys.exit(main())
