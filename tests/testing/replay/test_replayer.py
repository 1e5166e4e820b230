"""Captured calls made again in memory, and what counts as the same."""

import asyncio
import dataclasses
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.in_time import in_time
from tests.memory_sockets import connect_in_memory
from tests.whole_server import (
    ACCOUNT,
    ASK,
    GREET,
    HANG_UP,
    HOURS,
    TOKEN,
    NoTools,
    caller,
    configured,
    empty_office,
    fresh_sid,
    nothing_known,
    whole_server,
)

from offhook.audio import milliseconds
from offhook.calls.call_updates import CallUpdates
from offhook.calls.compose import compose
from offhook.capture.tap import MakeTap, NewCall
from offhook.capture.writer import Captures
from offhook.concurrency.server_tasks import ServerTasks
from offhook.config import LimitSettings
from offhook.net.websocket import Channel, Closed, Receiver, UnreachableError, UpgradeRefusedError
from offhook.policy.dial_policy import DialPolicy, DialRules
from offhook.policy.inbound_policy import InboundPolicy, InboundRules
from offhook.testing.replay import captured
from offhook.testing.replay.captured import Captured
from offhook.testing.replay.comparison import Comparison, compare, compare_call
from offhook.testing.replay.replayer import AgentWireTap, ReplayedCaller, call_again, enact
from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.testing.simulator.deepgram.script import Script, ScriptFunctionCall, ScriptTurn
from offhook.testing.simulator.deepgram.standin import StandIn
from offhook.testing.simulator.twilio.stream import SimulatedStream, StreamParty
from offhook.testing.virtual_clock import VirtualClock
from offhook.twilio.stream import CallerLeg
from offhook.webhooks.pending_streams import PendingStreams

LONG = "We are open from Monday to Friday, from nine in the morning until six in the evening."
READY = ["Yes, your order is ready.", "You can collect it any time before six."]
LOOK_UP = ScriptFunctionCall(name="look_up", arguments={"order": 7})
SCRIPT = Script(
    turns=[
        ScriptTurn(hear=HOURS, say=[LONG]),
        ScriptTurn(hear="12", say=["Of course, what else?"]),
        ScriptTurn(hear="Is my order ready?", say=READY, function_calls=[LOOK_UP]),
    ],
    interrupted=ScriptTurn(hear="Stop.", say=["Of course, what else?"]),
    silence_ms=500,
    reply_ms=200,
)
BARGE_IN = ScenarioStep.model_validate({"barge_in": {"after_ms": 1500, "say": "Stop."}})
PRESS = ScenarioStep(press="12#")
STEPS = (
    GREET,
    ASK,
    BARGE_IN,
    GREET,
    PRESS,
    GREET,
    ScenarioStep(say="Is my order ready?"),
    GREET,
    HANG_UP,
)


class Dialled:
    def cancel(self) -> None: ...


def call(
    party: StreamParty,
    script: Script = SCRIPT,
    make_tap: MakeTap | None = None,
    *,
    to_twilio: float = 0.02,
    to_agent: float = 0.03,
    limits: LimitSettings | None = None,
) -> SimulatedStream:
    """One call, from the beginning to the end."""
    clock = VirtualClock(1000.0)

    def dial(
        receiver: Receiver,
        failed: Callable[[UpgradeRefusedError | UnreachableError], None],
        place: int,
    ) -> Dialled:
        connect_in_memory(clock, receiver, StandIn(script, clock), to_agent)
        return Dialled()

    config = configured("ws://127.0.0.1:1/", limits=(limits or LimitSettings()).model_dump())
    calls = compose(
        config,
        clock=clock,
        dial=dial,
        publish=lambda _: None,
        tools=lambda toolbox, call: NoTools(clock),
        look_up=nothing_known,
        messaging=empty_office(clock),
        dial_policy=DialPolicy(DialRules()),
        inbound=InboundPolicy(InboundRules(), clock, lambda ms, tier: 0),
        updates=CallUpdates(None, ServerTasks(asyncio.TaskGroup())),
        make_tap=make_tap,
    )
    stream = SimulatedStream(
        party, clock, account_sid=ACCOUNT, call_sid="CA" + "2" * 32, stream_sid="MZ" + "3" * 32
    )
    pending = PendingStreams(clock, calls.intake.admit, lambda why: None)
    connect_in_memory(clock, stream, pending.receiver(), to_twilio)
    clock.run(120)
    assert stream.ended_by is not None
    return stream


