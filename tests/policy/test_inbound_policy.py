"""Which calls are answered, and how much calls may use, on a virtual clock."""

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from offhook.call.ending import Ending, Slug
from offhook.config.prices import cost_of
from offhook.config.records_settings import Prices
from offhook.events.types import AgentConnected, CallerLeft, CallEvent, Event
from offhook.policy import inbound_policy
from offhook.policy.inbound_policy import (
    DAY_S,
    HOUR_S,
    CallUse,
    InboundPolicy,
    InboundRefusal,
    InboundRules,
    UseLimit,
    tag_of,
)
from offhook.testing.virtual_clock import VirtualClock
from offhook.twilio.callers import WITHHELD, verdict_of

ADA, BOB = "+12025550142", "+12025550143"
PRICES = Prices(
    twilio_minute=0.01, stream_minute=0.004, deepgram_minute={"standard": 0.08, "advanced": 0.16}
)


def cost(ms: int, tier: str) -> int:
    known = cost_of(PRICES, twilio_ms=ms, stream_ms=ms, agent_ms=ms, tier=tier)
    assert known is not None
    return sum(known)


class Calls:
    """Calls on one policy; `kept` is what the next run of the server would find."""

    def __init__(self, earlier: Sequence[CallUse] = (), at: float = 1000.0, **rules: Any) -> None:
        self.clock = VirtualClock(at)
        self.kept: dict[str, CallUse] = {}
        self.policy = InboundPolicy(
            InboundRules(**rules), self.clock, cost, earlier=earlier, keep=self._keep
        )
        self._made = 0

    def _keep(self, uses: Sequence[CallUse], now: float) -> None:
        assert now == self.clock.now()
        self.kept |= {use.call: replace(use) for use in uses}

    def refused(self, from_: str = ADA, stir: str | None = None, sid: str = "CA-new") -> str | None:
        refusal = self.policy.refusal(sid, from_, stir)
        return None if refusal is None else f"{refusal[0].slug}: {refusal[1]}"

    def tell(self, sid: str, event: Event) -> None:
        self.policy(CallEvent(sid, 0, event))

    def begin(self, from_: str = ADA, tier: str = "standard") -> str:
        self._made += 1
        sid = f"CA{self._made}"
        self.policy.admit(sid, from_, tier)
        self.tell(sid, AgentConnected("request", 100))
        return sid

    def end(self, sid: str) -> None:
        self.tell(sid, Ending(Slug.CALLER_HUNG_UP).event(0))

    def call(self, minutes: float, from_: str = ADA, tier: str = "standard") -> None:
        sid = self.begin(from_, tier)
        self.clock.run(minutes * 60)
        self.end(sid)


def test_without_rules_everybody_is_answered_and_nothing_is_kept() -> None:
    calls = Calls()
    for from_ in (ADA, "", "anonymous", "sip:ada@example.com", "client:ada"):
        assert calls.refused(from_, "TN-Validation-Failed-A") is None
    calls.call(600)
    assert calls.refused() is None
    assert calls.policy.call_limit_s("standard") is None
    assert not calls.kept


@pytest.mark.parametrize(
    ("from_", "answer"),
    [(ADA, "blocked: reject"), ("+19005551234", "blocked: reject"), (BOB, None), ("", None)],
)
def test_blocked_numbers_and_beginnings_are_refused(from_: str, answer: str | None) -> None:
    calls = Calls(blocked=frozenset({ADA}), blocked_prefixes=("+1900",))
    assert calls.refused(from_) == answer


@pytest.mark.parametrize("from_", ["anonymous", "Restricted", "", "unknown", *sorted(WITHHELD)])
def test_a_withheld_number_is_known_however_it_is_written(from_: str) -> None:
    assert Calls(anonymous="say").refused(from_) == "anonymous: say"
    assert Calls(anonymous="answer").refused(from_) is None


@pytest.mark.parametrize("from_", [ADA, "sip:ada@example.com", "client:ada"])
def test_a_number_or_an_address_is_not_withheld(from_: str) -> None:
    assert Calls(anonymous="reject").refused(from_) is None


