"""Command `offhook standin`: run the stand-in agent on a socket of this machine."""

from pathlib import Path
from typing import Annotated

import typer


def standin(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 for any free port.", max=65535)
    ] = 8123,
    script: Annotated[
        Path | None,
        typer.Option(
            help="YAML file of the agent: a dialogue (intents) or a script (turns). Default: the"
            " front desk.",
            metavar="FILE",
        ),
    ] = None,
    session: Annotated[
        float | None,
        typer.Option(
            help="Seconds that a session may last, over 0 to 7200. Offhook opens the next session"
            " before this one ends. Default: what the script says, or 7200.",
            min=0.1,
            max=7200,
            metavar="SECONDS",
        ),
    ] = None,
    model_url: Annotated[
        str | None,
        typer.Option(
            help="URL of an OpenAI-compatible server whose model writes the answers, such as"
            " http://127.0.0.1:11434/v1. The server's key, if needed, is OFFHOOK_MODEL_KEY."
            " With the extra [ears], callers can say anything to it.",
            metavar="URL",
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Name of the model.", metavar="NAME")] = None,
) -> None:
    """Run a stand-in for Deepgram's voice agent without an account, and print what is said."""
    import asyncio
    import os
    from dataclasses import replace

    from rich.console import Console

    from offhook.cli.standin_log import StandInLog
    from offhook.clock import LoopClock
    from offhook.concurrency.event_loop import on_stop_signal, run
    from offhook.errors import UserError
    from offhook.net.addresses import is_this_machine
    from offhook.testing.simulator.deepgram import server as standin_server
    from offhook.testing.simulator.dialogue import agent_file, agents
    from offhook.testing.simulator.dialogue.completions import Model, completions_url

    if (model_url is None) != (model is None):
        raise typer.BadParameter("--model-url and --model go together.")
    thinker = None
    if model_url is not None and model is not None:
        key = os.environ.get("OFFHOOK_MODEL_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        thinker = Model(completions_url(model_url), model, headers)
    what = None if script is None else agent_file.read(script)

    async def listen() -> None:
        clock = LoopClock(asyncio.get_running_loop())
        # Whoever reaches it from elsewhere must not have requests made to this machine.
        asks_named = is_this_machine(host)
        async with agents.ready(what, thinker, asks_named=asks_named) as ready:
            log = StandInLog(Console(highlight=False), clock, ready.dialogue)
            agent = ready.agent
            if session is not None:
                conduct = agent.conduct.model_copy(update={"session_s": session})
                agent = replace(agent, conduct=conduct)
            try:
                server = await standin_server.serve(host, port, agent, clock, log.watch)
            except OSError as error:
                raise UserError(
                    "E-STANDIN-01",
                    f"The stand-in agent cannot listen on {host}:{port}:"
                    f" {error.strerror or error}.",
                    "Choose another with --port.",
                ) from None
            print(
                "The stand-in agent listens. In another terminal:\n\n"
                f"  DEEPGRAM_API_KEY=any offhook serve --deepgram-url {server.url}\n\n"
                f"{ready.words} Ctrl-C ends it.\n",
                flush=True,
            )
            stopped = asyncio.Event()
            on_stop_signal(stopped.set)
            try:
                await stopped.wait()
            finally:
                await server.close()

    run(listen())
