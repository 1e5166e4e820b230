"""Callers who have left their stream: what ends meanwhile, who waits, and what is dialled."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.calls.test_transfers import (
    AGENT,
    ANN,
    DESK,
    STAY,
    acting,
    asking,
    configured,
    with_account,
)
from tests.serving.test_server import verbs
from tests.waiting import until
from tests.whole_server import ASK, GREET, HANG_UP, HOURS, WholeServer, fresh_sid, whole_server

from offhook.call import inputs
from offhook.call.handoff_actions import SendDigits
from offhook.call.phases import Phase
from offhook.call.requests import HangUp, Leave
from offhook.calls.call_entry import CallEntry
from offhook.deepgram.messages import InjectUserMessage
from offhook.events.types import (
    CallBilled,
    CallerBack,
    CallerLeft,
    Dialled,
    DialRefused,
    TransferFailed,
)
from offhook.testing.scenarios.caller import CallReport
from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.testing.simulator.deepgram.script import Script, ScriptTurn
from offhook.testing.simulator.twilio.calls.network import Callbacks
from offhook.testing.simulator.twilio.calls.people import SimulatedPerson
from offhook.tools.requests import StartTransfer
from offhook.twilio.rest import RestCall

WARM = asking("transfer_call", destination="ann", summary="")
LAST = "+12025550177"
COLD = asking("transfer_call", destination="desk", summary="")
WITH_FALLBACK = "\n".join(line for line in AGENT.splitlines() if "warm" not in line) + (
    f'\nfallback: {{say: We are sorry., dial: "{LAST}"}}\n'
)


@asynccontextmanager
async def with_fallback(tmp_path: Path, script: Script = COLD) -> AsyncIterator[WholeServer]:
    """A server without credentials for Twilio's REST API, where another number takes over."""
    async with whole_server(script, config=configured(tmp_path, WITH_FALLBACK)) as h:
        yield h


def live(h: WholeServer) -> tuple[str, CallEntry]:
    ((sid, entry),) = h.server.calls.registry.live.items()
    return sid, entry


def dialled(report: CallReport) -> list[str]:
    return [noun.text for verb in report.verbs if verb.name == "Dial" for noun in verb.nouns]


def told(h: WholeServer) -> list[str]:
    received = (m for session in h.sessions for m in session.received)
    return [m.content for m in received if isinstance(m, InjectUserMessage)]


def handed_over(h: WholeServer) -> Callable[[], bool]:
    """Whether Twilio was told to ring."""
    return lambda: any(isinstance(event, Dialled) for event in h.events())


async def ended_while_away(h: WholeServer, message: inputs.CallBroke, **options: Any) -> CallReport:
    """A call that ends while it rings at the desk for its caller."""
    async with asyncio.TaskGroup() as group:
        calling = group.create_task(h.call(GREET, ASK, STAY, ScenarioStep(wait=30), **options))
        await until(handed_over(h))
        h.server.calls.registry.send(live(h)[0], message)
        await h.until_ended()
    return calling.result()


# --- a call that ends while its caller is away --------------------------------------------------


async def test_a_call_that_ends_while_it_rings_for_its_caller_dials_the_fallback_once(
    tmp_path: Path,
) -> None:
    async with with_fallback(tmp_path) as h:
        report = await ended_while_away(h, inputs.CallBroke("a test"), dial_status="no-answer")
        assert h.endings() == ["internal_error"]
        # Twilio repeats its questions. The answers are the same, and nobody is told again.
        documents = {d.url.partition("after")[2]: d.body for d in report.documents}
        for query, status in (("?left=1", "no-answer"), ("?last=1", "no-answer")):
            again = await h.post(
                f"/twilio/after{query}",
                CallSid=report.call_sid,
                CallStatus="in-progress",
                DialCallStatus=status,
            )
            assert again.text == documents[query]
        events = h.events()
    assert dialled(report) == [DESK, LAST]
    assert [verb.name for verb in report.verbs][-2:] == ["Say", "Hangup"]
    assert [event for event in events if isinstance(event, Dialled)] == [
        Dialled("transfer", "desk", DESK),
        Dialled("fallback", "", LAST),
    ]


