"""Requests and streams of calls of another call process of the same server."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

from offhook.calls.forwarded import ForwardedWebhook, WebhookAnswer, WebhookName
from offhook.calls.places import TakenCall
from offhook.journal.live_files import LiveCallFile
from offhook.twilio import messages
from offhook.webhooks.siblings import SiblingProcesses

SID, OTHER = "CA" + "1" * 32, "CA" + "2" * 32
ANSWER = WebhookAnswer(200, "<Response/>", "text/xml")


class Rig:
    """This process, which has `here`, and another one, which has `there` and gives up `given`."""

    def __init__(self, others: Sequence[str] = ("old",)) -> None:
        self.here: dict[str, object] = {}
        self.there: set[str] = set()
        self.waits_for: dict[str, str] = {}
        self.files: set[str] = set()
        self.looks = 0
        self.is_slow = False
        self.gone_on: list[str] = []
        self.others = list(others)
        known = SimpleNamespace(knows=lambda webhook: webhook.form["CallSid"] in self.here)
        registry = SimpleNamespace(find=self.here.get)
        self.siblings = SiblingProcesses(
            cast("Any", registry),
            cast("Any", known),
            cast("Any", SimpleNamespace(go_on=self._go_on)),
            find=self._find,
            forward=self._forward,
            release=self._release,
            adopt=self._adopt,
        )

    def _find(self) -> list[str]:
        self.looks += 1
        return self.others

    async def _forward(self, process_id: str, webhook: ForwardedWebhook) -> WebhookAnswer | None:
        return ANSWER if webhook.form["CallSid"] in self.there else None

    async def _release(self, process_id: str, call_sid: str, token: str) -> bool:
        await asyncio.sleep(0)
        if self.waits_for.get(call_sid) != token:
            return False
        self.files.add(call_sid)
        return not self.is_slow

    def _adopt(self, call_sid: str) -> LiveCallFile | None:
        if call_sid not in self.files:
            return None
        self.files.remove(call_sid)
        return LiveCallFile(call_sid, [b"{}"])

    def _go_on(self, taken: TakenCall) -> bool:
        self.gone_on.append(taken.call_sid)
        self.here[taken.call_sid] = object()
        return True

    async def ask(self, name: WebhookName, call_sid: str = SID) -> WebhookAnswer | None:
        return await self.siblings.answer(
            ForwardedWebhook(name, {"CallSid": call_sid}, "https://voice.example.com")
        )


def start(token: str | None, call_sid: str = SID) -> messages.Start:
    given = {} if token is None else {"token": token}
    return messages.Start(
        stream_sid="MZ" + "3" * 32,
        start=messages.StartDetails(
            account_sid="AC" + "a" * 32, call_sid=call_sid, custom_parameters=given
        ),
    )


async def test_a_process_alone_looks_for_nobody() -> None:
    rig = Rig()
    assert await rig.ask("voice") is None
    assert rig.siblings.prepare(start("token")) is None
    assert rig.looks == 0


async def test_each_request_is_answered_where_the_call_is() -> None:
    rig = Rig()
    rig.siblings.look()
    rig.there.add(SID)
    names: tuple[WebhookName, ...] = ("voice", "after", "status", "stream-status", "amd")
    for name in names:
        assert await rig.ask(name) == ANSWER
        assert await rig.ask(name, OTHER) is None, "nobody knows it: it is new here"
    rig.here[OTHER] = object()
    rig.there.add(OTHER)
    assert await rig.ask("after", OTHER) is None, "it is here"


async def test_a_call_that_was_given_to_this_process_goes_on_when_twilio_asks() -> None:
    rig = Rig(others=())
    rig.siblings.is_watching = True  # the one before may have ended by now
    rig.files.add(SID)
    assert await rig.ask("after") is None
    assert rig.gone_on == [SID]
    assert await rig.ask("after") is None
    assert rig.gone_on == [SID]


async def prepared(rig: Rig, given: messages.Start) -> bool:
    """Return whether something was done before the stream is admitted or not."""
    work = rig.siblings.prepare(given)
    if work is None:
        return False
    assert await work is None, "admission decides"
    return True


async def test_a_stream_takes_the_call_that_waits_for_it_and_no_other() -> None:
    rig = Rig()
    rig.siblings.look()
    rig.waits_for[SID] = "right"
    assert not await prepared(rig, start(None)), "a TwiML Bin's stream is of a new call"
    assert await prepared(rig, start("wrong"))
    assert rig.gone_on == []
    assert await prepared(rig, start("right"))
    assert rig.gone_on == [SID]
    assert not await prepared(rig, start("right")), "it is here"


async def test_a_call_is_taken_from_a_process_whose_answer_comes_too_late() -> None:
    rig = Rig()
    rig.siblings.look()
    rig.is_slow = True
    rig.waits_for[SID] = "t"
    work = rig.siblings.prepare(start("t"))
    assert work is not None
    assert await work is None
    assert rig.gone_on == [SID]
