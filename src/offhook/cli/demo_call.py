"""Implementation of `offhook demo`: caller, server and agent over real sockets."""

import asyncio
import contextlib
import dataclasses
import secrets
import socket
import statistics
from collections.abc import AsyncIterator, Mapping
from contextlib import nullcontext
from importlib import resources
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from offhook.audio import FRAME_BYTES, milliseconds
from offhook.clock import Clock, LoopClock
from offhook.concurrency.event_loop import on_stop_signal
from offhook.config import DEFAULT, Config, Overrides, load
from offhook.config.agent_file import Announcement
from offhook.config.server_settings import ServerFileSettings
from offhook.errors import UserError
from offhook.observability.console_output import Conversation
from offhook.recordings import rehearsals
from offhook.serving.in_process import OperatorSide
from offhook.serving.listen import listen
from offhook.testing.scenarios import files, listeners, own_server, preparing, runner, scenario
from offhook.testing.scenarios.caller import CallReport
from offhook.testing.scenarios.own_server import OwnServer
from offhook.testing.scenarios.results import CallResult
from offhook.testing.scenarios.word_errors import word_errors
from offhook.testing.simulator.deepgram import server as standin_server
from offhook.testing.simulator.deepgram.standin import StandIn
from offhook.testing.simulator.dialogue import agents
from offhook.testing.simulator.dialogue.words import words
from offhook.testing.simulator.speech import installed

ANSWERS: Final = 3
"""Minimum number of the agent's utterances in a call that went as it should."""

_DATA: Final = resources.files("offhook.testing")


async def demonstrate(
    environ: Mapping[str, str], console: Console, *, once: bool, port: int | None
) -> bool:
    """Make the call and print it. Return whether it went as it should.

    Without `once`, go on serving until stopped. Raises UserError for a port in use or a bad file.
    """
    sock = _listen(port)
    port = sock.getsockname()[1]
    clock = LoopClock(asyncio.get_running_loop())
    sessions: list[StandIn] = []
    is_remote = "SSH_CONNECTION" in environ
    watchers = [Conversation(console)]
    async with (
        _cast(environ, console, clock, sessions) as cast,
        own_server.run(
            cast.config if once else _recorded(cast.config),
            clock,
            sock=sock,
            watchers=watchers,
            operator_listen=None if once else _operator_address(),
        ) as own,
    ):
        console.print(f"A simulated caller rings 127.0.0.1:{port}; {cast.who} answers.")
        if own.side is not None:
            await _print_link(console, own.side, is_remote=is_remote)
        console.print()
        result = await _call(cast.config, own, cast.caller)
        path = rehearsals.of_demo(result.report.call_sid)
        path.parent.mkdir(exist_ok=True)
        result.report.write_wav(path)
        well = _sum_up(console, result, sessions, path, words_count=cast.understands)
        if own.side is not None:
            await _go_on(console, own.side, cast, is_remote=is_remote)
    return well


@dataclasses.dataclass(frozen=True)
class _Cast:
    """The agent that answers, and the scenario of the caller."""

    config: Config
    who: str
    caller: str
    """Name of the scenario, a file of the package."""
    standin: bool
    understands: bool
    """True if the agent answers what was said, so that word errors can be counted."""


@contextlib.asynccontextmanager
async def _cast(
    environ: Mapping[str, str], console: Console, clock: Clock, sessions: list[StandIn]
) -> AsyncIterator[_Cast]:
    """Choose Deepgram's agent if there is a key, else the front desk, else a script."""
    config = load(None, environ)
    if config.deepgram.api_key is not None:
        yield _Cast(config, "Deepgram's agent", "demo.yaml", standin=False, understands=False)
        return
    async with contextlib.AsyncExitStack() as stack:
        ready = await stack.enter_async_context(agents.ready())
        standin = await standin_server.serve("127.0.0.1", 0, ready.agent, clock, sessions.append)
        stack.push_async_callback(standin.close)
        environ = {**environ, "DEEPGRAM_API_KEY": "any"}
        overrides = Overrides(deepgram_url=standin.url)
        if ready.dialogue is None:
            console.print(f"A stand-in agent answers. {escape(ready.words)}\n", soft_wrap=True)
            config = load(None, environ, overrides=overrides)
            yield _Cast(config, "a script", "demo.yaml", standin=True, understands=False)
            return
        folder = stack.enter_context(resources.as_file(_DATA / "front_desk"))
        config = load(folder / "offhook.yaml", environ, overrides=overrides)
        yield _Cast(
            config, "the front desk", "demo_front_desk.yaml", standin=True, understands=True
        )


def _recorded(config: Config) -> Config:
    """Return the configuration with recordings, so that the console plays the calls."""
    change = {"announcement": Announcement(say="This call is recorded."), "recording": True}
    return dataclasses.replace(
        config,
        lines={line: agent.model_copy(update=change) for line, agent in config.lines.items()},
        agents={path: agent.model_copy(update=change) for path, agent in config.agents.items()},
    )


def _operator_address() -> str:
    """Return HOST:PORT for the operator's listener: its usual one, or any free port."""
    address = ServerFileSettings().operator_address
    try:
        listen(*address).close()
    except UserError:
        return f"{address[0]}:0"
    return ":".join(map(str, address))


def _listen(port: int | None) -> socket.socket:
    if port is not None:
        return listen("127.0.0.1", port)
    try:
        return listen("127.0.0.1", 5000)
    except UserError:
        return listen("127.0.0.1", 0)


