"""offhook calls: the list, its filters and totals."""

import json
from pathlib import Path

import pytest
from tests.cli.in_process import offhook
from tests.records.filling import BEGAN_MS, CALLED, CALLER, Filler, began, ended, sid_of

from offhook.events.types import Event
from offhook.records import database


def test_without_a_further_word_it_lists(folder: Path) -> None:
    ended = offhook(folder, "calls")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[1].strip() == "2026-10-26"
    rows = [line for line in ended.stdout.splitlines() if "  07:33:2" in line]
    assert [row.split()[0] for row in rows] == [sid_of(n)[-8:] for n in (3, 2, 1)]
    assert "07:33:22" in rows[1]
    assert CALLER in rows[1]
    assert "agent_lost" in rows[1]
    assert "3 calls, 1 live" in ended.stdout
    assert "agent_lost 1" in ended.stdout


@pytest.mark.parametrize("columns", ["60", "80", "200"])
def test_what_a_call_is_shown_by_is_whole_at_any_width(folder: Path, columns: str) -> None:
    listed = offhook(folder, "calls", COLUMNS=columns).stdout
    (end,) = {word for word in listed.split() if sid_of(2).endswith(word) and len(word) > 3}
    shown = offhook(folder, "calls", "show", end)
    assert shown.returncode == 0, shown.stderr
    assert "agent_lost" in shown.stdout


def test_at_80_columns_nothing_is_cut_off(folder: Path) -> None:
    listed = offhook(folder, "calls", COLUMNS="80", TZ="Asia/Kolkata").stdout
    assert "…" not in listed
    head, day, _, row, _, *_ = listed.splitlines()
    assert head.split() == ["SID", "began", "length", "agent", "with", "ended"]
    assert day.strip() == "2026-10-26"
    # Local time: half past five hours ahead of UTC.
    began = f"{sid_of(2)[-8:]}    13:03:22    0:04  desk   from {CALLER}  agent_lost"
    assert row.rstrip() == began
    assert max(map(len, listed.splitlines()[:5])) <= 80


def test_long_names_take_more_lines(folder: Path) -> None:
    data = folder / "offhook-data"
    engine = database.open_engine(database.url_of(f"sqlite:///{data}/offhook.db"))
    agent = "the-front-desk-of-the-other-house"
    slug = "caller_leg_protocol_violation"
    happened: list[tuple[int, Event]] = [
        (0, began(agent=agent, direction="outbound")),
        (9, ended(9, slug, "caller")),
    ]
    Filler(engine).call(sid_of(4), happened, BEGAN_MS + 86_400_000)
    engine.dispose()
    listed = offhook(folder, "calls", COLUMNS="80").stdout
    assert "…" not in listed
    lines = listed.splitlines()
    assert [line.strip() for line in lines if line.startswith("2026")] == [
        "2026-10-27",
        "2026-10-26",
    ]
    cells = [(line[30:43].strip(), line[63:].strip()) for line in lines[2:6]]
    assert agent in "".join(cell[0] for cell in cells)
    assert slug in "".join(cell[1] for cell in cells)
    assert f"to {CALLED}" in listed


def test_filters_stand_without_the_word_too(folder: Path) -> None:
    with_, without = (
        offhook(folder, "calls", *word, "--fault", "agent", "--json") for word in (["list"], [])
    )
    assert with_.stdout == without.stdout
    answer = json.loads(with_.stdout)
    assert [call["sid"] for call in answer["calls"]] == [sid_of(2)]
    assert answer["totals"]["calls"] == 1
    assert answer["currency"] == "USD"
    assert answer["next_cursor"] is None


def test_pages(folder: Path) -> None:
    sids: list[str] = []
    after: list[str] = []
    cursor: str | None = "the first"
    while cursor is not None:
        answer = json.loads(offhook(folder, "calls", "--limit", "1", "--json", *after).stdout)
        sids += [call["sid"] for call in answer["calls"]]
        cursor = answer["next_cursor"]
        after = ["--after", str(cursor)]
        assert answer["totals"]["calls"] == 3
    assert sids == [sid_of(n) for n in (3, 2, 1)]


def test_sums(folder: Path) -> None:
    answer = json.loads(offhook(folder, "calls", "--by", "agent", "--json").stdout)
    assert [(one["key"], one["totals"]["calls"]) for one in answer["sums"]] == [
        ("desk", 2),
        ("sales", 1),
    ]
    shown = offhook(folder, "calls", "--by", "day", "--over").stdout
    assert shown.startswith("2026-10-26: 2 calls · ")


def test_no_escape_sequence_of_a_call_reaches_the_terminal(folder: Path) -> None:
    for words in (["calls"], ["calls", "show", sid_of(2)], ["calls", "--by", "agent"]):
        assert "\x1b" not in offhook(folder, *words, FORCE_COLOR="").stdout.replace("\x1b[0m", "")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--number", "2025550142"], "E-ASK-01"),
        (["--fault", "him"], "E-ASK-01"),
        (["--slug", "caller_hung_off"], "E-ASK-01"),
        (["--since", "yesterday"], "E-ASK-03"),
        (["--after", "x"], "E-ASK-02"),
    ],
)
def test_bad_filters_are_said(folder: Path, arguments: list[str], code: str) -> None:
    ended = offhook(folder, "calls", *arguments)
    assert ended.returncode == 1
    assert ended.stderr.startswith(code)
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("arguments", [["--by", "month"], ["--limit", "0"], ["--live", "--ov"]])
def test_wrong_use(folder: Path, arguments: list[str]) -> None:
    assert offhook(folder, "calls", *arguments).returncode == 2


def test_no_record_is_said_and_none_is_made(tmp_path: Path) -> None:
    ended = offhook(tmp_path, "calls")
    assert ended.returncode == 1
    assert ended.stderr.startswith("E-ASK-06")
    assert list(tmp_path.iterdir()) == []