async def test_no_fallback_follows_two_people_who_have_talked(tmp_path: Path) -> None:
    async with with_fallback(tmp_path) as h:
        report = await ended_while_away(h, inputs.CallBroke("a test"))
        assert h.endings() == ["internal_error"]
    assert dialled(report) == [DESK]
    assert report.ending == "hangup_verb"


async def test_an_operator_who_hangs_up_on_a_caller_beyond_reach_is_told_so(tmp_path: Path) -> None:
    async with with_fallback(tmp_path) as h, asyncio.TaskGroup() as group:
        calling = group.create_task(
            h.call(GREET, ASK, STAY, ScenarioStep(wait=30), dial_status="no-answer")
        )
        await until(handed_over(h))
        done, what = await live(h)[1].control.request(HangUp("operator"))
        assert done
        assert "hung up on when Twilio asks" in what
        report = await calling
        assert h.endings() == ["operator_hung_up"]
    assert dialled(report) == [DESK]
    assert report.ending == "hangup_verb"


async def test_a_call_of_which_nothing_is_known_gets_one_fallback(tmp_path: Path) -> None:
    async with with_fallback(tmp_path) as h:
        form = {"CallSid": fresh_sid(), "CallStatus": "in-progress"}
        first, again = [await h.post("/twilio/after", **form) for _ in range(2)]
        assert verbs(first.text) == ["Say", "Dial"]
        assert again.text == first.text
        for _ in range(2):
            last = await h.post("/twilio/after?last=1", **form, DialCallStatus="busy")
            assert verbs(last.text) == ["Say", "Hangup"]
        assert h.events() == [Dialled("fallback", "", LAST)]


async def test_a_person_of_an_earlier_run_is_not_taken_for_a_caller(tmp_path: Path) -> None:
    async with with_fallback(tmp_path) as h:
        path = "/twilio/after?person=of-an-earlier-run"
        for digits, wanted in (
            ({"Digits": "1"}, ["Say", "Hangup"]),
            ({"Digits": "2"}, ["Hangup"]),
            ({}, ["Hangup"]),
        ):
            answer = await h.post(path, CallSid=fresh_sid(), CallStatus="in-progress", **digits)
            assert verbs(answer.text) == wanted
            assert ("cannot be connected" in answer.text) == (wanted[0] == "Say")
        assert h.events() == []


async def test_an_old_question_of_twilios_does_not_touch_a_call_that_has_gone_on(
    tmp_path: Path,
) -> None:
    async with acting(tmp_path, COLD) as h, asyncio.TaskGroup() as group:
        calling = group.create_task(
            h.call(GREET, ASK, STAY, STAY, HANG_UP, dial_status="no-answer")
        )
        await until(lambda: CallerBack() in h.events())
        sid, entry = live(h)
        for path, form in (
            ("/twilio/after", {}),
            ("/twilio/after?left=1", {"DialCallStatus": "no-answer"}),
        ):
            answer = await h.post(path, CallSid=sid, CallStatus="in-progress", **form)
            assert verbs(answer.text)[0] == "Connect"
            assert entry.has_stream
        await calling
        assert h.endings() == ["caller_hung_up"]


# --- last words that are called off -------------------------------------------------------------


