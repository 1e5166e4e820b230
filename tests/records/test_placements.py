"""The ledger of placed calls, on both databases."""

from dataclasses import replace

import pytest
from sqlalchemy import Engine, select

from offhook.outbound.ledger import Placement, fingerprint
from offhook.records import placements, tables

ONE = Placement("key", "id-1", fingerprint("+12025550142", "desk", {"a": "b"}), 1_000_000)


def test_a_key_is_taken_once(engine: Engine) -> None:
    with engine.begin() as connection:
        assert placements.claim(connection, ONE) is None
    with engine.begin() as connection:
        assert placements.claim(connection, replace(ONE, id="id-2")) == ONE


def test_a_call_gets_its_name_once(engine: Engine) -> None:
    with engine.begin() as connection:
        placements.claim(connection, ONE)
        placements.name(connection, "id-1", "CA1")
        placements.name(connection, "id-1", "CA2")
        placements.name(connection, "no such id", "CA3")
        assert placements.claim(connection, ONE) == replace(ONE, sid="CA1")
        assert placements.named(connection, ["CA1", "CA2"]) == {"CA1"}
        assert placements.named(connection, []) == frozenset()
        placements.release(connection, ONE)  # it has become a call
        assert placements.claim(connection, ONE) is not None


def test_what_became_no_call_leaves_the_key_free(engine: Engine) -> None:
    with engine.begin() as connection:
        placements.claim(connection, ONE)
        placements.release(connection, ONE)
        assert placements.claim(connection, replace(ONE, id="id-2")) is None


def test_an_attempt_is_begun_anew_by_one_alone(engine: Engine) -> None:
    second, third = replace(ONE, id="id-2", made_ms=2_000_000), replace(ONE, id="id-3")
    with engine.begin() as connection:
        placements.claim(connection, ONE)
        assert placements.retake(connection, ONE, second)
        assert not placements.retake(connection, ONE, third)
        placements.name(connection, "id-2", "CA1")
        assert not placements.retake(connection, second, third)
        assert placements.claim(connection, ONE) == replace(second, sid="CA1")


DAY_MS = 24 * 3600 * 1000


def ask(engine: Engine, key: str, made_ms: int) -> bool:
    """Ask for a call. Returns whether the key was free."""
    with engine.begin() as connection:
        asked = replace(ONE, key=key, id=f"id of {key}", made_ms=made_ms)
        return placements.claim(connection, asked) is None


def test_keys_are_forgotten_after_90_days_with_calls(engine: Engine) -> None:
    for day in range(95):
        assert ask(engine, f"day {day}", DAY_MS * (20_000 + day) + 7)
    with engine.begin() as connection:
        left = set(connection.scalars(select(tables.placements.c.key)))
    assert left == {f"day {day}" for day in range(4, 95)}


NOW_MS = DAY_MS * 20_000 + 5_000_000
YEARS_MS = 3650 * DAY_MS


@pytest.mark.parametrize("jump_ms", [YEARS_MS, -YEARS_MS, -NOW_MS])
def test_a_clock_that_jumps_forgets_no_key(engine: Engine, jump_ms: int) -> None:
    for day in range(100):  # a history that is longer than keys are kept
        assert ask(engine, f"before {day}", NOW_MS + (day - 100) * DAY_MS)
    assert ask(engine, "mine", NOW_MS)
    assert ask(engine, "jumped", NOW_MS + jump_ms)
    assert ask(engine, "jumped again", NOW_MS + jump_ms + 60_000)
    assert not ask(engine, "mine", NOW_MS + jump_ms + 120_000)
    assert ask(engine, "back", NOW_MS + 180_000)
    for key in ("mine", "jumped", "jumped again", "back", "before 99"):
        assert not ask(engine, key, NOW_MS + 240_000), key
    for minute in range(20):  # back and forth
        assert ask(engine, f"flap {minute}", NOW_MS + jump_ms * (minute % 2) + minute * 60_000)
    for key in ("mine", "jumped", "jumped again", "back"):
        assert not ask(engine, key, NOW_MS + jump_ms), key
        assert not ask(engine, key, NOW_MS), key


def test_a_placement_that_is_begun_anew_is_as_young_as_its_last_attempt(engine: Engine) -> None:
    assert ask(engine, "mine", NOW_MS)
    for day in range(1, 80):
        assert ask(engine, f"day {day}", NOW_MS + day * DAY_MS)
    with engine.begin() as connection:
        old = replace(ONE, key="mine", id="id of mine", made_ms=NOW_MS)
        new = replace(old, id="new", made_ms=NOW_MS + 80 * DAY_MS)
        assert placements.retake(connection, old, new)
    for day in range(81, 160):
        assert ask(engine, f"day {day}", NOW_MS + day * DAY_MS)
    assert not ask(engine, "mine", NOW_MS + 160 * DAY_MS)


def test_another_call_has_another_fingerprint() -> None:
    same = fingerprint("+12025550142", "desk", {"a": "1", "b": "2"})
    assert same == fingerprint("+12025550142", "desk", {"b": "2", "a": "1"})
    assert same != fingerprint("+12025550142", "desk", {"a": "1"})
    assert same != fingerprint("+12025550143", "desk", {"a": "1", "b": "2"})
