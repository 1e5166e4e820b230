"""Routes, callbacks and health with a fake registry: what it is told, and what is answered."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import httpx2
import pytest
from tests.waiting import settled
from tests.webhooks.test_auth import ACCOUNT_FIELDS, ORIGIN, TOKEN, Refusals

from offhook.call import inputs
from offhook.calls.call_limits import CallLimit, CallLimits
from offhook.calls.call_permit import CallPermit
from offhook.calls.compose import CallHandling
from offhook.calls.forwarded import ForwardedWebhook, WebhookAnswer
from offhook.config import load
from offhook.config.current_agents import CurrentAgents
from offhook.events.types import StreamTrouble
from offhook.fleet.places import LEASE_S
from offhook.fleet.pulse import Pulse
from offhook.net.websocket import Acceptance, Refusal, Upgrade
from offhook.testing.virtual_clock import VirtualClock
from offhook.twilio.signature import HEADER, sign
from offhook.webhooks.elsewhere import OtherNodes
from offhook.webhooks.pending_streams import PendingStreams
from offhook.webhooks.routes import PUBLIC, Webhooks

SID = dict(ACCOUNT_FIELDS)["CallSid"]


class FakeCalls:
    """A registry that knows `entries`, and notes what it is told."""

    live_count, is_draining = 2, False
    limit_reached: CallLimit | None = None

    def __init__(self) -> None:
        self.entries: dict[str, Any] = {}
        self.told: list[object] = []
        self.fails = False

    def find(self, call_sid: str) -> Any:
        return self.entries.get(call_sid)

    def pending_lookup(self, call_sid: str) -> None:
        return None

    def is_long_over(self, call_sid: str) -> bool:
        if self.fails:
            raise RuntimeError("boom")
        return True

    def send(self, call_sid: str, told: object) -> None:
        self.told.append(told)

    def bill(self, call_sid: str, status: str, seconds: int) -> None:
        self.told.append((status, seconds))


class Rig:
    def __init__(self, calls: FakeCalls, fleet: Any = None) -> None:
        self.calls, self.metrics = calls, Refusals()
        self.failing: dict[str, str] = {}
        self.pending = PendingStreams(VirtualClock(), lambda *_: None, lambda _: None)
        config = load(None, {"TWILIO_AUTH_TOKEN": TOKEN})
        unused: Any = None
        self.webhooks = Webhooks(
            config,
            CallHandling(
                cast("Any", calls),
                CallLimits.of(config, lambda: 0.0),
                unused,
                unused,
                unused,
                unused,
                CurrentAgents(config),
                unused,
                cast("Any", SimpleNamespace(take_over=lambda: None)),
                unused,
                config.webhook_path,
                unused,
                fleet,
            ),
            self.pending,
            self.metrics,
            failing=lambda: self.failing,
        )

    async def _ask(self, ask: Callable[[httpx2.AsyncClient], Awaitable[Any]]) -> Any:
        transport = httpx2.ASGITransport(app=self.webhooks.app())
        async with httpx2.AsyncClient(transport=transport, base_url=ORIGIN) as client:
            return await ask(client)

    async def post(self, path: str, **fields: str) -> Any:
        form = [*ACCOUNT_FIELDS, *fields.items()]
        return await self.send(path, form, {HEADER: sign(TOKEN, ORIGIN + path, form)})

    async def send(
        self, path: str, form: list[tuple[str, str]], headers: dict[str, str]
    ) -> httpx2.Response:
        return cast(
            "httpx2.Response",
            await self._ask(lambda client: client.post(path, data=dict(form), headers=headers)),
        )

    async def get(self, path: str, host: str) -> Any:
        return await self._ask(lambda client: client.get(path, headers={"host": host}))


@pytest.fixture
def rig() -> Rig:
    return Rig(FakeCalls())


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"CallStatus": "in-progress"}, []),
        ({"CallStatus": "completed", "CallDuration": "61"}, ["over", ("completed", 61)]),
        ({"CallStatus": "busy"}, ["over", ("busy", 0)]),
    ],
)
async def test_a_status_is_told_when_it_is_final(
    rig: Rig, fields: dict[str, str], told: list[object]
) -> None:
    answer = await rig.post("/twilio/status", **fields)
    assert answer.status_code == 204
    found = ["over" if isinstance(one, inputs.CallOver) else one for one in rig.calls.told]
    assert found == told


async def test_after_a_pause_nothing_is_answered_before_it_is_known_whose_calls_there_are() -> None:
    pulse, calls = Pulse(0.0), FakeCalls()
    permit = CallPermit(pulse, lambda: LEASE_S)
    rig = Rig(calls, SimpleNamespace(permit=permit))
    calls.entries[SID] = SimpleNamespace(ending=None, session=None)
    form = {"CallSid": SID, "AccountSid": "AC", "CallStatus": "completed"}
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(rig.post("/twilio/status", CallStatus="completed"))
        passed_on = group.create_task(rig.webhooks.answer(ForwardedWebhook("status", form, ORIGIN)))
        await settled()
        assert not asked.done()
        assert not passed_on.done()
        assert calls.told == []
        calls.entries.clear()  # another process has it
        pulse.settle(LEASE_S)
    assert asked.result().status_code == 204
    assert passed_on.result() is None


@pytest.mark.parametrize(
    ("error", "has_ended", "codes"),
    [
        ("31920: no", False, ["31920"]),
        ("31921: closed", True, []),
        ("31921: closed", False, ["31921"]),
    ],
)
async def test_a_stream_error_is_noted_unless_we_closed_the_stream(
    rig: Rig, error: str, has_ended: bool, codes: list[str]
) -> None:
    noted: list[StreamTrouble] = []
    rig.calls.entries[SID] = SimpleNamespace(
        ending="some" if has_ended else None, session=SimpleNamespace(note=noted.append)
    )
    told = {"StreamEvent": "stream-error", "StreamError": error, "StreamSid": "MZ" + "1" * 32}
    for _ in range(2):  # Twilio repeats callbacks: noted once, and answered alike
        assert (await rig.post("/twilio/stream-status", **told)).status_code == 204
        assert [one.code for one in noted] == codes
    await rig.post("/twilio/stream-status", **told | {"StreamSid": "MZ" + "2" * 32})
    assert [one.code for one in noted] == codes * 2, "the same of the call's next stream"


async def test_a_call_that_is_long_over_is_hung_up(rig: Rig) -> None:
    answer = await rig.post("/twilio/voice", To="+12025550100", From="+12025550142")
    assert "<Hangup" in answer.text
    assert rig.metrics.told == [("webhook", "the call is over")]


async def test_a_fault_ends_that_call_with_an_apology(rig: Rig) -> None:
    rig.calls.fails = True
    answer = await rig.post("/twilio/voice", To="+12025550100", From="+12025550142")
    assert "<Hangup" in answer.text
    assert [type(one) for one in rig.calls.told] == [inputs.CallBroke]


async def test_a_fault_with_other_processes_is_no_answer_of_theirs(rig: Rig) -> None:
    class Broken:
        async def answer(self, *_: object) -> WebhookAnswer | None:
            raise RuntimeError("boom")

    rig.webhooks.others = cast("OtherNodes", Broken())
    answer = await rig.post("/twilio/voice", To="+12025550100", From="+12025550142")
    assert (answer.status_code, "<Hangup" in answer.text) == (200, True), "it is answered here"
    assert rig.calls.told == []


async def test_only_the_operators_hosts_see_health(rig: Rig) -> None:
    assert (await rig.get("/healthz", "localhost")).text == "ok\n"
    assert (await rig.get("/healthz", "voice.example.com")).status_code == 404
    assert (await rig.get("/twilio/voice", "localhost")).status_code == 405
    assert {"/healthz", "/readyz"} < PUBLIC


@pytest.mark.parametrize(
    ("state", "failing", "status", "draining", "full"),
    [
        ("ready", {}, 200, False, False),
        ("ready", {"retention": "failing"}, 200, False, False),
        ("full", {}, 503, False, True),
        ("draining", {}, 503, True, True),
        ("broken", {"retention": "dead"}, 503, False, False),
    ],
)
async def test_readiness(
    rig: Rig, state: str, failing: dict[str, str], status: int, draining: bool, full: bool
) -> None:
    rig.failing = failing
    rig.calls.is_draining = draining
    rig.calls.limit_reached = CallLimit.SESSIONS if full else None
    answer = await rig.get("/readyz", "localhost")
    assert (answer.status_code, answer.json()["state"]) == (status, state)
    assert answer.json().get("failing", {}) == failing
    assert answer.json().get("reason") == ("no agent session left" if state == "full" else None)


def test_upgrades(rig: Rig) -> None:
    def decide(path: str, **headers: str) -> Acceptance | Refusal:
        given = {"host": "voice.example.com", **headers}
        return rig.webhooks.decide(Upgrade(path, given, "203.0.113.1"))

    signed = {HEADER: sign(TOKEN, "wss://voice.example.com/twilio")}
    assert decide("/other") == Refusal(404, "Not found.\n")
    forged = decide("/twilio")
    assert isinstance(forged, Refusal)
    assert forged.status == 403
    assert isinstance(decide("/twilio", **signed), Acceptance)


# --- a fleet -------------------------------------------------------------------------------------

NAMES = ("voice", "after", "status", "stream-status", "amd")


class Others:
    """Other nodes that answer everything."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def answer(self, webhook: ForwardedWebhook, node: str) -> WebhookAnswer:
        self.asked.append((webhook.name, node))
        return WebhookAnswer(200, "<Response/>", "text/xml")


