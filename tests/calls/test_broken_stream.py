"""A caller's stream that breaks off in mid-call: the caller comes back, and the call goes on."""

import asyncio

from tests.calls.interruptions import SID, Process, Servers
from tests.calls.test_interrupted import GREETING, STAYS, history, injected, token_in
from tests.waiting import until
from tests.whole_server import (
    ASK,
    GREET,
    HANG_UP,
    HOURS,
    QUICK,
    caller,
    configured,
    texts,
    whole_server,
)

from offhook.call.broken_stream import BREAKS_MAX
from offhook.call.handoff import BROKEN_S
from offhook.events.types import (
    AgentAnnounced,
    AgentSaid,
    CallEnded,
    CallerBack,
    CallerSaid,
    CallStarted,
    StreamBroke,
)
from offhook.testing.scenarios.caller import SimulatedCaller
from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.testing.simulator.deepgram.script import Script, ScriptTurn
from offhook.testing.simulator.twilio.stream import SimulatedStream

TWICE = Script(turns=[*QUICK.turns, *QUICK.turns], silence_ms=300, reply_ms=50)
"""A stand-in that answers the same question twice."""


def on_the_line(
    who: SimulatedCaller | None = None, script: Script = QUICK
) -> tuple[Servers, SimulatedStream]:
    """A call by the webhook whose greeting was heard."""
    of = Servers(configured("ws://127.0.0.1:1/"), script)
    stream = of.now.stream(who or caller(GREET, STAYS), of.announce().token)
    of.clock.run(6)
    assert texts(of.now.events, AgentSaid) == [GREETING]
    return of, stream


def broken(of: Servers, stream: SimulatedStream) -> Process:
    stream.abort()
    of.clock.run(0.5)
    return of.now


def endings(process: Process) -> list[str]:
    return [each.slug for each in process.events if isinstance(each, CallEnded)]


def test_a_caller_comes_back_to_the_same_conversation_without_a_second_greeting() -> None:
    of, stream = on_the_line(caller(GREET, ASK, GREET, STAYS), TWICE)
    of.clock.run(10)
    old = of.now.entry().token
    process = broken(of, stream)
    assert process.agents[0].closed is not None, "nobody is there to talk to"
    assert process.calls.registry.live_count == 1, "the call has its place"
    assert len(process.agents) == 1, "the agent waits for Twilio's question"
    document = process.after(stream="0")
    assert "stream=1" in document
    token = token_in(document)
    assert token != old
    assert process.after(stream="0") == document, "a repeated request gets the same answer"
    process.stream(caller(ASK, GREET, HANG_UP), token)
    of.clock.run(20)
    assert process.after(stream="0") != "", "a late one changes nothing"
    assert len(process.agents) == 2
    assert history(process) == [
        ("assistant", GREETING),
        ("user", HOURS),
        ("assistant", "Of course, what else?"),
    ]
    assert injected(process) == []
    assert texts(process.events, CallerSaid) == [HOURS, HOURS]
    assert texts(process.events, AgentSaid).count(GREETING) == 1
    kinds = [type(each) for each in process.events]
    assert [kinds.count(kind) for kind in (CallStarted, StreamBroke, CallerBack)] == [1, 1, 1]
    assert endings(process) == ["caller_hung_up"]


def test_twilio_may_ask_before_we_know_that_the_stream_is_gone() -> None:
    """As when the connection is half-open."""
    of, stream = on_the_line()
    document = of.now.after(stream="0")
    assert "stream=1" in document
    assert of.now.after(stream="0") == document
    stream.abort()
    of.now.stream(caller(ASK, GREET, HANG_UP), token_in(document))
    of.clock.run(20)
    assert texts(of.now.events, AgentSaid) == [GREETING, "Of course, what else?"]
    assert endings(of.now) == ["caller_hung_up"]


def test_a_turn_without_an_answer_is_answered_once() -> None:
    slow = Script(turns=QUICK.turns, silence_ms=300, reply_ms=5000)
    of, stream = on_the_line(caller(GREET, ASK, STAYS), slow)
    of.clock.run_until(lambda: texts(of.now.events, CallerSaid) == [HOURS], 10)
    process = broken(of, stream)
    process.stream(caller(STAYS), token_in(process.after(stream="0")))
    of.clock.run(15)
    assert injected(process) == [HOURS]
    assert history(process) == [("assistant", GREETING)]
    said = [text for text in texts(process.events, AgentSaid) if text]
    assert said == [GREETING, "Of course, what else?"]
    assert texts(process.events, CallerSaid) == [HOURS], "the record has it already"


def test_a_turn_that_was_on_its_way_when_the_agent_was_hung_up_is_answered() -> None:
    of, stream = on_the_line()
    stream.abort()  # we know of it 20 ms later, and what the agent says takes 30 ms
    of.clock.run(0.01)
    of.now.agents[0].say("user", HOURS)
    of.clock.run(0.015)
    assert StreamBroke in [type(each) for each in of.now.events]
    assert texts(of.now.events, CallerSaid) == []
    of.clock.run(0.5)
    process = of.now
    assert texts(process.events, CallerSaid) == [HOURS]
    process.stream(caller(STAYS), token_in(process.after(stream="0")))
    of.clock.run(15)
    assert injected(process) == [HOURS]
    assert history(process) == [("assistant", GREETING)]
    assert texts(process.events, CallerSaid) == [HOURS]


