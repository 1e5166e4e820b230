"""make soak: hostile agents call every function, and nothing outside policy is done.

    python -m bench.hostile [--rounds 20] [--calls 24] [--seed 1]

What tests/test_hostile.py does for some seconds, with other chances in each round. Exits with 1,
and says what, when something was dialled, texted, switched to or paid that policy forbids, when a
call had no ending or two, or when the server stopped.
"""

import argparse
import logging
import tempfile
from pathlib import Path

from tests.hostile import attack, attacked, judge

from offhook.concurrency.event_loop import run


async def _round(calls: int, seed: int) -> list[str]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with attacked(folder, seed) as whole:
            await attack(whole, calls, at_once=calls)
            wrong = judge(whole, folder, calls)
            done = f"{len(whole.ledger.rung)} rung, {len(whole.ledger.texts)} texts"
            print(f"seed {seed}: {calls} calls, {done}: {'; '.join(wrong) or 'as policy has it'}")
            return wrong


def main() -> None:
    """Run the rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--calls", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    logging.disable(logging.ERROR)
    wrong = [run(_round(given.calls, given.seed + number)) for number in range(given.rounds)]
    if any(wrong):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