async def test_a_transfer_that_is_called_off_is_not_carried_out_and_another_may_be(
    tmp_path: Path,
) -> None:
    async with acting(tmp_path, Script(silence_ms=300, reply_ms=50)) as h:
        async with asyncio.TaskGroup() as group:
            calling = group.create_task(h.call(GREET, ScenarioStep(wait=30)))
            await until(lambda: bool(h.server.calls.registry.live) and live(h)[1].has_stream)
            _, entry = live(h)
            assert entry.session is not None
            call = entry.session._call
            await until(lambda: call.phase is Phase.TALKING)
            transfer = group.create_task(entry.control.perform(StartTransfer("desk")))
            await until(lambda: call.phase is Phase.CLOSING)
            transfer.cancel()
            await until(lambda: call.phase is Phase.TALKING)
            assert entry.handoff.action is None
            second = group.create_task(entry.control.perform(StartTransfer("desk")))
            await until(handed_over(h))
            await asyncio.wait([second])
        assert h.endings() == ["transferred"]
    assert dialled(calling.result()) == [DESK]


async def test_a_person_is_not_rung_for_a_transfer_that_is_called_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with with_account(tmp_path, Script(), {ANN: SimulatedPerson(after_s=60)}) as h:
        rest = h.server.calls.transfers._updates.rest
        assert rest is not None
        create, goes_on = rest.create_call, asyncio.Event()

        async def slowly(**wanted: Any) -> RestCall:
            made = await create(**wanted)
            await goes_on.wait()
            return made

        monkeypatch.setattr(rest, "create_call", slowly)
        async with asyncio.TaskGroup() as group:
            calling = group.create_task(h.call(GREET, ScenarioStep(wait=30)))
            await until(lambda: bool(h.server.calls.registry.live) and live(h)[1].has_stream)
            _, entry = live(h)
            transfer = group.create_task(entry.control.perform(StartTransfer("ann")))
            await until(lambda: bool(h.ledger.rung))
            transfer.cancel()
            await until(lambda: not h.server.calls.transfers._of_call)
            goes_on.set()
            await until(lambda: len(h.ledger.hang_ups) == 1)
            calling.cancel()
        assert not [e for e in h.events() if isinstance(e, CallerLeft)]


# --- a person who is gone before the caller is there --------------------------------------------


def gone(h: WholeServer) -> None:
    """The person who has accepted hangs up."""
    assert h.account is not None
    (joined,) = h.ledger.joined
    assert h.account.network.legs[joined.call_sid].end("caller_hung_up")


@pytest.mark.long
@pytest.mark.parametrize("late_s", [0.0, 4.0], ids=["told at once", "told when the caller waits"])
async def test_a_caller_does_not_wait_alone_for_a_person_who_has_hung_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late_s: float
) -> None:
    monkeypatch.setattr("offhook.call.farewell.LAST_WORD_S", 3.0)
    monkeypatch.setattr("offhook.calls.transfers.ALONE_S", 1.0)
    # The report comes when the caller is in the conference already: it tells when it was sent.
    monkeypatch.setattr("offhook.calls.transfers.JOIN_S", 60.0)
    ann = SimulatedPerson(after_s=0.5, keys=("1",), talks_s=None)
    callbacks = Callbacks(late_s=late_s)
    async with whole_server(
        WARM, config=configured(tmp_path, AGENT), people={ANN: ann}, callbacks=callbacks
    ) as h:
        async with asyncio.TaskGroup() as group:
            calling = group.create_task(h.call(GREET, ASK, ScenarioStep(wait=60)))
            await until(handed_over(h))
            await until(lambda: bool(h.ledger.joined))
            gone(h)
            await until(lambda: CallerBack() in h.events())
            await until(lambda: bool(told(h)))
            calling.cancel()
        await h.until_ended()
        assert h.endings() == ["caller_hung_up"]
        assert TransferFailed("ann", "hung-up") in h.events()
        assert len([e for e in h.events() if isinstance(e, TransferFailed)]) == 1
        assert len(h.ledger.redirected) == (1 if late_s else 0)
    assert told(h)[-1].startswith(
        "(The transfer to ann did not work: they hung up before the caller was there."
    )


