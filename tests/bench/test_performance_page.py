"""The page of performance: each bar of its tables, and what stands behind it."""

import re
from pathlib import Path

import pytest
from tests.bench.samples import REPORT
from tests.test_docs import sections

from bench import kill_tests, reliability, rows, write_table
from offhook.bench import report as reports
from offhook.bench.bars import Bar, Measurements, bars
from offhook.bench.capacity_search import Ceiling
from offhook.bench.suite import BenchPlan, BenchReport

PAGE = Path(__file__).parents[2] / "docs/performance.md"


def words(text: str) -> set[str]:
    return set(re.findall(r"[\w÷-]+", text.lower()))


def lines_behind() -> list[set[str]]:
    """The words of each name in bold of the section that says what stands behind the figures."""
    text = sections(PAGE, 2)["What stands behind the figures"]
    names = [re.findall(r"\*\*(.+?)\*\*", line) for line in text.split("\n- ")[1:]]
    return [words(name) for found in names for name in found]


def explained(row: str) -> bool:
    return any(name <= words(row) for name in lines_behind())


def every_bar() -> list[str]:
    plan = BenchPlan()
    of_bench = [bar.what for bar in bars(Measurements(), plan.calls, plan.many)]
    return [*of_bench, *(bar.what for bar in rows.bars({})), *kill_tests.FAULTS]


@pytest.mark.parametrize("row", every_bar())
def test_every_bar_has_a_line_that_says_what_stands_behind_it(row: str) -> None:
    assert explained(row)


def test_a_row_of_another_name_would_have_none() -> None:
    assert not explained("memory of the supervisor, MB")
    assert not explained("added delay at full load, ms")


def test_every_miss_of_the_page_has_such_a_line() -> None:
    lines = PAGE.read_text("utf-8").splitlines()
    missed = [line for line in lines if line.startswith("| ") and re.search("not met|missed", line)]
    assert [line for line in missed if not explained(line.split(" | ")[0])] == []


def test_the_kill_tests_are_rows_of_the_table_of_reliability() -> None:
    for fault in kill_tests.FAULTS:
        assert any(case.startswith(fault) for case in reliability.TABLE.cases), fault


def shown(*rows: str, fleet: str = "") -> list[str]:
    """The kill tests of a page of performance, when reliability has these rows in its tables."""
    page = f"{kill_tests.BEGIN}\n{kill_tests.END}\n"
    table = reliability.TABLE
    text = "\n".join(["Before", table.begin, *rows, table.end, fleet])
    lines = kill_tests.shown(page, text, table).splitlines()
    return [line for line in lines if line.startswith("| ")][2:]


def test_a_kill_test_without_a_row_is_not_measured_on_any_database() -> None:
    row = "| database away for 10 minutes, postgresql | none lost | 3 lost | **missed** | long |"
    killed = "| SIGKILL of the operator process under calls, 100 times, sqlite | | 0 | met | long |"
    lines = shown(row, killed)
    assert row in lines
    assert killed in lines
    other = killed.split(" | ")[0].replace("sqlite", "postgresql")
    assert f"{other} | | - | not measured | |" in lines
    assert sum("not measured" in line for line in lines) == len(lines) - 2


def test_rows_of_fleets_that_begin_alike_are_no_kill_tests_of_one_server() -> None:
    fleet = "| database away for 10 minutes, and during claims | none twice | 0 | met | short |"
    lines = shown(fleet=fleet)
    assert fleet not in lines
    assert "| database away for 10 minutes, postgresql | | - | not measured | |" in lines


def test_a_journal_lines_cost_is_told_beside_its_bar() -> None:
    found = {"sqlite": rows.Cost(71.25, None), "postgresql": rows.Cost(62.0, 56.4)}
    cells = [reports.bar_cells(bar) for bar in rows.bars(found)]
    assert cells == [
        ["CPU of a journal line, SQLite, µs", "71.20", "≤ 60", "", "not met"],
        [
            "CPU of a journal line, PostgreSQL, µs",
            "62",
            "≤ 100",
            "",
            "met; 56 more in its server",
        ],
    ]
    assert [bar.met for bar in rows.bars({})] == [None, None]


def written(monkeypatch: pytest.MonkeyPatch, folder: Path, report: BenchReport) -> str:
    """README after a run with this report."""
    for name in ("PAGE", "README"):
        page = folder / name
        page.write_text(f"{reports.BEGIN}\nold\n{reports.END}\n")
        monkeypatch.setattr(write_table, name, page)
    write_table.write_pages(report)
    assert "old" not in (folder / "PAGE").read_text()
    return (folder / "README").read_text()


def test_readme_quotes_no_run_that_other_programs_disturbed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "one core carries" in written(monkeypatch, tmp_path, REPORT)
    disturbed = {"offhook": Ceiling(612, True), "tutorial": Ceiling(40, True, disturbed=True)}
    report = BenchReport(
        REPORT.machine,
        REPORT.plan,
        REPORT.levels,
        REPORT.at_start,
        REPORT.runs,
        disturbed,
        [Bar(what="delay", value=2.5, most=2)],
        [],
    )
    assert "old" in written(monkeypatch, tmp_path, report)