@pytest.fixture(scope="module")
def a_call(tmp_path_factory: pytest.TempPathFactory) -> Captured:
    """A call with a greeting, an answer that is interrupted, keys, and two sentences at the end."""
    return capture_of(tmp_path_factory.mktemp("captures"), *STEPS)


def capture_of(folder: Path, *steps: ScenarioStep, **options: Any) -> Captured:
    with Captures(folder, ()) as captures:
        call(caller(*steps), make_tap=captures, **options)
    return captured.read(only(folder))


def replay(one: Captured, script: Script = SCRIPT, **options: Any) -> Comparison:
    """The verdict by speech alone, as a rehearsal elsewhere has it."""
    return compare(one, call(ReplayedCaller(one), script, **options), None)


def replay_tapped(one: Captured, script: Script = SCRIPT, **options: Any) -> Comparison:
    """The verdict with the agent's wire tapped."""
    wires = AgentWireTap()
    stream = call(ReplayedCaller(one), script, lambda _: wires, **options)
    return compare(one, stream, wires.told())


def changed(script: Script = SCRIPT, turn: int | None = None, **values: Any) -> Script:
    if turn is None:
        return script.model_copy(update=values)
    turns = list(script.turns)
    turns[turn] = turns[turn].model_copy(update=values)
    return script.model_copy(update={"turns": turns})


# --- the caller's side ---------------------------------------------------------------------------


def test_the_caller_is_the_same_to_the_byte(a_call: Captured) -> None:
    first, again = enact(a_call), call(ReplayedCaller(a_call))
    assert first.ended_by == again.ended_by == "caller"
    length = milliseconds(len(first.spoken))
    assert 10_000 < length < 40_000
    assert bytes(again.spoken[: len(first.spoken)]) == bytes(first.spoken)
    side = captured.caller_side(a_call)
    assert [key for _, key in side.keys] == ["1", "2", "#"]
    assert [b - a for (a, _), (b, _) in zip(side.keys, side.keys[1:], strict=False)] == [200, 200]
    assert side.hung_up_ms is not None
    assert abs(side.hung_up_ms - length) <= 20


def test_keys_are_pressed_at_their_times(a_call: Captured, tmp_path: Path) -> None:
    with Captures(tmp_path, ()) as captures:
        call(ReplayedCaller(a_call), make_tap=captures)
    path = only(tmp_path)

    def keys(lines: Any) -> list[tuple[str, int]]:
        pieces, found = 0, []
        for line in lines:
            if line.leg != "caller" or line.dir != "in":
                continue
            pieces += line.audio is not None
            if isinstance(line.message, dict) and line.message["event"] == "dtmf":
                found.append((line.message["dtmf"]["digit"], pieces))
        return found

    assert len(keys(a_call.lines)) == 3
    assert keys(captured.read(path).lines) == keys(a_call.lines)


def test_what_the_caller_heard_is_found_in_the_capture(a_call: Captured) -> None:
    """The capture knows only what was sent: played again, it sounds as it did then."""
    steps_again = call(caller(*STEPS))
    first = enact(a_call)
    assert len(first.bursts) == len(steps_again.bursts)
    for one, other in zip(first.bursts, steps_again.bursts, strict=True):
        assert one.cut_by == other.cut_by
        assert abs((one.ended - one.began) - (other.ended - other.began)) < 0.1
    assert len(first.cleared_at) == len(steps_again.cleared_at) == 1


# --- the same ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_a_captured_call_gives_the_same_verdict_twenty_times(a_call: Captured, seed: int) -> None:
    """On lines and machines that are slower and faster than when it was captured."""
    draw = random.Random(seed)
    ways = {"to_twilio": draw.uniform(0.001, 0.15), "to_agent": draw.uniform(0.001, 0.15)}
    script = changed(reply_ms=200 + draw.randrange(-150, 150))
    assert replay(a_call, script, **ways).differences == ()
    assert replay_tapped(a_call, script, **ways).differences == ()


@pytest.mark.parametrize("reply_ms", [100, 200, 300])
def test_an_answer_that_was_cut_as_it_began_need_not_be_heard(
    tmp_path: Path, reply_ms: int
) -> None:
    """The caller goes on just as the agent answers: 0.1 s of that are heard, or nothing."""
    steps = (GREET, ASK, ScenarioStep(wait=0.6), ScenarioStep(say="Stop."), GREET, HANG_UP)
    one = capture_of(tmp_path, *steps)
    script = changed(reply_ms=reply_ms)
    assert replay(one, script).differences == ()
    assert replay_tapped(one, script).differences == ()
    (silent,) = [p for p in replay(one, changed(reply_ms=300)).speech if p.replayed is None]
    assert silent.captured is not None
    assert silent.captured.interrupted


