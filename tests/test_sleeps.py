"""No test sleeps to wait for something: it waits for what tells of it, or asks (waiting.py)."""

import ast
from collections import Counter
from pathlib import Path
from typing import Final

from tests.sources import syntax_tree

TESTS: Final = Path(__file__).parent

SLEEPS: Final = {
    "waiting.py": (3, "the waits themselves: an event loop, or a thread, between two looks"),
    "hostile.py": (1, "a hostile agent's pauses, by chance"),
    "api/test_operators_at_calls.py": (1, "a microphone sends a frame every 20 ms"),
    "cli/test_operators.py": (1, "a microphone sends a frame every 20 ms"),
    "fleet/test_commands.py": (1, "a microphone sends a frame every 20 ms"),
    "twilio_faults.py": (1, "Twilio sends a frame every 20 ms"),
    "api/test_reading.py": (1, "a client that was refused asks again, a little later"),
    "test_canary_log.py": (1, "between two requests to a process that may have ended"),
    "net/test_first_request.py": (1, "a head that trickles in, byte by byte"),
    "testing/dialogue/test_model_policy.py": (1, "a body that drips"),
    "twilio/test_rest.py": (1, "Twilio takes its time to answer"),
    "records/test_killed.py": (1, "a writer's pause between two lines, as long as a kill is due"),
    "concurrency/test_server_tasks.py": (3, "work that would never end, to be cancelled"),
    "bench/test_sockets.py": (1, "time between arrival and reading, which the stamp must not have"),
    "testing/scenarios/test_runner.py": (1, "holds the loop, as a slow judge does"),
}
"""Sleeps of some seconds that stay, by file: how many there are, and what they are."""


def sleeps(source: str) -> int:
    """Return how often a test sleeps. To sleep 0 s lets others run, and waits for nothing."""
    return sum(
        isinstance(node, ast.Call)
        and ast.unparse(node.func).rpartition(".")[2] == "sleep"
        and [ast.unparse(each) for each in node.args[:1]] != ["0"]
        for node in ast.walk(syntax_tree(source))
    )


def test_whoever_sleeps_says_why() -> None:
    found = Counter[str]()
    for path in TESTS.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        if "sleep(" in source and (count := sleeps(source)):
            found[path.relative_to(TESTS).as_posix()] = count
    assert found == {name: count for name, (count, _) in SLEEPS.items()}


def test_sleeps_are_found() -> None:
    source = "time.sleep(1)\nawait asyncio.sleep(a)\nsleep(0.1)\nawait asyncio.sleep(0)\nsleeps(3)"
    assert sleeps("async def f():\n    " + source.replace("\n", "\n    ")) == 3
