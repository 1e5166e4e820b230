"""Live calls over real sockets, and the operator who acts on them over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.api.desk import Desk, desk
from tests.api.spec import Spec, spec_of_servers
from tests.waiting import until
from tests.whole_server import ASK, GREET, HOURS, QUICK, fresh_sid, texts

from offhook.call import pending_requests
from offhook.deepgram import messages
from offhook.events.types import (
    AgentMuted,
    AgentSaid,
    AgentTold,
    AudioDropped,
    CallerBack,
    CallerLeft,
)
from offhook.testing.scenarios.caller import CallReport
from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.testing.simulator.deepgram.standin import StandIn

GREETING = "Hello! How can I help you today?"
LONG = "We are open from Monday to Friday, from nine in the morning until six in the evening."
GOODBYE = "Thank you for calling us today. Goodbye."
THINK = {"provider": {"type": "open_ai", "model": "gpt-4o-mini"}, "prompt": "Be brief."}
SPEAK = {"provider": {"type": "deepgram", "model": "aura-2-thalia-en"}}
FLUX = {"type": "deepgram", "version": "v2", "model": "flux-general-en"}


class Live:
    """A call whose agent has greeted, and what is asked of it."""

    def __init__(self, d: Desk, spec: Spec, sid: str, call: asyncio.Task[CallReport]) -> None:
        self.desk = d
        self.spec = spec
        self.sid = sid
        self._call = call

    @property
    def agent(self) -> StandIn:
        (agent,) = self.desk.whole.sessions
        return agent

    async def act(self, what: str, body: Any = None, *, sid: str | None = None) -> httpx2.Response:
        path = f"/api/v1/calls/{sid or self.sid}/{what}"
        answer = await self.desk.ask(path, method="POST", body=body)
        self.spec.check(answer)
        return answer

    async def done(self, what: str, body: Any = None) -> str:
        answer = await self.act(what, body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["done"] is True
        return str(answer.json()["what"])

    async def refused(self, what: str, body: Any = None) -> str:
        answer = await self.act(what, body)
        assert (answer.status_code, answer.json()["code"]) == (409, "E-API-19"), answer.text
        return str(answer.json()["detail"]).removeprefix("It was not done: ")

    async def ended(self) -> CallReport:
        async with asyncio.timeout(240):
            return await self._call

    def said(self) -> list[str]:
        return texts(self.desk.whole.events(self.sid), AgentSaid)


@asynccontextmanager
async def live(folder: Path, *steps: ScenarioStep, **options: Any) -> AsyncIterator[Live]:
    """A call whose caller lets the agent greet, does these steps and stays on the line."""
    async with desk(folder, **options) as d, asyncio.TaskGroup() as group:
        spec = await spec_of_servers(d.ask)
        call = group.create_task(d.whole.call(GREET, *steps))
        await until(lambda: GREETING in texts(d.whole.events(), AgentSaid))
        made = Live(d, spec, d.whole.happened[0].call_sid, call)
        yield made
        if not call.done():
            await made.act("hang-up")


async def test_what_is_said_is_heard_and_what_is_told_is_answered(tmp_path: Path) -> None:
    async with live(tmp_path) as call:
        assert await call.done("say", {"text": "One moment, please."}) == "it is being said"
        await until(lambda: "One moment, please." in call.said())
        assert await call.done("tell", {"text": "(The table is free.)"}) == "the agent was told"
        await until(lambda: "Of course, what else?" in call.said())
        assert AgentTold("(The table is free.)") in call.desk.whole.events()


@pytest.mark.parametrize("refuse_with", ["InjectionRefused", "Warning"])
async def test_a_refusal_is_told_whichever_way_it_comes(tmp_path: Path, refuse_with: str) -> None:
    script = QUICK.model_copy(update={"refuse_with": refuse_with, "silence_ms": 600})
    async with live(tmp_path, ScenarioStep(wait=0.8), ASK, script=script) as call:
        assert await call.done("say", {"text": LONG, "behavior": "interrupt"})
        assert await call.refused("say", {"text": "Now."}) == "The agent is speaking."
        await until(lambda: len(call.agent.onsets) == 1)
        later = {"text": "Later.", "behavior": "queue"}
        assert await call.refused("say", later) == "The user is speaking."
        interrupt = {"text": "Fire!", "behavior": "interrupt"}
        assert await call.done("say", interrupt) == "it is being said"
    warned = [m for m in call.desk.whole.events() if type(m).__name__ == "AgentWarned"]
    assert len(warned) == 2


async def test_changes_are_acknowledged(tmp_path: Path) -> None:
    async with live(tmp_path) as call:
        settings = call.agent.settings
        assert settings is not None
        assert await call.done("prompt", {"prompt": "Speak of cats."}) == "it is done"
        assert settings.prompt.endswith("Speak of cats.")
        await call.done("think", {"think": THINK})
        assert settings.prompt == "Be brief."
        await call.done("think", {"think": [THINK, {**THINK, "prompt": "Be kind."}]})
        assert [block.prompt for block in settings.think] == ["Be brief.", "Be kind."]
        await call.done("speak", {"speak": SPEAK})
        await call.done("listen", {"listen": {"provider": {**FLUX, "eot_threshold": 0.8}}})
        assert settings.listen["eot_threshold"] == 0.8
        nova = {"type": "deepgram", "version": "v1", "model": "nova-3", "keyterms": ["Offhook"]}
        refused = await call.refused("listen", {"listen": {"provider": nova}})
        assert refused == "The listener is as it was."


async def test_an_acknowledgement_that_never_comes_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_requests, "UNANSWERED_S", 0.5)
    script = QUICK.model_copy(update={"unacknowledged": ["UpdateThink"]})
    async with live(tmp_path, script=script) as call:
        refused = await call.refused("think", {"think": THINK})
        assert refused == "Deepgram has not answered within 10 s."
        assert await call.done("prompt", {"prompt": "Speak of cats."}) == "it is done"
        assert call.agent.settings is not None
        assert call.agent.settings.prompt == "Be brief.\n\nSpeak of cats."


async def test_a_farewell_is_heard_in_full_and_then_the_call_is_over(tmp_path: Path) -> None:
    async with live(tmp_path) as call, asyncio.TaskGroup() as group:
        say = group.create_task(call.act("hang-up", {"farewell": GOODBYE}))
        await until(lambda: len(call.agent.received) > 0)
        refused = await call.refused("say", {"text": "Wait."})
        assert refused.startswith("the call is being ended")
        answer = await say
        assert answer.json() == {"done": True, "what": "the call is over"}
        report = await call.ended()
        assert call.desk.whole.endings() == ["operator_hung_up"]
        said = [e for e in call.desk.whole.events() if isinstance(e, AgentSaid)][-1]
        assert (said.text, said.intended, said.interrupted) == (GOODBYE, GOODBYE, False)
        (stream,) = report.streams
        assert stream.bursts[-1].cut_by is None
        # Asked again it is no error; anything else is.
        assert await call.done("hang-up") == "the call was over already"
        answer = await call.act("say", {"text": "Wait."})
        assert (answer.status_code, answer.json()["code"]) == (404, "E-API-18")


async def test_hanging_up_without_a_farewell_is_at_once(tmp_path: Path) -> None:
    async with live(tmp_path) as call:
        await call.done("say", {"text": LONG})
        assert await call.done("hang-up") == "the call is over"
        report = await call.ended()
        assert call.desk.whole.endings() == ["operator_hung_up"]
        assert report.streams[0].bursts[-1].cut_by is not None


async def test_who_is_muted_is_not_heard(tmp_path: Path) -> None:
    async with live(tmp_path) as call:
        sent = call.agent.audio_sent
        for _ in range(2):
            assert await call.done("mute", {"on": True}) == "muted"
        await call.done("tell", {"text": "Speak."})
        await until(lambda: call.agent.audio_sent - sent > 4000)
        await until(lambda: not call.agent.audible)
        for _ in range(2):
            assert await call.done("mute", {"on": False}) == "not muted"
        events = call.desk.whole.events()
        assert [e.on for e in events if isinstance(e, AgentMuted)] == [True, False]
        (dropped,) = [e for e in events if isinstance(e, AudioDropped)]
        assert (dropped.why, dropped.ms > 500) == ("muted", True)
        assert call.said() == [GREETING]
        await call.done("say", {"text": "One moment, please."})
        await until(lambda: "One moment, please." in call.said())
        await call.done("hang-up")
        (stream,) = (await call.ended()).streams
        assert len(stream.bursts) == 2, "the greeting, and what was said after it was not muted"


async def test_keys_are_pressed_and_the_conversation_goes_on(tmp_path: Path) -> None:
    async with live(tmp_path) as call:
        assert await call.done("digits", {"digits": "1w2#"}) == "it is done"
        assert await call.refused("say", {"text": "Hello?"}) == (
            "nobody talks with the agent at the moment."
        )
        whole = call.desk.whole
        await until(lambda: any(isinstance(e, CallerBack) for e in whole.events()))
        assert CallerLeft("digits", "") in whole.events()


async def test_the_caller_is_transferred(tmp_path: Path) -> None:
    transfer = {"destinations": {"desk": {"to": "+12025550123"}}}
    async with live(tmp_path, transfer=transfer) as call:
        what = await call.done("transfer", {"destination": "desk", "summary": "A table."})
        assert what == "it is done"
        assert CallerLeft("transfer", "desk") in call.desk.whole.events()
        assert call.said()[-1] == "One moment, I am connecting you."


async def test_a_transfer_that_no_agent_file_names_is_refused(tmp_path: Path) -> None:
    async with live(tmp_path) as call:
        assert await call.refused("transfer", {"destination": "+12025550199"})
        assert call.desk.whole.endings() == []


async def test_a_call_without_its_stream_can_only_be_hung_up(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        sid = fresh_sid()
        assert (await d.whole.post("/twilio/voice", CallSid=sid)).status_code == 200
        base = f"/api/v1/calls/{sid}"
        for what, body in (("say", {"text": "Hi."}), ("hang-up", {"farewell": "Bye."})):
            answer = await d.ask(f"{base}/{what}", method="POST", body=body)
            assert answer.status_code == 409
            assert "nobody talks with the agent" in answer.json()["detail"]
        answer = await d.ask(f"{base}/hang-up", method="POST")
        assert answer.json()["done"]
        # Without credentials for REST nothing ends it before Twilio asks what comes next.
        assert "is hung up on when Twilio asks" in answer.json()["what"]
        assert d.whole.endings() == ["operator_hung_up"]


async def test_what_cannot_be_asked_is_refused_before_the_call_hears_of_it(tmp_path: Path) -> None:
    async with live(tmp_path) as call:
        received = len(call.agent.received)
        bad: list[tuple[str, Any, str]] = [
            ("hang-up", {"farewell": " "}, "E-API-08"),
            ("hang-up", {"goodbye": "Bye."}, "E-API-08"),
            ("say", {}, "E-API-08"),
            ("say", {"text": ""}, "E-API-08"),
            ("say", {"text": "\ud800"}, "E-API-08"),
            ("say", {"text": "Hi.", "\ud800": 1}, "E-API-08"),
            ("say", {"text": "x" * 2001}, "E-API-08"),
            ("say", {"text": "Hi.", "behavior": "now"}, "E-API-08"),
            ("tell", {"text": 5}, "E-API-08"),
            ("prompt", {"text": "Be brief."}, "E-API-08"),
            ("prompt", {"prompt": "x" * 25_001}, "E-API-08"),
            ("transfer", {}, "E-API-08"),
            ("digits", {"digits": "12a"}, "E-API-08"),
            ("digits", {"digits": ""}, "E-API-08"),
            ("mute", {"on": "yes"}, "E-API-08"),
            ("think", {"think": "gpt"}, "E-API-08"),
            ("think", {"think": {}}, "E-SET-01"),
            ("think", {"think": {**THINK, "prompt": "\ud800"}}, "E-SET-01"),
            ("think", {"think": []}, "E-SET-01"),
            ("speak", {"speak": {"provider": {"type": "deepgram"}}}, "E-SET-01"),
            ("listen", {"listen": {}}, "E-SET-01"),
            ("listen", {"listen": {"provider": {"type": "deepgram"}}}, "E-SET-01"),
            ("listen", {"listen": {"provider": {**FLUX, "eot_threshold": 2}}}, "E-SET-01"),
        ]
        for what, body, code in bad:
            answer = await call.act(what, body)
            assert (answer.status_code, answer.json()["code"]) == (422, code), (what, body)
            assert answer.json()["fix"]
        for what in ("hang-up", "say", "recording"):
            body = {"say": {"text": "Hi."}, "recording": {"state": "paused"}}.get(what)
            answer = await call.act(what, body, sid=fresh_sid())
            assert answer.status_code == 404, what
        sent = list(call.agent.received)[received:]
        assert [m for m in sent if not isinstance(m, messages.KeepAlive)] == []
        assert call.desk.whole.endings() == []
        assert HOURS not in call.said()
