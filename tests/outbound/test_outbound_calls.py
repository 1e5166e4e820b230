"""Calls that are placed, by the API of a real server against a Twilio in a test's hands."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.responses import JSONResponse, Response
from tests.api.desk import Desk, desk
from tests.outbound.twilio_api import ADA, US, Form, Phone, TwilioApi, outbound, twilio_api
from tests.waiting import until

from offhook.config import Agent
from offhook.events.types import AgentConnected, CallBegan, CallBilled, CallStarted
from offhook.outbound import ledger_file, outbound_calls
from offhook.outbound.call_tracker import CallTracker
from offhook.outbound.ledger_file import LedgerFile, Placement
from offhook.outbound.outbound_calls import backstop_s
from offhook.outbound.placement_checks import PlacementChecks
from offhook.records import dnc, ledger_feed
from offhook.serving import composition


class Office:
    """Somebody who has calls placed."""

    def __init__(self, api: TwilioApi, desk: Desk) -> None:
        self.api = api
        self.desk = desk
        self.phone = Phone(api, desk)

    async def ask(self, key: str | None = None, **body: Any) -> httpx2.Response:
        headers = {"Idempotency-Key": key} if key is not None else {}
        asked = {"to": ADA, "agent": "seed", **body}
        return await self.desk.ask("/api/v1/calls", method="POST", body=asked, headers=headers)

    async def place(self, key: str | None = None, **body: Any) -> str:
        answer = await self.ask(key, **body)
        assert answer.status_code == 201, answer.text
        sid = answer.json()["call_sid"]
        assert isinstance(sid, str)
        return sid

    async def state(self, sid: str, **query: Any) -> dict[str, Any]:
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        answer = await self.desk.ask(f"/api/v1/calls/{sid}/status?{asked}")
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert isinstance(told, dict)
        return told


@asynccontextmanager
async def office(folder: Path, **options: Any) -> AsyncIterator[Office]:
    limits = options.pop("limits", {})
    async with (
        twilio_api() as api,
        desk(folder, change=outbound(api, **limits), **options) as made,
    ):
        yield Office(api, made)


async def test_a_person_is_rung_and_talks_at_once(tmp_path: Path) -> None:
    async with office(tmp_path) as made:
        sid = await made.place(variables={"name": "Ada"})
        form = made.api.forms[sid]
        assert (form["To"], form["From"], form["Timeout"]) == ([ADA], [US], ["30"])
        assert form["AsyncAmd"] == ["true"]
        assert form["TimeLimit"] == ["2100"]
        assert (await made.state(sid))["status"] == "queued"
        await made.phone.report(sid, "ringing")
        await made.phone.report(sid, "in-progress")
        stream = await made.phone.stream(sid)
        await until(lambda: any(isinstance(e, AgentConnected) for e in made.desk.whole.events(sid)))
        await made.phone.verdict(sid, "human")
        state = await made.state(sid)
        assert (state["status"], state["answered_by"]) == ("in-progress", "human")
        await made.phone.report(sid, "completed", CallDuration="7")
        await stream.end()
        state = await made.state(sid)
        assert (state["final"], state["slug"]) == (True, "caller_hung_up")
        began = next(e for e in made.desk.whole.events(sid) if isinstance(e, CallBegan))
        assert (began.direction, began.by, began.from_, began.to) == ("outbound", "api", US, ADA)
        assert '"name": "Ada"' in began.variables
        await made.desk.until_stored()
        record = (await made.desk.ask(f"/api/v1/calls/{sid}")).json()
        assert record["call"]["direction"] == "outbound"


@pytest.mark.parametrize(
    ("status", "slug"),
    [
        ("busy", "line_busy"),
        ("no-answer", "not_answered"),
        ("failed", "call_failed"),
        ("canceled", "call_canceled"),
    ],
)
async def test_whoever_is_not_reached_is_in_the_record(
    tmp_path: Path, status: str, slug: str
) -> None:
    async with office(tmp_path) as made:
        sid = await made.place()
        for told in (status, "ringing", status, "initiated", status):
            await made.phone.report(sid, told, SipResponseCode="486")
        assert made.desk.whole.endings(sid) == [slug]
        billed = [e for e in made.desk.whole.events(sid) if isinstance(e, CallBilled)]
        assert [event.status for event in billed] == [status]
        state = await made.state(sid)
        assert (state["status"], state["final"], state["slug"]) == (status, True, slug)


@pytest.mark.parametrize(
    ("agent", "limit"),
    [
        ({}, "2100"),
        ({"limits": {"max_minutes": 1}}, "360"),
        ({"limits": {"max_minutes": 239}}, None),
        ({"fallback": {"dial": ADA}}, None),
        ({"transfer": {"destinations": {"desk": {"to": ADA}}}}, None),
    ],
    ids=["the default", "a minute", "all of Twilio's", "a fallback", "a transfer"],
)
def test_twilios_own_limit_cuts_no_two_people(agent: Any, limit: str | None) -> None:
    """Our limit is that of the agent's talk; Twilio's counts all of the call."""
    made = Agent.model_validate({"settings": 0, **agent})
    found = backstop_s(made)
    assert (None if found is None else str(found)) == limit


async def test_the_stream_may_be_there_before_twilios_answer_is(tmp_path: Path) -> None:
    async with office(tmp_path) as made:
        streams = []

        async def talk(sid: str) -> None:
            streams.append(await made.phone.stream(sid))
            await until(
                lambda: any(isinstance(e, CallStarted) for e in made.desk.whole.events(sid))
            )

        made.api.after = talk
        sid = await made.place()
        began = [e for e in made.desk.whole.events() if isinstance(e, CallBegan)]
        assert len(began) == 1
        assert made.desk.whole.endings() == []
        await made.phone.report(sid, "completed")
        assert made.desk.whole.endings(sid) == ["caller_hung_up"]


async def test_a_report_may_be_there_before_twilios_answer_is(tmp_path: Path) -> None:
    async with office(tmp_path) as made:

        async def report(sid: str) -> None:
            await made.phone.report(sid, "busy")

        made.api.after = report
        sid = await made.place()
        assert made.desk.whole.endings(sid) == ["line_busy"]
        assert (await made.state(sid))["final"]


async def test_what_comes_after_a_stream_settles_a_call_whose_callback_is_lost(
    tmp_path: Path,
) -> None:
    async with office(tmp_path, limits={"concurrent": 1}) as made:
        sid = await made.place()
        await made.phone.report(sid, "in-progress")
        stream = await made.phone.stream(sid)
        await until(lambda: any(isinstance(e, CallStarted) for e in made.desk.whole.events(sid)))
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(made.state(sid, seen="in-progress", wait_s=20))
            await made.phone.after(sid, "completed")
        await stream.end()
        state = waiting.result()
        assert (state["status"], state["final"], state["slug"]) == (
            "completed",
            True,
            "caller_hung_up",
        )
        await made.place()  # there is room for it


async def test_minutes_that_are_told_twice_are_counted_once(tmp_path: Path) -> None:
    async with office(tmp_path) as made:
        sid = await made.place()
        await made.phone.report(sid, "in-progress")
        await made.phone.after(sid, "completed")
        for _ in range(2):
            await made.phone.report(sid, "completed", CallDuration="61")
        billed = [e for e in made.desk.whole.events(sid) if isinstance(e, CallBilled)]
        assert billed == [CallBilled("completed", 61_000)]
        inbound = {"CallSid": "CA" + "2" * 32, "CallStatus": "completed", "CallDuration": "61"}
        await made.desk.whole.post("/twilio/voice", host="voice.example.com", **inbound)
        for _ in range(2):
            await made.desk.whole.post("/twilio/status", host="voice.example.com", **inbound)
        billed = [e for e in made.desk.whole.events() if isinstance(e, CallBilled)]
        assert len(billed) == 2


async def test_a_strange_token_opens_nothing(tmp_path: Path) -> None:
    async with office(tmp_path) as made:
        sid = await made.place()
        stream = await made.phone.stream(sid, "guessed")
        assert (await stream.end()).received == 1008
        stream = await made.phone.stream("CA" + "9" * 32, made.api.token_of(sid))
        assert (await stream.end()).received == 1008


async def test_one_key_is_one_call(tmp_path: Path) -> None:
    async with office(tmp_path) as made:
        sid = await made.place("ada")
        again = await made.ask("ada")
        assert (again.status_code, again.json()) == (200, {"call_sid": sid, "again": True})
        other = await made.ask("ada", variables={"name": "Bob"})
        assert (other.status_code, other.json()["code"]) == (409, "E-OUT-07")
        assert len(made.api.calls) == 1
        assert await made.place("bob") != sid


async def test_one_key_is_one_call_after_a_restart_too(tmp_path: Path) -> None:
    async with office(tmp_path) as first:
        sid = await first.place("ada")
        await first.phone.report(sid, "busy")
    async with office(tmp_path) as second:
        assert (await second.ask("ada")).json() == {"call_sid": sid, "again": True}
        assert second.api.calls == {}


async def test_two_at_once_with_one_key_are_one_call(tmp_path: Path) -> None:
    async with office(tmp_path) as made:
        answers = await asyncio.gather(*(made.ask("ada") for _ in range(5)))
        assert len(made.api.calls) == 1
        assert sorted({answer.status_code for answer in answers}) in ([201, 409], [200, 201])
        for answer in answers:
            if answer.status_code == 409:
                assert answer.json()["code"] == "E-OUT-08"
                assert answer.headers["Retry-After"] == "1"


async def lost(_: object) -> Response:
    return Response(status_code=504)


async def test_a_call_whose_creation_was_not_answered_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbound_calls, "LOOKS_S", (0.01,))
    async with office(tmp_path) as made:
        made.api.after = lost
        sid = await made.place("ada")
        assert list(made.api.calls) == [sid]
        await made.phone.report(sid, "busy")
        assert made.desk.whole.endings(sid) == ["line_busy"]


async def test_a_call_that_may_have_been_created_is_not_rung_again_before_it_is_certain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbound_calls, "LOOKS_S", (0.01,))
    async with office(tmp_path) as made:
        made.api.before = lost
        answer = await made.ask("ada")
        assert (answer.status_code, answer.json()["code"]) == (503, "E-OUT-14")
        made.api.before = None
        again = await made.ask("ada")
        assert again.json()["code"] == "E-OUT-14"
        assert 25 <= int(again.headers["Retry-After"]) <= 30
        assert made.api.calls == {}
        monkeypatch.setattr(outbound_calls, "SETTLED_S", 0.0)
        sid = await made.place("ada")
        assert list(made.api.calls) == [sid]
        assert (await made.ask("ada")).json() == {"call_sid": sid, "again": True}


async def test_a_call_that_was_created_in_spite_of_all_is_found_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbound_calls, "LOOKS_S", ())
    async with office(tmp_path) as made:
        made.api.after = lost
        assert (await made.ask("ada")).json()["code"] == "E-OUT-14"
        made.api.after = None
        [sid] = made.api.calls
        assert (await made.ask("ada")).json() == {"call_sid": sid, "again": True}
        await made.phone.report(sid, "no-answer")
        assert made.desk.whole.endings(sid) == ["not_answered"]
        # It is that key's, and nobody else's.
        assert await made.place("bob") != sid


class Wall:
    """The wall clock of a server, which jumps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = timedelta()
        monkeypatch.setattr(composition, "wall_clock", lambda zone: datetime.now(zone) + self.ahead)


