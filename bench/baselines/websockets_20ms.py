"""The same with frames of 20 ms as they come: what a reader of the tutorial would try first."""

import asyncio

from seed_websockets import main

if __name__ == "__main__":
    asyncio.run(main(batch=160))
