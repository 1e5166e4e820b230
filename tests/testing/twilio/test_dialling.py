"""<Dial>, <Gather> and conferences: people who are rung, and what a caller hears meanwhile."""

import asyncio

import pytest
from tests.testing.twilio.doors import xml
from tests.testing.twilio.rig import BOB, CAROL, DESK, rig
from tests.waiting import until

from offhook.testing.simulator.twilio.call_report import CallParty, LegReport
from offhook.testing.simulator.twilio.calls.people import SimulatedPerson

AFTER = "<Say>And then.</Say>"


def sounds(report: LegReport[CallParty]) -> list[str]:
    return [span.sound for span in report.line]


@pytest.mark.parametrize(
    ("person", "status", "least_s", "bridged"),
    [
        (SimulatedPerson(talks_s=4.0), "completed", 4, "true"),
        (SimulatedPerson("busy"), "busy", 0, "false"),
        (SimulatedPerson("declines"), "busy", 0, "false"),
        (SimulatedPerson("no-answer"), "no-answer", 0, "false"),
        (SimulatedPerson("failed"), "failed", 0, "false"),
    ],
)
async def test_what_becomes_of_a_dialled_person_is_told(
    person: SimulatedPerson, status: str, least_s: int, bridged: str
) -> None:
    async with rig({BOB: person}) as it:
        it.server.page(
            "/voice",
            f"<Dial action='/dialled' timeout='5' callerId='{DESK}' answerOnBridge='true'>"
            f"{BOB}</Dial>",
        )
        it.server.page("/dialled", AFTER)
        report = await it.inbound()
    (told,) = it.server.at("/dialled")
    (rung,) = it.ledger.rung_at(BOB)
    assert told.form["DialCallStatus"] == rung.status == status
    # The clock runs fast: on a busy machine they talk for longer.
    lasted_s = int(told.form["DialCallDuration"])
    assert lasted_s >= least_s if least_s else lasted_s == 0
    assert told.form["DialBridged"] == bridged
    assert told.form["DialCallSid"] == rung.call_sid
    assert (rung.from_, rung.by, rung.parent_call_sid) == (DESK, "dial", report.call_sid)
    assert sounds(report) == ["ringing", *(["together"] if bridged == "true" else []), "say"]
    assert it.silences(report) == []
    assert report.ending == "end_of_document"


async def test_without_an_action_the_next_verb_runs() -> None:
    async with rig({BOB: SimulatedPerson("busy")}) as it:
        it.server.page("/voice", f"<Dial><Number>{BOB}</Number></Dial>{AFTER}")
        report = await it.inbound()
    assert [verb.name for verb in report.verbs] == ["Dial", "Say"]


async def test_a_caller_may_hear_nothing_while_it_rings() -> None:
    async with rig({BOB: SimulatedPerson("no-answer")}) as it:
        it.server.page("/voice", f"<Dial timeout='20'>{BOB}</Dial><Pause length='9'/>{AFTER}")
        report = await it.inbound()
    ((began, ended),) = it.silences(report)
    assert ended - began > 28  # the loop may be early


async def test_a_sip_address_is_rung_and_its_progress_told() -> None:
    async with rig({"sip:bob@example.com": SimulatedPerson()}) as it:
        it.server.page(
            "/voice",
            "<Dial><Sip statusCallback='/status' statusCallbackEvent='ringing answered completed'>"
            "sip:bob@example.com</Sip></Dial>",
        )
        report = await it.inbound()
        await until(lambda: len(it.statuses()) == 3)
    assert it.statuses() == ["ringing", "in-progress", "completed"]
    told = it.server.at("/status")[0].form
    assert (told["ParentCallSid"], told["Direction"]) == (report.call_sid, "outbound-dial")


async def test_of_several_the_first_to_answer_is_joined_and_the_others_are_cancelled() -> None:
    people = {BOB: SimulatedPerson(after_s=8.0), CAROL: SimulatedPerson(after_s=1.0)}
    async with rig(people) as it:
        it.server.page("/voice", f"<Dial><Number>{BOB}</Number><Number>{CAROL}</Number></Dial>")
        await it.inbound()
        await until(lambda: all(rung.ended_at is not None for rung in it.ledger.rung))
    statuses = {rung.to: rung.status for rung in it.ledger.rung}
    assert statuses == {BOB: "canceled", CAROL: "completed"}