@pytest.mark.parametrize("hours", [1, 24 * 365 * 10, -1, -24 * 365 * 10])
async def test_a_clock_that_jumps_has_nobody_rung_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    wall = Wall(monkeypatch)
    monkeypatch.setattr(outbound_calls, "LOOKS_S", ())
    async with office(tmp_path) as made:
        made.api.before = lost
        assert (await made.ask("ada")).json()["code"] == "E-OUT-14"
        made.api.before = None
        wall.ahead = timedelta(hours=hours)
        again = await made.ask("ada")
        assert again.json()["code"] == "E-OUT-14", "30 s are not over"
        assert int(again.headers["Retry-After"]) <= 30
        assert made.api.calls == {}
        sid = await made.place("bob")
        wall.ahead = timedelta()
        assert (await made.ask("bob")).json() == {"call_sid": sid, "again": True}


@pytest.mark.parametrize("hours", [1, -1])
@pytest.mark.parametrize("jumps", [True, False])
async def test_a_clock_that_is_wrong_does_not_hide_a_call_that_was_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int, jumps: bool
) -> None:
    wall = Wall(monkeypatch)
    wall.ahead = timedelta(hours=hours)
    monkeypatch.setattr(outbound_calls, "LOOKS_S", ())
    async with office(tmp_path) as made:
        made.api.after = lost
        assert (await made.ask("ada")).json()["code"] == "E-OUT-14"
        made.api.after = None
        if jumps:
            wall.ahead = timedelta()
        [sid] = made.api.calls
        assert (await made.ask("ada")).json() == {"call_sid": sid, "again": True}


