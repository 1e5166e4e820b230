import secrets
import sys

from offhook.calls.replay_cache import KEPT_MAX, KEPT_S, ReplayCache


def sid() -> str:
    return "CA" + secrets.token_hex(16)


def test_what_was_added_was_seen_and_nothing_else() -> None:
    seen = ReplayCache(0)
    sids = [sid() for _ in range(2000)]
    for number, each in enumerate(sids):
        assert each not in seen
        seen.add(each, number)
    assert all(each in seen for each in sids)
    assert not any(sid() in seen for _ in range(2000))


def test_a_sid_is_known_for_a_day_at_least_and_for_two_at_most() -> None:
    seen = ReplayCache(0)
    seen.add("CA1", KEPT_S - 1)
    seen.add("CA2", KEPT_S)
    seen.add("CA3", 2 * KEPT_S - 2)
    assert "CA1" in seen
    seen.add("CA4", 2 * KEPT_S)
    assert "CA1" not in seen
    assert "CA2" in seen
    assert "CA3" in seen


def test_memory_is_bounded_and_the_latest_are_known() -> None:
    seen = ReplayCache(0)
    sids = [sid() for _ in range(KEPT_MAX * 2)]
    for each in sids:
        seen.add(each, 1)
    assert all(each in seen for each in sids[-KEPT_MAX // 2 :])
    assert sum(each in seen for each in sids) <= KEPT_MAX
    assert sum(map(sys.getsizeof, vars(seen).values())) < 12 * KEPT_MAX
