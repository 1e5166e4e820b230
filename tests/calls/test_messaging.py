"""Texts, messages and requests not to be called: what is done, and what is told when it is not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr
from tests.vendor import SENT, Vendor, vendor

from offhook.call.phrases import Phrases
from offhook.calls.messaging import Messaging
from offhook.config import Texts, TwilioSettings
from offhook.errors import UserError
from offhook.events.types import DialRefused, DoNotCall, Event, MessageTaken
from offhook.policy.dial_policy import DialPolicy, DialRules
from offhook.testing.virtual_clock import VirtualClock
from offhook.tools.declare import Call, ToolError
from offhook.twilio import rest
from offhook.twilio.sms import segments

ENGLISH = Phrases()
ACCOUNT = "AC" + "1" * 32
ADA, SHOP, OURS = "+12025550142", "+12025550143", "+12025550100"
TEXTS = Texts.model_validate(
    {
        "from": OURS,
        "destinations": {"shop": {"to": SHOP}, "abroad": {"to": "+18095551234"}},
    }
)


class Desk:
    """Messaging, what its vendor was asked, and the events that it told."""

    def __init__(self, messaging: Messaging, twilio: Vendor, barred: list[str]) -> None:
        self.messaging = messaging
        self.twilio = twilio
        self.events: list[Event] = []
        self.barred = barred

    async def text(self, text: str = "Hello", to: str = "caller", of: str = ADA) -> str:
        note = self.events.append
        return await self.messaging.send_text(TEXTS, "CA1", of, text, to, note, ENGLISH)

    async def refused(self, *arguments: Any, **more: Any) -> str:
        with pytest.raises(ToolError) as told:
            await self.text(*arguments, **more)
        return str(told.value)


@asynccontextmanager
async def desk(
    status: int = 201, body: Any = None, *, recorded: bool = True, **rules: Any
) -> AsyncIterator[Desk]:
    async with (
        vendor(status, body if body is not None else SENT) as twilio,
        httpx2.AsyncClient(trust_env=False, verify=False) as http,
    ):
        tokens = (SecretStr("t"),)
        settings = TwilioSettings(account_sid=ACCOUNT, auth_tokens=tokens, api_url=twilio.url)
        api = rest.TwilioRest(settings.require_rest(), http)
        dial_policy = DialPolicy(DialRules(**rules))
        barred: list[str] = []

        async def bar(number: str) -> None:
            barred.append(number)

        clock = VirtualClock(0.0)
        messaging = Messaging(dial_policy, api, clock, recorded=recorded, bar=bar)
        yield Desk(messaging, twilio, barred)


async def test_a_text_goes_to_who_is_on_the_line_or_to_a_named_destination() -> None:
    async with desk() as d:
        assert await d.text("See you at 7, Ada") == "the text is on its way"
        assert await d.text("Come", "shop") == "the text is on its way"
        outgoing = Call("CA2", "desk", OURS, ADA, direction="outbound")
        await d.text("We called", of=outgoing.party or "")
    path = f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
    assert d.twilio.forms == [
        {"path": path, "To": ADA, "From": OURS, "Body": "See you at 7, Ada"},
        {"path": path, "To": SHOP, "From": OURS, "Body": "Come"},
        {"path": path, "To": ADA, "From": OURS, "Body": "We called"},
    ]
    assert d.events == []


@pytest.mark.parametrize(
    "caller", [None, "anonymous", "+266696687", "client:ada", "sip:a@b.example"]
)
async def test_no_text_goes_to_a_withheld_number(caller: str | None) -> None:
    async with desk() as d:
        assert "withheld" in await d.refused(of=caller or "")
    assert d.twilio.forms == []


async def test_no_text_passes_the_guard() -> None:
    async with desk() as d:
        told = await d.refused(to="abroad")
        assert told == "the text was not sent: its country is not one that may be dialled"
        assert "country" in await d.refused(of="+447400123456")
        assert d.events == [
            DialRefused("text", "country", "+18095551234"),
            DialRefused("text", "country", "+447400123456"),
        ]
    assert d.twilio.forms == []


async def test_texts_have_a_limit_and_long_ones_cost_more() -> None:
    async with desk(spend_per_hour=0.05, price_per_text=0.01) as d:
        await d.text("x" * 460)  # of four segments
        assert "money" in await d.refused("x" * 161)
        await d.text("x" * 160)
        assert "money" in await d.refused()
    assert [len(form["Body"]) for form in d.twilio.forms] == [460, 160]
    assert d.events == [DialRefused("text", "spend_per_hour", ADA)] * 2


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (400, 21610, "opted out of texts"),
        (400, 21614, "cannot receive texts"),
        (401, 20003, "credentials are not accepted"),
    ],
)
async def test_twilios_refusal_is_told_in_plain_words(status: int, code: int, words: str) -> None:
    async with desk(status, {"code": code, "message": f"secret {ADA}", "status": status}) as d:
        told = await d.refused()
    assert words in told
    assert ADA not in told


async def test_an_answer_that_is_none_leaves_it_open_whether_the_text_was_sent() -> None:
    async with desk(201, "nonsense") as d:
        assert "not known whether" in await d.text()
    assert len(d.twilio.forms) == 1, "it is not sent twice"


async def test_a_text_that_cannot_leave_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "BACKOFF_MAX_S", 0.0)
    async with desk() as d:
        await d.twilio.close()
        assert await d.refused() == "the text was not sent: Twilio could not be reached"


@pytest.mark.parametrize("length", [0, 1601])
async def test_a_text_has_a_length(length: int) -> None:
    async with desk() as d:
        assert "1 to 1600 characters" in await d.refused("x" * length)
        assert "no destination" in await d.refused(to="+12025550199")
    assert d.twilio.forms == []


async def test_what_is_not_there_is_said() -> None:
    nothing = Messaging(DialPolicy(DialRules()), None, VirtualClock(0.0), recorded=False)
    events: list[Event] = []
    with pytest.raises(ToolError, match="no number to send texts from"):
        await nothing.send_text(None, "CA1", ADA, "Hello", "caller", events.append, ENGLISH)
    with pytest.raises(ToolError, match="no credentials"):
        await nothing.send_text(TEXTS, "CA1", ADA, "Hello", "caller", events.append, ENGLISH)
    with pytest.raises(ToolError, match="no record here"):
        nothing.take_message("Ada", "", "Call back.", events.append, ENGLISH)
    with pytest.raises(ToolError, match="no record here"):
        await nothing.stop_calling(ADA, events.append, ENGLISH)
    assert events == []


async def test_a_message_and_a_wish_are_told_as_events() -> None:
    async with desk() as d:
        d.messaging.take_message("Ada", "555 0143", "Call back.", d.events.append, ENGLISH)
        await d.messaging.stop_calling(ADA, d.events.append, ENGLISH)
        with pytest.raises(ToolError, match="withheld"):
            await d.messaging.stop_calling("anonymous", d.events.append, ENGLISH)
    assert d.events == [MessageTaken("Ada", "555 0143", "Call back."), DoNotCall(ADA)]
    assert d.barred == [ADA]


async def test_no_caller_hears_that_they_are_barred_unless_the_ledger_has_it() -> None:
    async def bar(number: str) -> None:
        raise UserError("E-OUT-23", "The disk is full.", "Make room.")

    events: list[Event] = []
    policy = DialPolicy(DialRules())
    messaging = Messaging(policy, None, VirtualClock(0.0), recorded=True, bar=bar)
    with pytest.raises(ToolError, match="no record here"):
        await messaging.stop_calling(ADA, events.append, ENGLISH)
    assert events == [DoNotCall(ADA)], "the record learns of it all the same"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 1),
        ("x" * 160, 1),
        ("x" * 161, 2),
        ("x" * 306, 2),
        ("x" * 307, 3),
        ("€" * 80, 1),  # two characters each
        ("€" * 81, 2),
        ("ж" * 70, 1),
        ("ж" * 71, 2),
        ("\N{BICYCLE}" * 35, 1),  # two units each
        ("\N{BICYCLE}" * 36, 2),
        ("x" * 1600, 11),
    ],
)
def test_segments(text: str, count: int) -> None:
    assert segments(text) == count