async def test_a_call_that_twilio_names_by_itself_is_known_by_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbound_calls, "LOOKS_S", ())
    async with office(tmp_path) as made:
        made.api.after = lost
        await made.ask("ada")
        [sid] = made.api.calls
        await made.phone.report(sid, "ringing")
        assert (await made.ask("ada")).json() == {"call_sid": sid, "again": True}
        await made.phone.report(sid, "busy")
        assert made.desk.whole.endings(sid) == ["line_busy"]


async def test_a_refusal_leaves_the_key_free(tmp_path: Path) -> None:
    async with office(tmp_path) as made:

        async def refuse(form: Form) -> Response:
            return JSONResponse({"code": 21215, "message": f"no {form['To']}", "status": 400}, 400)

        made.api.before = refuse
        answer = await made.ask("ada")
        assert (answer.status_code, answer.json()["code"]) == (502, "E-TW-03")
        assert "country" in answer.json()["detail"]
        assert ADA not in answer.text
        made.api.before = None
        await made.place("ada")


# --- answering machines --------------------------------------------------------------------------

LEAVE = {"answering_machine": "leave_message", "message": "Dear {{name}}, please ring back."}


async def test_a_machine_is_hung_up_on(tmp_path: Path) -> None:
    async with office(tmp_path) as made:
        sid = await made.place()
        assert made.api.forms[sid]["MachineDetection"] == ["Enable"]
        await made.phone.report(sid, "in-progress")
        stream = await made.phone.stream(sid)
        await until(lambda: made.desk.whole.server.calls.registry.find(sid).has_stream)  # type: ignore[union-attr]
        await made.phone.verdict(sid, "machine_start")
        await made.phone.verdict(sid, "machine_start")
        await stream.end()
        assert made.desk.whole.endings(sid) == ["machine_answered"]
        assert "<Hangup" in await made.phone.after(sid)
        assert (await made.state(sid))["final"] is False
        await made.phone.report(sid, "completed", CallDuration="4")
        state = await made.state(sid)
        assert (state["final"], state["slug"]) == (True, "machine_answered")
        assert made.api.updates == []


