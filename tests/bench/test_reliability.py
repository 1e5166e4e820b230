"""The table of reliability: its rows, short, and that no fault is left out."""

import asyncio

import pytest
from bench.agent_faults import Outcome, place_all
from bench.measured_table import PAGE

from bench import agent_faults, reliability
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


@pytest.mark.long
@pytest.mark.limit(900)  # what fails while this machine is late runs again, alone
async def test_the_agents_rows_hold_in_their_short_form() -> None:
    lost = list(agent_faults.lost_agents(3))
    lost.append(agent_faults.Case("agent:status=503", "dialling"))
    hopeless = list(agent_faults.hopeless_agents(2))
    rolled = list(agent_faults.rolled_over(1))

    def slow(outcome: Outcome) -> bool:
        return outcome.fallback_s is None

    async with asyncio.TaskGroup() as group:
        resumed = group.create_task(place_all(lost, 4, agent_faults.misses))
        refused = group.create_task(place_all(hopeless, 2, slow))
        exchanged = group.create_task(place_all(rolled, 1, agent_faults.noticed))
        flood = group.create_task(place_all(list(agent_faults.misbehaving(short=True))[:1], 1))
    for outcome in resumed.result():
        assert agent_faults.problems_of(outcome) == [], str(outcome.case)
        assert agent_faults.second_greetings(outcome) == 0
        assert agent_faults.lost_lines(outcome) == []
    for outcome in refused.result():
        assert outcome.fallback_s is not None, str(outcome.case)
        assert len(outcome.happened) == 1, "it was not tried again"
    for outcome in exchanged.result():
        assert agent_faults.noticed(outcome) == []
        assert agent_faults.roll_overs(outcome) > 0
        assert agent_faults.lost_lines(outcome) == []
    for outcome in flood.result():
        assert outcome.peaks.to_twilio <= reliability.TO_TWILIO
        assert outcome.peaks.to_deepgram <= reliability.TO_DEEPGRAM


def test_each_row_has_one_place_in_the_table() -> None:
    assert len(reliability.ROWS) == 14
    assert len(set(reliability.TABLE.cases)) == len(reliability.TABLE.cases)


def test_the_page_has_no_line_but_of_these_rows() -> None:
    page = PAGE.read_text("utf-8")
    assert reliability.TABLE.merged(page, []) == page
