"""Threads beside the event loop: nothing that their work raises ends them."""

import threading

import pytest

from offhook.concurrency import background_thread
from offhook.concurrency.background_thread import BackgroundThread

WAIT_S = 30


@pytest.mark.parametrize("error", [ValueError("what was said"), SystemExit(1), MemoryError()])
def test_it_survives_whatever_its_work_raises(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background_thread, "AGAIN_S", (0.0,))
    rounds, fourth = 0, threading.Event()

    def work() -> float | None:
        nonlocal rounds
        rounds += 1
        if rounds <= 3:
            raise error
        fourth.set()
        return None

    thread = BackgroundThread("journal", work)
    thread.start()
    assert fourth.wait(WAIT_S)
    assert thread.stop(WAIT_S)
    assert thread.faults == 3
    assert thread.state == "ok"
    assert [r.getMessage() for r in caplog.records] == ["a fault in the thread 'journal'"]


def test_it_says_while_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_thread, "AGAIN_S", (0.0, WAIT_S))
    twice, rounds = threading.Event(), 0

    def work() -> float | None:
        nonlocal rounds
        rounds += 1
        if rounds == 2:
            twice.set()
        raise OSError

    thread = BackgroundThread("journal", work)
    states = [thread.state]
    thread.start()
    assert twice.wait(WAIT_S)
    # The second failure shows after the event; the first shows before.
    states.append(thread.state)
    assert states == ["ok", "failing"]
    assert thread.stop(WAIT_S)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_its_death_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Nothing that work raises does this; it takes a fault in the loop around it.
    def broken(_: BackgroundThread) -> bool:
        raise SystemExit

    monkeypatch.setattr(BackgroundThread, "_round", broken)
    thread = BackgroundThread("journal", lambda: None)
    thread.start()
    thread._thread.join(WAIT_S)
    assert thread.state == "dead"
    assert "the thread 'journal' has died" in caplog.text


def test_it_works_once_more_when_it_is_stopped_and_whenever_it_is_woken() -> None:
    done: list[str] = []
    waiting: list[str] = []
    round_done = threading.Semaphore(0)

    def work() -> float | None:
        done.extend(waiting)
        waiting.clear()
        round_done.release()
        return None

    thread = BackgroundThread("journal", work)
    thread.start()
    assert round_done.acquire(timeout=WAIT_S)
    waiting.append("a")
    thread.wake()
    assert round_done.acquire(timeout=WAIT_S)
    assert done == ["a"]
    waiting.append("b")
    assert thread.stop(WAIT_S)
    assert done == ["a", "b"]
    assert thread.state == "ok"
