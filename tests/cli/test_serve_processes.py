"""The two processes of offhook serve: each is killed, stopped or kept out, and calls go on."""

import asyncio
import os
import re
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
import pytest_asyncio
from tests.cli.in_process import refused_start
from tests.cli.served import COMMAND, SECRETS, Serving, run, run_command, serving
from tests.waiting import ASKS_EVERY_S, until, until_found
from tests.whole_server import GREET, HANG_UP, fresh_sid

from offhook.testing.scenarios.scenario import ScenarioStep

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform == "win32", reason="there is one process on Windows"),
]

STAYS = ScenarioStep(wait=600)
TALKS = (GREET, ScenarioStep(wait=2), HANG_UP)


def slugs(folder: Path) -> dict[str, str | None]:
    """Return the endings that the database has, by CallSid."""
    path = folder / "offhook-data" / "offhook.db"
    if not path.exists():
        return {}
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60)) as database:
        try:
            return dict(database.execute("select sid, slug from calls").fetchall())
        except sqlite3.OperationalError:  # there are no tables yet
            return {}


async def until_recorded(folder: Path, call_sid: str, slug: str = "caller_hung_up") -> None:
    await until(lambda: slugs(folder).get(call_sid) == slug, every_s=ASKS_EVERY_S)


async def ask(server: Serving, path: str) -> Any:
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=60) as http:
        answer = await http.get(await server.operator_url() + path, headers=server.headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def ready(server: Serving) -> httpx2.Response:
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=60) as http:
        return await http.get(server.url + "/readyz")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Serving]:
    """A server for the tests that leave both of its processes running, and no call."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / "offhook.yaml").write_text("server: {capacity: 7}\n")
    async with serving(folder) as made:
        yield made
        assert await made.stop() == 0


SHARING = pytest.mark.asyncio(loop_scope="module")
"""For tests of `shared`."""


@SHARING
async def test_a_killed_call_process_comes_back_and_connections_wait(shared: Serving) -> None:
    await shared.operator_url()
    call, operator = await shared.until_started("call"), await shared.until_started("operator")
    sid = fresh_sid()
    async with asyncio.TaskGroup() as group:
        lost = group.create_task(shared.call(GREET, STAYS, call_sid=sid))
        await shared.until_said_of(sid, "caller is on the line")
        psutil.Process(call).suspend()  # nothing is answered until the next one is there
        waiting = group.create_task(shared.call())
        await until(lambda: queued(shared) > 0)
        psutil.Process(call).kill()
        report = await waiting
        assert report.faults == []
        assert report.ending == "caller_hung_up"
        await until_recorded(shared.folder, report.call_sid)
        assert shared.pid("operator") == operator, "it stays"
        assert shared.pid("call") != call
        lost.cancel()  # it went on, and hangs up now
    await until_recorded(shared.folder, sid)
    await shared.until_said("E-PROC-01 The call process has ended: SIGKILL.")


def queued(server: Serving) -> int:
    """Return how many connections are complete and not accepted (Linux)."""
    port = int(server.url.rpartition(":")[2])
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, state, queues = line.split()[1], line.split()[3], line.split()[4]
        if state == "0A" and int(local.partition(":")[2], 16) == port:
            return int(queues.partition(":")[2], 16)
    return 0


@SHARING
async def test_a_killed_operator_process_is_noticed_by_no_call_and_catches_up(
    shared: Serving,
) -> None:
    call, operator = await shared.until_started("call"), await shared.until_started("operator")
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(shared.call(*TALKS)) for _ in range(5)]
        for _ in range(3):
            psutil.Process(operator).kill()
            operator = await shared.until_started("operator", other_than=operator)
    reports = [one.result() for one in calls]
    assert [report.faults for report in reports] == [[]] * 5
    for report in reports:
        await until_recorded(shared.folder, report.call_sid)
    listed = await ask(shared, "/api/v1/calls")
    assert {c["sid"] for c in listed["calls"]} >= {r.call_sid for r in reports}
    assert shared.pid("call") == call, "it stays"
    await shared.until_said("E-PROC-02 The operator process has ended: SIGKILL.")


@SHARING
async def test_an_operator_process_that_hangs_is_yellow_and_noticed_by_no_call(
    shared: Serving,
) -> None:
    async def records() -> str:
        answer = await ready(shared)
        assert answer.status_code == 200
        state: str = answer.json()["records"]
        return state

    await shared.operator_url()
    operator = psutil.Process(await shared.until_started("operator"))
    await until_found(records, lambda state: state == "ok")
    operator.suspend()
    reports = await asyncio.gather(shared.call(), shared.call())
    assert [report.faults for report in reports] == [[], []]
    behind = re.compile(r"the operator process is \d+ s behind").fullmatch
    await until_found(records, lambda state: behind(state) is not None)
    operator.resume()
    await until_found(records, lambda state: state == "ok")
    for report in reports:
        await until_recorded(shared.folder, report.call_sid)


@SHARING
async def test_a_file_that_was_broken_meanwhile_keeps_calls_waiting_until_it_is_mended(
    shared: Serving,
) -> None:
    file = shared.folder / "offhook.yaml"
    assert (await ready(shared)).json()["capacity"] == 7
    file.write_text("server: {capacitee: 7}\n")
    psutil.Process(await shared.until_started("call")).kill()
    await shared.until_said("offhook.yaml:1:10")
    await shared.until_said("exit code 1")
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(shared.call())
        file.write_text("server: {capacity: 8}\n")
        assert (await waiting).faults == []
    assert (await ready(shared)).json()["capacity"] == 8


async def test_sigterm_drains_and_the_last_events_are_in_the_database(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, asyncio.TaskGroup() as group:
        operator = await server.until_started("operator")
        live = group.create_task(server.call(*TALKS))
        await server.until_said("caller is on the line")
        # A service manager signals every process of the service.
        for pid in (server.process.pid, await server.until_started("call"), operator):
            os.kill(pid, signal.SIGTERM)
        report = await live
        assert report.ending == "caller_hung_up", "one stop, however many signals"
        assert await server.end() == 0
    assert slugs(tmp_path) == {report.call_sid: "caller_hung_up"}
    assert not psutil.pid_exists(operator)


async def test_two_stops_end_the_live_call(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, asyncio.TaskGroup() as group:
        live = group.create_task(server.call(GREET, STAYS))
        await server.until_said("caller is on the line")
        server.process.send_signal(signal.SIGINT)
        await server.until_said("draining: 1 calls are live")
        server.process.send_signal(signal.SIGINT)
        await live
        assert await server.end() == 0
    assert list(slugs(tmp_path).values()) == ["shut_down"]


async def test_a_killed_supervisor_leaves_the_live_call_and_its_record(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, asyncio.TaskGroup() as group:
        await server.operator_url()
        call, operator = await server.until_started("call"), await server.until_started("operator")
        live = group.create_task(server.call(*TALKS))
        await server.until_said("caller is on the line")
        server.process.kill()
        report = await live
        assert report.faults == []
        assert report.ending == "caller_hung_up"
        await until(lambda: not psutil.pid_exists(call) and not psutil.pid_exists(operator))
    assert slugs(tmp_path) == {report.call_sid: "caller_hung_up"}


async def test_the_operators_port_may_be_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        async with serving(tmp_path, "--operator-listen", where) as server:
            await server.until_said("E-NET-01")
            report = await server.call()
            assert report.faults == []
            await until_recorded(tmp_path, report.call_sid)
            assert not (server.records / "operator.json").exists()
            taken.close()
            assert await server.operator_url() == f"http://{where}"
            assert len((await ask(server, "/api/v1/calls"))["calls"]) == 1
            assert await server.stop() == 0


async def test_two_servers_of_one_folder_are_recorded_by_one_operator_process(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as first:
        url = await first.operator_url()
        async with serving(tmp_path) as second:
            await second.until_said("another operator process")
            reports = [await first.call(), await second.call()]
            for report in reports:
                await until_recorded(tmp_path, report.call_sid)
            assert await first.operator_url() == url
            assert await first.stop() == 0
            # The second one's turn has come.
            await second.until_said("the operator's API")
            listed = await ask(second, "/api/v1/calls")
            assert {c["sid"] for c in listed["calls"]} == {r.call_sid for r in reports}
            assert await second.stop() == 0


async def test_a_socket_of_a_service_manager_is_served(tmp_path: Path) -> None:
    activate = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_FDS'] = '1';"
        "os.environ['LISTEN_PID'] = str(os.getpid()); os.execv(sys.executable, sys.argv[2:])"
    )
    with socket.create_server(("127.0.0.1", 0)) as given:
        port = given.getsockname()[1]
        os.set_inheritable(given.fileno(), True)
        command = [sys.executable, "-c", activate, str(given.fileno()), *COMMAND]
        async with serving(tmp_path, command=command, descriptors=[given.fileno()]) as server:
            assert server.url == f"http://127.0.0.1:{port}"
            assert (await server.call()).faults == []
            await server.until_said("the caller hung up")  # else it would be waited for
            psutil.Process(await server.until_started("call")).kill()
            assert (await server.call()).faults == []
            assert await server.stop() == 0


def test_sockets_that_cannot_be_used_are_said(tmp_path: Path) -> None:
    activate = (
        "import os, sys; os.environ['LISTEN_FDS'] = '2';"
        "os.environ['LISTEN_PID'] = str(os.getpid()); os.execv(sys.executable, sys.argv[1:])"
    )
    ended = run_command([sys.executable, "-c", activate, *COMMAND], tmp_path, SECRETS)
    assert ended.returncode == 1
    assert "E-NET-03" in ended.stderr


async def test_the_call_process_imports_neither_sqlalchemy_nor_fastapi(tmp_path: Path) -> None:
    (tmp_path / "tools.py").write_text(
        "import atexit, os, sys\n"
        "from pathlib import Path\n"
        "from offhook.tools import tool\n"
        "@tool\n"
        "def nothing() -> str:\n"
        "    'Do nothing.'\n"
        "    return ''\n"
        "def tell() -> None:\n"
        "    Path(f'modules-{os.getpid()}').write_text('\\n'.join(sys.modules))\n"
        "atexit.register(tell)\n"
    )
    (tmp_path / "agent.yaml").write_text("settings: {}\ntools: [tools.py]\n")
    (tmp_path / "offhook.yaml").write_text("lines: {default: agent.yaml}\n")
    async with serving(tmp_path) as server:
        await server.operator_url()
        call = await server.until_started("call")
        assert (await server.call()).faults == []
        assert await server.stop() == 0
    written = list(tmp_path.glob("modules-*"))  # noqa: ASYNC240
    assert [path.name for path in written] == [f"modules-{call}"], "no other imports tools"
    modules = {name.partition(".")[0] for name in written[0].read_text().split()}
    assert modules & {"sqlalchemy", "fastapi", "alembic"} == set()
    assert "picows" in modules


@pytest.mark.parametrize("give_up", [False, True])
async def test_in_one_process_it_is_the_same(tmp_path: Path, give_up: bool) -> None:
    async with serving(tmp_path, "--in-process") as server, asyncio.TaskGroup() as group:
        assert psutil.Process(server.process.pid).children() == []
        report = await server.call()
        assert report.faults == []
        await until_recorded(tmp_path, report.call_sid)
        assert len((await ask(server, "/api/v1/calls"))["calls"]) == 1
        live = group.create_task(server.call(GREET, STAYS if give_up else HANG_UP))
        await server.until_said("caller is on the line", 2)
        if give_up:
            server.process.send_signal(signal.SIGTERM)
            await server.until_said("draining")
            assert await server.stop() == 0
        await live
        if not give_up:
            assert await server.stop() == 0
    assert len(slugs(tmp_path)) == 2
    assert all(slugs(tmp_path).values())


@pytest.mark.parametrize(
    ("environ", "missing"),
    [
        ({}, "OFFHOOK_API_TOKEN"),
        ({"OFFHOOK_API_TOKEN": "0123456789abcdef0123"}, "server.operator_hosts"),
    ],
)
def test_an_open_listener_of_the_operator_needs_a_token_and_a_name(
    tmp_path: Path, environ: dict[str, str], missing: str
) -> None:
    ended = refused_start(tmp_path, "--operator-listen", "0.0.0.0:0", **SECRETS, **environ)
    assert ended.returncode == 1
    assert "E-CFG-06" in ended.stderr
    assert missing in ended.stderr


def test_a_signal_during_the_start_ends_it(tmp_path: Path) -> None:
    (tmp_path / "tools.py").write_text(
        "import os, signal, time\nos.kill(os.getppid(), signal.SIGTERM)\ntime.sleep(600)\n"
    )
    (tmp_path / "agent.yaml").write_text("settings: {}\ntools: [tools.py]\n")
    (tmp_path / "offhook.yaml").write_text("lines: {default: agent.yaml}\n")
    assert run(tmp_path, "--port", "0", **SECRETS).returncode == 0
