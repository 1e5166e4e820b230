"""Command `offhook demo`: one simulated call in this terminal, without any account."""

from typing import Annotated

import typer


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Exit after the call: 0 if the call went as it should.")
    ] = False,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on. Default: 5000, or any free port.")
    ] = None,
) -> None:
    """Run one call: a simulated caller asks, interrupts, asks again and hangs up.

    The agent is the stand-in, or Deepgram's agent if DEEPGRAM_API_KEY is set. Without --once a link
    is printed, too, by which you talk to it in a browser, until Ctrl-C.
    """
    import os

    from rich.console import Console

    from offhook.cli.demo_call import demonstrate
    from offhook.concurrency.event_loop import run

    if not run(demonstrate(os.environ, Console(highlight=False), once=once, port=port)):
        raise typer.Exit(1)
