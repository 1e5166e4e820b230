"""The call that `offhook demo` makes: caller, server and agent, all over real sockets."""

import asyncio
import dataclasses
import secrets
import socket
import statistics
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Final

from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from offhook.audio import FRAME_BYTES, milliseconds
from offhook.cli.running import on_stop_signal
from offhook.clock import LoopClock
from offhook.config import DEFAULT, Config, Overrides, Twilio, load
from offhook.conversation import Conversation
from offhook.errors import Problem
from offhook.events import AgentSaid, CallEnded, CallerSaid, Event, Happening
from offhook.rehearsal import scenario, standin_server
from offhook.rehearsal.caller import Caller
from offhook.rehearsal.phone import place_call
from offhook.rehearsal.report import CallReport
from offhook.rehearsal.script import front_desk
from offhook.rehearsal.standin import StandIn
from offhook.server import Server, listen

ANSWERS: Final = 3
"""Utterances of the agent that a call which went as it should has, at least."""


async def demonstrate(
    environ: Mapping[str, str], console: Console, *, once: bool, port: int | None
) -> bool:
    """Make the call, print it, and say whether it went as it should.

    Without `once`, go on serving until stopped. Raises Problem for a port in use or a bad file.
    """
    sock = _listen(port)
    clock = LoopClock(asyncio.get_running_loop())
    sessions: list[StandIn] = []
    token = secrets.token_hex(16)
    config = load(None, environ)
    standin = None
    if config.deepgram.api_key is None:
        standin = await standin_server.serve("127.0.0.1", 0, front_desk(), clock, sessions.append)
        environ = {**environ, "DEEPGRAM_API_KEY": "any"}
        config = load(None, environ, overrides=Overrides(deepgram_url=standin.url))
    config = dataclasses.replace(config, twilio=Twilio(auth_tokens=(SecretStr(token),)))
    happened: list[Event] = []

    def remember(happening: Happening) -> None:
        happened.append(happening.event)

    try:
        async with asyncio.TaskGroup() as group:
            server = Server(config, sock, [Conversation(console), remember])
            serving = group.create_task(server.run(), name="server")
            await server.started.wait()
            agent = "the stand-in agent" if standin else "Deepgram's agent"
            console.print(f"A simulated caller rings 127.0.0.1:{server.port}; {agent} answers.\n")
            report = await _call(config, server.port, token, clock)
            path = Path("calls") / f"demo-{report.call_sid[-6:]}.wav"
            path.parent.mkdir(exist_ok=True)
            report.write_wav(path)
            well = _sum_up(console, report, happened, sessions, path)
            if not once:
                await _go_on(console, server, config, standin is not None)
            server.stop()
            await serving
    finally:
        if standin is not None:
            await standin.close()
    return well


def _listen(port: int | None) -> socket.socket:
    if port is not None:
        return listen("127.0.0.1", port)
    try:
        return listen("127.0.0.1", 5000)
    except Problem:
        return listen("127.0.0.1", 0)


async def _call(config: Config, port: int, token: str, clock: LoopClock) -> CallReport:
    with resources.as_file(resources.files("offhook.rehearsal") / "demo.yaml") as file:
        call = scenario.read(file)
    to = call.to if DEFAULT in config.lines else next(iter(config.lines))
    return await place_call(
        f"http://127.0.0.1:{port}/twilio/voice",
        Caller(call.steps, scenario.recorded, noise_dbfs=call.noise_dbfs),
        clock=clock,
        auth_token=token,
        account_sid="AC" + secrets.token_hex(16),
        from_=call.from_,
        to=to,
        status_callback=f"https://127.0.0.1:{port}/twilio/status",
    )


def _sum_up(
    console: Console,
    report: CallReport,
    happened: list[Event],
    sessions: list[StandIn],
    path: Path,
) -> bool:
    heard = [event for event in happened if isinstance(event, AgentSaid) and event.heard_ms]
    asked = [event for event in happened if isinstance(event, CallerSaid)]
    ended = [event for event in happened if isinstance(event, CallEnded)]
    interruptions = [round(1000 * seconds) for seconds in report.interruptions]
    answers = [round(1000 * seconds) for seconds in report.times_to_answer]
    faults = list(report.faults)
    if report.ending != "caller_hung_up":
        faults.append(f"the caller did not hang up: {report.ending}")
    if len(heard) < ANSWERS:
        faults.append(f"the agent was heard {len(heard)} times only")
    if not interruptions or not any(event.interrupted for event in heard):
        faults.append("the agent was not interrupted")

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("ended", "; ".join(event.words for event in ended))
    table.add_row("turns", f"caller {len(asked)}, agent {len(heard)} heard")
    if interruptions:
        row = ", ".join(f"{ms} ms" for ms in interruptions)
        table.add_row("interruption", f"{row} from the caller's first sound to silence")
    if answers:
        row = f"{statistics.median(answers):.0f} ms median, {max(answers)} ms longest"
        table.add_row("time to answer", f"{row} (end of speech to first sound)")
    if sessions:
        sent = [time for stream in report.streams for time in stream.sent_at]
        arrived = [time for session in sessions for time in session.arrivals.frame_times()]
        delays = [1000 * (b - a) for a, b in zip(sent, arrived, strict=False)]
        if delays:
            row = f"{statistics.median(delays):.2f} ms median, {max(delays):.1f} ms longest"
            table.add_row("added delay", f"{row} (caller to agent)")
        lost = len(sent) - len(arrived)
        seconds = milliseconds(FRAME_BYTES * len(sent)) / 1000
        table.add_row("frames", f"{len(sent)} sent ({seconds:.1f} s), {lost} lost")
        if lost:
            faults.append(f"{lost} frames were lost")
    table.add_row("audio", f"{path} (caller left, agent right)")
    console.print()
    console.print(table)
    for fault in faults:
        console.print(f"[red]not as it should be:[/] {fault}")
    return not faults


async def _go_on(console: Console, server: Server, config: Config, standin: bool) -> None:
    stopped = asyncio.Event()
    on_stop_signal(stopped.set)
    origin = config.server.public_url or "https://YOUR-HOST"
    console.print(f"\nStill serving at http://127.0.0.1:{server.port}. Ctrl-C ends it.")
    console.print("Your own number: README, or")
    console.print(f"  offhook twiml --public-url {origin}")
    if standin:
        console.print("Deepgram's agent instead of the stand-in: set DEEPGRAM_API_KEY.")
    await stopped.wait()
