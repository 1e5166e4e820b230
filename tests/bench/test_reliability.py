"""The table of reliability: its rows, short, and that no fault is left out."""

import asyncio
from pathlib import Path

import pytest
from bench.agent_faults import Outcome, place_all

from bench import agent_faults, reliability
from offhook.bench.report import rewrite
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


async def test_a_row_whose_command_is_not_there_is_not_measured() -> None:
    row = await reliability.command(["-m", "bench.nowhere"], [], "", False, "sqlite")
    assert row == reliability.NOT_MEASURED
    lacks = ["-m", "bench.races", "--database", "sqlite"]
    assert await reliability.command(lacks, [], "", False, "sqlite") == reliability.NOT_MEASURED


async def test_a_command_tells_by_a_line_of_its_own_and_its_exit_code(tmp_path: Path) -> None:
    file = tmp_path / "measure.py"
    file.write_text("import sys; print('7 of 7 back'); print('done'); sys.exit(int(sys.argv[1]))")
    good = await reliability.command([str(file), "0"], [], "back", False, "sqlite")
    assert good == reliability.Figure("7 of 7 back", True)
    wrong = await reliability.command([str(file), "1"], [], "", False, "sqlite")
    assert wrong == reliability.Figure("done", False)


def test_the_table_has_a_place_on_its_page() -> None:
    page = reliability.PAGE.read_text("utf-8")
    table = [["a fault", "a bar", "1 of 1", "met"]]
    text = reliability.markdown(table, short=True)
    written = rewrite(page, text, begin=reliability.BEGIN, end=reliability.END)
    assert "| a fault | a bar | 1 of 1 | met |" in written
    assert len(reliability.ROWS) == 11