@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        ("TN-Validation-Passed-A", "a"),
        ("TN-Validation-Passed-A-Diverted", "a"),
        ("TN-Validation-Passed-B", "b"),
        ("TN-Validation-Passed-C-Passthrough", "c"),
        ("TN-Validation-Failed", "failed"),
        ("TN-Validation-Failed-B-Diverted", "failed"),
        ("No-TN-Validation", "none"),
        ("NULL", "none"),
        ("a word of next year's", "none"),
        ("", "none"),
        (None, "absent"),
    ],
)
def test_each_verdict_has_its_own_answer(told: str | None, verdict: Any) -> None:
    assert verdict_of(told) == verdict
    calls = Calls(stir=MappingProxyType({verdict: "busy"}))
    assert calls.refused(ADA, told) == "stir: busy"
    others = {"a", "b", "c", "failed", "none", "absent"} - {verdict}
    assert Calls(stir=MappingProxyType(dict.fromkeys(others, "busy"))).refused(ADA, told) is None


def test_a_number_may_call_so_often_within_an_hour() -> None:
    calls = Calls(calls_per_hour=2)
    calls.call(1)
    calls.call(1)
    assert calls.refused() == "calls_per_hour: busy"
    assert calls.refused(BOB) is None
    calls.clock.run(HOUR_S - 121)
    assert calls.refused() == "calls_per_hour: busy"
    calls.clock.run(1)
    assert calls.refused() is None


def test_those_who_withhold_their_number_count_as_one() -> None:
    calls = Calls(calls_per_hour=2)
    calls.call(1, "anonymous")
    calls.call(1, "+266696687")
    assert calls.refused("Restricted") == "calls_per_hour: busy"
    assert calls.refused(ADA) is None


def test_a_repeated_webhook_counts_once() -> None:
    calls = Calls(calls_per_hour=2)
    for _ in range(5):
        calls.policy.admit("CA1", ADA, "standard")
    assert calls.refused() is None


def test_a_call_that_was_counted_is_answered_again_also_by_the_next_run() -> None:
    calls = Calls(calls_per_hour=1)
    calls.begin()
    after = Calls(list(calls.kept.values()), calls_per_hour=1)
    for each in (calls, after):
        assert each.refused(sid="CA1") is None
        assert each.refused() == "calls_per_hour: busy"


def test_a_caller_has_an_amount_for_a_day() -> None:
    calls = Calls(caller_day=UseLimit(micros=1_000_000))
    calls.call(10)  # 0.94
    assert calls.refused() is None
    calls.call(1)  # 0.094 more
    assert calls.refused() == "caller_day: busy"
    assert calls.refused(BOB) is None
    calls.clock.run(DAY_S - 11 * 60)
    assert calls.refused() is None  # the first call is a day old


def test_minutes_are_limited_without_prices() -> None:
    calls = Calls(caller_day=UseLimit(minutes=10), over_limit="reject")
    calls.policy._cost = lambda ms, tier: 0
    calls.call(9.9)
    assert calls.refused() is None
    calls.call(0.1)
    assert calls.refused() == "caller_day: reject"


def test_all_callers_share_the_amount_of_a_day() -> None:
    calls = Calls(day=UseLimit(micros=1_000_000))
    calls.call(5, ADA)  # 0.47
    calls.call(5, BOB)
    assert calls.refused("+12025550144") is None
    calls.call(5, BOB, "advanced")
    for from_ in (ADA, BOB, "+12025550144", "anonymous"):
        assert calls.refused(from_) == "day: busy"
    assert calls.policy.used_up(None) is InboundRefusal.DAY  # a TwiML Bin's stream


def test_calls_that_go_on_count_with_what_they_have_used_by_now() -> None:
    calls = Calls(day=UseLimit(minutes=10))
    first, second = calls.begin(ADA), calls.begin(BOB)
    calls.clock.run(4.9 * 60)
    assert calls.refused() is None
    calls.clock.run(0.1 * 60)
    assert calls.refused() == "day: busy"
    calls.end(first)
    calls.end(second)
    assert calls.refused() == "day: busy"


def test_time_without_the_agent_costs_nothing() -> None:
    calls = Calls(day=UseLimit(minutes=10))
    sid = calls.begin()
    calls.clock.run(60)
    calls.tell(sid, CallerLeft("transfer", "desk"))
    calls.clock.run(3600)
    assert calls.refused() is None
    calls.tell(sid, AgentConnected("request", 100))
    calls.clock.run(9 * 60)
    assert calls.refused() == "day: busy"


