"""Each event has a sentence, in which nothing private stands unless it may."""

import dataclasses
import typing
from typing import Any, get_args, get_type_hints

from tests.cases import check_each

from offhook.events.describe import describe
from offhook.events.types import PRIVATE, CallBegan, Event


def example(kind: type[Event]) -> Event:
    """Return an event of that kind, each of whose texts is its field's name in capitals."""
    values: dict[str, Any] = {}
    for name, hint in get_type_hints(kind).items():
        if typing.get_origin(hint) is tuple:
            values[name] = (1, 2)
        elif typing.get_origin(hint) is typing.Literal:
            values[name] = get_args(hint)[0]
        elif hint is bool:
            values[name] = False
        elif int in (hint, *get_args(hint)):
            values[name] = 7
        else:
            values[name] = name.upper()
    return kind(**values)


def test_every_event_has_a_sentence_without_what_is_private() -> None:
    check_each(_check_public_sentence, zip(get_args(Event)))


def _check_public_sentence(kind: type[Event]) -> None:
    event = example(kind)
    sentence = describe(event, texts=False)
    assert sentence
    private = {field.name.upper() for field in dataclasses.fields(event)} & {
        name.upper() for name in PRIVATE
    }
    assert [name for name in private if name in sentence] == []


def test_who_may_know_is_told_what_was_said() -> None:
    check_each(_check_private_sentence, zip(get_args(Event)))


def _check_private_sentence(kind: type[Event]) -> None:
    event = example(kind)
    told = describe(event, texts=True)
    # What an agent meant to say is told only when it could not be said; variables and the numbers
    # of a call are fields of its first event, and no sentence has room for them.
    numbers = {"from_", "to"} if kind is CallBegan else set()
    untold = {"intended", "variables"} | numbers
    for field in dataclasses.fields(event):
        if field.name in PRIVATE - untold:
            assert field.name.upper() in told
