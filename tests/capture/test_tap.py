"""The tap on a call's two wires, with the call whole but in memory."""

import base64
import json
from collections import Counter
from typing import Any

import pytest
from tests.calls.test_session import Rehearsal
from tests.whole_server import ASK, GREET, HANG_UP, HOURS

from offhook.call.ending import Ending
from offhook.capture.tap import NewCall, OnWire
from offhook.net.websocket import UnreachableError
from offhook.testing.scenarios.scenario import ScenarioStep


class KeptTap:
    """Remembers all that it is told."""

    def __init__(self) -> None:
        self.wire: list[OnWire] = []
        self.endings: list[Ending | None] = []

    def on_wire(self, message: OnWire) -> None:
        assert not self.endings, "nothing is told after the end"
        self.wire.append(message)

    def on_ended(self, ending: Ending | None) -> None:
        self.endings.append(ending)

    def texts(self, leg: str, direction: str) -> list[dict[str, Any]]:
        return [
            json.loads(m.data)
            for m in self.wire
            if (m.leg, m.direction, m.kind) == (leg, direction, "text")
        ]


class Tapping(Rehearsal):
    """A rehearsal with a tap on its only call."""

    def __init__(self, tap: Any, *steps: ScenarioStep) -> None:
        super().__init__(*steps)
        self.made: list[NewCall] = []

        def make(call: NewCall) -> Any:
            self.made.append(call)
            return tap

        self.calls.intake._sessions._make_tap = make


def test_every_message_of_both_wires_is_told_with_its_time() -> None:
    kept = KeptTap()
    rehearsal = Tapping(kept, GREET, ASK, GREET, HANG_UP)
    assert rehearsal.run(60) == ["caller_hung_up"]
    (call,) = rehearsal.made
    assert (call.call_sid, call.agent, call.webhook) == ("CA" + "2" * 32, "seed", False)
    (ending,) = kept.endings
    assert ending is not None
    assert ending.how.slug == "caller_hung_up"

    from_twilio = Counter(m["event"] for m in kept.texts("caller", "in"))
    stream = rehearsal.stream
    assert from_twilio["start"] == from_twilio["stop"] == 1
    assert from_twilio["media"] == len(stream.sent_at)
    assert from_twilio["mark"] == len(stream.echoes)
    to_twilio = Counter(m["event"] for m in kept.texts("caller", "out"))
    assert to_twilio["media"] > 20
    assert to_twilio["mark"] == len(stream.echoes)
    (agent,) = rehearsal.agents
    heard = [
        m.data for m in kept.wire if (m.leg, m.direction, m.kind) == ("agent", "out", "binary")
    ]
    assert len(b"".join(heard)) == 160 * len(agent.arrivals.frame_times())
    told = [m["type"] for m in kept.texts("agent", "in")]
    assert told[:2] == ["Welcome", "SettingsApplied"]
    asked = {"role": "user", "content": HOURS, "conversational_behavior": "default"}
    assert asked | {"type": "ConversationText"} in kept.texts("agent", "in")
    assert kept.texts("agent", "out")[0]["type"] == "Settings"

    times = [m.at_ms for m in kept.wire]
    assert times == sorted(times)
    assert times[-1] == pytest.approx(1000 * (rehearsal.clock.now() - 5 - 1000), abs=100)


def test_a_call_is_the_same_with_a_tap_and_without() -> None:
    barge_in = ScenarioStep.model_validate({"barge_in": {"after_ms": 300, "say": "Stop."}})
    steps = (GREET, ASK, barge_in, GREET, HANG_UP)
    tapped, bare = Tapping(KeptTap(), *steps), Rehearsal(*steps)
    assert tapped.run(60) == bare.run(60)
    assert tapped.happened == bare.happened
    assert tapped.stream.heard == bare.stream.heard


def test_of_a_secret_a_tap_sees_and_hears_nothing() -> None:
    kept = KeptTap()
    rehearsal = Tapping(
        kept, ScenarioStep(say=HOURS), ScenarioStep(press="42"), ScenarioStep(say=HOURS), HANG_UP
    )
    rehearsal.clock.run(0.5)
    (session,) = (rehearsal.calls.registry.live[call.call_sid].session for call in rehearsal.made)
    assert session is not None
    assert session._tapped is not None
    seen = len(kept.wire)
    session._tapped.is_masked = True
    rehearsal.run(60)
    told = [m for m in kept.wire[seen:] if (m.leg, m.direction) == ("caller", "in")]
    after = [json.loads(m.data) for m in told if m.kind == "text"]
    assert [m["dtmf"]["digit"] for m in after if m["event"] == "dtmf"] == ["?", "?"]
    heard = b"".join(
        base64.b64decode(m["media"]["payload"]) for m in after if m["event"] == "media"
    )
    assert len(heard) > 8000
    assert not heard.strip(b"\xff")
    assert after[-1]["event"] == "stop"
    # Nor of what is no message at all.
    kept.wire.clear()
    session._tapped._tap = kept
    kept.endings.clear()
    session._tapped.tell("caller", "in", "text", b'{"event":"dtmf","dtmf":{"digit":4217}}')
    assert [m.data for m in kept.wire] == [b""]


class Broken:
    """A tap that fails at the n-th message, and at the end."""

    def __init__(self, at: int) -> None:
        self.left = at

    def on_wire(self, message: OnWire) -> None:
        self.left -= 1
        if self.left == 0:
            raise RuntimeError
        assert self.left > 0, "it is told nothing more"

    def on_ended(self, ending: Ending | None) -> None:
        raise RuntimeError


@pytest.mark.parametrize("at", [1, 2, 3, 7, 100, 1_000_000])
def test_a_tap_that_fails_harms_no_call(at: int) -> None:
    bare, tapped = Rehearsal(GREET, HANG_UP), Tapping(Broken(at), GREET, HANG_UP)
    assert tapped.run(60) == bare.run(60) == ["caller_hung_up"]
    assert tapped.happened == bare.happened


def test_a_tap_that_cannot_be_made_harms_no_call(caplog: pytest.LogCaptureFixture) -> None:
    rehearsal = Rehearsal(GREET, HANG_UP)

    def make(call: NewCall) -> Any:
        raise OSError

    rehearsal.calls.intake._sessions._make_tap = make
    assert rehearsal.run(60) == ["caller_hung_up"]
    assert "is not tapped" in caplog.text


def test_a_dial_that_fails_is_told() -> None:
    kept = KeptTap()
    rehearsal = Tapping(kept, GREET)
    dialled: list[Any] = []

    class Called:
        def cancel(self) -> None: ...

    def dial(receiver: Any, failed: Any, place: int) -> Called:
        dialled.append(failed)
        return Called()

    rehearsal.calls.intake._sessions._dial = dial
    rehearsal.clock.run(0.1)
    dialled[0](UnreachableError("no route"))
    assert rehearsal.run(10) == ["agent_unreachable"]
    assert [(m.kind, m.data) for m in kept.wire if m.leg == "agent"] == [("close", b"no route")]
