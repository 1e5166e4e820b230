"""REST requests of ours that act on simulated calls, over real sockets from end to end."""

import asyncio
import email.utils
from typing import Any

import pytest
from pydantic import SecretStr
from tests.testing.twilio.doors import ACCOUNT, TOKEN
from tests.testing.twilio.rig import ADA, BOB, CAROL, DESK, rig
from tests.waiting import until
from twilio.request_validator import RequestValidator

from offhook import audio
from offhook.config import TwilioSettings
from offhook.testing.scenarios.caller import SimulatedCaller
from offhook.testing.scenarios.scenario import HangUpStep, ScenarioStep
from offhook.testing.simulator.speech.levels import SILENT, is_speech
from offhook.testing.simulator.twilio.account.account import RestFault
from offhook.testing.simulator.twilio.account.resources import AccountNumber
from offhook.testing.simulator.twilio.calls.network import Callbacks
from offhook.testing.simulator.twilio.calls.people import MachineGreeting, SimulatedPerson
from offhook.twilio import rest
from offhook.twilio.errors import TwilioRefusedError
from offhook.twilio.rest import MachineDetection, TwilioRest


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "BACKOFF_S", 0.001)


# --- calls that are created ------------------------------------------------------------------


async def test_a_call_rings_and_runs_its_twiml_and_everything_is_told() -> None:
    async with rig({BOB: SimulatedPerson(after_s=1.0)}) as it:
        call = await it.ring(
            BOB, "<Say>Hello.</Say>" + it.stream, status_callback=it.url("/status")
        )
        assert call.status == "queued"
        report = await it.over(call)
        await until(lambda: len(it.server.at("/status")) == 4)
        known = await it.rest.fetch_call(call.sid)
    assert report.ending == "end_of_document"  # the agent has closed its stream
    assert [verb.name for verb in report.verbs] == ["Say", "Connect"]
    assert report.streams[0].ended_by == "server"
    assert [span.sound for span in report.line] == ["say", "stream"]
    (rung,) = it.ledger.rung
    assert (rung.to, rung.from_, rung.by, rung.status) == (BOB, DESK, "api", "completed")
    assert it.statuses() == ["initiated", "ringing", "in-progress", "completed"]
    posted = it.server.at("/status")
    assert [one.form["SequenceNumber"] for one in posted] == ["0", "1", "2", "3"]
    for one in posted:
        signature = one.headers["x-twilio-signature"]
        assert RequestValidator(TOKEN).validate("https://127.0.0.1/status", one.form, signature)
        assert email.utils.parsedate_to_datetime(one.form["Timestamp"]).tzinfo is not None
        assert one.form["Direction"] == "outbound-api"
    assert known.status == "completed"
    assert known.duration_s == int(posted[-1].form["CallDuration"]) >= 1


@pytest.mark.parametrize(
    ("person", "status"),
    [
        (SimulatedPerson("busy"), "busy"),
        (SimulatedPerson("declines", after_s=1.0), "busy"),
        (SimulatedPerson("no-answer"), "no-answer"),
        (SimulatedPerson(after_s=50.0), "no-answer"),
        (SimulatedPerson("failed"), "failed"),
        (None, "failed"),
    ],
)
async def test_who_does_not_answer(person: SimulatedPerson | None, status: str) -> None:
    async with rig({BOB: person} if person is not None else {}) as it:
        call = await it.ring(BOB, it.stream, timeout_s=5, status_callback=it.url("/status"))
        report = await it.over(call)
        await until(lambda: status in it.statuses())
    assert (report.ending, report.verbs, it.server.upgrades) == ("not_answered", [], [])
    assert it.statuses()[0] == "initiated"
    assert ("ringing" in it.statuses()) == (status != "failed")
    assert (it.ledger.rung[0].status, it.ledger.rung[0].answered_at) == (status, None)
    assert it.server.at("/status")[-1].form["CallDuration"] == "0"


