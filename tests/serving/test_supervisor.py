"""The supervisor, as a process, with two processes of its own that do little."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from tests.waiting import wait_until

from offhook.serving.call_runs import CallRun
from offhook.serving.options import installed_python

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is one process on Windows")

SUPERVISOR = """
import os, sys
from pathlib import Path
from offhook.serving import call_runs, child_process, supervisor
from offhook.serving.service_manager import ServiceManager
from offhook.serving.supervisor import ProcessCommands, Supervisor

folder, listening = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None
child_process.PAUSES_S = (0.0, 0.01)
call_runs.SILENT_MAX = 3 if (folder / "impatient").exists() else 10_000  # of a busy machine
call_runs.HAND_OVER_S, call_runs.DRAINING_MAX = 0.2, 2
supervisor.OPERATOR_STOP_S = float((folder / "patience").read_text())


def call(given):
    fds = (given.control, given.life, -1 if given.listening is None else given.listening)
    return [sys.executable, str(folder / "calls.py"), str(folder), *map(str, fds)]


def operator(life, beats):
    return [sys.executable, str(folder / "operators.py"), str(folder), str(life), str(beats)]


def say(level, words):
    with open(folder / "said", "a") as said:
        print(level, words, file=said)


commands = ProcessCommands(call, operator)
manager = ServiceManager(os.environ, os.getpid())
sys.exit(Supervisor(commands, say, manager=manager, listening=listening, look_s=0.2).run())
"""

CALL = """
import contextlib, os, select, signal, socket, sys, time
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
signal.signal(signal.SIGUSR1, lambda *_: os._exit(7))
folder, control, listening = sys.argv[1], socket.socket(fileno=int(sys.argv[2])), int(sys.argv[4])
if os.path.exists(folder + "/broken"):
    sys.exit(3)
if listening < 0:
    sock = socket.create_server(("127.0.0.1", 0))
    socket.send_fds(control, [b"L"], [sock.fileno()])
else:
    sock = socket.socket(fileno=listening)
with open(folder + "/slow", "a"):
    pass
if os.path.exists(folder + "/late"):
    with open(folder + "/waits", "a") as waits:
        print(os.getpid(), file=waits, flush=True)
    while os.path.exists(folder + "/late"):
        time.sleep(0.01)
control.send(b"RA")
with open(folder + "/environ", "w") as environ:
    print(*(name for name in os.environ if name.startswith(("NOTIFY", "WATCH"))), file=environ)
with open(folder + "/calls", "a") as calls:
    print(os.getpid(), sock.getsockname()[1], file=calls, flush=True)
stops = 0
open_ones = [control, sock]
while stops < 2:
    ready, _, _ = select.select(open_ones, [], [], 0.02)
    if os.path.exists(f"{folder}/end-{os.getpid()}"):
        break
    with contextlib.suppress(OSError):  # the supervisor is gone
        control.send(b"A")
    if control in ready:
        try:
            told = control.recv(64)
        except OSError:  # reset: the supervisor is gone, and had not read all
            told = b""
        stops += told.count(b"S") + told.count(b"N") if told else 2
        if b"N" in told:  # another one accepts
            open_ones.remove(sock)
            sock.close()
        if os.path.exists(folder + "/stays"):
            stops = min(stops, 1)
        with open(folder + "/stops", "a") as said:
            for one in told.decode() or ["end"]:
                print(os.getpid(), one, file=said, flush=True)
        if os.path.exists(folder + "/ends-at-once"):
            break
    if sock in ready:
        with sock.accept()[0] as one:
            one.sendall(str(os.getpid()).encode())
"""

OPERATOR = """
import os, signal, sys, threading, time
folder, life, beats = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


def beat():
    while True:
        try:
            os.write(beats, b".")
        except BrokenPipeError:  # the supervisor is gone
            return
        open(folder + "/beats", "a").close()
        time.sleep(0.01)


signal.signal(signal.SIGHUP, lambda *_: os._exit(0))
threading.Thread(target=beat, daemon=True).start()
with open(folder + "/operators", "a") as operators:
    print(os.getpid(), file=operators, flush=True)
