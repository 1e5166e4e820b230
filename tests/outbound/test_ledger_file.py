"""The rows of the ledger, in real files: which keys are taken, and for how long."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from offhook.clock import MachineClocks
from offhook.outbound import ledger_file
from offhook.outbound.errors import TryLaterError
from offhook.outbound.ledger import fingerprint
from offhook.outbound.ledger_file import LedgerFile, Placement
from offhook.policy.inbound_policy import DAY_S, CallUse

ADA, BOB = "+12025550142", "+12025550143"
ONE = Placement("key", "id-1", fingerprint(ADA, "desk", {"a": "b"}), 1_000_000)
DAY_MS = 24 * 3600 * 1000


@pytest.fixture
def ledger(tmp_path: Path) -> LedgerFile:
    made = LedgerFile(tmp_path / "ledger.db")
    made.fill([], [])
    return made


def test_a_key_is_taken_once(ledger: LedgerFile, tmp_path: Path) -> None:
    assert ledger.claim(ONE) is None
    assert ledger.claim(replace(ONE, id="id-2")) == ONE
    assert LedgerFile(tmp_path / "ledger.db").claim(replace(ONE, id="id-3")) == ONE


def test_a_new_ledger_lets_nobody_be_called_until_it_has_the_databases_rows(
    tmp_path: Path,
) -> None:
    ledger = LedgerFile(tmp_path / "ledger.db")
    with pytest.raises(TryLaterError, match="E-OUT-25"):
        ledger.claim(ONE)
    ledger.fill([(replace(ONE, sid="CA1"), 7)], [ADA])
    assert ledger.claim(ONE) == replace(ONE, sid="CA1")
    assert ledger.is_barred(ADA)


def test_a_call_gets_its_name_once(ledger: LedgerFile) -> None:
    ledger.claim(ONE)
    ledger.name("id-1", "CA1")
    ledger.name("id-1", "CA2")
    ledger.name("no such id", "CA3")
    assert ledger.claim(ONE) == replace(ONE, sid="CA1")
    assert ledger.named(["CA1", "CA2"]) == {"CA1"}
    assert ledger.named([]) == frozenset()
    ledger.release(ONE)  # it has become a call
    assert ledger.claim(ONE) is not None


def test_what_became_no_call_leaves_the_key_free(ledger: LedgerFile) -> None:
    ledger.claim(ONE)
    ledger.release(ONE)
    assert ledger.claim(replace(ONE, id="id-2")) is None


def test_an_attempt_is_begun_anew_by_one_alone(ledger: LedgerFile) -> None:
    second, third = replace(ONE, id="id-2", made_ms=2_000_000), replace(ONE, id="id-3")
    ledger.claim(ONE)
    assert ledger.retake(ONE, second)
    assert not ledger.retake(ONE, third)
    ledger.name("id-2", "CA1")
    assert not ledger.retake(second, third)
    assert ledger.claim(ONE) == replace(second, sid="CA1")


def ask(ledger: LedgerFile, key: str, made_ms: int) -> bool:
    """Ask for a call. Returns whether the key was free."""
    asked = replace(ONE, key=key, id=f"id of {key}", made_ms=made_ms)
    return ledger.claim(asked) is None


def test_keys_are_forgotten_after_90_days_with_calls(ledger: LedgerFile) -> None:
    for day in range(95):
        assert ask(ledger, f"day {day}", DAY_MS * (20_000 + day) + 7)
    now_ms = DAY_MS * (20_000 + 94) + 7
    kept = [day for day in range(95) if not ask(ledger, f"day {day}", now_ms)]
    assert kept == list(range(4, 95))


NOW_MS = DAY_MS * 20_000 + 5_000_000
YEARS_MS = 3650 * DAY_MS


@pytest.mark.parametrize("jump_ms", [YEARS_MS, -YEARS_MS, -NOW_MS])
def test_a_clock_that_jumps_forgets_no_key(ledger: LedgerFile, jump_ms: int) -> None:
    for day in range(100):  # a history that is longer than keys are kept
        assert ask(ledger, f"before {day}", NOW_MS + (day - 100) * DAY_MS)
    assert ask(ledger, "mine", NOW_MS)
    assert ask(ledger, "jumped", NOW_MS + jump_ms)
    assert ask(ledger, "jumped again", NOW_MS + jump_ms + 60_000)
    assert not ask(ledger, "mine", NOW_MS + jump_ms + 120_000)
    assert ask(ledger, "back", NOW_MS + 180_000)
    for key in ("mine", "jumped", "jumped again", "back", "before 99"):
        assert not ask(ledger, key, NOW_MS + 240_000), key
    for minute in range(20):  # back and forth
        assert ask(ledger, f"flap {minute}", NOW_MS + jump_ms * (minute % 2) + minute * 60_000)
    for key in ("mine", "jumped", "jumped again", "back"):
        assert not ask(ledger, key, NOW_MS + jump_ms), key
        assert not ask(ledger, key, NOW_MS), key


def test_a_placement_that_is_begun_anew_is_as_young_as_its_last_attempt(
    ledger: LedgerFile,
) -> None:
    assert ask(ledger, "mine", NOW_MS)
    for day in range(1, 80):
        assert ask(ledger, f"day {day}", NOW_MS + day * DAY_MS)
    old = replace(ONE, key="mine", id="id of mine", made_ms=NOW_MS)
    new = replace(old, id="new", made_ms=NOW_MS + 80 * DAY_MS)
    assert ledger.retake(old, new)
    for day in range(81, 160):
        assert ask(ledger, f"day {day}", NOW_MS + day * DAY_MS)
    assert not ask(ledger, "mine", NOW_MS + 160 * DAY_MS)


def test_another_call_has_another_fingerprint() -> None:
    same = fingerprint(ADA, "desk", {"a": "1", "b": "2"})
    assert same == fingerprint(ADA, "desk", {"b": "2", "a": "1"})
    assert same != fingerprint(ADA, "desk", {"a": "1"})
    assert same != fingerprint(BOB, "desk", {"a": "1", "b": "2"})


def test_a_number_is_barred_until_it_is_no_longer(ledger: LedgerFile) -> None:
    assert not ledger.is_barred(ADA)
    ledger.bar(ADA)
    ledger.bar(ADA)
    assert ledger.is_barred(ADA)
    assert not ledger.is_barred(ADA[:-1])
    ledger.unbar(ADA)
    ledger.unbar(ADA)
    assert not ledger.is_barred(ADA)


def test_the_latest_admitted_calls_are_known_and_the_file_does_not_grow(
    ledger: LedgerFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_file, "SEEN_MAX", 100)
    for first in range(0, 1000, 50):
        ledger.saw(range(first, first + 50))
    assert ledger.recent() == list(range(900, 1000))
    ledger.saw([-(2**63), 2**63 - 1])
    assert ledger.recent()[-2:] == [-(2**63), 2**63 - 1]


class Machine:
    """The clocks of a machine that a test sets."""

    def __init__(self) -> None:
        self.monotonic, self.wall, self.boot = 5000.0, 2_000_000_000.0, "0123abcd"

    def ledger(self, tmp_path: Path) -> LedgerFile:
        clocks = MachineClocks(lambda: self.monotonic, lambda: self.wall, self.boot)
        return LedgerFile(tmp_path / "ledger.db", clocks)

    def runs(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall += seconds

    def restarts(self) -> None:
        self.monotonic, self.boot = 10.0, f"{int(self.boot, 16) + 1:08x}"


def use(call: str, at: float, ms: int = 60_000) -> CallUse:
    return CallUse(call, "a caller", at, "standard", ms)


def test_what_calls_have_used_is_known_for_a_day(tmp_path: Path) -> None:
    machine = Machine()
    one = machine.ledger(tmp_path)
    one.used([use("first", 4000), use("second", 4990, 1000)])
    one.used([use("second", 4990, 3000)])
    one.used([use("second", 4990, 2000)])  # written late: what was used is not used less
    assert machine.ledger(tmp_path).calls_of_the_day() == [
        use("first", 4000),
        use("second", 4990, 3000),
    ]
    machine.runs(DAY_S - 1001)
    assert len(machine.ledger(tmp_path).calls_of_the_day()) == 2
    machine.runs(1)
    assert [found.call for found in machine.ledger(tmp_path).calls_of_the_day()] == ["second"]
    machine.runs(DAY_S)
    assert machine.ledger(tmp_path).calls_of_the_day() == []


@pytest.mark.parametrize("hours", [-9000, -1, 1, 9000])
def test_a_wall_clock_that_is_set_neither_lifts_nor_lengthens_a_days_limit(
    tmp_path: Path, hours: int
) -> None:
    machine = Machine()
    machine.ledger(tmp_path).used([use("call", machine.monotonic)])
    machine.wall += hours * 3600
    machine.runs(DAY_S - 1)
    assert machine.ledger(tmp_path).calls_of_the_day() == [use("call", 5000)]
    machine.runs(1)
    assert machine.ledger(tmp_path).calls_of_the_day() == []


def test_after_a_restart_of_the_machine_the_wall_clock_tells_the_age(tmp_path: Path) -> None:
    machine = Machine()
    machine.ledger(tmp_path).used([use("call", machine.monotonic)])
    machine.wall += 3600
    machine.restarts()
    (found,) = machine.ledger(tmp_path).calls_of_the_day()
    assert found.at == machine.monotonic - 3600
    machine.runs(DAY_S - 3600)
    assert machine.ledger(tmp_path).calls_of_the_day() == []


def test_a_call_of_the_future_counts_as_made_now_and_ages_from_there(tmp_path: Path) -> None:
    machine = Machine()
    machine.ledger(tmp_path).used([use("call", machine.monotonic)])
    machine.wall -= 90 * DAY_S
    machine.restarts()
    (found,) = machine.ledger(tmp_path).calls_of_the_day()
    assert found.at == machine.monotonic
    machine.restarts()
    machine.wall += DAY_S
    assert machine.ledger(tmp_path).calls_of_the_day() == []


def test_an_older_ledger_gets_the_table_of_used_minutes(tmp_path: Path, ledger: LedgerFile) -> None:
    ledger.bar(ADA)
    ledger.close()
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("DROP TABLE used")
    newer = Machine().ledger(tmp_path)
    newer.used([use("call", 5000)])
    assert newer.is_barred(ADA)
    assert len(newer.calls_of_the_day()) == 1
