"""An experiment: Offhook that sleeps 1 ms a turn, so that one wake-up serves all ready sockets.

    .venv/bin/offhook bench --calls 180 --no-search --baselines bench/tick

prints it beside Offhook as it is; docs/design/audio-path.md says what came of it.
"""

import asyncio
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import plain_server

from offhook.config import Config


def main(tick_s: float = 0.001) -> None:
    async def serve(config: Config) -> None:
        loop = asyncio.get_running_loop()
        due = time.monotonic()

        def tick() -> None:
            nonlocal due
            time.sleep(max(0.0, due - time.monotonic()))
            due = time.monotonic() + tick_s
            loop.call_soon(tick)

        tick()
        await plain_server.serve(config)

    plain_server.main(serve)


if __name__ == "__main__":
    main()
