"""Tables of what was tried: how rows are merged, and what a command's words come to."""

from pathlib import Path

from bench.measured_table import (
    MISSED,
    NOT_MEASURED,
    Figure,
    MeasuredTable,
    attempted,
    cells,
    command,
)

TABLE = MeasuredTable("case", ["first", "second", "third"], "<!-- begin -->", "<!-- end -->")
PAGE = "Before\n<!-- begin -->\n<!-- end -->\nAfter\n"


def test_rows_that_were_not_tried_stay_as_they_are() -> None:
    met = [["second", "b", "2", "met", "long, then"], ["first", "a", "1", "met", "long, then"]]
    once = TABLE.merged(PAGE, met)
    assert "| first | a | 1 | met | long, then |\n| second | b | 2 | met | long, then |\n" in once
    twice = TABLE.merged(once, [["second", "b", "3", MISSED, "short, now"]])
    assert "| first | a | 1 | met | long, then |\n| second | b | 3 | **missed** | short" in twice
    assert "| second | b | 2 |" not in twice
    assert twice.startswith("Before\n")
    assert twice.endswith("After\n")


def test_a_row_that_was_not_measured_replaces_none() -> None:
    once = TABLE.merged(PAGE, [["first", "a", "1", "met", "long, then"]])
    left = cells("first", "a", NOT_MEASURED, "long, now")
    assert TABLE.merged(once, [left]) == once


def test_a_row_that_is_no_more_goes() -> None:
    once = TABLE.merged(PAGE, [["first", "a", "1", "met", "long, then"]])
    shorter = MeasuredTable("case", ["second"], TABLE.begin, TABLE.end)
    assert "first" not in shorter.merged(once, [])


def test_a_bar_that_was_not_judged_is_not_met() -> None:
    assert Figure("7.7 ms", True, "delays (--untimed)").verdict == "not judged: delays (--untimed)"
    assert Figure("7.7 ms", False, "delays").verdict == MISSED
    assert Figure("7.7 ms", True).verdict == "met"


async def test_a_command_tells_by_its_lines_and_its_exit_code(tmp_path: Path) -> None:
    file = tmp_path / "measure.py"
    file.write_text(
        "import sys\n"
        "print('in short: 7 of 7 back')\n"
        "print('not judged: delays') if sys.argv[2:] else None\n"
        "print('done')\n"
        "sys.exit(int(sys.argv[1]))\n"
    )
    assert await command([str(file), "0"], "^in short: ") == Figure("7 of 7 back", True)
    assert await command([str(file), "1"], "") == Figure("done", False)
    untimed = await command([str(file), "0", "untimed"], "^in short: ")
    assert untimed == Figure("7 of 7 back", True, "delays")


async def test_a_command_that_is_not_there_is_not_measured() -> None:
    assert await command(["-m", "bench.nowhere"], "") == NOT_MEASURED
    lacks = ["-m", "bench.races", "--database", "sqlite"]
    assert await command(lacks, "") == NOT_MEASURED


async def test_a_row_that_raises_is_missed_and_says_why() -> None:
    async def raises() -> Figure:
        raise ExceptionGroup("several", [ValueError("no | way")])

    found = await attempted(raises(), None)
    assert cells("first", "a", found, "now") == [
        "first",
        "a",
        "it could not be measured: ValueError: no / way",
        MISSED,
        "now",
    ]