while os.read(life, 1):
    pass
while os.path.exists(folder + "/busy"):
    time.sleep(0.01)
with open(folder + "/ended", "a") as ended:
    print(os.getpid(), file=ended, flush=True)
"""


class Supervised:
    """A supervisor that runs, and what its processes wrote."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self.process = process

    def lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    @property
    def calls(self) -> list[int]:
        """Process ids of the call processes, in the order of their starts."""
        return [int(line.split()[0]) for line in self.lines("calls") if " " in line]

    @property
    def operators(self) -> list[int]:
        return [int(line) for line in self.lines("operators") if line]

    @property
    def port(self) -> int:
        return int(self.lines("calls")[0].split()[1])

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=240)

    def ask(self) -> int:
        """Return the process id of the call process that answers."""
        with self.connect() as one:
            return int(one.recv(100))

    def stop(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        return self.process.wait(240)

    def until(self, count: int, of: Callable[[], list[int]]) -> None:
        wait_until(lambda: len(of()) >= count)


@contextmanager
def supervised(
    folder: Path,
    *,
    listening: socket.socket | None = None,
    patience_s: float = 240,
    environ: Mapping[str, str] = os.environ,
) -> Iterator[Supervised]:
    for name, source in (("calls.py", CALL), ("operators.py", OPERATOR)):
        (folder / name).write_text(source)
    (folder / "patience").write_text(str(patience_s))
    command = [sys.executable, "-c", SUPERVISOR, str(folder)]
    inherited = []
    if listening is not None:
        inherited.append(listening.fileno())
        command.append(str(listening.fileno()))
    with subprocess.Popen(command, pass_fds=inherited, env=environ) as process:
        made = Supervised(folder, process)
        try:
            yield made
        finally:
            (folder / "busy").unlink(missing_ok=True)
            process.kill()
            process.wait()
            left = (*made.calls, *made.operators)
            wait_until(lambda: not any(map(is_running, left)))


def is_running(pid: int) -> bool:
    with contextlib.suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] != "Z"
    return False


def started(made: Supervised) -> None:
    wait_until(lambda: made.calls and made.operators)


def test_both_processes_start_and_end_with_the_supervisor(tmp_path: Path) -> None:
    with supervised(tmp_path) as made:
        started(made)
        assert made.ask() == made.calls[0]
        (tmp_path / "ends-at-once").touch()
        made.stop()
        assert made.end() == 0
        assert made.lines("stops") == [f"{made.calls[0]} S"]
        assert made.lines("ended") == [str(made.operators[0])]
        assert made.lines("said") == []


def test_a_second_stop_is_passed_on_too(tmp_path: Path) -> None:
    with supervised(tmp_path) as made:
        started(made)
        made.stop()
        wait_until(lambda: len(made.lines("stops")) == 1)
        assert is_running(made.calls[0])
        assert is_running(made.operators[0]), "it stays until the call process has ended"
        made.stop(signal.SIGINT)
        assert made.end() == 0
        assert made.lines("stops") == [f"{made.calls[0]} S"] * 2


def test_a_killed_call_process_is_started_again_and_connections_wait(tmp_path: Path) -> None:
    with supervised(tmp_path) as made:
        started(made)
        first = made.calls[0]
        (tmp_path / "broken").touch()  # so that there is no call process for a while
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: len(made.lines("said")) >= 3)
        with made.connect() as waiting:
            (tmp_path / "broken").unlink()
            assert int(waiting.recv(100)) == made.calls[1]
        assert made.calls[1] != first
        assert made.lines("said")[0].startswith("error E-PROC-01 The call process has ended: SIGK")
        assert "exit code 3" in made.lines("said")[1]
        assert len(made.operators) == 1, "the operator process stays"


def test_a_call_process_that_has_drained_is_started_again(tmp_path: Path) -> None:
    with supervised(tmp_path) as made:
        started(made)
        os.kill(made.calls[0], signal.SIGTERM)
        made.until(2, lambda: made.calls)
        assert made.ask() == made.calls[1]
        assert [line.split()[0] for line in made.lines("said")] == ["info"]


