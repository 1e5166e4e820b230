"""Draining call processes in the supervisor's eyes: what they tell is in a test's hands."""

import dataclasses
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from tests.cli.served import CLEAN, SECRETS
from tests.whole_server import configured

from offhook.serving import call_runs
from offhook.serving.call_runs import ALIVE, ENDING, READY, STOP, CallDescriptors, CallRuns
from offhook.serving.listen import listen
from offhook.serving.options import ServeOptions, process_command
from offhook.serving.server import Server
from offhook.serving.service_manager import ServiceManager

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is one process on Windows")


class Processes:
    """Call processes that do nothing, whose ends of the control sockets are held here."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.ends: list[socket.socket] = []
        self.selector = selectors.DefaultSelector()
        self.life = os.pipe()
        self.runs = CallRuns(
            self._command,
            lambda _, words: self.said.append(words),
            manager=ServiceManager({}, os.getpid()),
            selector=self.selector,
            life=self.life[1],
            listening=None,
            answering=lambda _: None,
            over=lambda _: None,
            look_s=0.0,  # each look is one for signs of life, too
        )
        self.runs.start()
        self.tell(READY + ALIVE)

    def _command(self, given: CallDescriptors) -> Sequence[str]:
        self.ends.append(socket.socket(fileno=os.dup(given.control)))
        return ["sleep", "600"]

    def tell(self, message: bytes, number: int = -1) -> None:
        """Have a process tell the supervisor something."""
        self.ends[number].send(message)
        for key, _ in self.selector.select(0):
            key.data()

    def reload(self) -> None:
        """Have the next process answer in the place of the present one."""
        self.runs.reload()
        self.tell(READY + ALIVE)

    def kills_after(self, looks: int) -> bool:
        """Look that often; return whether a process was killed."""
        for _ in range(looks):
            self.runs.look()
        return any("is killed" in words for words in self.said)

    def close(self) -> None:
        for run in (self.runs._present, *self.runs._draining):
            assert run is not None
            run.process.signal(signal.SIGKILL)
            run.process.wait()
            assert run.control is not None
            run.control.close()
        for end in self.ends:
            end.close()
        for descriptor in self.life:
            os.close(descriptor)
        self.selector.close()


@pytest.fixture
def processes() -> Iterator[Processes]:
    with closing(Processes()) as made:
        yield made


def test_a_draining_process_that_hung_before_it_was_told_is_killed_at_the_third_look(
    processes: Processes,
) -> None:
    processes.reload()
    assert not processes.kills_after(looks=2)
    assert processes.kills_after(looks=1)


def test_a_process_that_writes_what_waits_for_the_disk_does_not_hang(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes.reload()
    processes.tell(ALIVE + ENDING, 0)
    assert not processes.kills_after(looks=20)
    due_at = processes.runs.due_at
    assert due_at is not None, "it is waited for, but not for ever"
    monkeypatch.setattr(time, "monotonic", lambda: due_at)
    assert processes.kills_after(looks=1)
    assert "a draining call process does not end, and is killed" in processes.said


def test_a_process_that_ends_already_as_the_next_one_answers_does_not_hang(
    processes: Processes,
) -> None:
    processes.tell(ENDING)
    processes.reload()
    assert not processes.kills_after(looks=20)


def test_processes_that_end_are_not_among_those_that_may_drain(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_runs, "DRAINING_MAX", 0)
    processes.tell(ENDING)
    processes.reload()
    assert STOP not in processes.ends[0].recv(64)
    processes.reload()
    assert STOP in processes.ends[1].recv(64)


async def test_a_server_tells_that_it_ends_before_its_recordings_are_closed(
    tmp_path: Path,
) -> None:
    config = configured("ws://127.0.0.1:1/", announcement="It is recorded.", recording=True)
    records = config.records.model_copy(update={"folder": tmp_path})
    with listen("127.0.0.1", 0) as sock:
        server = Server(dataclasses.replace(config, records=records), sock, [])
        assert server.recordings is not None
        thread, found = server.recordings.thread, []
        await server.run(server.stop, lambda: found.append(thread.stopping))
    assert found == [False]
    assert thread.stopping


def test_a_call_process_tells_the_supervisor_that_it_ends(tmp_path: Path) -> None:
    (tmp_path / "offhook.yaml").write_text("{}")
    options = ServeOptions(config=tmp_path / "offhook.yaml", host="127.0.0.1", port=0)
    ours, theirs = socket.socketpair()
    life = os.pipe()
    with ours, theirs:
        descriptors = {"control": theirs.fileno(), "life": life[1], "is_first": 1}
        command = process_command("offhook.serving.call_process", options, descriptors)
        fds = (theirs.fileno(), life[1])
        with subprocess.Popen(command, pass_fds=fds, env=CLEAN | SECRETS, cwd=tmp_path) as process:
            theirs.close()
            told = b""
            while READY not in told:
                told += _received(ours)
            ours.send(STOP)
            while (more := _received(ours)) != b"":
                told += more
            assert process.wait() == 0
    for descriptor in life:
        os.close(descriptor)
    assert told == b"LRAE"


def _received(ours: socket.socket) -> bytes:
    """Return what a process tells; its listening socket is closed here."""
    data, descriptors, _, _ = socket.recv_fds(ours, 64, 8)
    for descriptor in descriptors:
        os.close(descriptor)
    return data
