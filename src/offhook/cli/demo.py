"""offhook demo: one call in this terminal, over the real wire, with nothing to set up."""

from typing import Annotated

import typer


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Exit after the call: 0 if it went as it should.")
    ] = False,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; else 5000, or any that is free.")
    ] = None,
) -> None:
    """Hear an agent answer: a simulated caller rings, asks, interrupts, asks again, hangs up.

    The agent is the stand-in, or Deepgram's own when DEEPGRAM_API_KEY is set.
    """
    import os

    from rich.console import Console

    from offhook.cli.demo_call import demonstrate
    from offhook.cli.event_loop import run

    if not run(demonstrate(os.environ, Console(), once=once, port=port)):
        raise typer.Exit(1)