async def test_a_machine_gets_the_message_after_its_tone(tmp_path: Path) -> None:
    async with office(tmp_path, outbound=LEAVE) as made:
        sid = await made.place(variables={"name": "Ada"})
        assert made.api.forms[sid]["MachineDetection"] == ["DetectMessageEnd"]
        await made.phone.report(sid, "in-progress")
        stream = await made.phone.stream(sid)
        await until(lambda: made.desk.whole.server.calls.registry.find(sid).has_stream)  # type: ignore[union-attr]
        await made.phone.verdict(sid, "machine_end_beep")
        await stream.end()
        assert made.desk.whole.endings(sid) == ["message_left"]
        document = await made.phone.after(sid)
        assert "<Say>Dear Ada, please ring back.</Say><Hangup" in document
        assert made.api.updates == []


async def test_a_machine_that_answers_during_the_announcement_gets_it_by_rest(
    tmp_path: Path,
) -> None:
    async with office(tmp_path, outbound=LEAVE) as made:
        sid = await made.place(variables={"name": "Ada"})
        await made.phone.report(sid, "in-progress")
        await made.phone.verdict(sid, "machine_end_silence")
        [(updated, form)] = made.api.updates
        assert updated == sid
        assert "Dear Ada" in form["Twiml"][0]
        assert made.desk.whole.endings(sid) == ["message_left"]


async def test_a_fax_gets_no_message(tmp_path: Path) -> None:
    async with office(tmp_path, outbound=LEAVE) as made:
        sid = await made.place()
        await made.phone.report(sid, "in-progress")
        await made.phone.verdict(sid, "fax")
        assert made.api.updates == [(sid, {"Status": ["completed"]})]
        assert made.desk.whole.endings(sid) == ["machine_answered"]


@pytest.mark.parametrize("verdict", ["human", "unknown"])
async def test_a_person_goes_on_talking(tmp_path: Path, verdict: str) -> None:
    async with office(tmp_path) as made:
        sid = await made.place()
        await made.phone.report(sid, "in-progress")
        await made.phone.stream(sid)
        await made.phone.verdict(sid, verdict)
        assert made.desk.whole.endings(sid) == []
        assert made.api.updates == []


