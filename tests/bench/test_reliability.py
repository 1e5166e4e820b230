"""The table of reliability: its rows, short, and that no fault is left out."""

import asyncio
from pathlib import Path

import pytest
from bench.agent_faults import Outcome, place_all
from bench.call_records import kept_in
from bench.measured_table import PAGE
from tests import migrated

from bench import agent_faults, reliability
from bench import fault_verdicts as verdicts
from offhook.deepgram.retry import AFTER_CLOSE, AFTER_ERROR


def test_every_close_and_error_is_tried_in_every_phase() -> None:
    tried = {*agent_faults.retryable(), *agent_faults.not_retryable()}
    for code in AFTER_ERROR:
        assert f"agent:error={code}" in tried
    for close in AFTER_CLOSE:
        name = {None: "drop", 1005: "close", 1006: "drop"}.get(close, f"close={close}")
        assert f"agent:{name}" in tried
    cases = list(agent_faults.lost_agents(500))
    assert {case.phase for case in cases} == {"dialling", *agent_faults.PHASES}
    for fault in agent_faults.retryable():
        phases = {case.phase for case in cases if case.fault == fault}
        assert phases == set(agent_faults.PHASES), fault
    muted = {case.phase for case in cases if case.fault == agent_faults.MUTE}
    assert muted == set(agent_faults.MUTED)


def test_exchanges_fall_due_in_every_state_and_at_the_sessions_own_end() -> None:
    cases = list(agent_faults.rolled_over(4))
    assert {case.phase for case in cases} == {*agent_faults.DUE, "a session's end"}
    functions = {
        case.asked for case in agent_faults.rolled_over(100) if case.phase == "in a function"
    }
    assert functions == {1, 2}, "the one that can be taken back, and the other"


def test_the_short_form_has_a_call_for_each_way_to_misbehave() -> None:
    short = [case.fault for case in agent_faults.misbehaving(short=True)]
    words = ("stall", "dribble", "flood", "garbage", "unknown")
    assert [fault.split(":")[1].split("=")[0] for fault in sorted(short)] == sorted(words)
    assert set(short) < {case.fault for case in agent_faults.misbehaving(short=False)}


@pytest.mark.long
@pytest.mark.limit(900)  # what fails while this machine is late runs again, alone
async def test_the_agents_rows_hold_in_their_short_form(tmp_path: Path) -> None:
    in_phase = agent_faults.in_phase
    lost = [
        agent_faults.Case("agent:status=503", "dialling"),
        in_phase("agent:error=SERVER_GOING_AWAY", "answer arriving"),
        in_phase("agent:close=1011", "in an irreversible function"),
    ]
    hopeless = list(agent_faults.hopeless_agents(1))
    rolled = list(agent_faults.rolled_over(3))[2:]
    # Each kind by itself is the row's short form.
    kinds = (
        "agent:unknown=20 agent:garbage=10 agent:flood=600 stream:stall=3",
        "agent:dribble=400",
    )
    bad = [agent_faults.Case(kind, agent_faults.MISBEHAVES) for kind in kinds]
    migrated.put(tmp_path / "offhook.db")

    def slow(outcome: Outcome) -> bool:
        return verdicts.fallback_s(outcome) is None

    async with kept_in(tmp_path, None) as records, asyncio.TaskGroup() as group:
        resumed = group.create_task(place_all(lost, 3, verdicts.misses, records))
        refused = group.create_task(place_all(hopeless, 1, slow))
        exchanged = group.create_task(place_all(rolled, 1, verdicts.noticed, records))
        misbehaved = group.create_task(place_all(bad, 2))
    for outcome in resumed.result().outcomes:
        assert verdicts.problems_of(outcome) == [], str(outcome.case)
        assert verdicts.second_greetings(outcome) == 0
        assert verdicts.lost_lines(outcome) == []
    for outcome in refused.result().outcomes:
        assert verdicts.fallback_s(outcome) is not None, str(outcome.case)
        assert len(outcome.happened) == 1, "it was not tried again"
    for outcome in exchanged.result().outcomes:
        assert verdicts.noticed(outcome) == []
        assert verdicts.doing_when_due(outcome) == ["in a function"]
        assert verdicts.lost_lines(outcome) == []
    for outcome in misbehaved.result().outcomes:
        assert reliability.misbehaved_badly(outcome) == []
        assert outcome.peaks.to_twilio <= reliability.TO_TWILIO
        assert outcome.peaks.to_deepgram <= reliability.TO_DEEPGRAM


def test_each_row_has_one_place_in_the_table() -> None:
    assert len(reliability.ROWS) == 15
    assert len(set(reliability.TABLE.cases)) == len(reliability.TABLE.cases)


def test_the_page_has_no_line_but_of_these_rows() -> None:
    page = PAGE.read_text("utf-8")
    assert reliability.TABLE.merged(page, []) == page
