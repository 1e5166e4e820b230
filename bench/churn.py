"""Where the CPU of a short call goes in the call process: by part, in ms a call.

    .venv/bin/python -m bench.churn [--seconds 10] [--tls] [--webhook]

`offhook serve` carries the churn of `offhook bench`: 40 calls begin each second, each of 3 s. In
its call process the stack of the main thread is taken every 2 ms, with the CPU time since then
(bench/sampled/sitecustomize.py), and each stack is a part's: of its innermost function that PARTS
names. `--webhook`: the calls come by the voice webhook, and both sides are recorded. Needs Linux.
"""

import argparse
import asyncio
import json
import os
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from offhook.bench import measuring
from offhook.bench.runner import Bench, Cores, ServeBridge

SAMPLED = Path(__file__).parent / "sampled"

FRAMES = "frames: 3 s of audio, both ways"
OTHER = "the rest: event loop, other threads"

PARTS: Mapping[str, tuple[str, ...]] = {
    FRAMES: (
        "deepgram/leg.py:on_binary",
        "deepgram/leg.py:send_audio",
        "calls/session.py:on_agent_audio",
        "calls/session.py:on_caller_audio",
        "twilio/stream.py:play",
        "twilio/messages.py:play",
        "twilio/messages.py:read",
        "net/websocket.py:send_binary",
        "net/websocket.py:on_ws_frame",
        "twilio/stream.py:on_text",
    ),
    "log lines": ("observability/",),
    "journal and live events": ("journal/", "events/"),
    "limits, and who calls": (
        "calls/registry.py:limit_reached",
        "calls/registry.py:_on_the_line",
        "calls/registry.py:<genexpr>",
        "calls/call_entry.py:has_",
        "calls/admission.py",
        "calls/replay_cache.py",
    ),
    "signature": ("twilio/signature.py", "webhooks/auth.py"),
    "webhook and TwiML": ("webhooks/call_flow.py", "twilio/twiml"),
    "Twilio's socket: connection, request, upgrade": (
        "net/listener.py",
        "net/first_request.py",
        "net/request_head.py",
        "net/websocket.py:accept",
        "net/websocket.py:choose",
        "net/websocket.py:on_ws_connected",
        "webhooks/",
    ),
    "the agent's socket: dialling, upgrade, TLS": (
        "deepgram/connection.py",
        "deepgram/session_budget.py",
        "net/websocket.py:connect",
        "concurrency/server_tasks.py",
    ),
    "Settings": (
        "deepgram/settings",
        "call/agent_link.py:apply_settings",
        "call/handlers.py:_apply_settings",
    ),
    "variables and the agent of the call": (
        "config/",
        "calls/agent_session.py",
        "text/",
    ),
    "functions": ("tools/",),
    "the call's objects": (
        "calls/intake.py",
        "calls/session_factory.py",
        "calls/session.py:__init__",
        "calls/call_entry.py",
        "calls/control.py",
        "twilio/stream.py:__init__",
    ),
    "end": (
        "calls/session.py:_end",
        "call/call_state.py:finish",
        "call/call.py:end",
        "call/handlers.py:_hang_up",
        "net/websocket.py:on_ws_disconnected",
        "net/websocket.py:_on_close_frame",
        "net/websocket.py:close",
    ),
    "decisions: texts, marks and turns": ("call/", "calls/", "deepgram/", "twilio/"),
}
"""Functions of each part: beginnings of `file:function`, under src/offhook.

A stack is searched from its innermost function outwards, by the first part here that names it."""

NOT_A_CALLS = ("<frozen importlib", "serving/server.py:_drain", "serving/server.py:_stop")
"""Beginnings of functions of which a stack is of the start or the stop of the server."""


def part_of(stack: str) -> str | None:
    """Return the part of a stack, whose innermost function is first; None: it is of no call."""
    functions = stack.split(";")
    if any(function.startswith(NOT_A_CALLS) for function in functions):
        return None
    for function in functions:
        for part, beginnings in PARTS.items():
            if function.startswith(beginnings):
                return part
    return OTHER


def by_part(stacks: Mapping[str, int]) -> Counter[str]:
    """Return the CPU time of each part, in ns, from that of each stack."""
    found: Counter[str] = Counter()
    for stack, ns in stacks.items():
        if (part := part_of(stack)) is not None:
            found[part] += ns
    return found


def _written(folder: Path) -> dict[str, int]:
    """Return the stacks that a call process has written, and the CPU time of each in ns."""
    (file,) = folder.glob("*.json")
    stacks: dict[str, int] = json.loads(file.read_text("utf-8"))
    return stacks


async def main(seconds: float, *, tls: bool, webhook: bool) -> None:
    """Measure, and print a table."""
    with tempfile.TemporaryDirectory(prefix="offhook-bench-") as folder:
        environ = {**os.environ, "CHURN_SAMPLES": folder, "PYTHONPATH": str(SAMPLED)}
        plan = measuring.RunPlan(measuring.CHURN_CALLS, seconds, "churn", tls)
        bench = Bench(Cores(), environ)
        level = await measuring.level(bench, ServeBridge(recorded=webhook), plan)
        found = by_part(_written(Path(folder)))
    call_ms = level.call_ms or 0.0
    calls = measuring.CHURN_PER_S * (measuring.CHURN_HOLD_S + bench.warm_up_s + seconds)
    parts = {part: ns / 1e6 / calls for part, ns in found.items() if part != OTHER}
    parts[OTHER] = max(0.0, call_ms - sum(parts.values()))
    print(
        f"{call_ms:.1f} ms of CPU a call; other programs used {level.others_busy:.2f} of a core\n"
    )
    print("| part | ms a call |\n| --- | --- |")
    for part, ms in sorted(parts.items(), key=lambda one: -one[1]):
        print(f"| {part} | {ms:.2f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--tls", action="store_true", help="TLS to the agent")
    parser.add_argument("--webhook", action="store_true", help="by the voice webhook, recorded")
    given = parser.parse_args()
    asyncio.run(main(given.seconds, tls=given.tls, webhook=given.webhook))
