"""A hostile agent calls every function in every phase, and nothing outside policy is done.

`make soak` has more rounds.
"""

from collections import Counter
from pathlib import Path

from tests.hostile import NAMES, RELAYED, attack, attacked, judge
from tests.whole_server import WholeServer

from offhook.call.phases import Phase
from offhook.events.types import FunctionAnswered, FunctionCalled, FunctionDropped

CALLS = 16
ROUNDS = 5
"""Times that so many call, at most: on a busy machine a session acts less often in its seconds."""


async def test_nothing_outside_policy_is_dialled_texted_transferred_told_or_paid(
    tmp_path: Path,
) -> None:
    reached: Counter[Phase] = Counter()
    async with attacked(tmp_path, 1, reached) as h:
        for round_ in range(1, ROUNDS + 1):
            await attack(h, CALLS, at_once=CALLS)
            assert judge(h, tmp_path, round_ * CALLS) == []
            if not untried(h, reached):
                break
        alive = await h.http.get(h.origin + "/healthz")
        assert alive.status_code == 200
        assert not untried(h, reached), "else this shows nothing"


def untried(h: WholeServer, reached: Counter[Phase]) -> set[str]:
    """Return what must be tried, good and bad, and was not yet."""
    told = [event for event in h.events() if isinstance(event, FunctionAnswered)]
    tried = {event.outcome for event in told} | {event.name for event in told}
    tried |= {f"{event.name} is done" for event in told if event.outcome == "answered"}
    tried |= {"a text"} if h.ledger.texts else set()
    tried |= {"a transfer"} if h.ledger.rung else set()
    tried |= {phase.value for phase in reached}
    tried |= (
        {"a call off"} if any(isinstance(each, FunctionDropped) for each in h.events()) else set()
    )
    asked = [event for event in h.events() if isinstance(event, FunctionCalled)]
    tried |= {
        what
        for event in asked
        if event.name == "relay"
        for what in RELAYED
        if f'"{what}"' in event.arguments
    }
    wanted = {"answered", "failed", "unknown", "pay is done", "send_sms is done"}
    # In the others the agent has no leg to ask by (tests/call/test_machine.py asks all the same).
    phases = {phase.value for phase in Phase} - {"away", "ended"}
    return {*wanted, *NAMES, *RELAYED, *phases, "a text", "a transfer", "a call off"} - tried