async def test_who_wants_to_talk_to_machines_pays_for_no_detection(tmp_path: Path) -> None:
    async with office(tmp_path, outbound={"answering_machine": "talk"}) as made:
        sid = await made.place()
        assert "MachineDetection" not in made.api.forms[sid]


# --- who is not called ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"to": "2025550142"}, "E-OUT-04"),
        ({"to": "+19005550142"}, "E-OUT-05"),
        ({"to": "+442079460000"}, "E-OUT-05"),
        ({"agent": "sede"}, "E-OUT-02"),
        ({"timezone": "Mars/Olympus", "within_hours": True}, "E-OUT-16"),
    ],
)
async def test_who_may_not_be_called_is_not(tmp_path: Path, body: Any, code: str) -> None:
    async with office(tmp_path) as made:
        answer = await made.ask("key", **body)
        assert (answer.json()["code"], answer.is_success) == (code, False)
        assert made.api.calls == {}
        await made.place("key")  # it is still free


async def test_whoever_is_on_the_list_is_not_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_feed, "EVERY_S", 0.05)
    ledger = LedgerFile(tmp_path / ledger_file.FILE)
    async with office(tmp_path) as made:
        with made.desk.engine.begin() as connection:  # as another machine does
            dnc.bar(connection, dnc.DoNotCallEntry(ADA, 0, "asked", None))
        await until(lambda: ledger.is_barred(ADA))
        answer = await made.ask()
        assert (answer.status_code, answer.json()["code"]) == (403, "E-OUT-11")
        assert made.api.calls == {}


async def test_without_a_ledger_nobody_is_called_and_every_call_is_answered(
    tmp_path: Path,
) -> None:
    (tmp_path / ledger_file.FILE).mkdir()  # it cannot be opened
    async with office(tmp_path) as made:
        answer = await made.ask("key")
        assert (answer.status_code, answer.json()["code"]) == (503, "E-OUT-23")
        assert answer.headers["Retry-After"] == "5"
        assert made.api.calls == {}
        voice = await made.desk.whole.post("/twilio/voice", host="voice.example.com", From=ADA)
        assert "<Connect" in voice.text
        (tmp_path / ledger_file.FILE).rmdir()
        ledger = LedgerFile(tmp_path / ledger_file.FILE)
        await until(lambda: ledger.is_filled)
        await made.place("key")


async def test_a_claim_is_on_disk_before_twilio_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_feed, "EVERY_S", 600.0)  # what is claimed stays uncopied
    ledger = LedgerFile(tmp_path / ledger_file.FILE)
    held: list[bool] = []

    async def before(form: Form) -> Response | None:
        [(placed, _, _)] = ledger.uncopied(10)
        held.append(f"placing={placed.id}" in form["StatusCallback"][0])
        return None

    async with office(tmp_path) as made:
        made.api.before = before
        await made.place("key")
    assert held == [True]


@pytest.mark.parametrize("seen", ["before its turn", "while Twilio is asked"])
async def test_of_two_processes_that_are_asked_for_a_key_one_asks_twilio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: str
) -> None:
    """The other one has found no such call at Twilio, and takes over the attempt that it saw."""
    other = LedgerFile(tmp_path / ledger_file.FILE)
    took: list[bool] = []
    await_turn = PlacementChecks.await_turn

    def placement() -> Placement:
        [(found, _, _)] = other.uncopied(10)
        return found

    async def turn(self: PlacementChecks) -> None:
        first.append(placement())
        if seen == "before its turn":
            took.append(other.retake(first[0], replace(first[0], id="of the other")))
        await await_turn(self)

    async def before(form: Form) -> Response | None:
        took.append(other.retake(first[0], replace(first[0], id="of the other")))
        return None

    first: list[Placement] = []
    monkeypatch.setattr(ledger_feed, "EVERY_S", 600.0)  # what is claimed stays uncopied
    monkeypatch.setattr(PlacementChecks, "await_turn", turn)
    async with office(tmp_path) as made:
        made.api.before = before
        answer = await made.ask("key")
        rung = len(made.api.calls)
        held = placement()
    if seen == "before its turn":
        assert (answer.status_code, answer.json()["code"]) == (503, "E-OUT-14")
        assert (took, rung, held.id) == ([True], 0, "of the other")
    else:
        assert (answer.status_code, took, rung) == (201, [False], 1)
        assert held.sid == answer.json()["call_sid"]


