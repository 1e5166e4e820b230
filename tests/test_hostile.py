"""A hostile agent calls every function: nothing outside policy is done. `make soak` has more."""

from pathlib import Path

from tests.hostile import NAMES, attack, attacked, judge

from offhook.events.types import FunctionAnswered

CALLS = 16


async def test_nothing_outside_policy_is_dialled_texted_transferred_or_paid(tmp_path: Path) -> None:
    async with attacked(tmp_path, seed=1) as h:
        await attack(h, CALLS, at_once=CALLS)
        alive = await h.http.get(h.origin + "/healthz")
        assert alive.status_code == 200
        assert judge(h, tmp_path, CALLS) == []
        # Else this shows nothing: good and bad ones were tried, and some were done.
        outcomes = {(e.name, e.outcome) for e in h.events() if isinstance(e, FunctionAnswered)}
        assert {outcome for _, outcome in outcomes} >= {"answered", "failed", "unknown"}
        assert {name for name, outcome in outcomes if outcome == "answered"} >= {"pay", "send_sms"}
        assert {name for name, _ in outcomes} >= {*NAMES}, "every function was called"
        assert h.ledger.texts
        assert h.ledger.rung
