"""The built-in tools as tools: what an agent is told of them, and what they ask the house for."""

from typing import Any

import pytest

from offhook.call.requests import CallRequest
from offhook.deepgram.settings import Change, Part
from offhook.tools import Call, ToolError
from offhook.tools.builtin import NAMES, Destinations, offered
from offhook.tools.declare import ToolArgumentsError

NAMED = Destinations({"front_desk": "The desk.", "night": ""}, {"shop": "The shop."})


class House:
    """Answers with what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def pause_recording(self, call_sid: str) -> bool:
        return True

    def resume_recording(self, call_sid: str) -> bool:
        return True

    async def hang_up(self, call_sid: str, farewell: str) -> str:
        return self._note("hang_up", call_sid, farewell)

    async def transfer(self, call_sid: str, destination: str, summary: str) -> str:
        return self._note("transfer", call_sid, destination, summary)

    async def send_digits(self, call_sid: str, digits: str) -> str:
        return self._note("send_digits", call_sid, digits)

    async def ask(self, call_sid: str, wish: CallRequest) -> tuple[bool, str]:
        return True, self._note("ask", call_sid, wish)

    def change(self, call_sid: str, part: Part, block: Any) -> Change:
        raise AssertionError

    async def ask_digits(
        self, call_sid: str, prompt: str, max_digits: int, timeout_s: float
    ) -> str:
        return self._note("ask_digits", call_sid, prompt, max_digits, timeout_s)

    async def send_text(self, call: Call, text: str, to: str) -> str:
        return self._note("send_text", call.sid, text, to)

    async def take_message(self, call: Call, name: str, number: str, text: str) -> str:
        return self._note("take_message", call.sid, name, number, text)

    async def stop_calling(self, call: Call) -> str:
        return self._note("stop_calling", call.sid)

    def _note(self, *asked: Any) -> str:
        self.asked.append(asked)
        return "done so"


async def run(house: House | None, name: str, arguments: str) -> Any:
    call = Call("CA1", "desk", "+12025550142", "+12025550100", {}, house)
    function, _ = offered(NAMES, NAMED)[name].bind(arguments, call)
    return await function()


@pytest.mark.parametrize(
    ("name", "arguments", "asked"),
    [
        ("hang_up", '{"farewell": "Bye."}', ("hang_up", "CA1", "Bye.")),
        (
            "transfer_call",
            '{"destination": "night", "summary": "A bill."}',
            ("transfer", "CA1", "night", "A bill."),
        ),
        ("send_digits", '{"digits": "1w2#"}', ("send_digits", "CA1", "1w2#")),
        ("send_sms", '{"text": "Hi"}', ("send_text", "CA1", "Hi", "caller")),
        ("send_sms", '{"text": "Hi", "to": "shop"}', ("send_text", "CA1", "Hi", "shop")),
        (
            "take_message",
            '{"name": "Ada", "text": "Call back."}',
            ("take_message", "CA1", "Ada", "", "Call back."),
        ),
        ("stop_calling_me", "", ("stop_calling", "CA1")),
    ],
)
async def test_each_asks_the_house_and_tells_what_it_says(
    name: str, arguments: str, asked: tuple[str, ...]
) -> None:
    house = House()
    assert await run(house, name, arguments) == "done so"
    assert house.asked == [asked]
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
    house = House()
    with pytest.raises(ToolArgumentsError):
        await run(house, name, arguments)
    assert house.asked == []


def test_all_of_them_wait_for_the_callers_turn_and_have_plain_schemas() -> None:
    tools = offered(NAMES, NAMED)
    assert tuple(tools) == NAMES
    for tool in tools.values():
        assert tool.definition["defer_until_eot"] is True
        assert not {"const", "$ref", "prefixItems"} & set(str(tool.parameters).split("'"))
    one = offered(["transfer_call"], Destinations({"desk": ""}, {}))["transfer_call"]
    assert one.parameters["properties"]["destination"]["enum"] == ["desk"]