async def test_a_url_is_asked_when_somebody_answers() -> None:
    async with rig({BOB: SimulatedPerson()}) as it:
        it.server.page("/outgoing", "<Say>Hello.</Say><Hangup/>")
        call = await it.rest.create_call(to=BOB, from_=DESK, url=it.url("/outgoing"))
        report = await it.over(call)
    assert report.ending == "hangup_verb"
    (asked,) = it.server.at("/outgoing")
    assert (asked.form["CallStatus"], asked.form["CallSid"]) == ("in-progress", call.sid)
    assert (asked.form["From"], asked.form["To"]) == (DESK, BOB)


async def test_somebody_who_hangs_up_in_the_middle() -> None:
    async with rig({BOB: SimulatedPerson(hang_up_after_s=2.0)}) as it:
        report = await it.over(await it.ring(BOB, "<Pause length='60'/>"))
    assert report.ending == "caller_hung_up"
    assert report.ended_at - report.answered_at < 30


async def test_a_call_does_not_outlast_its_time_limit() -> None:
    async with rig({BOB: SimulatedPerson()}) as it:
        report = await it.over(await it.ring(BOB, "<Pause length='200'/>", time_limit_s=60))
    assert report.ending == "out_of_time"


async def test_someone_who_talks_on_an_outbound_stream_is_heard() -> None:
    steps = (ScenarioStep(say="question"), ScenarioStep(hang_up=HangUpStep()))
    bob = SimulatedCaller(steps, lambda text: b"\x10" * 1600)
    async with rig({BOB: SimulatedPerson(caller=lambda: bob)}) as it:
        it.server.patient = True
        report = await it.over(await it.ring(BOB, it.stream))
    assert report.ending == "caller_hung_up"
    assert bob.said[0].ended is not None


# --- machines --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("person", "mode", "answered_by", "ms"),
    [
        (SimulatedPerson(), "Enable", "human", 2000),
        (SimulatedPerson(hello_s=0), "Enable", "unknown", 5000),
        (SimulatedPerson(machine=MachineGreeting(6.0)), "Enable", "machine_start", 2400),
        (
            SimulatedPerson(machine=MachineGreeting(6.0)),
            "DetectMessageEnd",
            "machine_end_beep",
            6500,
        ),
        (
            SimulatedPerson(machine=MachineGreeting(6.0, beep=False)),
            "DetectMessageEnd",
            "machine_end_silence",
            7200,
        ),
        (SimulatedPerson(machine=MachineGreeting(50.0)), "DetectMessageEnd", "unknown", 30000),
        (SimulatedPerson(machine=MachineGreeting(1.0)), "DetectMessageEnd", "human", 2200),
    ],
)
async def test_who_has_answered_is_told_while_the_call_goes_on(
    person: SimulatedPerson, mode: Any, answered_by: str, ms: int
) -> None:
    async with rig({BOB: person}) as it:
        it.server.patient = True
        detection = MachineDetection(mode, it.url("/amd"))
        call = await it.ring(BOB, it.stream, machine_detection=detection)
        await until(lambda: it.server.at("/amd"))
        assert it.server.upgrades  # nobody waited for it
        await it.rest.hang_up(call.sid)
        await it.over(call)
        known = await it.rest.fetch_call(call.sid)
    (told,) = it.server.at("/amd")
    assert told.form["AnsweredBy"] == known.answered_by == answered_by
    assert told.form["MachineDetectionDuration"] == str(ms)


async def test_a_machine_is_heard_to_greet_and_beep() -> None:
    async with rig({BOB: SimulatedPerson(machine=MachineGreeting(2.0))}) as it:
        it.server.patient = True
        call = await it.ring(BOB, it.stream)
        report = it.ledger.reports[call.sid]
        await until(lambda: report.streams and len(report.streams[0].spoken) > 30_000)
        await it.rest.hang_up(call.sid)
        await it.over(call)
    spoken = bytes(report.streams[0].spoken)
    sound = spoken.strip(SILENT)
    assert len(sound) / audio.BYTES_PER_SECOND == pytest.approx(2.5, abs=0.05)
    assert is_speech(sound)


# --- calls that are changed ------------------------------------------------------------------


