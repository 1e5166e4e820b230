"""A server in one process without a record, which tells its own tasks and open files.

For bench/soak.py, bench/hammer_server.py and bench/tick. `offhook bench` measures `offhook serve`.
"""

import asyncio
import dataclasses
import logging
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from offhook.bench import child
from offhook.config import Config, Overrides, load
from offhook.observability.call_log import CallLog
from offhook.serving.listen import listen
from offhook.serving.server import Server


async def serve(config: Config) -> None:
    """Answer calls until the runner ends."""
    log = CallLog(texts=False)
    server = Server(config, listen(child.HOST, 0), [log])
    async with asyncio.TaskGroup() as group:
        group.create_task(server.run(), name="server")
        await server.started.wait()
        await child.answer(server.port)
        server.stop()
        server.stop()


def main(serve: Callable[[Config], Coroutine[Any, Any, None]] = serve) -> None:
    """Started by the runner. Experiments serve otherwise."""
    given = child.arguments()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    logging.getLogger("offhook.wire.picows").setLevel(logging.CRITICAL)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    environ = {"DEEPGRAM_API_KEY": "loopback", "TWILIO_AUTH_TOKEN": given.token}
    loaded = load(given.config, environ, overrides=Overrides(deepgram_url=given.agent_url))
    # The load calls like a TwiML Bin, from an account of its own, without TLS.
    server = {"capacity": given.capacity, "tls_cert": None, "tls_key": None, "public_url": None}
    config = dataclasses.replace(
        loaded,
        server=loaded.server.model_copy(update=server),
        twilio=loaded.twilio.model_copy(update={"bin": True, "account_sid": None}),
    )
    child.run(serve(config))


if __name__ == "__main__":
    main()
