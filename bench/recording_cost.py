"""CPU of a recorded second: writing it, as the call process does, and its peaks, as it does not.

    python -m bench.recording_cost

Both are measured in turn in one thread, by its CPU time; medians of 50 rounds of a minute of audio.
"""

import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from offhook.audio import BYTES_PER_SECOND
from offhook.recordings import peaks
from offhook.recordings.files import LocalFiles
from offhook.recordings.growing import GrowingRecording

ROUNDS = 50
SECONDS = 60


def main() -> None:
    """Print both, in µs for each second of a recording."""
    second = random.Random(1).randbytes(2 * BYTES_PER_SECOND)
    writing, drawing = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS):
            name = f"{number}.wav"
            file = GrowingRecording(LocalFiles(Path(folder)), name, "CA0", lambda: None)
            writing.append(cpu_us(lambda: file.write([second])))  # noqa: B023 - called here
            file.close()
            drawing.append(cpu_us(lambda: peaks.of_samples(second)))
    print("µs of CPU for each second of a recording; median, and the least")
    for what, found in (("writing it", writing), ("its peaks", drawing)):
        print(f"  {what:<12} {statistics.median(found):6.1f} {min(found):6.1f}")


def cpu_us(work: Callable[[], object]) -> float:
    """Return µs of this thread's CPU time for one of SECONDS runs."""
    began = time.thread_time()
    for _ in range(SECONDS):
        work()
    return (time.thread_time() - began) / SECONDS * 1e6


if __name__ == "__main__":
    main()