async def test_new_twiml_stops_the_stream_and_runs() -> None:
    async with rig({BOB: SimulatedPerson()}) as it:
        it.server.patient = True
        call = await it.ring(BOB, it.stream + "<Say>never</Say>")
        await until(lambda: it.server.agents and it.server.agents[0].spoke.is_set())
        await it.rest.update_call(call.sid, twiml="<Response><Say>Now this.</Say></Response>")
        report = await it.over(call)
    assert report.ending == "end_of_document"
    assert [verb.name for verb in report.verbs] == ["Connect", "Say"]
    assert report.streams[0].ended_by == "twilio"
    assert it.server.agents[0].messages[-1]["event"] == "stop"
    assert it.ledger.redirected[0].in_time


async def test_a_url_replaces_a_verb_and_opens_a_stream() -> None:
    async with rig({BOB: SimulatedPerson()}) as it:
        it.server.page("/next", it.stream)
        call = await it.ring(BOB, "<Pause length='600'/>")
        await until(lambda: it.network.legs[call.sid].status == "in-progress")
        await it.rest.update_call(call.sid, url=it.url("/next"))
        report = await it.over(call)
    assert [verb.name for verb in report.verbs] == ["Pause", "Connect"]
    assert len(report.streams) == 1


async def test_an_inbound_call_is_redirected_and_ended_too() -> None:
    async with rig() as it:
        it.server.patient = True
        it.server.page("/voice", it.stream)
        async with asyncio.TaskGroup() as group:
            calling = group.create_task(it.inbound(status_callback=it.url("/status")))
            await until(lambda: it.server.agents and it.server.agents[0].spoke.is_set())
            (sid,) = it.network.legs
            await it.rest.update_call(sid, twiml=f"<Response>{it.stream}</Response>")
            await until(lambda: len(it.server.agents) > 1 and it.server.agents[1].spoke.is_set())
            await it.rest.hang_up(sid)
            await it.rest.hang_up(sid)
            report = await calling
        await until(lambda: it.server.at("/status"))
        with pytest.raises(TwilioRefusedError) as refused:
            await it.rest.update_call(sid, twiml="<Response/>")
    assert refused.value.code == 21220
    assert report.ending == "ended_by_rest"
    assert [one.ended_by for one in report.streams] == ["twilio", "twilio"]
    assert report.faults == []
    assert [one.in_time for one in it.ledger.hang_ups] == [True, False]
    assert it.statuses() == ["completed"]


async def test_a_ringing_call_is_cancelled() -> None:
    async with rig({BOB: SimulatedPerson(after_s=100.0)}) as it:
        call = await it.ring(BOB, it.stream, timeout_s=200, status_callback=it.url("/status"))
        await until(lambda: "ringing" in it.statuses())
        with pytest.raises(TwilioRefusedError) as refused:
            await it.rest.update_call(call.sid, twiml="<Response/>")
        await it.rest.hang_up(call.sid)
        await it.over(call)
        await until(lambda: "canceled" in it.statuses())
    assert refused.value.code == 21220
    assert it.ledger.rung[0].status == "canceled"


async def test_a_call_that_never_was() -> None:
    async with rig() as it:
        await it.rest.hang_up("CA" + "0" * 32)
        for asked in (
            it.rest.fetch_call("CA" + "0" * 32),
            it.rest.update_call("CA" + "0" * 32, twiml="<Response/>"),
        ):
            with pytest.raises(TwilioRefusedError) as refused:
                await asked
            assert refused.value.code == 20404
    assert [one.in_time for one in it.ledger.hang_ups] == [False]


# --- callbacks that misbehave ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("callbacks", "statuses"),
    [
        (Callbacks(twice=True), "initiated initiated ringing ringing in-progress in-progress"),
        (Callbacks(out_of_order=True), "ringing initiated completed in-progress"),
        (Callbacks(late_s=10.0), "initiated ringing in-progress completed"),
        (Callbacks(late_s=10.0, twice=True, out_of_order=True), "ringing ringing initiated"),
    ],
)
async def test_callbacks_come_late_twice_and_out_of_order(
    callbacks: Callbacks, statuses: str
) -> None:
    async with rig({BOB: SimulatedPerson(after_s=1.0)}, callbacks) as it:
        call = await it.ring(BOB, "<Pause length='2'/>", status_callback=it.url("/status"))
        await it.over(call)
        if callbacks.late_s:
            assert it.statuses()[-1:] != ["completed"]
        await until(lambda: len(it.statuses()) == (8 if callbacks.twice else 4))
    assert it.statuses()[: len(statuses.split())] == statuses.split()
    assert {one.form["CallSid"] for one in it.server.at("/status")} == {call.sid}


