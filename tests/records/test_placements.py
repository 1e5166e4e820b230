"""The ledger of placed calls, on both databases."""

from dataclasses import replace

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


def test_keys_are_forgotten_after_a_time(engine: Engine) -> None:
    late = replace(ONE, key="other", id="id-2", made_ms=ONE.made_ms + placements.KEPT_MS + 1)
    with engine.begin() as connection:
        placements.claim(connection, ONE)
        placements.claim(connection, late)
        left = connection.scalars(select(tables.placements.c.key)).all()
    assert left == ["other"]


def test_another_call_has_another_fingerprint() -> None:
    same = fingerprint("+12025550142", "desk", {"a": "1", "b": "2"})
    assert same == fingerprint("+12025550142", "desk", {"b": "2", "a": "1"})
    assert same != fingerprint("+12025550142", "desk", {"a": "1"})
    assert same != fingerprint("+12025550143", "desk", {"a": "1", "b": "2"})
