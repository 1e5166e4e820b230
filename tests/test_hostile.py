"""A hostile agent calls every function: nothing outside policy is done. `make soak` has more."""

from pathlib import Path

from tests.hostile import NAMES, attack, attacked, judge
from tests.whole_server import WholeServer

from offhook.events.types import FunctionAnswered

CALLS = 16
ROUNDS = 5
"""Times that so many call, at most: on a busy machine a session acts less often in its seconds."""


async def test_nothing_outside_policy_is_dialled_texted_transferred_or_paid(tmp_path: Path) -> None:
    async with attacked(tmp_path, seed=1) as h:
        for round_ in range(1, ROUNDS + 1):
            await attack(h, CALLS, at_once=CALLS)
            assert judge(h, tmp_path, round_ * CALLS) == []
            if not untried(h):
                break
        alive = await h.http.get(h.origin + "/healthz")
        assert alive.status_code == 200
        assert not untried(h), "else this shows nothing"


def untried(h: WholeServer) -> set[str]:
    """Return what must be tried, good and bad, and was not yet."""
    told = [event for event in h.events() if isinstance(event, FunctionAnswered)]
    tried = {event.outcome for event in told} | {event.name for event in told}
    tried |= {f"{event.name} is done" for event in told if event.outcome == "answered"}
    tried |= {"a text"} if h.ledger.texts else set()
    tried |= {"a transfer"} if h.ledger.rung else set()
    wanted = {"answered", "failed", "unknown", "pay is done", "send_sms is done"}
    return {*wanted, *NAMES, "a text", "a transfer"} - tried