# --- refusals, limits and faults --------------------------------------------------------------


async def test_who_may_not_call_whom() -> None:
    refused_numbers = {CAROL: 21215}
    async with rig({BOB: SimulatedPerson()}, refused=refused_numbers) as it:
        for to, from_, code in (
            (BOB, ADA, 21210),
            ("+1", DESK, 21211),
            (BOB, "desk", 21212),
            (CAROL, DESK, 21215),
            ("sip:bob@example.com", "+1999", 21212),
        ):
            with pytest.raises(TwilioRefusedError) as refused:
                await it.rest.create_call(to=to, from_=from_, twiml="<Response/>")
            assert refused.value.code == code
        for twiml, code in (("<Respons/>", 12100), ("", 21205)):
            with pytest.raises(TwilioRefusedError) as refused:
                await it.rest.create_call(to=BOB, from_=DESK, twiml=twiml)
            assert refused.value.code == code
    assert it.ledger.rung == []
    assert it.network.legs == {}


async def test_only_this_accounts_credentials_are_good() -> None:
    async with rig(api_key="SK" + "2" * 32, api_secret="hush") as it:
        key: dict[str, Any] = {"api_key": "SK" + "2" * 32, "api_secret": SecretStr("hush")}
        good = TwilioSettings(account_sid=ACCOUNT, api_url=it.origin, **key)
        assert await TwilioRest(good.require_rest(), it.http).numbers()
        for account, secret, code in ((ACCOUNT, "wrong", 20003), ("AC" + "9" * 32, "hush", 20404)):
            key["api_secret"] = SecretStr(secret)
            bad = TwilioSettings(account_sid=account, api_url=it.origin, **key)
            with pytest.raises(TwilioRefusedError) as refused:
                await TwilioRest(bad.require_rest(), it.http).numbers()
            assert refused.value.code == code
        anonymous = await it.http.get(f"{it.origin}/2010-04-01/Accounts/{ACCOUNT}/Calls/x.json")
        assert anonymous.status_code == 401


async def test_calls_beyond_the_limits() -> None:
    async with rig({BOB: SimulatedPerson()}, calls_at_once=2, calls_per_second=0.1) as it:
        first = await it.ring(BOB, "<Pause length='60'/>")
        second = await it.ring(BOB, "<Pause length='60'/>")
        with pytest.raises(TwilioRefusedError) as refused:
            await it.ring(BOB, "<Pause/>")
        assert refused.value.code == 10004
        await until(lambda: len(it.ledger.rung) == 2)
        for call in (first, second):
            await it.rest.hang_up(call.sid)
            await it.over(call)
    one, two = it.ledger.rung
    assert two.at - one.at > 5  # ten seconds apart, less what the first came late


async def test_faults_that_are_ordered() -> None:
    async with rig({BOB: SimulatedPerson()}) as it:
        it.account.faults += [RestFault(429, 20429, retry_after_s=0), RestFault(429, 20429)]
        await it.over(await it.ring(BOB, "<Hangup/>"))
        it.account.faults += [RestFault(503), RestFault(500, 20500, new_format=True)]
        assert len(await it.rest.numbers()) == 1
        it.account.faults.append(RestFault(503, acted=True))
        with pytest.raises(TwilioRefusedError) as refused:
            await it.ring(BOB, "<Hangup/>")
        assert refused.value.status == 503
        await until(lambda: len(it.ledger.rung) == 2)  # it was carried out all the same
        await until(lambda: all(leg.over for leg in it.network.legs.values()))


# --- texts and numbers -----------------------------------------------------------------------


