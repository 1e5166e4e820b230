"""Calls that a whole server does not answer, or ends, by the rules of `inbound`."""

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from tests.serving.test_server import verbs
from tests.waiting import until
from tests.whole_server import (
    GREET,
    HANG_UP,
    WholeServer,
    configured,
    fresh_sid,
    whole_server,
)

from offhook.config import AppConfigFile, Config
from offhook.events.types import CallBegan, CallEnded
from offhook.outbound.ledger import CallLedger
from offhook.testing.scenarios.scenario import ScenarioStep

ADA = "+12025550142"


def ruled(inbound: dict[str, Any], prices: dict[str, Any] | None = None, **agent: Any) -> Config:
    file = AppConfigFile.model_validate(
        {"inbound": inbound, "records": {"prices": prices or {"deepgram_minute": {"standard": 6}}}}
    )
    config = configured("ws://127.0.0.1:1/", **agent)
    records = config.records.model_copy(update={"prices": file.records.prices})
    return dataclasses.replace(config, inbound=file.inbound, records=records)


async def ring(h: WholeServer, sid: str | None = None, **form: str) -> list[str]:
    """Have Twilio ask about a call; the verbs of the answer."""
    asked = await h.post("/twilio/voice", CallSid=sid or fresh_sid(), **{"From": ADA, **form})
    assert asked.status_code == 200
    return verbs(asked.text)


async def test_a_refused_call_is_declined_recorded_and_counted_once() -> None:
    rules = {
        "block": [ADA, "+1900*"],
        "anonymous": "busy",
        "stir": {"failed": "say"},
        "say": "Not today. Goodbye.",
    }
    async with whole_server(config=ruled(rules)) as h:
        sid = fresh_sid()
        for _ in range(3):  # Twilio repeats what was not answered in time
            assert await ring(h, sid) == ["Reject"]
        began, ended = h.events(sid)
        assert isinstance(began, CallBegan)
        assert isinstance(ended, CallEnded)
        assert (began.from_, began.direction) == (ADA, "inbound")
        assert (ended.slug, ended.duration_ms) == ("call_refused", 0)
        assert ended.detail == "the caller's number is on the block list"
        assert await ring(h, From="+19005550123") == ["Reject"]
        withheld = await h.post("/twilio/voice", CallSid=fresh_sid(), From="anonymous")
        assert '<Reject reason="busy" />' in withheld.text
        forged = {"From": "+12025550143", "StirVerstat": "TN-Validation-Failed-C"}
        told = await h.post("/twilio/voice", CallSid=fresh_sid(), **forged)
        assert verbs(told.text) == ["Say", "Hangup"]
        assert "Not today. Goodbye." in told.text
        good = await ring(h, From="+12025550143", StirVerstat="TN-Validation-Passed-A")
        assert good[0] == "Connect"
        assert len(h.sessions) <= 1, "Deepgram is dialled for nobody who is refused"
        page = (await h.server.metrics.text()).decode()
        for reason in ("blocked", "anonymous", "stir"):
            assert f'reason="{reason}"' in page


async def test_a_number_that_calls_too_often_hears_the_busy_tone() -> None:
    async with whole_server(config=ruled({"calls_per_hour": 2})) as h:
        sids = [fresh_sid(), fresh_sid()]
        for sid in sids:
            assert (await ring(h, sid))[0] == "Connect"
        assert await ring(h) == ["Reject"]
        assert (await ring(h, sids[0]))[0] == "Connect", "it goes on ringing for who is let in"
        assert (await ring(h, From="+12025550143"))[0] == "Connect"


async def test_calls_of_one_moment_do_not_get_past_the_limit() -> None:
    async with whole_server(config=ruled({"calls_per_hour": 3})) as h:
        answers = await asyncio.gather(*(ring(h) for _ in range(12)))
        assert sorted(answer[0] for answer in answers) == ["Connect"] * 3 + ["Reject"] * 9


async def test_a_call_that_reaches_its_spend_limit_ends_with_a_goodbye() -> None:
    config = ruled({"spend": {"per_call": 0.2}})  # 2 s, at 6 a minute
    async with whole_server(config=config) as h:
        report = await h.call(GREET, ScenarioStep.model_validate({"wait": 30}))
        assert h.endings() == ["spend_limit"]
        assert report.ending == "hangup_verb"


async def test_what_was_spent_is_known_after_a_restart(tmp_path: Path) -> None:
    config = ruled({"minutes": {"per_caller_day": 0.001}, "over_limit": "reject"})
    with CallLedger(tmp_path / "ledger.db") as ledger:
        async with whole_server(config=config, ledger=ledger) as h:
            await h.call(GREET, HANG_UP)
            await until(lambda: h.endings() == ["caller_hung_up"])
            assert await ring(h) == ["Reject"]
    with CallLedger(tmp_path / "ledger.db") as ledger:
        async with whole_server(config=config, ledger=ledger) as h:
            assert await ring(h) == ["Reject"]
            assert (await ring(h, From="+12025550143"))[0] == "Connect"


async def test_a_days_limit_refuses_streams_of_a_twiml_bin_and_ends_no_call() -> None:
    async with whole_server(config=ruled({"minutes": {"per_day": 0.001}})) as h:
        first = await h.stream()
        first.start(fresh_sid())
        await until(lambda: len(h.sessions) == 1)
        await until(lambda: h.server.calls.inbound.used_up(None) is not None)
        second = await h.stream()
        second.start(fresh_sid())
        assert (await second.end()).received == 1008
        assert not h.endings()
        first.speak()
        assert not first.closed.done()
        first.channel.close()


@pytest.mark.parametrize("broken", [False, True])
async def test_rules_cost_no_call_when_the_ledger_cannot_be_written(
    tmp_path: Path, broken: bool
) -> None:
    path = tmp_path / "ledger.db"
    if broken:
        path.mkdir()
    with CallLedger(path) as ledger:
        config = ruled({"calls_per_hour": 1})
        async with whole_server(config=config, ledger=ledger) as h:
            assert (await ring(h))[0] == "Connect"
            assert await ring(h) == ["Reject"]
