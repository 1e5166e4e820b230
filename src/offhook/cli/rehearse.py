"""offhook rehearse: call a voice-agent server as Twilio would, without a telephone."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rich.console import Console

    from offhook.rehearsal.report import CallReport


def rehearse(
    scenario_file: Annotated[
        Path | None,
        typer.Argument(help="What the caller does, step by step.", metavar="[SCENARIO.yaml]"),
    ] = None,
    say: Annotated[
        str | None, typer.Option(help="Ask one thing instead, from a recording.", metavar="TEXT")
    ] = None,
    clip: Annotated[
        Path | None,
        typer.Option(help="Ask one thing instead: a WAV file of 8000 Hz.", metavar="FILE.wav"),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(
            help="Make a captured call again instead, and compare.", metavar="CAPTURE.jsonl"
        ),
    ] = None,
    to: Annotated[
        str, typer.Option(help="A voice webhook (http, https) or a media stream (ws, wss).")
    ] = "http://127.0.0.1:5000/twilio/voice",
    out: Annotated[
        Path, typer.Option(help="The call: caller left, agent right.", metavar="FILE.wav")
    ] = Path("rehearsal.wav"),
    public_url: Annotated[
        str | None,
        typer.Option(help="The https origin that the server has. Default: server.public_url."),
    ] = None,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Sign nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Call a server as Twilio would, and say what the caller heard.

    Exits with 1 if the call did not go as it should have.
    """
    import asyncio
    import functools
    import json
    import os

    from rich.console import Console

    from offhook import config, wav
    from offhook.cli import replaying
    from offhook.cli.running import run
    from offhook.clock import LoopClock
    from offhook.errors import Problem
    from offhook.rehearsal import scenario
    from offhook.rehearsal.caller import Caller
    from offhook.rehearsal.phone import place_call
    from offhook.rehearsal.replay import captured
    from offhook.rehearsal.replay.again import call_again
    from offhook.rehearsal.replay.comparison import compare_call

    if [scenario_file, say, clip, replay].count(None) != 3:
        raise typer.BadParameter("Give one of a scenario, --say, --clip and --replay.")
    capture = None if replay is None else captured.read(replay)
    place_it: Callable[..., Awaitable[CallReport]]
    if capture is not None:
        place_it = functools.partial(call_again, to, capture)
    else:
        asked = say if say is not None else str(clip)
        call = scenario.asking(asked) if scenario_file is None else scenario.read(scenario_file)
        recording = wav.read_clip(clip) if clip is not None else None
        caller = Caller(
            call.steps,
            scenario.recorded if recording is None else lambda _: recording,
            noise_dbfs=call.noise_dbfs,
        )
        place_it = functools.partial(place_call, to, caller, from_=call.from_, to=call.to)

    loaded = config.load(None, os.environ, overrides=config.Overrides(public_url=public_url))
    tokens = loaded.twilio.auth_tokens
    if not tokens and not unsigned:
        raise Problem(
            "E-REH-03",
            "TWILIO_AUTH_TOKEN is not set, so the call cannot be signed as Twilio signs it.",
            "Set it to the token that the server has, or give both of them --unsigned.",
        )

    async def place() -> "CallReport":
        return await place_it(
            clock=LoopClock(asyncio.get_running_loop()),
            auth_token=None if unsigned else tokens[0].get_secret_value(),
            account_sid=loaded.twilio.account_sid or "AC" + "0" * 32,
            public_url=loaded.server.public_url,
        )

    report = run(place())
    try:
        report.write_wav(out)
    except OSError as error:
        raise Problem(
            "E-REH-04",
            f"The call cannot be written to {out}: {error.strerror}.",
            "Name a file that can be written with --out.",
        ) from None
    if capture is not None:
        same = replaying.report(capture, compare_call(capture, report, None), out, as_json=as_json)
        raise typer.Exit(0 if same else 1)
    if as_json:
        print(json.dumps(_facts(report) | {"wav": str(out)}, indent=2))
    else:
        _show(report, out, Console(highlight=False))
    if not _went_well(report):
        raise typer.Exit(1)


def _went_well(report: "CallReport") -> bool:
    return bool(report.streams) and not report.faults


def _facts(report: "CallReport") -> dict[str, Any]:
    """The call as JSON. Times are seconds from the answer, durations milliseconds."""

    def at(time: float | None) -> float | None:
        return None if time is None else round(time - report.answered_at, 3)

    def ms(seconds: float | None) -> int | None:
        return None if seconds is None else round(1000 * seconds)

    return {
        "call_sid": report.call_sid,
        "went_well": _went_well(report),
        "ending": report.ending,
        "seconds": at(report.ended_at),
        "said": [
            {
                "text": said.text,
                "barge_in": said.barge_in,
                "began": at(said.began),
                "ended": at(said.ended),
                "answered_after_ms": ms(said.time_to_answer),
                "silenced_agent_after_ms": ms(said.time_to_silence),
            }
            for said in report.caller.said
        ],
        "streams": [
            {
                "stream_sid": stream.stream_sid,
                "ended_by": stream.ended_by,
                "frames_sent": len(stream.sent_at),
                "frames_dropped": stream.dropped,
                "cleared": [at(time) for time in stream.cleared_at],
                "heard": [
                    {"began": at(burst.began), "ended": at(burst.ended), "cut_by": burst.cut_by}
                    for burst in stream.bursts
                ],
            }
            for stream in report.streams
        ],
        "verbs": [
            {"name": verb.name, "attributes": verb.attributes, "text": verb.text}
            for verb in report.verbs
        ],
        "notes": [{"code": note.code, "text": note.text} for note in report.notes],
        "faults": report.faults,
    }


def _show(report: "CallReport", out: Path, console: "Console") -> None:
    """The call as a person reads it."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    facts = _facts(report)
    for said in facts["said"]:
        measured = []
        if said["silenced_agent_after_ms"] is not None:
            measured.append(f"agent silent after {said['silenced_agent_after_ms']} ms")
        if said["answered_after_ms"] is not None:
            measured.append(f"answered after {said['answered_after_ms']} ms")
        began = "" if said["began"] is None else f"{said['began']:.1f} s"
        table.add_row(began, escape(said["text"]), ", ".join(measured) or "no answer")
    console.print(table)
    heard = sum(len(stream["heard"]) for stream in facts["streams"])
    ending = report.ending.replace("_", " ")
    console.print(f"{facts['seconds']:.1f} s, {heard} stretches of agent audio; ended: {ending}")
    for verb in report.verbs:
        if verb.name in ("Dial", "Record"):
            console.print(f"noted, not done: <{verb.name}> {escape(str(verb.attributes))}")
    for fault in report.faults:
        console.print(f"[red]fault[/]: {escape(fault)}")
    if not report.streams:
        console.print("[red]fault[/]: no stream was opened")
    # A path that is broken into lines can be neither copied nor clicked.
    console.print(f"The call, caller left and agent right: {escape(str(out))}", soft_wrap=True)