def test_a_killed_operator_process_is_started_again(tmp_path: Path) -> None:
    with supervised(tmp_path) as made:
        started(made)
        for count in range(1, 4):
            os.kill(made.operators[-1], signal.SIGKILL)
            made.until(count + 1, lambda: made.operators)
        assert made.ask() == made.calls[0]
        assert len(made.calls) == 1
        assert made.lines("said")[0].startswith("error E-PROC-02 The operator process has ended")


def test_an_operator_process_that_stands_still_is_killed_at_the_end(tmp_path: Path) -> None:
    with supervised(tmp_path, patience_s=0.1) as made:
        started(made)
        os.kill(made.operators[0], signal.SIGSTOP)
        assert made.ask() == made.calls[0]
        (tmp_path / "ends-at-once").touch()
        made.stop()
        assert made.end() == 0
        assert made.lines("ended") == []
        assert not is_running(made.operators[0])


def test_a_stop_after_the_call_process_has_ended_kills_the_operator_process(
    tmp_path: Path,
) -> None:
    (tmp_path / "busy").touch()
    (tmp_path / "ends-at-once").touch()
    with supervised(tmp_path) as made:
        started(made)
        made.stop()
        wait_until(lambda: not is_running(made.calls[0]))

        def is_over() -> bool:
            if not is_running(made.operators[0]):
                return True
            made.stop()  # the supervisor may not have noticed the end yet
            return False

        wait_until(is_over)
        assert made.end() == 0
        assert made.lines("ended") == []


