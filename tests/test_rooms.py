"""The order of the rooms of src/offhook, and who may know which library, read from the source."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.sources import syntax_tree

import offhook

SOURCE: Final = Path(offhook.__file__).parent

ROOMS: Final = (
    "text",
    "",  # the modules of src/offhook itself: errors, clock, audio, and so on
    "events",
    "concurrency",
    "net",
    "twilio",
    "deepgram",
    "call",
    "policy",
    "tools",
    "config",
    "scaffold",
    "recordings",
    "capture",
    "journal",
    "fleet",
    "calls",
    "redaction",
    "outbound",
    "observability",
    "numbers",
    "records",
    "users",
    "webhooks",
    "link",
    "api",
    "serving",
    "doctor",
    "dev",
    "bench",
    "testing",
    "cli",
)
"""The rooms of src/offhook: each may import from those before it, and from no other."""

RIGS: Final = ("bench", "testing")
"""The rooms that measure and try the product. Of the product only the command line knows them."""

ROOMS_OF_TESTING: Final = (
    "",  # the modules of src/offhook/testing itself: a clock that jumps, sockets in memory
    "simulator.speech",
    "simulator.twilio",
    "simulator.deepgram",
    "simulator.dialogue",
    "faults",
    "scenarios",
    "replay",
)
"""The rooms of offhook.testing: each may import from those before it, and from no other of them."""

LOOSE_MAX: Final = 8
"""Modules that may lie in src/offhook itself."""

CORE: Final = (
    "offhook.call",
    "offhook.twilio.messages",
    "offhook.deepgram.changes",
    "offhook.deepgram.messages",
    "offhook.deepgram.retry",
    "offhook.deepgram.settings_fields",
)
CORE_MAY_IMPORT: Final = (*CORE, "offhook.audio", "offhook.events")
WAITING: Final = ("asyncio", "socket", "time", "threading", "picows", "httpx", "httpx2", "select")

OWNERS: Final = {
    "fastapi": "offhook.api",
    "structlog": "offhook.observability.log_format",
    "webrtcvad": "offhook.testing.simulator.speech",
}
"""Libraries, and the one place that knows each."""

CLOCK: Final = re.compile(
    r"(^|\.)(loop|get_running_loop\(\)|get_event_loop\(\))\.time$"
    r"|^time\.(time|monotonic|perf_counter|process_time)(_ns)?$"
    r"|^(datetime\.)?(datetime|date)\.(now|utcnow|today)$"
)
MAY_READ_THE_CLOCK: Final = (
    "offhook.clock",
    "offhook.capture.writer",  # the date in the name of a file
    "offhook.recordings.recorder",  # likewise
    "offhook.testing.simulator.twilio.calls.dates",  # dates in callbacks
    "offhook.journal.keeper",  # when a call was, for whoever looks for it
    "offhook.records.erasing",  # how long it waits for a server
    "offhook.records.retention",  # it compares the wall clock with one that never jumps
    "offhook.records.follower",  # which calls are a day old
    "offhook.serving.call_runs",  # as the supervisor
    "offhook.serving.child_process",  # as the supervisor
    "offhook.serving.supervisor",  # when a process is started again; it has no event loop
    "offhook.tools.watchdog",  # how long this process had a core, which is no time of day
    "offhook.testing.simulator.speech.sphinx_worker",  # how long it had a core
    "offhook.testing.simulator.speech.whisper_worker",  # likewise
    "offhook.cli.calls.filter_options",  # which moment "24h" ago was
    "offhook.bench",  # it measures the process that reads the clock it is given
)
READ_THE_ENVIRONMENT: Final = (
    "offhook.cli",
    "offhook.config",
    "offhook.serving.call_process",  # it is a command of its own
    "offhook.serving.operator_process",  # likewise
)
ENVIRONMENT: Final = re.compile(r"^os\.(environb?|getenvb?|putenv)$")
ENDS: Final = frozenset(
    {
        *("environ", "environb", "getenv", "getenvb", "putenv", "now", "utcnow", "today"),
        *("time", "monotonic", "perf_counter", "process_time"),
        *("time_ns", "monotonic_ns", "perf_counter_ns", "process_time_ns"),
    }
)
"""Last parts of the names that CLOCK and ENVIRONMENT match: only those are written out."""


def modules() -> dict[str, Path]:
    """Every module of ours, by name."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


