"""The rows of the table of fleets in their short form, one after the other at one fleet.

Only what must never be counts here; how soon something is does in `make soak-fleet`.
"""

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Never

import pytest
from bench.fleet_checks import RowOutcome
from bench.measured_table import MISSED, PAGE, Figure
from sqlalchemy.engine import URL
from tests.fleet.harness import Fleet, fleet
from tests.fleet.places import Loopback
from tests.postgres import Postgres
from tests.waiting import until_it

from bench import fleet as table
from bench import fleet_rows, fleet_tokens

NODES = 3
MOST = 9
"""Sessions of the whole fleet: a share of three for each node."""

TRIED: Final[Sequence[tuple[str, Callable[[Fleet], Awaitable[RowOutcome]]]]] = (
    ("tokens", fleet_tokens.tokens),
    ("commands", fleet_rows.commands),
    ("paused-alone", lambda them: fleet_rows.paused_alone(them, NODES)),
    ("paused", lambda them: fleet_rows.paused(them, NODES)),
    ("away", lambda them: fleet_rows.away(them, MOST, 2.0)),
    ("rolling", lambda them: fleet_rows.rolling(them, NODES, 0.5, hold_s=1, names=["b"])),
    # The last ones leave a node dead each, which costs less than to start it again.
    ("killed", lambda them: fleet_rows.death(them, 2 * NODES, fleet_rows.kill)),
    ("away", lambda them: fleet_rows.away_in_a_claim(them, NODES - 1, 3.0)),
)
"""Short forms, in the order in which they are tried. The clocks of the nodes are minutes apart."""

SHOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "power": (
        "packaging.test_fleet_proxies:test_a_machine_without_power_loses_its_streams_after_5_s",
        "fleet.test_heartbeat:test_a_dead_processs_calls_are_shared_by_the_survivors",
    ),
    "parted": (
        "fleet.test_heartbeat:test_a_lease_that_is_over_fences_nobody",
        "fleet.test_heartbeat:test_without_the_database_it_goes_on_all_the_same",
        "fleet.test_live_lines:test_late_lines_of_a_fenced_process_are_refused",
    ),
    "unlinked": (
        "fleet.test_places:test_a_live_owner_answers_and_a_dead_one_loses_the_call",
        "link.test_link:test_requests_that_wait_for_one_attempt_to_connect_fail_with_it",
    ),
    "lossy": (
        "fleet.test_away:test_a_backend_that_hangs_costs_one_deadline_and_a_new_connection",
        "fleet.test_heartbeat:test_without_the_database_it_goes_on_all_the_same",
    ),
    "claims": (
        "fleet.test_heartbeat:test_of_a_reaper_and_a_claimant_one_has_the_call_each_time",
        "fleet.test_directory:test_of_two_claimants_one_has_the_call_each_time",
        "fleet.test_heartbeat:test_a_dead_processs_calls_are_shared_by_the_survivors",
        "fleet.test_places:test_of_two_that_ask_at_once_one_has_the_call",
    ),
    "clocks": (
        "fleet.test_rows:test_each_row_holds_in_its_short_form",
        "fleet.test_heartbeat:test_clocks_of_nodes_that_are_apart_make_no_difference",
    ),
    "commands": (
        "fleet.test_commands:test_a_node_acts_on_the_calls_of_another",
        "link.test_node_links:test_an_order_that_comes_too_late_is_refused_and_never_run",
    ),
}
"""Tests that show a row, or the rest of one."""


async def is_free(running: Fleet) -> bool:
    """Return whether no session of the nodes' budget is taken."""
    found = await running.rows("select coalesce(sum(taken), 0) as taken from fleet_budgets")
    return bool(found[0]["taken"] == 0)


@pytest.mark.long
@pytest.mark.limit(1200)
async def test_each_row_holds_in_its_short_form(tmp_path: Path, database: URL) -> None:
    wrong: dict[str, list[str]] = {}
    async with fleet(
        tmp_path, database, wall=table.APART_S, max_sessions=MOST, server={"grace_seconds": 3}
    ) as running:
        for name, attempt in TRIED:
            # The sessions of the row before: a node may not have told of their end yet.
            await until_it(partial(is_free, running))
            outcome = await attempt(running)
            if outcome.wrong:
                wrong[name] = [*wrong.get(name, []), *outcome.wrong]
        logs = [f"--- {name}\n{node.log[-3000:]}" for name, node in running.nodes.items()]
    assert not wrong, "\n".join([str(wrong), *logs])


def test_each_row_has_a_short_form_or_tests_that_show_it() -> None:
    assert {name for name, _ in TRIED} | SHOWN.keys() == {row.name for row in table.ROWS}
    for test in {test for tests in SHOWN.values() for test in tests}:
        module, _, function = test.partition(":")
        assert hasattr(importlib.import_module(f"tests.{module}"), function), test


# --- The table ------------------------------------------------------------------------------------


def row(name: str, measure: Callable[[], Awaitable[Figure]], limit_s: float = 60) -> table.FleetRow:
    return table.FleetRow(name, f"case {name}", "bar", lambda trial: measure(), limit_s)


async def test_a_row_that_raises_or_hangs_is_missed_and_the_others_are_tried(
    tmp_path: Path, postgres: Postgres
) -> None:
    async def raises() -> Never:
        raise ExceptionGroup("several", [ValueError("a | in\nits reason")])

    async def hangs() -> Never:
        await asyncio.Event().wait()
        raise AssertionError

    async def is_met() -> Figure:
        return Figure("1 of 1", True)

    rows = (row("1", raises), row("2", hangs, limit_s=0.01), row("3", is_met))
    trial = table.Trial(tmp_path, postgres, Loopback, short=True)
    found = await table.tried(rows, trial, "short, 2026-01-02, 0123abc")
    of = "short, 2026-01-02, 0123abc"
    assert found == [
        ["case 1", "bar", "it could not be measured: ValueError: a / in its reason", MISSED, of],
        ["case 2", "bar", "it was not over after 0.01 s", MISSED, of],
        ["case 3", "bar", "1 of 1", "met", of],
    ]


def test_it_ends_well_if_every_row_was_begun_and_none_is_missed() -> None:
    assert not table.is_well([["case", "a bar", table.NOT_BEGUN.text, "", "later"]])
    assert table.is_well([["case", "a bar", "not measured", "", "loopback"]])
    assert not table.is_well([["case", "a bar", "3", MISSED, "now"]])


def test_the_page_has_each_row() -> None:
    page = PAGE.read_text("utf-8")
    assert table.TABLE.merged(page, []) == page, "an unmeasured row would be missing"
    cases = {line.split(" | ")[0].removeprefix("| ") for line in page.splitlines()}
    assert {row.case for row in table.ROWS} <= cases