async def test_a_process_that_stood_still_before_it_asked_twilio_does_not_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one found no such call for SETTLED_S, and has the key by now."""
    other = LedgerFile(tmp_path / ledger_file.FILE)
    count = PlacementChecks.count

    async def stood_still(self: PlacementChecks, to: str) -> None:
        await count(self, to)
        [(first, _, _)] = other.uncopied(10)
        assert other.retake(first, replace(first, id="of the other"))
        monkeypatch.setattr(outbound_calls, "FRESH_S", 0.0)

    monkeypatch.setattr(ledger_feed, "EVERY_S", 600.0)  # what is claimed stays uncopied
    monkeypatch.setattr(PlacementChecks, "count", stood_still)
    async with office(tmp_path) as made:
        answer = await made.ask("key")
        assert answer.json()["code"] == "E-OUT-08"
        assert made.api.calls == {}
        [(held, _, _)] = other.uncopied(10)
        assert held.id == "of the other"


async def test_a_request_that_takes_too_long_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbound_calls, "LOOKS_S", (0.01, 0.01))
    monkeypatch.setattr(outbound_calls, "CREATE_MAX_S", 0.2)
    held = asyncio.Event()

    async def before(form: Form) -> Response | None:
        await held.wait()
        return None

    async with office(tmp_path) as made:
        made.api.before = before
        answer = await made.ask("key")
        held.set()
        assert (answer.status_code, answer.json()["code"]) == (503, "E-OUT-14")


async def test_so_many_at_once_and_no_more(tmp_path: Path) -> None:
    async with office(tmp_path, limits={"concurrent": 2}) as made:
        first = await made.place()
        await made.place()
        answer = await made.ask("third")
        assert (answer.status_code, answer.json()["code"]) == (429, "E-OUT-12")
        assert answer.headers["Retry-After"] == "1"
        await made.phone.report(first, "busy")
        await made.place("third")


async def test_calls_leave_one_after_the_other(tmp_path: Path) -> None:
    async with office(tmp_path, limits={"calls_per_second": 10}) as made:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.gather(*(made.place() for _ in range(5)))
        assert loop.time() - began >= 0.39


async def test_whoever_would_wait_for_long_is_to_come_again(tmp_path: Path) -> None:
    async with office(tmp_path, limits={"calls_per_second": 0.05}) as made:
        await made.place()
        answer = await made.ask()
        assert (answer.status_code, answer.json()["code"]) == (429, "E-OUT-13")


async def test_at_night_nobody_of_a_list_is_rung(tmp_path: Path) -> None:
    never = {"hours": "00:00-00:01", "days": ["mon"]}
    async with office(tmp_path, outbound=never) as made:
        answer = await made.ask(within_hours=True, timezone="Europe/Berlin")
        assert (answer.status_code, answer.json()["code"]) == (409, "E-OUT-10")
        assert int(answer.headers["Retry-After"]) > 0
        await made.place()  # somebody who is asked for by hand is


async def test_without_a_zone_the_number_says_where_it_is_night(tmp_path: Path) -> None:
    never = {"hours": "00:00-00:01", "days": ["mon"]}
    async with office(tmp_path, outbound=never) as made:
        answer = await made.ask(within_hours=True)
        assert (answer.status_code, answer.json()["code"]) == (409, "E-OUT-10")
        answer = await made.ask(within_hours=True, to="+18005550142")  # anywhere in 25 countries
        assert (answer.status_code, answer.json()["code"]) == (422, "E-OUT-22")
        assert made.api.calls == {}


async def test_a_call_that_nobody_knows(tmp_path: Path) -> None:
    async with office(tmp_path) as made:
        answer = await made.desk.ask(f"/api/v1/calls/CA{'0' * 32}/status")
        assert (answer.status_code, answer.json()["code"]) == (404, "E-OUT-18")


async def test_waiting_for_news(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asyncio.Event()
    state = CallTracker.state

    async def and_told(self: CallTracker, *question: Any) -> Any:
        asked.set()
        return await state(self, *question)

    monkeypatch.setattr(CallTracker, "state", and_told)
    async with office(tmp_path) as made:
        sid = await made.place()
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(made.state(sid, seen="queued", wait_s=20))
            await asked.wait()
            assert not waiting.done()
            await made.phone.report(sid, "ringing")
            assert (await waiting)["status"] == "ringing"
        assert (await made.state(sid, seen="ringing", wait_s=0.01))["status"] == "ringing"
