import json
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from offhook.tools import Call, ToolError, Variable, tool
from offhook.tools.declare import ToolArgumentsError, ToolDefinitionError

CALL = Call("CA1", "shop", "+12025550142", None)


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


class Guest(BaseModel):
    name: str
    title: Literal["Ms", "Mr"] = "Ms"


class Party(BaseModel):
    guests: list[Guest]
    table: Guest | None = None


class Endless(BaseModel):
    inner: "Endless | None" = None


@tool
def book(
    day: str,
    people: Annotated[int, Field(ge=1, le=20, description="How many come.")] = 2,
    *,
    call: Call,
) -> str:
    """Book a table.

    For one day.
    """
    return f"{day} {people} {call.caller}"


def test_a_tool_is_told_by_its_signature_and_docstring() -> None:
    assert book.definition == {
        "name": "book",
        "description": "Book a table.\n\nFor one day.",
        "parameters": {
            "type": "object",
            "properties": {
                "day": {"type": "string"},
                "people": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 20,
                    "default": 2,
                    "description": "How many come.",
                },
            },
            "required": ["day"],
        },
    }


def test_enums_and_nested_models_come_in_one_piece() -> None:
    @tool(name="seat", irreversible=True)
    async def seat_a_party(party: Party, size: Size = Size.SMALL) -> None:
        """Seat them."""

    definition = seat_a_party.definition
    assert definition["name"] == "seat"
    assert definition["defer_until_eot"] is True
    text = json.dumps(definition)
    assert "$ref" not in text
    assert "$defs" not in text
    guest = definition["parameters"]["properties"]["party"]["properties"]["guests"]["items"]
    assert set(guest["properties"]) == {"name", "title"}, "a property may be called title"
    assert definition["parameters"]["properties"]["size"]["enum"] == ["small", "large"]


def test_a_tool_without_arguments_is_an_object_without_properties() -> None:
    @tool
    def now() -> str:
        """The time."""
        return "noon"

    assert now.definition["parameters"] == {"type": "object", "properties": {}}
    assert now() == "noon"
    for nothing in ("", " ", "{}"):
        function, canonical = now.bind(nothing, CALL)
        assert (function(), canonical) == ("noon", "{}")


def test_arguments_are_bound_and_the_call_is_passed_in() -> None:
    function, canonical = book.bind('{"people": "4", "day": "friday"}', CALL)
    assert function() == "friday 4 +12025550142"
    assert canonical == book.bind('{"day":"friday","people":4}', CALL)[1]


def test_nested_arguments_arrive_as_models() -> None:
    @tool
    def seat(party: Party) -> Any:
        """Seat them."""
        return party

    function, _ = seat.bind('{"party": {"guests": [{"name": "Ada"}]}}', CALL)
    assert function() == Party(guests=[Guest(name="Ada")])


def test_variables_of_the_call_are_passed_in_and_never_shown_to_the_agent() -> None:
    @tool
    def status(
        order: str,
        customer: Variable,
        plan: Variable = "basic",
        vip: Variable | None = None,
        call: Call | None = None,
    ) -> Any:
        """Status."""
        return (order, customer, plan, vip, call)

    assert list(status.parameters["properties"]) == ["order"]
    call = Call("CA1", "shop", None, None, {"customer": "Ada", "vip": "yes"})
    function, canonical = status.bind('{"order": "7"}', call)
    assert function() == ("7", "Ada", "basic", "yes", call)
    assert json.loads(canonical) == {"order": "7"}
    for forged in ("customer", "plan", "vip", "call"):
        with pytest.raises(ToolArgumentsError):
            status.bind(json.dumps({"order": "7", forged: "Eve"}), call)
    with pytest.raises(ToolArgumentsError, match="customer"):
        status.bind('{"order": "7"}', CALL)


def test_a_parameter_may_have_any_name() -> None:
    @tool
    def take(
        schema: str, model_config: str, model_dump: str, _x: str, self: str, model_extra: int = 1
    ) -> Any:
        """Take."""
        return (schema, model_config, model_dump, _x, self, model_extra)

    names = ["schema", "model_config", "model_dump", "_x", "self", "model_extra"]
    assert list(take.parameters["properties"]) == names
    arguments = json.dumps(dict.fromkeys(names[:5], "v") | {"model_extra": 2})
    function, canonical = take.bind(arguments, CALL)
    assert function() == ("v", "v", "v", "v", "v", 2)
    assert json.loads(canonical) == json.loads(arguments)
    with pytest.raises(ToolArgumentsError, match="schema: Field required"):
        take.bind("{}", CALL)


def test_values_in_a_schema_are_left_as_they_are() -> None:
    ada = Guest(name="Ada", title="Mr")

    @tool
    def seat(guest: Guest = ada) -> str:
        """Seat."""
        return guest.title

    assert seat.parameters["properties"]["guest"]["default"] == {"name": "Ada", "title": "Mr"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("{", "JSON"),
        ("[]", "object"),
        ("{}", "day: Field required"),
        ('{"day": "friday", "people": 0}', "people: "),
        ('{"day": "friday", "call": {"sid": "CA2"}}', "call: "),
        ('{"day": "friday", "caller": "+12025550199"}', "caller: "),
    ],
)
def test_wrong_arguments_are_told_in_words_without_their_values(arguments: str, told: str) -> None:
    with pytest.raises(ToolArgumentsError) as caught:
        book.bind(arguments, CALL)
    assert told in str(caught.value)
    assert "+1" not in str(caught.value)
    assert len(str(caught.value)) < 300


def no_docstring(day: str) -> str:
    return day


def no_hint(day) -> str:  # type: ignore[no-untyped-def]
    """Day."""
    return str(day)


def several(*days: str) -> str:
    """Days."""
    return str(days)


def endless(part: Endless) -> str:
    """Endless."""
    return str(part)


def opaque(part: object, other: ToolError) -> str:
    """Opaque."""
    return str((part, other))


async def yielding() -> Any:
    """Yield."""
    yield 1


def unknown(part: "Nowhere") -> str:  # type: ignore[name-defined]  # noqa: F821
    """Unknown."""
    return str(part)


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (no_docstring, "docstring"),
        (no_hint, "no type hint"),
        (several, "cannot be given by name"),
        (endless, "holds itself"),
        (opaque, "opaque"),
        (unknown, "unknown"),
        (yielding, "yields"),
    ],
)
def test_what_an_agent_cannot_be_told_is_no_tool(function: Any, why: str) -> None:
    with pytest.raises(ToolDefinitionError, match=why):
        tool(function)


def test_a_name_that_models_do_not_take_is_refused() -> None:
    with pytest.raises(ToolDefinitionError, match="no name for a tool"):
        tool(name="book a table")(opaque)


def test_only_a_function_is_a_tool() -> None:
    with pytest.raises(ToolDefinitionError, match="no function"):
        tool(book)


@pytest.mark.parametrize(
    ("max_digits", "timeout_s"), [(0, 30.0), (33, 30.0), (4, 0.0), (4, 121.0), (4, float("nan"))]
)
async def test_what_digits_may_be_asked_for(max_digits: int, timeout_s: float) -> None:
    call = Call("CA1", "desk", None, None)
    with pytest.raises(ValueError, match="max_digits"):
        await call.ask_digits(max_digits=max_digits, timeout_s=timeout_s)
    with pytest.raises(ToolError, match="not one of a server"):
        await call.ask_digits()