@pytest.mark.long
async def test_a_caller_whose_person_has_hung_up_without_a_report_is_looked_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offhook.call.farewell.LAST_WORD_S", 3.0)
    monkeypatch.setattr("offhook.calls.transfers.ALONE_S", 0.5)
    monkeypatch.setattr("offhook.calls.transfers.LOOK_S", (1.0,))
    ann = SimulatedPerson(after_s=0.5, keys=("1",), talks_s=None)
    async with with_account(tmp_path, WARM, {ANN: ann}) as h, asyncio.TaskGroup() as group:
        calling = group.create_task(h.call(GREET, ASK, ScenarioStep(wait=60)))
        await until(handed_over(h))
        await until(lambda: bool(h.ledger.joined))
        assert h.account is not None
        h.account.network.legs[h.ledger.joined[0].call_sid].told = None  # The report is lost.
        gone(h)
        await until(lambda: CallerBack() in h.events())
        calling.cancel()


# --- keys, while a person is called -------------------------------------------------------------


@pytest.mark.long
async def test_keys_that_are_pressed_while_it_rings_do_not_hang_up_on_the_person(
    tmp_path: Path,
) -> None:
    ann = SimulatedPerson(after_s=1.0, keys=("1",), talks_s=1.0)
    async with with_account(tmp_path, WARM, {ANN: ann}) as h:
        async with asyncio.TaskGroup() as group:
            calling = group.create_task(h.call(GREET, ASK, STAY, ScenarioStep(wait=60)))
            await until(handed_over(h))
            await until(lambda: live(h)[1].has_stream)
            _, entry = live(h)
            assert entry.session is not None
            call = entry.session._call
            await until(lambda: call.phase is Phase.TALKING)
            await entry.control.perform(Leave(SendDigits("1w2")))
            await until(lambda: CallerBack() in h.events())
            await calling
        assert h.endings() == ["transferred"]
        assert not h.ledger.hang_ups
        assert not [e for e in h.events() if isinstance(e, TransferFailed)]


# --- a server that is to stop -------------------------------------------------------------------


async def test_a_server_that_is_to_stop_transfers_its_callers(tmp_path: Path) -> None:
    async with acting(tmp_path, COLD) as h:
        async with asyncio.TaskGroup() as group:
            calling = group.create_task(
                h.call(GREET, ASK, STAY, STAY, HANG_UP, dial_status="no-answer")
            )
            await until(lambda: any(isinstance(e, CallerLeft) for e in h.events()))
            h.server.stop()
            report = await calling
        assert dialled(report) == [DESK]
        assert h.endings() == ["caller_hung_up"], "the caller came back, and the call went on"
        await h.until_stopped()
    assert report.faults == []


async def test_a_server_does_not_wait_for_two_people_to_end_their_talk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offhook.calls.handoff.RING_SLACK_S", -4.0)  # of the 5 s that it may ring
    people = {DESK: SimulatedPerson(after_s=0.1, talks_s=60.0)}
    cold = "\n".join(line for line in AGENT.splitlines() if "warm" not in line)
    async with (
        whole_server(COLD, config=configured(tmp_path, cold), people=people) as h,
        asyncio.TaskGroup() as group,
    ):
        calling = group.create_task(h.call(GREET, ASK, STAY, ScenarioStep(wait=60)))
        await until(handed_over(h))
        h.server.stop()
        await h.until_stopped()
        assert h.endings() == ["transferred"]
        calling.cancel()


async def test_a_server_that_waits_for_its_calls_sleeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acting(tmp_path, COLD) as h, asyncio.TaskGroup() as group:
        calling = group.create_task(h.call(GREET, ScenarioStep(wait=60)))
        registry = h.server.calls.registry
        await until(lambda: bool(registry.live) and live(h)[1].has_stream)
        other = fresh_sid()
        await h.post("/twilio/voice", CallSid=other)
        registry.live[other].expected_until = 0.0  # as of a caller who talks with somebody else
        waits: list[float | None] = []

        async def wait(seconds: float | None) -> None:
            waits.append(seconds)
            await asyncio.Event().wait()

        monkeypatch.setattr(registry, "_wait", wait)
        idle = group.create_task(registry.until_idle())
        await until(lambda: bool(waits))
        assert waits == [None]
        idle.cancel()
        calling.cancel()


