"""An experiment: Offhook that sleeps 1 ms a turn, so that one wake-up serves all ready sockets.

    .venv/bin/offhook bench --calls 180 --no-search --short --baselines bench/tick

prints it beside Offhook as it is; docs/design/audio-path.md says what came of it.
"""

import asyncio
import time

from offhook.bench import bridge
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
        await bridge.serve(config)

    bridge.main(serve)


if __name__ == "__main__":
    main()
