"""A line of the journal is the event that it was made of."""

import typing
from dataclasses import fields
from typing import Any

import msgspec
import pytest
from tests.cases import check_each

from offhook.events import types as events
from offhook.events.types import CallEvent, Event
from offhook.journal.entries import InheritedLine, MalformedEntryError, decode, encode, wall_ms_of

EVENTS: tuple[type, ...] = typing.get_args(Event)


def example(kind: type) -> Any:
    """An event whose fields all have a value of their own."""
    values: dict[str, Any] = {}
    hints = typing.get_type_hints(kind)
    for number, field in enumerate(fields(kind), 1):
        hint = hints[field.name]
        options = typing.get_args(hint)
        if typing.get_origin(hint) is tuple:
            values[field.name] = (number, 0, 3)
        elif typing.get_origin(hint) is typing.Literal:
            values[field.name] = options[-1]
        elif hint is bool:
            values[field.name] = True
        elif int in (hint, *options):
            values[field.name] = number
        else:
            values[field.name] = f"{field.name} \u00e9\n\0"
    return kind(**values)


def test_every_event_comes_back_as_it_was() -> None:
    check_each(_check_comes_back, zip(EVENTS))


def _check_comes_back(kind: type) -> None:
    event = example(kind)
    line = decode(7, encode(CallEvent("CA1", 12, event), 1_700_000_000_000), opaque=True)
    assert line == (7, "CA1", 12, 1_700_000_000_000, event, None)


def test_an_inherited_line_says_whose_it_was() -> None:
    check_each(_check_inherited, zip(EVENTS))


def _check_inherited(kind: type) -> None:
    event = example(kind)
    line = encode(CallEvent("CA1", 12, event), 1_700_000_000_000)
    kept = InheritedLine("f" * 32, 44, line).encoded()
    whole = decode(7, kept, opaque=True)
    assert whole == (7, "CA1", 12, 1_700_000_000_000, event, ("f" * 32, 44))
    assert wall_ms_of(kept) == wall_ms_of(line) == 1_700_000_000_000


def test_a_record_or_display_gets_no_thought_signature() -> None:
    plain = events.FunctionCalled("1", "book", "{}")
    signed = events.FunctionCalled("1", "book", "{}", "c2lnbg==")
    line = encode(CallEvent("CA1", 12, signed), 1_700_000_000_000)
    inherited = InheritedLine("f" * 32, 44, line).encoded()
    assert [decode(1, each).event for each in (line, inherited)] == [plain, plain]
    assert [decode(1, each, opaque=True).event for each in (line, inherited)] == [signed, signed]
    # Without one the line is as an earlier version wrote it, and reads it.
    earlier = b'["FunctionCalled","CA1",12,2,{"id":"1","name":"book","arguments":"{}"}]'
    assert encode(CallEvent("CA1", 12, plain), 2) == earlier
    assert decode(1, earlier, opaque=True).event == plain


def test_every_opaque_field_is_left_out() -> None:
    for kind in EVENTS:
        line = encode(CallEvent("CA1", 12, example(kind)), 1_700_000_000_000)
        kept = {name for name, value in msgspec.to_builtins(decode(1, line).event).items()}
        assert not kept & events.OPAQUE, kind


def test_a_line_of_a_version_that_did_not_know_a_field_is_read() -> None:
    assert decode(1, b'["CallerSaid","CA1",1,2,{"text":"Hello."}]').event == events.CallerSaid(
        "Hello.", start_ms=None
    )


def test_a_line_with_an_events_earlier_name_is_read() -> None:
    line = b'["Fault","CA1",1,2,{"leg":"agent","what":"bad JSON"}]'
    assert decode(1, line).event == events.ProtocolViolation("agent", "bad JSON")


def test_a_line_with_a_fields_earlier_name_is_read() -> None:
    line = b'["CallerLeft","CA1",1,2,{"errand":"transfer","destination":"desk"}]'
    assert decode(1, line).event == events.CallerLeft("transfer", "desk")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff",
        b"[]",
        b'["CallerSaid","CA1",1,2]',
        b'["NoSuchEvent","CA1",1,2,{}]',
        b'["CallerSaid","CA1","1",2,{"text":"x"}]',
        b'["CallerSaid","CA1",1,2,{"text":7}]',
        b'["CallerSaid","CA1",1,2,{}]',
        b'["CallerLeft","CA1",1,2,{"errand":"dance","destination":"desk"}]',
        b'["CallerLeft","CA1",1,2,{"destination":"desk"}]',
    ],
)
def test_what_is_no_line_is_told_without_its_content(line: bytes) -> None:
    with pytest.raises(MalformedEntryError) as bad:
        decode(1, line)
    assert str(bad.value) in ("DecodeError", "ValidationError", "KeyError")


def test_fields_of_a_later_version_are_passed_over() -> None:
    line = b'["CallerSaid","CA1",1,2,{"text":"Hello.","mood":"glad"}]'
    assert decode(1, line).event == events.CallerSaid("Hello.")