def test_an_agent_that_is_connected_again_does_not_count_twice() -> None:
    calls = Calls(day=UseLimit(minutes=10))
    sid = calls.begin()
    calls.clock.run(5 * 60)
    calls.tell(sid, AgentConnected("request", 100))
    calls.clock.run(4.9 * 60)
    assert calls.refused() is None


def test_calls_that_we_place_do_not_count() -> None:
    calls = Calls(day=UseLimit(minutes=1))
    calls.tell("CA-outbound", AgentConnected("request", 100))
    calls.clock.run(3600)
    calls.end("CA-outbound")
    assert calls.refused() is None


def test_limits_hold_after_a_restart_and_age_from_there() -> None:
    limits: Any = {"caller_day": UseLimit(minutes=10), "calls_per_hour": 3}
    before = Calls(**limits)
    before.call(10)
    after = Calls(list(before.kept.values()), at=before.clock.now() + 60, **limits)
    assert after.refused() == "caller_day: busy"
    assert after.refused(BOB) is None
    after.clock.run(DAY_S - 11 * 60 - 1)
    assert after.refused() == "caller_day: busy"
    after.clock.run(1)
    assert after.refused() is None


def test_a_killed_server_forgets_ten_seconds_of_a_call_and_what_was_quiet() -> None:
    calls = Calls(day=UseLimit(minutes=10))
    calls.begin()
    for _ in range(100):
        calls.clock.run(1)
        calls.tell("CA-other", AgentConnected("request", 1))  # any event of any call
    (kept,) = calls.kept.values()
    assert 90_000 <= kept.ms <= 100_000


def test_a_call_that_is_resumed_by_the_next_process_goes_on_counting() -> None:
    before = Calls(day=UseLimit(minutes=10))
    before.call(6)
    after = Calls(list(before.kept.values()), day=UseLimit(minutes=10))
    after.tell("CA1", AgentConnected("request", 100))
    after.clock.run(4 * 60)
    assert after.refused() == "day: busy"
    assert after.kept[tag_of("CA1")].ms == 10 * 60_000


def test_no_number_and_no_call_sid_is_kept() -> None:
    calls = Calls(calls_per_hour=2)
    calls.call(1)
    assert ADA not in repr(calls.kept)
    assert "CA1" not in repr(calls.kept)


def test_more_calls_than_are_known_one_by_one_still_use_up_the_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inbound_policy, "USES_MAX", 10)
    calls = Calls(day=UseLimit(minutes=50))
    for number in range(49):
        assert calls.refused() is None, number
        calls.call(1, f"+1202555{number:04}")
    assert len(calls.policy._uses) <= 11
    calls.call(1)
    assert calls.refused() == "day: busy"
    calls.clock.run(DAY_S - 20 * 60)
    assert calls.refused() is None
    calls.clock.run(DAY_S)
    assert calls.refused() is None
    assert calls.policy._day == inbound_policy.Used()
    assert not calls.policy._uses
    assert not calls.policy._folded
    assert not calls.policy._callers


@pytest.mark.parametrize(
    ("limit", "tier", "seconds"),
    [
        (UseLimit(), "standard", None),
        (UseLimit(minutes=2.5), "standard", 150),
        (UseLimit(micros=94_000), "standard", 60),  # one whole minute
        (UseLimit(micros=940_000), "standard", 600),
        (UseLimit(micros=940_000), "advanced", 320),  # 6 begun minutes of Twilio, 5.35 of Deepgram
        (UseLimit(micros=940_000, minutes=3), "standard", 180),
        (UseLimit(micros=13_999), "standard", 0),  # less than Twilio's first minute
        (UseLimit(micros=1e15), "standard", None),
    ],
)
def test_the_limit_of_a_call_in_seconds(limit: UseLimit, tier: str, seconds: float | None) -> None:
    found = Calls(call=limit).policy.call_limit_s(tier)
    assert found == (None if seconds is None else pytest.approx(seconds, abs=1))
    if seconds and limit.micros is not None and limit.minutes is None:
        assert found is not None
        assert cost(round(found * 1000), tier) <= limit.micros
