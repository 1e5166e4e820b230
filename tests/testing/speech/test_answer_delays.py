"""How late answers are: the time that a process worked is no delay, and that it waited is one."""

import pytest

from offhook.testing.simulator.speech.answer_delays import AnswerDelays
from offhook.testing.virtual_clock import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def delays(clock: VirtualClock) -> AnswerDelays:
    return AnswerDelays(clock.now)


def test_what_is_not_work_is_delay(clock: VirtualClock, delays: AnswerDelays) -> None:
    found: list[float] = []
    with delays.watched(found.append):
        for work_s in (0.5, 2.0, 3.0):
            asked = delays.ask(usual_s=0.25)
            clock.run(2.0)
            asked.answered(work_s)
            asked.answered(0.0)
            asked.given_up()
    assert found == [1.5, 0.0, 0.0], "each once"


def test_whoever_gives_up_has_waited(clock: VirtualClock, delays: AnswerDelays) -> None:
    found: list[float] = []
    with delays.watched(found.append):
        for waited_s in (0.2, 1.25):
            asked = delays.ask(usual_s=0.25)
            clock.run(waited_s)
            asked.given_up()
    assert found == [0.0, 1.0]


def test_what_has_no_answer_at_the_end_is_late(clock: VirtualClock, delays: AnswerDelays) -> None:
    found: list[float] = []
    with delays.watched(found.append):
        asked = delays.ask(usual_s=0.25)
        clock.run(3.25)
    clock.run(5)
    asked.answered(0.0)
    assert found == [3.0], "what comes later is nobody's business"


def test_everybody_who_watches_is_told(clock: VirtualClock, delays: AnswerDelays) -> None:
    first: list[float] = []
    second: list[float] = []
    with delays.watched(first.append):
        asked = delays.ask(usual_s=0.0)
        clock.run(1)
        with delays.watched(second.append):
            asked.answered(0.0)
    assert first == second == [1.0]