# --- the number that takes over -----------------------------------------------------------------


@pytest.mark.parametrize("slot", ["fallback", "busy"])
async def test_a_number_that_may_not_be_dialled_does_not_take_over(slot: str) -> None:
    wanted: dict[str, Any] = {slot: {"dial": "+19005550123"}}
    capacity = 0 if slot == "busy" else 100
    async with whole_server(capacity=capacity, **wanted) as h:
        path = "/twilio/voice" if slot == "busy" else "/twilio/after"
        answer = await h.post(path, CallSid=fresh_sid(), CallStatus="in-progress")
        assert "Dial" not in verbs(answer.text)
        assert verbs(answer.text)[-1] == "Hangup"
        (refused,) = [e for e in h.events() if isinstance(e, DialRefused)]
    assert (refused.kind, refused.to) == (slot, "+19005550123")


async def test_a_call_that_another_number_takes_for_want_of_room_is_in_the_record() -> None:
    async with whole_server(capacity=0, busy={"dial": LAST}) as h:
        sid = fresh_sid()
        first, again = [await h.post("/twilio/voice", CallSid=sid) for _ in range(2)]
        assert verbs(first.text) == ["Dial"]
        assert again.text == first.text
        assert [type(event).__name__ for event in h.events(sid)] == [
            "CallBegan",
            "Dialled",
            "CallEnded",
        ]
        assert h.endings(sid) == ["server_full"]


# --- requests that come twice -------------------------------------------------------------------

TWICE = Callbacks(twice=True, out_of_order=True, documents_twice=True)


async def test_every_request_of_twilios_may_come_twice_and_gets_one_answer(tmp_path: Path) -> None:
    """As after answers that were lost on their way (twilio.md §4.2): nobody is told again."""
    config = configured(tmp_path, WITH_FALLBACK)
    desk = SimulatedPerson("busy", after_s=0.1)
    async with whole_server(COLD, config=config, people={DESK: desk}, callbacks=TWICE) as h:
        status = f"https://127.0.0.1:{h.server.port}/twilio/status"
        steps = (GREET, ASK, STAY, STAY, ASK, STAY, HANG_UP)
        report = await h.call(*steps, status_callback=status)
        assert report.faults_on_the_line == []
        assert len(report.streams) == 2
        assert h.endings() == ["caller_hung_up"]
        await until(lambda: any(isinstance(event, CallBilled) for event in h.events()))
        once = Counter(type(event).__name__ for event in h.events())
        for name in ("CallBegan", "Dialled", "TransferFailed", "CallerBack", "CallBilled"):
            assert once[name] == 1, name
        # After its end, too: the same answers, and nothing of the call changes.
        before = len(h.events())
        for path in ("/twilio/voice", "/twilio/after", "/twilio/after?stream=1", "/twilio/status"):
            given = [
                await h.post(path, CallSid=report.call_sid, CallStatus="completed")
                for _ in range(2)
            ]
            assert given[0].text == given[1].text
        assert len(h.events()) == before


async def test_a_farewell_that_is_asked_for_twice_is_one(tmp_path: Path) -> None:
    config = configured(tmp_path, WITH_FALLBACK.replace(f'dial: "{LAST}"', "voicemail: true"))
    lost = Script(turns=[ScriptTurn(hear=HOURS, say=["Of course."], error="INVALID_SETTINGS")])
    async with whole_server(lost, config=config, people={}, callbacks=TWICE) as h:
        report = await h.call(GREET, ASK)
        assert report.faults_on_the_line == []
        assert [verb.name for verb in report.verbs] == ["Connect", "Say", "Say", "Record", "Hangup"]
        assert len(h.endings()) == 1