@pytest.mark.parametrize("name", NAMES)
async def test_the_paths_of_nodes_are_signed_like_the_others(rig: Rig, name: str) -> None:
    paths = [f"/twilio/{name}", f"/twilio/n/a/{name}"]
    assert (await rig.post(paths[1])).status_code == 404, "a server alone has no such path"
    others = Others()
    rig.webhooks.others = cast("OtherNodes", others)
    form = [*ACCOUNT_FIELDS]
    for path in paths:
        for signature in ("", sign("f" * 32, ORIGIN + path, form), sign(TOKEN, ORIGIN, form)):
            headers = {HEADER: signature}
            refused = await rig.send(path, form, headers)
            assert refused.status_code == 403, path
    assert others.asked == []
    for path in paths:
        answer = await rig.post(path)
        assert (answer.status_code, answer.text) == (200, "<Response/>")
    assert others.asked == [(name, ""), (name, "a")]


@pytest.mark.parametrize(
    ("path", "alone", "in_fleet"),
    [
        ("/twilio", 403, 403),
        ("/twilio/n/a", 404, 403),
        ("/twilio/n/a/", 404, 403),
        ("/twilio/n/a?x=1", 404, 403),
        ("/twilio/n/A", 404, 404),
        ("/twilio/n/", 404, 404),
        ("/twilio/n/a/voice", 404, 404),
        ("/twilio/n/../twilio", 404, 404),
        ("/node/v1/link", 404, 404),
    ],
)
def test_a_stream_of_a_node_needs_a_signature(
    rig: Rig, path: str, alone: int, in_fleet: int
) -> None:
    for others, status in ((None, alone), (cast("OtherNodes", Others()), in_fleet)):
        rig.webhooks.others = others
        refused = rig.webhooks.decide(Upgrade(path, {"host": "x.example.com"}, "127.0.0.1"))
        assert isinstance(refused, Refusal)
        assert refused.status == status