async def test_a_text_is_taken_and_delivered() -> None:
    async with rig(refused={CAROL: 21610}) as it:
        callback = it.url("/texts")
        sent = await it.rest.send_message(
            to=ADA, from_=DESK, body="ü" * 71, status_callback=callback
        )
        await until(lambda: len(it.server.at("/texts")) == 2)
        for to, body, code in ((CAROL, "x", 21610), (ADA, "x" * 1601, 21617), (ADA, "", 21602)):
            with pytest.raises(TwilioRefusedError) as refused:
                await it.rest.send_message(to=to, from_=DESK, body=body)
            assert refused.value.code == code
    assert sent.num_segments == "2"
    assert [one.form["MessageStatus"] for one in it.server.at("/texts")] == ["sent", "delivered"]
    (text,) = it.ledger.texts
    assert (text.sid, text.to, text.body) == (sent.sid, ADA, "ü" * 71)


async def test_numbers_are_listed_found_and_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "PAGE", 2)
    numbers = [AccountNumber(f"+1202555010{digit}") for digit in range(5)]
    async with rig(numbers=numbers) as it:
        assert [one.phone_number for one in await it.rest.numbers()] == [
            one.phone_number for one in numbers
        ]
        (one,) = await it.rest.numbers("+12025550103")
        assert await it.rest.numbers("+12025550199") == []
        changed = await it.rest.update_number(one.sid, voice_url=it.url("/voice"))
        assert changed.voice_url == it.url("/voice")
        assert (await it.rest.numbers(one.phone_number))[0].voice_url == it.url("/voice")
        with pytest.raises(TwilioRefusedError) as refused:
            await it.rest.update_number("PN" + "0" * 32, voice_method="GET")
    assert refused.value.status == 404


async def test_a_number_is_fetched_and_an_app_excludes_a_trunk() -> None:
    application, trunk = "AP" + "1" * 32, "TK" + "2" * 32
    number = AccountNumber(DESK, settings={"TrunkSid": trunk, "VoiceUrl": "https://old.example/"})
    async with rig(numbers=[number]) as it:
        before = await it.rest.fetch_number(number.sid)
        in_app = await it.rest.update_number(number.sid, voice_application_sid=application)
        in_trunk = await it.rest.update_number(number.sid, trunk_sid=trunk)
        in_none = await it.rest.update_number(number.sid, trunk_sid="")
        with pytest.raises(TwilioRefusedError):
            await it.rest.fetch_number("PN" + "0" * 32)
    assert (before.trunk_sid, before.voice_url, before.voice_method, before.friendly_name) == (
        trunk,
        "https://old.example/",
        "POST",
        DESK,
    )
    assert [
        (number.voice_application_sid, number.trunk_sid) for number in (in_app, in_trunk, in_none)
    ] == [(application, None), ("", trunk), ("", None)]


async def test_calls_are_listed_by_who_called_whom() -> None:
    async with rig({BOB: SimulatedPerson(), CAROL: SimulatedPerson("busy")}) as it:
        calls = [await it.ring(to, "<Hangup/>") for to in (BOB, CAROL, BOB)]
        for call in calls:
            await it.over(call)
        base = f"{it.origin}/2010-04-01/Accounts/{ACCOUNT}/Calls.json"

        async def listed(**query: Any) -> list[str]:
            answer = await it.http.get(base, params=query, auth=(ACCOUNT, TOKEN))
            return [one["sid"] for one in answer.json()["calls"]]

        first, second, third = (call.sid for call in calls)
        assert await listed(To=BOB, From=DESK) == [third, first]
        assert await listed(Status="busy") == [second]
        assert await listed(PageSize=1, Page=1) == [second]
        assert await listed(From=ADA) == []


async def test_leaving_hangs_up_what_is_live() -> None:
    async with rig({BOB: SimulatedPerson()}) as it:
        it.server.patient = True
        call = await it.ring(BOB, it.stream)
        await until(lambda: it.server.agents and it.server.agents[0].spoke.is_set())
        report = it.ledger.reports[call.sid]
    assert report.ending == "given_up"
    assert it.server.agents[0].messages[-1]["event"] == "stop"
    assert asyncio.all_tasks() == {asyncio.current_task()}
