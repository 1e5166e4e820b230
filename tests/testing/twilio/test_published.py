"""What the simulated account takes and answers, against Twilio's published description of both.

tests/contracts holds what is checked here of the description.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.testing.twilio.rig import ADA, BOB, DESK, rig

from offhook.testing.simulator.twilio.account import parameters, resources
from offhook.testing.simulator.twilio.account.parameters import (
    Given,
    Parameter,
    RequestRefusedError,
    Table,
)
from offhook.testing.simulator.twilio.account.resources import AccountNumber
from offhook.testing.simulator.twilio.calls.people import SimulatedPerson

CONTRACT = Path(__file__).parents[2] / "contracts" / "twilio_api_v2010.json"
ACCOUNT = "/2010-04-01/Accounts/{AccountSid}"


@pytest.fixture(scope="module")
def spec() -> Any:
    return json.loads(CONTRACT.read_text(encoding="utf-8"))


def resolved(spec: Any, schema: Any) -> Any:
    while "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        schema = spec["components"]["schemas"][name]
    return schema


@pytest.mark.parametrize(
    ("path", "table"),
    [
        ("/Calls.json", parameters.CREATE_CALL),
        ("/Calls/{Sid}.json", parameters.UPDATE_CALL),
        ("/Messages.json", parameters.CREATE_MESSAGE),
        ("/IncomingPhoneNumbers/{Sid}.json", parameters.UPDATE_NUMBER),
    ],
)
def test_every_parameter_is_as_it_is_published(spec: Any, path: str, table: Table) -> None:
    content = spec["paths"][ACCOUNT + path]["post"]["requestBody"]["content"]
    schema = content["application/x-www-form-urlencoded"]["schema"]
    required = schema.get("required", [])
    assert {
        name: of_schema(resolved(spec, about), name in required)
        for name, about in schema["properties"].items()
    } == dict(table)


@pytest.mark.parametrize(
    ("path", "table"),
    [
        ("/Calls.json", parameters.LIST_CALLS),
        ("/IncomingPhoneNumbers.json", parameters.LIST_NUMBERS),
    ],
)
def test_every_parameter_of_a_list_is_as_it_is_published(
    spec: Any, path: str, table: Table
) -> None:
    about = spec["paths"][ACCOUNT + path]["get"]["parameters"]
    given = {
        one["name"]: of_schema(resolved(spec, one["schema"]), False)
        for one in about
        if one["in"] == "query"
    }
    assert given == dict(table)


def of_schema(schema: Any, required: bool) -> Parameter:
    many = schema["type"] == "array"
    of = schema.get("format")
    kind: Any = {"uri": "url", "http-method": "method"}.get(of, schema["type"])
    if kind in ("string", "array"):
        kind = "text"
    sid = schema["pattern"][1:3] if "pattern" in schema else ""
    return Parameter(kind, required, many, frozenset(schema.get("enum", ())), sid)


async def test_every_answer_has_the_members_that_are_published(spec: Any) -> None:
    async with rig({BOB: SimulatedPerson()}) as it:
        call = await it.ring(BOB, "<Hangup/>")
        await it.over(call)
        leg = it.network.legs[call.sid]
        given = Given([("To", ADA), ("From", DESK), ("Body", "hi")], parameters.CREATE_MESSAGE)
        for answered, name in (
            (resources.call(leg), "call"),
            (resources.message("AC" + "1" * 32, given), "message"),
            (AccountNumber(DESK).json("AC" + "1" * 32), "incoming_phone_number"),
        ):
            schema = spec["components"]["schemas"][f"api.v2010.account.{name}"]["properties"]
            assert answered.keys() == schema.keys()
            for member, value in answered.items():
                about = resolved(spec, schema[member])
                kinds = {"string": str, "boolean": bool, "integer": int, "object": dict}
                if value is not None:
                    assert isinstance(value, kinds[about["type"]]), member
                    assert value in about.get("enum", [value]), member


@pytest.mark.parametrize(
    ("pairs", "table", "code"),
    [
        ([("Tu", ADA)], parameters.CREATE_CALL, 20001),
        ([("To", ADA), ("To", BOB)], parameters.CREATE_CALL, 20001),
        ([("Timeout", "soon")], parameters.CREATE_CALL, 20001),
        ([("Timeout", "601")], parameters.CREATE_CALL, 20001),
        ([("MachineDetectionTimeout", "2")], parameters.CREATE_CALL, 20001),
        ([("Url", "voice.example.com/x")], parameters.CREATE_CALL, 21205),
        ([("Url", "https://[1/")], parameters.CREATE_CALL, 21205),
        ([("StatusCallback", "https://my_host.example/")], parameters.CREATE_CALL, 21205),
        ([("Method", "PUT")], parameters.CREATE_CALL, 20001),
        ([("Record", "yes")], parameters.CREATE_CALL, 20001),
        ([("ApplicationSid", "AP1")], parameters.CREATE_CALL, 20001),
        ([("Status", "busy")], parameters.UPDATE_CALL, 20001),
        ([("MaxPrice", "a lot")], parameters.CREATE_MESSAGE, 20001),
    ],
)
def test_what_is_not_so_is_refused(pairs: Any, table: Table, code: int) -> None:
    with pytest.raises(RequestRefusedError) as refuse:
        Given(pairs, table)
    assert refuse.value.code == code


def test_what_is_so_is_taken() -> None:
    pairs = [("StatusCallbackEvent", "ringing"), ("StatusCallbackEvent", "answered")]
    given = Given(
        [*pairs, ("Timeout", "30"), ("Url", ""), ("Method", "get")], parameters.CREATE_CALL
    )
    assert given.texts("StatusCallbackEvent") == ["ringing", "answered"]
    assert given.integer("Timeout", 60) == 30
    assert given.text("Url", "none") == "none"
