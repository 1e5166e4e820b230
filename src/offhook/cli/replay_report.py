"""Output of `offhook rehearse --replay`: both calls side by side, and each difference."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from offhook.errors import UserError
from offhook.events.types import CameBy
from offhook.testing.replay.call_side import AgentUtterance
from offhook.testing.replay.captured import Captured
from offhook.testing.replay.comparison import Comparison
from offhook.testing.replay.difference import TIME_MS


def report(captured: Captured, comparison: Comparison, out: Path, *, as_json: bool) -> bool:
    """Print the verdict. Return whether the call went as captured.

    Raises UserError E-CAP-06 when this machine was too busy to tell.
    """
    if as_json:
        print(json.dumps(_facts(captured, comparison) | {"wav": str(out)}, indent=2))
    else:
        _show(captured, comparison, out, Console(highlight=False))
    if comparison.verdict == "too_busy":
        raise UserError(
            "E-CAP-06",
            "This machine was too busy for a verdict: the caller's own audio was sent up to"
            f" {comparison.late_ms} ms late.",
            "Make the call again when less runs beside it.",
        )
    return comparison.same


def _facts(captured: Captured, comparison: Comparison) -> dict[str, Any]:
    """Return the verdict for JSON. All times are in ms since the stream's start."""

    def speech(one: AgentUtterance | None) -> dict[str, Any] | None:
        if one is None:
            return None
        return {
            "began_ms": one.began,
            "ended_ms": one.ended,
            "spoken_ms": one.spoken,
            "interrupted": one.interrupted,
        }

    return {
        "verdict": comparison.verdict,
        "late_ms": comparison.late_ms,
        "audio_only": comparison.is_audio_only,
        "capture": {
            "file": str(captured.path),
            "call_sid": captured.header.call_sid,
            "date": captured.header.date,
            "agent": captured.header.agent,
            "whole": captured.whole,
        },
        "differences": [{"at_ms": one.at_ms, "what": one.what} for one in comparison.differences],
        "speech": [
            {"captured": speech(one.captured), "replayed": speech(one.replayed)}
            for one in comparison.speech
        ],
        "answers": [
            {"asked_ms": one.asked, "captured_ms": one.captured, "replayed_ms": one.replayed}
            for one in comparison.answers
        ],
    }


_CAME: Final[Mapping[CameBy, str]] = {
    "webhook": "by the webhook",
    "bin": "by a TwiML Bin",
    "api": "placed by the API",
    "browser": "from a browser",
}


def _show(captured: Captured, comparison: Comparison, out: Path, console: Console) -> None:
    """Print the verdict as text."""
    header = captured.header
    came = _CAME[header.by or ("webhook" if header.webhook else "bin")]
    agent = escape(header.agent)
    date = header.date[:16].replace("T", " ")
    console.print(f"The call of {date} (UTC), answered by {agent}, {came}, made again.")
    if captured.cut:
        console.print("Its last line was written only in part: that one was left out.")
    if not captured.whole:
        console.print("Its capture ends before the call did: it was played as far as it goes.")
    console.print()
    table = Table(box=None, pad_edge=False)
    for title in ("the agent spoke", "captured", "now"):
        table.add_column(title)
    for pair in comparison.speech:
        then, now = pair.captured, pair.replayed
        first = then or now
        assert first is not None  # one of the two is there
        table.add_row(f"{first.began / 1000:6.1f} s", _speech(then), _speech(now))
    console.print(table)
    answered = [
        f"{one.captured} → {one.replayed} ms"
        for one in comparison.answers
        if one.captured is not None and one.replayed is not None
    ]
    if answered:
        console.print(f"time to answer: {', '.join(answered)} (may differ by {TIME_MS} ms)")
    for one in comparison.differences:
        console.print(f"[red]different[/] {one.at_ms / 1000:6.1f} s: {escape(one.what)}")
    if comparison.is_audio_only:
        console.print(
            "Compared by the audio alone: what was recognised, and functions, are not known."
        )
    if comparison.same:
        console.print("[green]The same.[/]")
    # A path that is broken into lines can be neither copied nor clicked.
    console.print(f"The call, caller left and agent right: {escape(str(out))}", soft_wrap=True)


def _speech(one: AgentUtterance | None) -> str:
    if one is None:
        return "nothing"
    return f"{one.spoken / 1000:.1f} s" + (", interrupted" if one.interrupted else "")
