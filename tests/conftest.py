"""What all tests share: the event loop that the server runs on, and the run they belong to."""

import asyncio
import gc
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import uvloop
from tests import running, sweeper
from tests.forms import LONG
from tests.order import long_ones_first
from tests.postgres import Postgres
from tests.running import Progress, Run
from tests.time_limit import TimeLimit

CONSOLE = Path(__file__).parent / "console"
RUN = pytest.StashKey[Run]()
PROGRESS = pytest.StashKey[Progress]()
LIMIT = pytest.StashKey[TimeLimit]()

# Hypothesis fails an example that takes longer than 200 ms, which on a busy machine any can.
hypothesis.settings.register_profile("offhook", deadline=None, max_examples=50)
hypothesis.settings.register_profile(LONG, deadline=None, max_examples=10_000)  # of make soak
hypothesis.settings.load_profile("offhook")


class Loop(uvloop.Loop):
    """A loop that does not hang when it is closed before the processes it has started.

    uvloop waits there for each of them. A test that leaves one running is told so.
    """

    async def subprocess_exec(self, *args: Any, **kwargs: Any) -> Any:
        started = await super().subprocess_exec(*args, **kwargs)
        self.__dict__.setdefault("started", []).append(started[0])
        return started

    def close(self) -> None:
        left = []
        for process in self.__dict__.pop("started", []):
            if process.get_returncode() is None:
                left.append(process.get_pid())
                process.kill()
                self.run_until_complete(process._wait())
        super().close()
        if left:
            raise RuntimeError(f"the test left {len(left)} processes running; they were ended")


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": Loop}


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The PostgreSQL of this run. Nobody stops it: who needs that has one of their own."""
    folder = running.folder()
    assert folder is not None
    server = Postgres(folder / sweeper.POSTGRES)
    yield server
    server.stop()


# --- the run ---


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("test_limit", "seconds that a test may take before it counts as hanging")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "limit(seconds): the test may take longer than others")
    config.addinivalue_line("markers", "long: half a minute on a busy machine; it is begun first")
    # Tests are collected to stay: looking through them for garbage was a third of the work.
    gc.disable()
    worker = getattr(config, "workerinput", {}).get("workerid")
    if worker is None:
        config.stash[RUN] = Run()
    folder = running.folder()
    assert folder is not None
    path = folder / f"limit-{worker or 'tests'}"
    config.stash[LIMIT] = TimeLimit(path, lambda told: _show(config, told) if not worker else None)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    workers = getattr(config, "workerinput", {}).get("workercount")
    if workers is not None:
        long = [item for item in items if item.get_closest_marker("long")]
        others = [item for item in items if not item.get_closest_marker("long")]
        browsing = [item for item in others if item.path.parent == CONSOLE]
        others = [item for item in others if item.path.parent != CONSOLE]
        items[:] = long_ones_first(long, browsing, others, workers)


def pytest_collection_finish() -> None:
    gc.freeze()  # and no collection while tests run looks at them again
    gc.enable()


def _show(config: pytest.Config, told: str) -> None:
    """Print what hangs in a run of one process, whose output is being captured."""
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.suspend_global_capture()
    print(f"\n{told}", flush=True)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    marked = item.get_closest_marker("limit")
    seconds = float(marked.args[0] if marked else item.config.getini("test_limit"))
    limit = item.config.stash[LIMIT]
    limit.begin(item.nodeid, seconds)
    try:
        return (yield)
    finally:
        limit.end()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, object, object]:
    result = yield
    begun = session.config.stash.get(RUN, None)
    if begun is None:
        return result
    progress = session.config.stash.get(PROGRESS, None)
    if progress is not None:
        progress.stop()
    failed = session.exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    left = begun.end(keep=failed)
    terminal = session.config.get_terminal_writer()
    for process in left:
        terminal.line(f"LEFT RUNNING, and ended: {process}", red=True)
    if left:  # no test that runs again by itself makes this good
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
    if failed:
        terminal.line(f"What the tests wrote is in {begun.folder}; remove it when you have looked.")
    return result


# --- what is told while it runs ---


def pytest_sessionstart(session: pytest.Session) -> None:
    config = session.config
    terminal = config.pluginmanager.getplugin("terminalreporter")
    # Where one process does all, its output is being captured while a test runs.
    if RUN not in config.stash or terminal is None or not config.getoption("numprocesses", None):
        return
    progress = Progress(lambda words: terminal.write_line(f"\nwaiting for {words}"))
    config.pluginmanager.register(Watching(progress, config.stash[RUN]))
    config.stash[PROGRESS] = progress
    progress.start()


class Watching:
    """Notes which tests run on the workers, and what those were doing that have died."""

    def __init__(self, progress: Progress, run: Run) -> None:
        self._progress = progress
        self._run = run

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._progress.began(nodeid)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._progress.told(nodeid)

    def pytest_handlecrashitem(self, crashitem: str, report: Any) -> None:
        self._progress.told(crashitem)
        stacks = self._run.folder / f"limit-{report.node.gateway.id}"
        if stacks.exists():
            report.longrepr = f"{report.longrepr}\n{stacks.read_text()}"
