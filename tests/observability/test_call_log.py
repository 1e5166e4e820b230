"""What reaches the log, and what never does."""

import asyncio
import logging
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from tests.events.test_describe import example
from tests.whole_server import ASK, GREET, HANG_UP, HOURS, TOKEN, whole_server

from offhook.call_context import current_call, of_call
from offhook.events import types as events
from offhook.events.types import CallEvent
from offhook.observability.call_log import CallLog
from offhook.observability.console_output import tell

log_calls = CallLog(texts=False)


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """What a record has beside its words."""
    return record.__dict__


CALLED, CALLING = "+12025550100", "+12025550142"


async def test_a_call_leaves_its_facts_and_none_of_its_secrets(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with whole_server() as h:
        report = await h.call(GREET, ASK, GREET, HANG_UP, from_=CALLING, to=CALLED)
        await h.post("/twilio/voice", signature="forged", From=CALLING)
        for call_event in h.happened:
            log_calls(call_event)
    text = caplog.text
    assert {fields(r)["call_sid"] for r in caplog.records if r.name == "offhook.call"} == {
        report.call_sid
    }
    assert "ended, caller_hung_up" in text
    assert "E-SEC-01" in text
    canaries = (TOKEN, "a-key", CALLED, CALLING, HOURS, "How can I help", "what else", "forged")
    own = "".join(
        r.getMessage() + str(fields(r)) for r in caplog.records if r.name.startswith("offhook")
    )
    assert [canary for canary in canaries if canary in own] == []


@pytest.mark.parametrize(
    "event",
    [
        events.CallerSaid("private"),
        events.AgentSaid("private", "private", 1, interrupted=False),
        events.KeyPressed("private"),
        events.KeysEntered("private"),
        events.FunctionCalled("private", "private", "private"),
    ],
)
def test_what_was_said_or_pressed_is_not_logged(
    event: events.Event, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    log_calls(CallEvent("CA1", 0, event))
    assert caplog.records == []


def test_a_fault_of_ours_or_theirs_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    log_calls(CallEvent("CA1", 7, events.CallEnded("agent", "agent_lost", "it went", "1006", 9)))
    log_calls(CallEvent("CA1", 7, events.AgentWarned("X", "line one\nline two", fatal=True)))
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
    assert all("\n" not in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (events.CallerSaid("Two, please."), "caller: Two, please."),
        (
            events.AgentSaid("Let me", "Let me see.", 840, interrupted=True),
            "agent: Let me (interrupted after 840 ms)",
        ),
        (events.KeyPressed("5"), "key 5"),
        (events.KeysEntered("57"), "keys entered: 57"),
        (
            events.FunctionCalled("1", "book", '{"n": 2}'),
            'function book({"n": 2})',
        ),
    ],
)
def test_a_setting_has_the_log_say_what_was_said(
    event: events.Event, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    CallLog(texts=True)(CallEvent("CA1", 7, event))
    assert [record.getMessage() for record in caplog.records] == [words]


@pytest.mark.parametrize("texts", [True, False])
def test_no_log_has_a_thought_signature(texts: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    event = events.FunctionCalled("1", "book", "{}", "canary")
    CallLog(texts=texts)(CallEvent("CA1", 7, event))
    assert len(caplog.records) == texts
    assert all("canary" not in str(vars(record)) for record in caplog.records)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (events.DialRefused("text", "country", CALLED), "text refused: country"),
        (events.Dialled("fallback", "", CALLED), "dialled: fallback"),
        (events.Dialled("transfer", "desk", CALLED), "dialled: transfer to 'desk'"),
        (events.TransferFailed("ann", "declined"), "the transfer to ann failed: declined"),
        (events.MessageTaken("Ada", CALLED, "Call back."), "a message was taken"),
        (events.DoNotCall(CALLED), "the other party is never to be rung again"),
    ],
)
def test_what_was_done_for_a_caller_is_logged_without_numbers(
    event: events.Event, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    log_calls(CallEvent("CA1", 7, event))
    (record,) = caplog.records
    assert record.getMessage() == words
    told = str(fields(record))
    assert not any(secret in told for secret in (CALLED, "Ada", "Call back"))


def test_numbers_are_in_the_fields_of_a_log_that_may_hold_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    began = events.CallBegan("AC1", "shop", "standard", "inbound", "webhook", CALLING, CALLED, "{}")
    for texts in (False, True):
        CallLog(texts=texts)(CallEvent("CA1", 0, began))
    without, with_them = (fields(record)["fields"] for record in caplog.records)
    assert without == {
        "happened": "CallBegan",
        "account_sid": "AC1",
        "agent": "shop",
        "tier": "standard",
        "direction": "inbound",
        "by": "webhook",
    }
    assert with_them == without | {"from_": CALLING, "to": CALLED, "variables": "{}"}


@pytest.mark.parametrize("kind", get_args(events.Event))
def test_beside_the_conversation_no_event_is_told_twice(
    kind: type[events.Event], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    event = example(kind)
    for beside in (False, True):
        CallLog(texts=True, beside_conversation=beside)(CallEvent("CA1", 7, event))
    # Alone the log has the event if it is of those that are logged, beside it what is not shown.
    is_logged = bool(caplog.records)
    assert len(caplog.records) == (0 if not is_logged else 1 if tell(event) is not None else 2)


def test_every_text_of_an_event_is_private_or_known_to_be_none() -> None:
    harmless = {
        *(
            "account_sid",
            "agent",
            "by",
            "code",
            "detail",
            "direction",
            "fault",
            "id",
            "kind",
            "leg",
        ),
        *("name", "outcome", "request_id", "tier", "slug", "status", "what", "why", "words"),
        *("cause", "description", "destination", "handoff", "node"),
        *("account_sid", "agent", "by", "code", "detail", "direction", "fault", "id", "leg"),
        *(
            "behavior",
            "name",
            "operation",
            "outcome",
            "request_id",
            "tier",
            "tool",
            "where",
            "slug",
            "status",
            "what",
            "why",
            "words",
        ),
        "description",
    }
    texts = {
        name
        for event in get_args(events.Event)
        for name, kind in get_type_hints(event).items()
        if kind is str or get_origin(kind) is Literal
    }
    assert texts - harmless == events.PRIVATE
    assert harmless <= texts


async def test_what_a_function_logs_belongs_to_its_call(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []
    with of_call("CA1"):
        await asyncio.to_thread(lambda: seen.append(current_call.get()))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(asyncio.sleep(0, current_call.get()))
        seen.append(task.result())
    assert [*seen, current_call.get()] == ["CA1", "CA1", ""]