def imports(tree: ast.Module) -> Iterator[str]:
    """What a module imports, wherever in it. `from a import b` is a.b, whatever b is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are banned by ruff"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def reads(tree: ast.Module) -> Iterator[str]:
    """Dotted names that a module reads, `_loop` taken for `loop`, and what it imports."""
    yield from imports(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ENDS:
            yield ast.unparse(node).replace("_loop.time", "loop.time").removeprefix("self.")


def within(name: str, packages: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of these, or in one of them."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def room(module: str) -> str:
    """Return the room of a module: the name of its folder, empty for src/offhook itself."""
    parts = module.split(".")
    is_folder = len(parts) > 1 and (SOURCE / parts[1]).is_dir()
    return parts[1] if is_folder else ""


def room_of_testing(module: str) -> str:
    """Return the room of a module within offhook.testing."""
    parts = module.split(".")[2:]
    known = {room.split(".")[0] for room in ROOMS_OF_TESTING}
    if not parts or parts[0] not in known:
        return ""
    return ".".join(parts[:2]) if parts[0] == "simulator" else parts[0]


def faults(name: str, tree: ast.Module) -> Iterator[str]:
    """Every arrow that points the wrong way out of a module."""
    for target in imports(tree):
        ours = within(target, ("offhook",))
        if within(name, CORE):
            if ours and not within(target, CORE_MAY_IMPORT):
                yield f"{name} decides, and imports {target}"
            if within(target, WAITING):
                yield f"{name} decides, and imports {target}, which can wait"
        if within(name, ("offhook.events",)) and ours and not within(target, ("offhook.events",)):
            yield f"{name} is below everything, and imports {target}"
        if within(target, ("picows",)) and name != "offhook.net.websocket":
            yield f"{name} imports {target}: only offhook.net.websocket knows the engine"
        for library, owner in OWNERS.items():
            if within(target, (library,)) and not within(name, (owner,)):
                yield f"{name} imports {target}: only {owner} knows it"
        if ours and name != "offhook.__main__":
            if ROOMS.index(room(target)) > ROOMS.index(room(name)):
                yield f"{name} imports {target}, whose room is above its own"
            if within(name, ("offhook.testing",)) and within(target, ("offhook.testing",)):
                here, there = map(room_of_testing, (name, target))
                if ROOMS_OF_TESTING.index(there) > ROOMS_OF_TESTING.index(here):
                    yield f"{name} imports {target}, whose room of testing is above its own"
            if room(target) in RIGS and room(name) not in (*RIGS, "cli"):
                yield f"{name} is the product, and imports {target}"
    for read in reads(tree):
        if ENVIRONMENT.search(read) and not within(name, READ_THE_ENVIRONMENT):
            yield f"{name} reads {read}: the environment is read by config and cli"
        if CLOCK.search(read) and not within(name, MAY_READ_THE_CLOCK):
            yield f"{name} reads {read}: the clock is read by offhook.clock"


MODULES: Final = modules()


def test_every_arrow_points_the_right_way() -> None:
    assert [
        fault
        for name, path in MODULES.items()
        for fault in faults(name, syntax_tree(path.read_text(encoding="utf-8")))
    ] == []


def test_the_core_is_where_it_is_looked_for() -> None:
    assert set(CORE) <= set(MODULES)


def test_every_room_has_a_place_in_the_order() -> None:
    assert {room(name) for name in MODULES} == set(ROOMS)


def test_every_room_of_testing_has_a_place_in_the_order() -> None:
    names = [name for name in MODULES if within(name, ("offhook.testing",))]
    found = {room_of_testing(name) for name in names if name != "offhook.testing.simulator"}
    assert found == set(ROOMS_OF_TESTING)


def test_the_page_of_decisions_counts_the_rooms() -> None:
    page = (Path(__file__).parents[1] / "docs/design/rooms.md").read_text("utf-8")
    assert f"`src/offhook` has {len(ROOMS) - 1} rooms and a ground floor of" in page


def test_few_modules_lie_loose() -> None:
    assert len(list(SOURCE.glob("*.py"))) <= LOOSE_MAX


def test_every_room_is_on_the_map() -> None:
    guide = (SOURCE.parents[1] / "CONTRIBUTING.md").read_text("utf-8")
    named = re.findall(r"^src/offhook/(\w+)/ ", guide, re.MULTILINE)
    assert named == [name for name in ROOMS if name]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("offhook.call.call", "from offhook.calls.session import Session"),
        ("offhook.call.call", "from offhook.net import websocket"),
        ("offhook.call.call", "def late():\n    import asyncio"),
        ("offhook.call.playback", "from time import monotonic"),
        ("offhook.twilio.messages", "import offhook.twilio.stream"),
        ("offhook.twilio.rest", "from offhook.config import Agent"),
        ("offhook.tools.threads", "from offhook.calls.registry import CallRegistry"),
        ("offhook.errors", "from offhook.config import Config"),
        ("offhook.deepgram.messages", "import threading as t"),
        ("offhook.calls.session", "from picows import WSFrame"),
        ("offhook.calls.session", "from offhook.serving.server import Server"),
        ("offhook.serving.server", "from offhook.testing.virtual_clock import VirtualClock"),
        (
            "offhook.testing.simulator.twilio.phone",
            "from offhook.testing.scenarios.caller import Caller",
        ),
        (
            "offhook.testing.simulator.speech.clips",
            "from offhook.testing.simulator.dialogue import words",
        ),
        ("offhook.capture.tap", "import webrtcvad"),
        ("offhook.serving.server", "from offhook.bench import load"),
        ("offhook.serving.server", "import offhook.cli.serve"),
        ("offhook.webhooks.routes", "from offhook.cli import app"),
        ("offhook.webhooks.routes", "from fastapi import FastAPI"),
        ("offhook.calls.registry", "from offhook.api.live import Live"),
        ("offhook.events.types", "from offhook.call.ending import Slug"),
        ("offhook.serving.server", "import os\nkey = os.environ['KEY']"),
        ("offhook.serving.server", "from os import getenv"),
        ("offhook.observability.call_log", "import structlog"),
        ("offhook.calls.session", "import time\nnow = time.monotonic()"),
        ("offhook.calls.session", "from datetime import datetime\nnow = datetime.now()"),
        ("offhook.calls.session", "class A:\n    def f(self):\n        return self._loop.time()"),
        ("offhook.serving.server", "import asyncio\nnow = asyncio.get_running_loop().time()"),
    ],
)
def test_a_wrong_arrow_is_found(name: str, source: str) -> None:
    assert list(faults(name, syntax_tree(source)))


def test_a_right_arrow_is_not() -> None:
    source = (
        "import math\nfrom offhook.twilio import messages\nfrom offhook.call.phases import Phase"
    )
    assert list(faults("offhook.call.call", syntax_tree(source))) == []