async def test_a_caller_who_gives_up_while_it_rings() -> None:
    async with rig({BOB: SimulatedPerson("no-answer")}) as it:
        it.server.page("/voice", f"<Dial timeout='60'>{BOB}</Dial>{AFTER}")
        report = await it.inbound(hang_up_after_s=3.0)
        await until(lambda: it.ledger.rung[0].ended_at is not None)
    assert report.ending == "caller_hung_up"
    assert it.ledger.rung[0].status == "canceled"
    assert [verb.name for verb in report.verbs] == ["Dial"]


async def test_a_conversation_that_is_replaced_lets_the_other_go() -> None:
    async with rig({BOB: SimulatedPerson(talks_s=None)}) as it:
        it.server.page("/voice", f"<Dial>{BOB}</Dial>")
        async with asyncio.TaskGroup() as group:
            calling = group.create_task(it.inbound())
            await until(lambda: it.ledger.joined)
            (rung,) = it.ledger.rung
            await it.rest.update_call(
                rung.parent_call_sid or "", twiml=f"<Response>{AFTER}</Response>"
            )
            report = await calling
        await until(lambda: rung.ended_at is not None)
    assert [verb.name for verb in report.verbs] == ["Dial", "Say"]
    assert it.ledger.reports[rung.call_sid].ending == "far_end_hung_up"


WHISPER = "<Gather numDigits='1' timeout='3' action='/key'><Say>Press 1.</Say></Gather><Hangup/>"


@pytest.mark.parametrize(
    ("keys", "bridged"), [(("1",), "true"), (("2",), "false"), ((), "false"), (("",), "false")]
)
async def test_a_person_hears_a_whisper_and_accepts_with_a_key(
    keys: tuple[str, ...], bridged: str
) -> None:
    async with rig({BOB: SimulatedPerson(keys=keys)}) as it:
        it.server.page(
            "/voice",
            "<Dial action='/dialled' answerOnBridge='true'>"
            f"<Number url='/whisper'>{BOB}</Number></Dial>",
        )
        it.server.page("/whisper", WHISPER)
        it.server.pages["/key"] = lambda request: xml(
            "" if request.form["Digits"] == "1" else "<Hangup/>"
        )
        it.server.page("/dialled", AFTER)
        report = await it.inbound()
    (told,) = it.server.at("/dialled")
    assert (told.form["DialCallStatus"], told.form["DialBridged"]) == ("completed", bridged)
    child = it.ledger.reports[told.form["DialCallSid"]]
    assert child.verbs[0].name == "Gather"
    assert len(it.server.at("/key")) == (1 if any(keys) else 0)
    assert ("together" in sounds(child)) == (bridged == "true")
    # The caller hears ringing until then, and never nothing.
    assert sounds(report)[0] == "ringing"
    assert it.silences(report) == []


@pytest.mark.parametrize(
    ("gather", "keys", "digits"),
    [
        ("numDigits='2'", "12", "12"),
        ("numDigits='2'", "123", "12"),
        ("", "12#", "12"),
        ("finishOnKey='*'", "1#2*", "1#2"),
        ("timeout='1'", "12", "12"),
        ("actionOnEmptyResult='true' timeout='1'", "", ""),
        ("timeout='1'", "", None),
    ],
)
async def test_keys_are_gathered(gather: str, keys: str, digits: str | None) -> None:
    async with rig({BOB: SimulatedPerson(keys=(keys,))}) as it:
        it.server.page("/keys", "<Hangup/>")
        url = it.url("/keys")
        call = await it.ring(BOB, f"<Gather action='{url}' {gather}><Say>Hm?</Say></Gather>")
        report = await it.over(call)
    found = [one.form["Digits"] for one in it.server.at("/keys")]
    assert found == ([] if digits is None else [digits])
    assert report.ending == ("end_of_document" if digits is None else "hangup_verb")


# --- conferences -----------------------------------------------------------------------------