def test_an_agent_that_was_cut_is_told_to_go_on_and_the_record_has_what_was_heard() -> None:
    long = "We are open from Monday to Friday, from nine in the morning until six in the evening."
    script = Script(turns=[ScriptTurn(hear=HOURS, say=[long])], silence_ms=300, reply_ms=50)
    of, stream = on_the_line(caller(GREET, ASK, STAYS), script)
    of.clock.run_until(lambda: AgentAnnounced(2, long) in of.now.events, 15)
    of.clock.run(2)
    process = broken(of, stream)
    said = [each for each in process.events if isinstance(each, AgentSaid)][-1]
    assert said.interrupted
    assert long.startswith(said.text)
    assert 0 < len(said.text) < len(long)
    process.stream(caller(STAYS), token_in(process.after(stream="0")))
    of.clock.run(5)
    assert injected(process) == [of.config.lines["default"].phrases.go_on]
    assert history(process)[-1] == ("assistant", said.text)


def test_a_greeting_of_which_nothing_was_heard_is_said_again() -> None:
    of = Servers(configured("ws://127.0.0.1:1/"), QUICK)
    stream = of.now.stream(caller(STAYS), of.announce().token)
    of.clock.run(0.05)
    process = broken(of, stream)
    process.stream(caller(GREET, HANG_UP), token_in(process.after(stream="0")))
    of.clock.run(20)
    assert texts(process.events, AgentSaid)[-1] == GREETING


def test_a_caller_who_does_not_come_back_ends_the_call_as_of_the_break() -> None:
    of, stream = on_the_line()
    process = broken(of, stream)
    (why,) = (each.why for each in process.events if isinstance(each, StreamBroke))
    (at_ms,) = (each.at_ms for each in process.happened if isinstance(each.event, StreamBroke))
    of.clock.run(BROKEN_S - 1)
    assert endings(process) == []
    of.clock.run(1)
    (ended,) = (each for each in process.events if isinstance(each, CallEnded))
    assert (ended.slug, ended.detail) == ("caller_leg_lost", why)
    assert ended.duration_ms == at_ms
    assert process.calls.registry.live_count == 0
    assert of.files == {}
    assert "Say" in process.after(stream="0"), "whoever asks later hears the fallback"


def test_a_caller_who_was_asked_for_and_opens_no_stream_ends_the_call() -> None:
    of, stream = on_the_line()
    process = broken(of, stream)
    for number in range(20):
        process.after(stream=str(min(number, 5)))
        of.clock.run(5)
    assert endings(process) == ["caller_leg_lost"]


def test_a_caller_who_has_hung_up_meanwhile_ends_the_call() -> None:
    of, stream = on_the_line()
    process = broken(of, stream)
    process.after(stream="0", CallStatus="completed")
    assert endings(process) == ["caller_hung_up"]


def test_one_stream_more_that_breaks_off_within_a_minute_ends_the_call() -> None:
    of, stream = on_the_line()
    for number in range(BREAKS_MAX):
        process = broken(of, stream)
        stream = process.stream(caller(STAYS), token_in(process.after(stream=str(number))))
        of.clock.run(2)
        assert process.entry().has_stream
    assert endings(broken(of, stream)) == ["caller_leg_lost"]


def test_a_bins_call_ends_as_nobody_asks_what_comes_after_it() -> None:
    of = Servers(configured("ws://127.0.0.1:1/"), QUICK)
    stream = of.now.stream(caller(STAYS), None)
    of.clock.run(6)
    assert SID in of.now.calls.registry.live
    assert endings(broken(of, stream)) == ["caller_leg_lost"]


def test_a_call_whose_process_dies_while_its_caller_is_gone_goes_on_in_the_next() -> None:
    of, stream = on_the_line()
    broken(of, stream)
    next_ = of.crash()
    next_.stream(caller(ASK, GREET, HANG_UP), token_in(next_.after(stream="0")))
    of.clock.run(20)
    assert texts(next_.events, AgentSaid) == ["Of course, what else?"]
    assert endings(next_) == ["caller_hung_up"]


async def test_a_socket_that_is_cut_in_mid_call_costs_a_pause_over_real_sockets() -> None:
    async with whole_server(TWICE, people={}) as h:
        assert h.account is not None
        network = h.account.network

        async def cut() -> None:
            await until(lambda: texts(h.events(), CallerSaid) == [HOURS])
            await until(lambda: len(texts(h.events(), AgentSaid)) == 2)
            (leg,) = network.legs.values()
            leg.report.streams[-1].abort()

        async with asyncio.TaskGroup() as group:
            cutting = group.create_task(cut())
            report = await h.call(GREET, ASK, GREET, ScenarioStep(wait=1), ASK, GREET, HANG_UP)
            await cutting
        await h.until_ended()
        events = h.events()
    assert report.faults_on_the_line == ["31903 the connection broke"]
    assert len(report.streams) == 2
    assert h.endings() == ["caller_hung_up"]
    assert [type(e) for e in events].count(CallerBack) == 1
    said = texts(events, AgentSaid)
    assert said.count("Of course, what else?") == 2
    assert said.count(GREETING) == 1