def test_a_call_process_that_cannot_start_ends_it_all_with_its_code(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    with supervised(tmp_path) as made:
        assert made.end() == 3
        assert made.operators == []
        assert made.lines("said") == [], "the process has said why itself"


def test_when_the_supervisor_is_killed_both_end_the_operator_process_last(tmp_path: Path) -> None:
    with supervised(tmp_path) as made:
        started(made)
        made.process.kill()
        made.process.wait()
        wait_until(lambda: made.lines("ended"))
        assert made.lines("stops") == [f"{made.calls[0]} end"]
        # Its end of the pipe is closed a moment before the process is gone.
        wait_until(lambda: not is_running(made.calls[0]))


def test_a_socket_that_is_given_is_served_and_kept(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as given,
        supervised(tmp_path, listening=given) as made,
    ):
        started(made)
        assert made.port == given.getsockname()[1]
        os.kill(made.calls[0], signal.SIGKILL)
        made.until(2, lambda: made.calls)
        assert made.ask() == made.calls[1]


def test_a_stop_while_no_call_process_runs_ends_it_all(tmp_path: Path) -> None:
    with supervised(tmp_path) as made:
        started(made)
        (tmp_path / "broken").touch()
        os.kill(made.calls[0], signal.SIGKILL)
        wait_until(lambda: made.lines("said"))
        made.stop()
        assert made.end() == 0
        assert made.lines("ended") == [str(made.operators[0])]


def test_nothing_listens_after_a_stop(tmp_path: Path) -> None:
    (tmp_path / "busy").touch()
    (tmp_path / "ends-at-once").touch()
    with supervised(tmp_path) as made:
        started(made)
        made.stop()
        wait_until(lambda: not is_running(made.calls[0]))
        with pytest.raises(ConnectionRefusedError):
            made.connect()
        (tmp_path / "busy").unlink()
        assert made.end() == 0


def test_the_supervisor_imports_little() -> None:
    source = """
import sys
before = set(sys.modules)
import offhook.serving.supervisor, offhook.serving.options
print(sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""
    printed = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True
    ).stdout
    loaded = set(json.loads(printed.replace("'", '"')))
    assert {name for name in loaded if name not in sys.stdlib_module_names} == {"offhook"}


def test_an_operator_process_that_hangs_is_killed_and_started_again(tmp_path: Path) -> None:
    (tmp_path / "ends-at-once").touch()
    with supervised(tmp_path) as running:
        running.until(1, lambda: running.operators)
        answering = running.ask()
        # A process that never began to beat is starting.
        wait_until((tmp_path / "beats").exists)
        os.kill(running.operators[0], signal.SIGSTOP)
        running.until(2, lambda: running.operators)
        assert running.ask() == answering, "no call notices"
        assert any("hangs" in line for line in running.lines("said"))
        running.stop()
        assert running.end() == 0


# --- reloads: the next call process beside the present one ----------------------------------------


def reloaded(made: Supervised, count: int = 2) -> tuple[int, int]:
    """Reload, and wait until another call process answers; return both process ids."""
    before = made.calls[-1]
    made.stop(signal.SIGHUP)
    made.until(count, lambda: made.calls)
    wait_until(lambda: f"{before} N" in made.lines("stops"))
    return before, made.calls[-1]


def ended(made: Supervised, pid: int) -> None:
    """Have a call process end, as its last call is over."""
    (made.folder / f"end-{pid}").touch()
    wait_until(lambda: not is_running(pid))


def test_a_reload_starts_another_call_process_beside_the_one_that_drains(tmp_path: Path) -> None:
    with supervised(tmp_path) as made:
        started(made)
        old, new = reloaded(made)
        assert {made.ask() for _ in range(5)} == {new}, "the new one alone accepts"
        assert is_running(old), "its calls go on"
        made.until(2, lambda: made.operators)
        wait_until(lambda: not is_running(made.operators[0]))
        assert is_running(made.operators[1]), "the operator process reads its files anew"
        ended(made, old)
        wait_until(lambda: f"{new} T" in made.lines("stops"))
        assert made.ask() == new
        (tmp_path / "ends-at-once").touch()
        made.stop()
        assert made.end() == 0
        assert not any(line.startswith("error") for line in made.lines("said"))


def test_a_reload_that_fails_changes_nothing_and_the_next_one_succeeds(tmp_path: Path) -> None:
    with supervised(tmp_path) as made:
        started(made)
        (tmp_path / "broken").touch()
        made.stop(signal.SIGHUP)
        wait_until(lambda: made.lines("said"))
        assert made.lines("said")[0].startswith("error E-PROC-03 The reload has failed")
        assert "exit code 3" in made.lines("said")[0]
        assert made.ask() == made.calls[0]
        assert made.lines("stops") == [f"{made.calls[0]} B"], "it was told of one beside it"
        (tmp_path / "broken").unlink()
        _, new = reloaded(made)
        assert made.ask() == new


def test_two_reloads_in_a_row_leave_two_draining(tmp_path: Path) -> None:
    with supervised(tmp_path) as made:
        started(made)
        first, second = reloaded(made)
        _, third = reloaded(made, 3)
        assert made.ask() == third
        assert is_running(first)
        assert is_running(second)
        assert made.lines("stops").count(f"{first} N") == 1
        (tmp_path / "ends-at-once").touch()
        made.stop()
        wait_until(lambda: not is_running(third))
        made.stop(signal.SIGINT)  # a second stop is for those that drain, too
        assert made.end() == 0


def test_hangups_at_once_are_one_reload_and_one_during_a_start_another(tmp_path: Path) -> None:
    with supervised(tmp_path) as made:
        started(made)
        for _ in range(20):
            made.stop(signal.SIGHUP)
        made.until(2, lambda: made.calls)
        wait_until(lambda: made.ask() == made.calls[-1])
        assert len(made.calls) <= 4, "those that come during a start are one more"


def test_the_oldest_of_many_that_drain_hands_over_and_is_killed_if_it_does_not_end(
    tmp_path: Path,
) -> None:
    with supervised(tmp_path) as made:
        started(made)
        (tmp_path / "stays").touch()
        for count in range(2, 5):
            reloaded(made, count)
        oldest = made.calls[0]
        wait_until(lambda: not is_running(oldest))
        wait_until(lambda: f"{made.calls[-1]} T" in made.lines("stops"))
        left = [pid for pid in made.calls if is_running(pid)]
        (tmp_path / "stays").unlink()
        assert left == made.calls[1:]
        assert f"{oldest} S" in made.lines("stops")
        assert any("does not end, and is killed" in line for line in made.lines("said"))
        assert any("SIGKILL, while it drained" in line for line in made.lines("said"))


def test_a_draining_process_that_hangs_is_killed_and_its_calls_are_taken_over(
    tmp_path: Path,
) -> None:
    (tmp_path / "impatient").touch()
    with supervised(tmp_path) as made:
        started(made)
        first, second = reloaded(made)
        os.kill(first, signal.SIGSTOP)
        ended(made, first)
        wait_until(lambda: f"{second} T" in made.lines("stops"))
        said = made.lines("said")
        assert any("a draining call process hangs, and is killed" in line for line in said)
        assert any("SIGKILL, while it drained" in line for line in said)
        assert is_running(second)


def test_a_process_that_tells_that_it_lives_or_never_did_does_not_hang() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        run = CallRun(cast("Any", None), ours)
        assert not any(run.hangs(float(now), 5.0) for now in range(100)), "an older version"
        found = []
        for signs in (1, 0, 0, 1, 0, 0, 0, 1):
            for _ in range(signs):
                run.heard()
            found.append(run.hangs(100.0, 5.0))
        assert found == [False, False, False, False, False, False, True, False]
        assert run.look_at == 105.0


def test_a_crash_of_either_during_a_reload_leaves_the_other(tmp_path: Path) -> None:
    with supervised(tmp_path) as made:
        started(made)
        old, new = reloaded(made)
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: f"{new} T" in made.lines("stops"))
        assert made.ask() == new
        old, new = reloaded(made, 3)
        os.kill(new, signal.SIGKILL)
        made.until(4, lambda: made.calls)
        assert made.ask() == made.calls[3]
        assert is_running(old), "the one that drains goes on"
        assert len([x for x in made.lines("said") if x.startswith("error E-PROC-01")]) == 2


def test_the_next_one_takes_the_place_of_a_present_one_that_crashes(tmp_path: Path) -> None:
    with supervised(tmp_path) as made:
        started(made)
        (tmp_path / "late").touch()  # the next one does not get ready
        made.stop(signal.SIGHUP)
        wait_until(lambda: made.lines("waits"))
        os.kill(made.calls[0], signal.SIGKILL)
        wait_until(lambda: made.lines("said"))
        (tmp_path / "late").unlink()
        made.until(2, lambda: made.calls)
        assert made.ask() == made.calls[1] == int(made.lines("waits")[0])


def test_a_stop_during_a_reload_ends_all(tmp_path: Path) -> None:
    with supervised(tmp_path) as made:
        started(made)
        old, new = reloaded(made)
        made.stop()
        wait_until(lambda: f"{new} S" in made.lines("stops"))
        ended(made, new)
        assert made.process.poll() is None, "one still drains"
        ended(made, old)
        assert made.end() == 0
        assert f"{old} S" not in made.lines("stops"), "one stop, which it was told before"


def test_the_interpreter_is_that_of_the_environment_as_it_is_now(tmp_path: Path) -> None:
    for version in ("1", "2"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "pyvenv.cfg").touch()
        (tmp_path / version / "bin" / "python3").touch()
        (tmp_path / version / "bin" / "offhook").touch()
    current = tmp_path / "current"
    current.symlink_to("1")
    command = tmp_path / "offhook"
    command.symlink_to("current/bin/offhook")
    assert installed_python(str(command)) == str(current / "bin" / "python3")
    (tmp_path / "1" / "pyvenv.cfg").unlink()
    assert installed_python(str(command)) == sys.executable, "it is no environment"
    current.unlink()
    current.symlink_to("2")
    assert Path(installed_python(str(command))).resolve().parts[-3:] == ("2", "bin", "python3")
    current.unlink()
    assert installed_python(str(command)) == sys.executable
    assert installed_python("-c") == sys.executable
