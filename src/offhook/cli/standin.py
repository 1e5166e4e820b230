"""offhook standin: the stand-in agent on a socket of this machine."""

from pathlib import Path
from typing import Annotated

import typer


def standin(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 for any.", max=65535)] = 8123,
    script: Annotated[
        Path | None, typer.Option(help="What it hears and says: a YAML file.", metavar="FILE")
    ] = None,
) -> None:
    """Run a stand-in for Deepgram's voice agent, which follows a script: no account needed."""
    import asyncio

    from offhook.cli.running import on_stop_signal, run
    from offhook.clock import LoopClock
    from offhook.errors import Problem
    from offhook.rehearsal import standin_server
    from offhook.rehearsal.script import front_desk, read

    conversation = front_desk() if script is None else read(script)

    async def listen() -> None:
        clock = LoopClock(asyncio.get_running_loop())
        try:
            server = await standin_server.serve(host, port, conversation, clock)
        except OSError as error:
            raise Problem(
                "E-STANDIN-01",
                f"The stand-in agent cannot listen on {host}:{port}: {error.strerror or error}.",
                "Choose another with --port.",
            ) from None
        print(
            "The stand-in agent listens. In another terminal:\n\n"
            f"  DEEPGRAM_API_KEY=any offhook serve --deepgram-url {server.url}\n\n"
            "Ctrl-C ends it.",
            flush=True,
        )
        stopped = asyncio.Event()
        on_stop_signal(stopped.set)
        try:
            await stopped.wait()
        finally:
            await server.close()

    run(listen())