def test_a_call_that_the_server_ends(tmp_path: Path) -> None:
    script = Script(turns=[ScriptTurn(hear=HOURS, say=["Goodbye!"])], silence_ms=500)
    limits = LimitSettings(silence_seconds=10)
    one = capture_of(tmp_path, GREET, ASK, script=script, limits=limits)
    assert one.ended_by == "server"
    assert replay_tapped(one, script, limits=limits).differences == ()
    verdict = replay_tapped(one, script, limits=LimitSettings(silence_seconds=0))
    assert "the server did not end the call" in str(verdict.differences[-1])
    assert not replay_tapped(one, script, limits=LimitSettings(silence_seconds=14)).same


def test_an_unfinished_capture_is_played_as_far_as_it_goes(
    a_call: Captured, tmp_path: Path
) -> None:
    text = a_call.path.read_bytes()
    part = tmp_path / "part.jsonl"
    part.write_bytes(text[: len(text) * 2 // 3])
    one = captured.read(part)
    assert one.cut
    assert not one.whole
    assert one.ended_by is None
    assert replay(one).differences == ()
    assert replay_tapped(one).differences == ()


# --- not the same --------------------------------------------------------------------------------

# What was changed, and what is then said by speech alone and with the agent's wire tapped.
MUTANTS: dict[str, tuple[Script, str, str]] = {
    "other words as long as these": (
        changed(turn=2, say=[READY[0], "Can I help you with anything else?"]),
        "sounds different",
        "Can I help you with anything else?",
    ),
    "other words to one who interrupts": (
        changed(interrupted=ScriptTurn(hear="Stop.", say=["Are you still there?"])),
        "sounds different",
        "Are you still there?",
    ),
    "a sentence less": (changed(turn=2, say=READY[:1]), "the agent spoke 1.", "said 'Yes, your"),
    "a sentence more": (
        changed(turn=2, say=[*READY, "Thank you for calling. Goodbye!"]),
        "",  # the caller hangs up over it
        "Goodbye!",
    ),
    "no answer": (changed(turn=2, say=[]), "the agent said nothing", "the agent said ''"),
    "no answer to one who interrupts": (
        changed(interrupted=ScriptTurn(hear="Stop.", say=[])),
        "the agent said nothing",
        "the agent said ''",
    ),
    "slower answers": (changed(reply_ms=1200), "ms later than captured", "later"),
    "a slower recogniser": (changed(silence_ms=1600), "ms later than captured", "later"),
    "another recogniser": (
        changed(turn=2, hear="Is my murder ready?"),
        "",
        "'Is my murder ready?'",
    ),
    "no function": (changed(turn=2, function_calls=[]), "", "no function was called"),
    "another function": (
        changed(turn=2, function_calls=[ScriptFunctionCall(name="look", arguments={"order": 7})]),
        "",
        "look({'order': 7}) was called",
    ),
    "another argument": (
        changed(
            turn=2, function_calls=[ScriptFunctionCall(name="look_up", arguments={"order": 8})]
        ),
        "",
        "look_up({'order': 8}) was called; captured: look_up({'order': 7})",
    ),
    "a function more": (
        changed(turn=2, function_calls=[LOOK_UP, LOOK_UP]),
        "",
        "was called; captured: none",
    ),
    "the agent leaves": (changed(turn=2, fault="close"), "the agent spoke", "interrupted. Go on"),
    "the agent hangs up after an answer": (
        changed(turn=0, end=True, say=["Of course, what else?"]),
        "the agent spoke",
        "was understood to say 'Stop.'",
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_an_agent_that_was_changed_is_found(a_call: Captured, name: str) -> None:
    script, by_sound, tapped = MUTANTS[name]
    assert by_sound in said(replay(a_call, script))
    assert bool(by_sound) is bool(said(replay(a_call, script)))
    assert tapped in said(replay_tapped(a_call, script))


def said(verdict: Comparison) -> str:
    return "\n".join(one.what for one in verdict.differences)


def test_one_who_cannot_interrupt_any_more_is_found(
    a_call: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CallerLeg, "clear", lambda leg: None)
    told_of = said(replay(a_call))
    assert "the agent spoke" in told_of
    assert "then interrupted" in told_of


def test_an_agent_that_talks_into_a_silence_is_found(tmp_path: Path) -> None:
    quiet = ScenarioStep(wait=20)
    one = capture_of(tmp_path, GREET, quiet, HANG_UP, limits=LimitSettings(silence_seconds=0))
    assert replay(one, limits=LimitSettings(silence_seconds=0)).same
    assert "captured: nothing" in said(replay(one, limits=LimitSettings(silence_seconds=20)))


def test_marks_that_are_not_asked_for_any_more_are_found(
    a_call: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def play(leg: CallerLeg, pieces: Any, *, _play: Any = CallerLeg.play) -> None:
        _play(leg, [(audio, None) for audio, _ in pieces])

    monkeypatch.setattr(CallerLeg, "play", play)
    assert "marks were passed by playback" in said(replay(a_call))


def test_a_server_that_never_answers_is_found(a_call: Captured) -> None:
    clock = VirtualClock()
    stream = SimulatedStream(
        ReplayedCaller(a_call), clock, account_sid="", call_sid="", stream_sid=""
    )
    connect_in_memory(clock, stream, Nobody())
    clock.run(120)
    assert "the agent said nothing" in said(compare(a_call, stream, None))


class Nobody:
    """A server's end that only listens."""

    def on_open(self, socket: Channel) -> None: ...

    def on_text(self, text: bytes) -> None: ...

    def on_binary(self, data: bytes) -> None: ...

    def on_writable(self, writable: bool) -> None: ...

    def on_close(self, closed: Closed) -> None: ...


# --- over real sockets ---------------------------------------------------------------------------


@pytest.mark.long
async def test_a_captured_call_replayed_eight_times_at_once_gives_the_same_verdict(
    tmp_path: Path,
) -> None:
    wires: dict[str, AgentWireTap] = {}
    with Captures(tmp_path, ()) as captures:
        async with whole_server(
            SCRIPT, make_tap=lambda c: wires.get(c.call_sid) or captures(c)
        ) as made:
            await made.call(GREET, ASK, BARGE_IN, GREET, HANG_UP)
            await made.until_ended()

    one = captured.read(only(tmp_path))

    async def check() -> None:
        wires.clear()
        async with whole_server(SCRIPT, make_tap=lambda c: wires[c.call_sid]) as made:

            async def again(call_sid: str) -> list[Comparison]:
                report = await call_again(
                    made.origin + "/twilio/voice",
                    one,
                    clock=made.clock,
                    auth_token=TOKEN,
                    account_sid=ACCOUNT,
                    call_sid=call_sid,
                )
                async with asyncio.timeout(240):
                    await wires[call_sid].over.wait()
                told = wires[call_sid].told()
                return [compare_call(one, report, None), compare_call(one, report, told)]

            wires.update({fresh_sid(): AgentWireTap() for _ in range(8)})
            found = await asyncio.gather(*map(again, wires))
        verdicts = [verdict for both in found for verdict in both]
        assert len(verdicts) == 16
        assert [v.differences for v in verdicts if v.verdict == "different"] == []
        assert all(len(v.speech) == 3 for v in verdicts if v.verdict == "same")

    await in_time(check)


async def test_a_replay_reaches_the_agent_of_the_number_that_was_called(tmp_path: Path) -> None:
    config = configured("ws://127.0.0.1:1/")
    lines = {
        "default": config.lines["default"],
        "+12025550199": config.lines["default"].model_copy(update={"name": "second"}),
    }
    config = dataclasses.replace(config, lines=lines)
    seen: list[NewCall] = []
    with Captures(tmp_path, ()) as captures:
        async with whole_server(config=config, make_tap=captures) as made:
            await made.call(GREET, HANG_UP, to="+12025550199", from_="+12025550177")
            await made.until_ended()
    one = captured.read(only(tmp_path))
    assert one.header.agent == "second"
    async with whole_server(config=config, make_tap=lambda call: seen.append(call)) as made:
        options = {"clock": made.clock, "auth_token": TOKEN, "account_sid": ACCOUNT}
        report = await call_again(made.origin + "/twilio/voice", one, **options)
    assert report.faults == []
    assert [(call.agent, call.to, call.from_) for call in seen] == [
        ("second", "+12025550199", "+12025550177")
    ]


def only(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path
