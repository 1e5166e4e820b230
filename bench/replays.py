"""How far replays of one captured call lie from it: what docs/design/capture.md says of noise.

PYTHONPATH=. .venv/bin/python bench/replays.py [--replays 20] [--burners 0]

A burner is a process that uses up one core beside them.
"""

import argparse
import asyncio
import multiprocessing
import tempfile
from pathlib import Path

from tests.testing.replay.test_replayer import BARGE_IN, SCRIPT
from tests.whole_server import ACCOUNT, ASK, GREET, HANG_UP, TOKEN, whole_server

from offhook.capture.writer import Captures
from offhook.testing.replay import captured
from offhook.testing.replay.comparison import Comparison, compare_call
from offhook.testing.replay.replayer import call_again


async def measure(folder: Path, replays: int, burners: int) -> list[Comparison]:
    """Capture a call while the machine is quiet, and make it again all at once."""
    with Captures(folder, ()) as captures:
        async with whole_server(SCRIPT, make_tap=captures) as made:
            await made.call(GREET, ASK, BARGE_IN, GREET, ASK, GREET, HANG_UP)
            await made.until_ended()
    (path,) = await asyncio.to_thread(lambda: list(folder.iterdir()))
    one = captured.read(path)
    burning = [multiprocessing.Process(target=_burn, daemon=True) for _ in range(burners)]
    for process in burning:
        process.start()
    try:
        async with whole_server(SCRIPT) as made:

            async def again() -> Comparison:
                options = {"clock": made.clock, "auth_token": TOKEN, "account_sid": ACCOUNT}
                report = await call_again(made.origin + "/twilio/voice", one, **options)
                return compare_call(one, report, None)

            return await asyncio.gather(*(again() for _ in range(replays)))
    finally:
        for process in burning:
            process.terminate()


def _burn() -> None:
    while True:
        pass


def main() -> None:
    """Measure, and print a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replays", type=int, default=20)
    parser.add_argument("--burners", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(Path(folder), options.replays, options.burners))
    beside = [
        abs(one.replayed.began - one.captured.began)
        for comparison in found
        for one in comparison.passages
        if one.replayed is not None and one.captured is not None
    ]
    verdicts = [comparison.verdict for comparison in found]
    counts = ", ".join(f"{verdicts.count(one)} {one}" for one in dict.fromkeys(verdicts))
    late = max(comparison.late_ms for comparison in found)
    print(f"{counts}; speech began up to {max(beside, default=0)} ms beside the capture,", end=" ")
    print(f"the caller's audio was up to {late} ms late")


if __name__ == "__main__":
    main()