def conference(more: str = "") -> str:
    return f"<Dial action='/left'><Conference {more}>room</Conference></Dial>"


async def test_two_in_one_conference_are_together_until_one_ends_it() -> None:
    async with rig({BOB: SimulatedPerson(talks_s=5.0)}) as it:
        it.server.page("/voice", conference())
        it.server.page("/left", AFTER)
        async with asyncio.TaskGroup() as group:
            calling = group.create_task(it.inbound())
            await until(lambda: it.ledger.joined)
            call = await it.ring(BOB, conference("endConferenceOnExit='true'"))
            report = await calling
        await it.over(call)
    assert it.ledger.together("room") == [report.call_sid, call.sid]
    assert sounds(report) == ["waiting", "together", "say"]
    assert it.silences(report) == []
    one, other = it.ledger.joined
    assert other.left_at is not None
    assert other.left_at - other.at >= 4.9  # the loop may be early
    assert one.left_at is not None
    assert it.server.at("/left")[0].form["DialCallStatus"] == "answered"
    assert "DialCallSid" not in it.server.at("/left")[0].form
    assert it.network.conferences == {}


async def test_who_does_not_end_it_leaves_the_others_waiting() -> None:
    async with rig({BOB: SimulatedPerson(talks_s=2.0)}) as it:
        it.server.page("/voice", conference("waitUrl=''"))
        async with asyncio.TaskGroup() as group:
            calling = group.create_task(it.inbound(hang_up_after_s=30.0))
            await until(lambda: it.ledger.joined)
            await it.over(await it.ring(BOB, conference()))
            report = await calling
    assert sounds(report) == ["together"]
    assert len(it.silences(report)) == 1  # no music, as waitUrl says


async def test_a_conference_begins_with_whom_it_is_to_begin() -> None:
    async with rig({BOB: SimulatedPerson(), CAROL: SimulatedPerson()}) as it:
        quiet = conference("startConferenceOnEnter='false'")
        bob = await it.ring(BOB, quiet)
        carol = await it.ring(CAROL, quiet)
        await until(lambda: len(it.ledger.joined) == 2)
        it.server.page("/voice", conference("endConferenceOnExit='true'"))
        await it.inbound(hang_up_after_s=1.0)
        reports = [await it.over(call) for call in (bob, carol)]
    for report in reports:
        assert sounds(report)[:2] == ["waiting", "together"]


async def test_a_warm_transfer() -> None:
    """A caller talks with the agent while somebody else is rung, accepts, and is joined."""
    async with rig({BOB: SimulatedPerson(keys=("1",), talks_s=5.0)}) as it:
        it.server.patient = True
        it.server.page("/voice", it.stream)
        it.server.page("/left", "<Hangup/>")
        it.server.page("/accepted", conference("endConferenceOnExit='true'"))
        async with asyncio.TaskGroup() as group:
            calling = group.create_task(it.inbound())
            await until(lambda: it.server.agents and it.server.agents[0].spoke.is_set())
            (sid,) = it.network.legs
            bob = await it.ring(
                BOB,
                f"<Gather numDigits='1' action='{it.url('/accepted')}'><Say>Ada.</Say></Gather>",
            )
            await until(lambda: it.server.at("/accepted"))
            await it.rest.update_call(sid, twiml=f"<Response>{conference()}</Response>")
            report = await calling
        await it.over(bob)
    assert it.server.at("/accepted")[0].form["Digits"] == "1"
    assert sorted(it.ledger.together("room")) == sorted([sid, bob.sid])
    assert report.streams[0].ended_by == "twilio"
    assert sounds(report)[0] == "stream"
    assert "together" in sounds(report)
    assert it.silences(report) == []


async def test_a_leg_that_was_dialled_cannot_dial() -> None:
    async with rig({BOB: SimulatedPerson(), CAROL: SimulatedPerson()}) as it:
        it.server.page("/voice", f"<Dial><Number url='/whisper'>{BOB}</Number></Dial>")
        it.server.page("/whisper", f"<Dial>{CAROL}</Dial>")
        await it.inbound()
    (rung,) = it.ledger.rung
    assert [note.code for note in it.ledger.reports[rung.call_sid].notes] == [13201]
