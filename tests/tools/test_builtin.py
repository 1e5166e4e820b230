"""The built-in tools as tools: what an agent is told of them, and what they ask for."""

from typing import Any

import pytest

from offhook.call.handoff_actions import SendDigits
from offhook.call.requests import HangUp, Leave
from offhook.tools import Call, ToolError
from offhook.tools.builtin import NAMES, Destinations, offered
from offhook.tools.declare import ToolArgumentsError
from offhook.tools.requests import (
    ControlRequest,
    SendText,
    StartTransfer,
    StopCalling,
    TakeMessage,
)

NAMED = Destinations({"front_desk": "The desk.", "night": ""}, {"shop": "The shop."})


async def run(asked: list[ControlRequest] | None, name: str, arguments: str) -> Any:
    async def perform(request: ControlRequest) -> str:
        assert asked is not None
        asked.append(request)
        return "done so"

    control = perform if asked is not None else None
    call = Call("CA1", "desk", "+12025550142", "+12025550100", {}, control)
    function, _ = offered(NAMES, NAMED)[name].bind(arguments, call)
    return await function()


@pytest.mark.parametrize(
    ("name", "arguments", "asked"),
    [
        ("hang_up", '{"farewell": "Bye."}', HangUp("agent", "Bye.")),
        (
            "transfer_call",
            '{"destination": "night", "summary": "A bill."}',
            StartTransfer("night", "A bill."),
        ),
        ("send_digits", '{"digits": "1w2#"}', Leave(SendDigits("1w2#"))),
        ("send_sms", '{"text": "Hi"}', SendText("Hi", "caller")),
        ("send_sms", '{"text": "Hi", "to": "shop"}', SendText("Hi", "shop")),
        (
            "take_message",
            '{"name": "Ada", "text": "Call back."}',
            TakeMessage("Ada", "", "Call back."),
        ),
        ("stop_calling_me", "", StopCalling()),
    ],
)
async def test_each_asks_the_control_and_tells_what_it_says(
    name: str, arguments: str, asked: ControlRequest
) -> None:
    given: list[ControlRequest] = []
    assert await run(given, name, arguments) == "done so"
    assert given == [asked]
    with pytest.raises(ToolError):
        await run(None, name, arguments)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("transfer_call", '{"destination": "+19005551234"}'),
        ("transfer_call", '{"destination": "front desk"}'),
        ("transfer_call", "{}"),
        ("send_digits", '{"digits": "12ab"}'),
        ("send_digits", '{"digits": ""}'),
        ("send_sms", '{"text": "Hi", "to": "+19005551234"}'),
        ("send_sms", '{"text": ""}'),
        ("send_sms", '{"text": "' + "x" * 1601 + '"}'),
        ("take_message", '{"name": "", "text": "x"}'),
        ("stop_calling_me", '{"number": "+12025550143"}'),
    ],
)
async def test_what_a_model_makes_up_is_refused(name: str, arguments: str) -> None:
    given: list[ControlRequest] = []
    with pytest.raises(ToolArgumentsError):
        await run(given, name, arguments)
    assert given == []


def test_all_of_them_wait_for_the_callers_turn_and_have_plain_schemas() -> None:
    tools = offered(NAMES, NAMED)
    assert tuple(tools) == NAMES
    for tool in tools.values():
        assert tool.definition["defer_until_eot"] is True
        assert not {"const", "$ref", "prefixItems"} & set(str(tool.parameters).split("'"))
    one = offered(["transfer_call"], Destinations({"desk": ""}, {}))["transfer_call"]
    assert one.parameters["properties"]["destination"]["enum"] == ["desk"]
