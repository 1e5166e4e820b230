"""The thread that redacts: nothing waits for it, nothing overtakes, nothing comes out as it was."""

import asyncio
import threading
from collections.abc import Sequence

import pytest
from tests.waiting import until

from offhook.config import RedactionSettings
from offhook.events.types import CallerSaid, CallEvent, CallReleased, Event, KeyPressed
from offhook.redaction import thread as redaction_thread
from offhook.redaction.redactor import Redaction
from offhook.redaction.thread import RedactionThread

WANTED = RedactionSettings.model_validate({"cards": True, "patterns": ["CASE-[0-9]+"]})
BAD = "this text ends the redaction with a fault"


class Behind:
    """A subscriber behind the thread, which knows the threads that redacted and told it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[CallEvent] = []
        self.told_in: set[int] = set()
        self.redacted_in: list[int] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        loop = asyncio.get_running_loop()
        self.redaction = RedactionThread(WANTED, self._tell, loop.time, loop)
        original = Redaction.redacted

        def redacted(redaction: Redaction, call_event: CallEvent) -> Sequence[CallEvent]:
            self.redacted_in.append(threading.get_ident())
            assert self.may_go_on.wait(60)
            if getattr(call_event.event, "text", "") == BAD:
                raise ValueError("an injected fault")
            return original(redaction, call_event)

        monkeypatch.setattr(Redaction, "redacted", redacted)

    def tell(self, *events: Event) -> None:
        for at_ms, event in enumerate(events):
            self.redaction(CallEvent("CA1", at_ms, event))

    def _tell(self, call_event: CallEvent) -> None:
        self.told.append(call_event)
        self.told_in.add(threading.get_ident())

    @property
    def events(self) -> list[Event]:
        return [each.event for each in self.told]


@pytest.fixture
async def behind(monkeypatch: pytest.MonkeyPatch) -> Behind:
    return Behind(monkeypatch)


def said(*texts: str) -> list[Event]:
    return [CallerSaid(text, None) for text in texts]


async def test_a_thread_redacts_while_the_event_loop_goes_on(behind: Behind) -> None:
    behind.may_go_on.clear()
    with behind.redaction:
        behind.tell(*said("It is CASE-1.", "4111 1111", "1111 1111"), KeyPressed("4"))
        await until(lambda: bool(behind.redacted_in))
        assert not behind.told, "the event loop has come this far, and the thread not"
        behind.may_go_on.set()
        await until(lambda: len(behind.told) == 4)
        assert behind.events == [
            *said("It is [redacted].", "4111 1111", "[card]"),
            KeyPressed("?"),
        ]
        assert behind.told_in == {threading.get_ident()}
        assert threading.get_ident() not in behind.redacted_in


async def test_a_call_that_is_given_away_has_told_all_by_then(behind: Behind) -> None:
    behind.may_go_on.clear()
    last = CallReleased("handed_over", 1)
    with behind.redaction:
        behind.tell(*said(*"abcdefghij"))
        await until(lambda: bool(behind.redacted_in))
        behind.may_go_on.set()
        behind.tell(last)
        assert behind.events == [*said(*"abcdefghij"), last]


async def test_what_waits_at_the_end_is_told(behind: Behind) -> None:
    behind.tell(*said("before"))
    assert behind.events == said("before")
    with behind.redaction:
        behind.tell(*said(*"abcdefghij"))
    assert behind.events == said("before", *"abcdefghij")
    behind.tell(*said("CASE-9"))
    assert behind.events[-1:] == said("[redacted]")


async def test_a_fault_loses_one_event_which_nobody_gets_as_it_was(
    behind: Behind, caplog: pytest.LogCaptureFixture
) -> None:
    with behind.redaction:
        behind.tell(*said("a", BAD, "b", BAD, "c"))
        await until(lambda: len(behind.told) == 3)
        assert behind.events == said(*"abc")
        assert behind.redaction.failures == 2
        assert behind.redaction.thread.state == "ok"
    assert caplog.text.count("failed on CallerSaid") == 1
    assert BAD not in caplog.text


async def test_after_the_threads_death_the_event_loop_redacts(behind: Behind) -> None:
    behind.redaction.thread._round = lambda: True  # type: ignore[method-assign]
    with behind.redaction:
        await until(lambda: behind.redaction.thread.state == "dead")
        behind.tell(*said("a", "CASE-2"))
        assert behind.events == said("a", "[redacted]")


async def test_in_a_flood_the_event_loop_helps(
    behind: Behind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redaction_thread, "WAITING_MAX", 5)
    behind.redaction.thread._work = lambda: None  # it looks at nothing
    with behind.redaction:
        behind.tell(*said(*"abcdefghij"))
        assert behind.events == said(*"abcde")
    assert behind.events == said(*"abcdefghij")
