"""SIGKILL, again and again: of processes that write a journal, and of the one that follows it."""

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine
from tests.forms import sized
from tests.records.test_record import Calls
from tests.records.test_store import rows
from tests.waiting import wait_until

from offhook.config import Prices
from offhook.journal.folders import process_folders
from offhook.journal.keeper import EventJournal
from offhook.records import database, tables
from offhook.records.follower import RecordFollower

LIMIT = 10**9

ROUNDS = sized(8, 100)

FORKING = """
import os, sys, traceback
from pathlib import Path
{imports}
def child():
{body}
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        try:
            child()
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    print("pid", pid, flush=True)
    os.waitpid(pid, 0)
    print("dead", flush=True)
"""

FOLLOWER = FORKING.format(
    imports="""
import time
from offhook.config import Prices
from offhook.records import database
from offhook.records.follower import RecordFollower
""",
    body="""
    engine = database.open_engine(database.url_of(sys.argv[2]))
    with RecordFollower(engine, Path(sys.argv[1]), Prices(), wait=True):
        while True:
            time.sleep(60)
""",
)

WRITER = FORKING.format(
    imports="""
import time
from offhook.events import types as events
from offhook.events.types import CallEvent
from offhook.journal.keeper import EventJournal
from tests.records.test_store import began
""",
    body="""
    with EventJournal(Path(sys.argv[1]), 10**9) as journal:
        sid = "CA" + journal.process_id
        journal(CallEvent(sid, 0, began()))
        for number in range(10**9):
            journal(CallEvent(sid, number, events.CallerSaid(f"{sid} {number}")))
            # What the kernel has by now must survive.
            kept = journal._writer.next - journal._writer.first - 2
            if kept >= 0:
                print("kept", sid, kept, flush=True)
            time.sleep(0.0005)
""",
)


class Forks:
    """A process that has imported everything, and forks one child at a time."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def begin(self) -> int:
        """Begin a child, and return its pid."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(next(words for words in self.said() if words[0] == "pid")[1])

    def said(self) -> Iterator[list[str]]:
        """Yield the words of each line."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            yield line.split()

    def kill(self, pid: int) -> list[list[str]]:
        """Kill the child; return what it said that was not read."""
        os.kill(pid, signal.SIGKILL)
        return list(itertools.takewhile(lambda words: words != ["dead"], self.said()))


@contextmanager
def forks(script: str, *arguments: str) -> Iterator[Forks]:
    with subprocess.Popen(
        (sys.executable, "-c", script, *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        try:
            yield Forks(process)
        finally:
            process.kill()


def sqlite_in(folder: Path) -> Engine:
    return database.open_engine(database.url_of(f"sqlite:///{folder}/offhook.db"))


@pytest.mark.long
def test_a_process_that_writes_is_killed_again_and_again(tmp_path: Path) -> None:
    """All that the kernel had is in the database afterwards, once; every call has its end."""
    root, chance = tmp_path / "journal", random.Random(1)
    kept: dict[str, int] = {}
    with forks(WRITER, str(root)) as writers:
        for _ in range(ROUNDS):
            pid = writers.begin()
            wanted = chance.randrange(1, 40)
            told = list(itertools.islice(writers.said(), wanted))
            assert ["dead"] not in told
            for _, sid, number in [*told, *writers.kill(pid)]:
                kept[sid] = max(kept.get(sid, 0), int(number))
    assert len(kept) == ROUNDS
    engine = sqlite_in(tmp_path)
    with RecordFollower(engine, root, Prices()):
        wait_until(lambda: process_folders(root) == [])
    texts = Counter(row["text"] for row in rows(engine, tables.utterances))
    assert set(texts.values()) == {1}
    for sid, last in kept.items():
        assert all(f"{sid} {each}" in texts for each in range(last + 1))
    assert Counter(row["slug"] for row in rows(engine, tables.calls)) == {"server_died": ROUNDS}
    engine.dispose()


@pytest.mark.long
def test_the_process_that_follows_is_killed_again_and_again(tmp_path: Path) -> None:
    """Nothing is missing, nothing is there twice, and the calls' process never waits."""
    root, chance = tmp_path / "journal", random.Random(2)
    engine = sqlite_in(tmp_path)
    database.upgrade(engine)
    url = f"sqlite:///{tmp_path}/offhook.db"
    with EventJournal(root, LIMIT) as journal, forks(FOLLOWER, str(root), url) as followers:
        calls = Calls(journal, 5)
        for _ in range(ROUNDS):
            pid = followers.begin()
            before = journal._done
            # Some are killed at their start, most in the middle of what they do.
            enough = before + chance.choice([0, 1, 1, 1, 20])
            while journal._done < enough:
                calls.say(1)
                time.sleep(0.001)
            calls.say(20)
            followers.kill(pid)
            assert journal.state == "ok"
        calls.end()
        with RecordFollower(engine, root, Prices()):
            wait_until(lambda: journal.waiting == 0)
        assert journal.lost == 0
    assert len(calls.said) > ROUNDS
    said = [(row["call_sid"], row["text"]) for row in rows(engine, tables.utterances)]
    assert sorted(said) == sorted(calls.said)
    assert {row["slug"] for row in rows(engine, tables.calls)} == {"caller_hung_up"}
    engine.dispose()