async def _call(config: Config, own: OwnServer, name: str) -> CallResult:
    with resources.as_file(_DATA) as folder:
        loaded = scenario.load(folder / name)
        known = files.Dialogues(None).known(loaded)
    rendered = await preparing.rendering([loaded])
    sounds = {sound: rendered.audio(sound) for sound, _, _ in loaded.sounds()}
    if DEFAULT not in config.lines:
        called = loaded.scenario.model_copy(update={"to": next(iter(config.lines))})
        loaded = dataclasses.replace(loaded, scenario=called)
    target = runner.Target(own.url, own.token, "AC" + secrets.token_hex(16))
    server = runner.ScenarioServer(target, lambda sid: listeners.inside(own, sid))
    case = runner.ScenarioRun(loaded, sounds, known, "", lambda clock: nullcontext(server))
    (result,) = await runner.run([case], own.clock, jobs=1, attempts=1)
    (call,) = result.calls.values()
    return call


def _sum_up(
    console: Console,
    call: CallResult,
    sessions: list[StandIn],
    path: Path,
    *,
    words_count: bool,
) -> bool:
    report = call.report
    faults = [failure.told for failure in call.failures]
    heard = len(report.caller.stretches)
    if heard < ANSWERS:
        faults.append(f"the agent was heard {heard} times only")
    interruptions = [round(1000 * seconds) for seconds in report.caller.interruptions]
    if not interruptions:
        faults.append("the agent was not interrupted")

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("turns", f"caller {len(report.caller.said)}, agent {heard} heard")
    if words_count:
        table.add_row("understood", _understood(call))
    for name, value in (
        ("functions", _functions(call)),
        ("interruption", ", ".join(f"{ms} ms from first sound to silence" for ms in interruptions)),
        ("time to answer", _times_to_answer(report)),
        *_frames(report, sessions, faults),
        ("audio", f"{path} (caller left, agent right)"),
    ):
        if value:
            table.add_row(name, value)
    console.print()
    console.print(table)
    for fault in faults:
        console.print(f"[red]not as it should be:[/] {escape(fault)}")
    return not faults


def _understood(call: CallResult) -> str:
    """Return how many of the caller's words were recognised."""
    said = [words(one.text) for one in call.report.caller.said]
    heard = [words(one.text) for one in call.wire.taken_for] if call.wire is not None else []
    count = sum(map(len, said))
    # A turn that was not heard counts with all its words.
    heard += [[]] * (len(said) - len(heard))
    wrong = sum(word_errors(a, b) for a, b in zip(said, heard, strict=False))
    return f"{count - wrong} of {count} words: word error rate {wrong / max(count, 1):.1%}"


def _functions(call: CallResult) -> str:
    called = call.wire.functions() if call.wire is not None else ()
    return "; ".join(
        f"{one.name}({', '.join(f'{name}={value!r}' for name, value in one.arguments.items())})"
        for one in called
        if not one.called_off
    )


def _times_to_answer(report: CallReport) -> str:
    """Return the times from the end of the caller's speech to the first sound of the answer."""
    times = [round(1000 * seconds) for seconds in report.caller.times_to_answer]
    if not times:
        return ""
    each = ", ".join(map(str, times))
    return f"{statistics.median(times):.0f} ms median, end of speech to first sound ({each})"


def _frames(
    report: CallReport, sessions: list[StandIn], faults: list[str]
) -> list[tuple[str, str]]:
    """Return delay and loss from caller to agent, if the stand-in answered."""
    if not sessions:
        return []
    sent = [time for stream in report.streams for time in stream.sent_at]
    arrived = [time for session in sessions for time in session.arrivals.frame_times()]
    delays = [1000 * (b - a) for a, b in zip(sent, arrived, strict=False)]
    lost = len(sent) - len(arrived)
    if lost:
        faults.append(f"{lost} frames were lost")
    seconds = milliseconds(FRAME_BYTES * len(sent)) / 1000
    delay = ""
    if delays:
        delay = f"{statistics.median(delays):.2f} ms median, {max(delays):.1f} ms longest"
    return [
        ("added delay", delay and f"{delay} (caller to agent)"),
        ("frames", f"{len(sent)} sent ({seconds:.1f} s), {lost} lost"),
    ]


async def _print_link(console: Console, side: OperatorSide, *, is_remote: bool) -> None:
    """Print the address that signs in once, and leads to the console's phone."""
    link = await side.keeping.api.sign_in_link(side.server.url)
    link = link.replace("/enter#", "/enter?to=/phone#")
    console.print(f"Talk to it yourself, in a browser: {link}", soft_wrap=True)
    if is_remote:
        # The link is this machine's, and browsers give the microphone to localhost and https alone.
        port = urlsplit(link).port
        tunnel = f"ssh -L {port}:127.0.0.1:{port} {socket.gethostname()}"
        console.print(f"Your browser is on another machine? There, first: {tunnel}", soft_wrap=True)


async def _go_on(console: Console, side: OperatorSide, cast: _Cast, *, is_remote: bool) -> None:
    stopped = asyncio.Event()
    on_stop_signal(stopped.set)
    console.print()
    await _print_link(console, side, is_remote=is_remote)
    if cast.understands:
        console.print('Ask it: "What are your opening hours?", or "Book a table, please."')
    console.print("Your calls are under Calls there until Ctrl-C, which ends the demo.")
    console.print("Your own number: offhook init, and then offhook dev")
    if cast.understands and installed.missing_free_speech() is not None:
        command = escape(installed.free_speech_command())
        console.print(
            f"A stand-in that understands free speech (115 MB): {command}", soft_wrap=True
        )
    if cast.standin:
        console.print("Deepgram's agent instead of the stand-in: set DEEPGRAM_API_KEY.")
    await stopped.wait()
