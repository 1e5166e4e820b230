"""What is counted of events, and how it is told."""

import asyncio
import re
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from tests.waiting import until
from tests.whole_server import ASK, GREET, HANG_UP, HOURS, QUICK, whole_server

from offhook.events import types as events
from offhook.events.types import DELAY_EDGES_MS, CallEvent, Event
from offhook.observability.metrics import catalogue
from offhook.observability.metrics.meter import SERIES_MAX, Metrics
from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.testing.simulator.deepgram.script import Script, ScriptTurn

Samples = dict[str, float]


async def scrape(metrics: Metrics) -> Samples:
    return samples((await metrics.text()).decode())


def samples(text: str) -> Samples:
    """Every sample by its name and labels, read by prometheus-client's own parser."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


async def counted(*happened: Event, at_ms: Iterable[int] = ()) -> Samples:
    """What these events of one call come to, without what is zero."""
    metrics = Metrics()
    times = [*at_ms] or [0] * len(happened)
    for at, event in zip(times, happened, strict=True):
        metrics(CallEvent("CA1", at, event))
    found = await scrape(metrics)
    return {name: value for name, value in found.items() if value and name.startswith("offhook")}


def buckets(name: str, found: Samples) -> dict[str, float]:
    return {k.partition("le=")[2][:-1]: v for k, v in found.items() if k.startswith(name)}


async def test_how_calls_came_and_ended() -> None:
    began = events.CallBegan("AC1", "seed", "", "inbound", "bin", "", "", "{}")
    ended = events.CallEnded("agent", "agent_lost", "words", "", 61_000)
    found = await counted(began, events.CallStarted(), ended, at_ms=(0, 1000, 61_000))
    assert found["offhook_calls_admitted_total{by=bin}"] == 1
    assert found["offhook_calls_ended_total{fault=agent,slug=agent_lost}"] == 1
    assert found["offhook_stream_seconds_total"] == 60
    assert found["offhook_call_seconds_sum"] == 61
    assert found["offhook_call_seconds_bucket{le=120.0}"] == 1
    assert "offhook_call_seconds_bucket{le=60.0}" not in found


async def test_a_call_without_a_stream_costs_no_stream_seconds() -> None:
    found = await counted(events.CallEnded("twilio", "stream_never_came", "words", "", 9))
    assert "offhook_stream_seconds_total" not in found


@pytest.mark.parametrize(
    ("event", "name", "value"),
    [
        (events.AgentDisconnected(2500), "offhook_agent_connected_seconds_total", 2.5),
        (events.CallBilled("completed", 61_000), "offhook_twilio_seconds_total", 61),
        (events.CallBilled("completed", 61_000), "offhook_twilio_billed_minutes_total", 2),
        (events.CallBilled("completed", 60_000), "offhook_twilio_billed_minutes_total", 1),
        (events.Interrupted(5), "offhook_barge_ins_total", 1),
        (events.ProtocolViolation("agent", "x"), "offhook_faults_total{leg=agent}", 1),
        (
            events.AudioDropped("caller", 40, "late"),
            "offhook_audio_dropped_seconds_total{leg=caller,reason=late}",
            0.04,
        ),
        (
            events.AgentWarned("SLOW", "x", fatal=True),
            "offhook_agent_warnings_total{code=SLOW,fatal=true}",
            1,
        ),
        (events.StreamTrouble("31921", "x"), "offhook_stream_errors_total{code=31921}", 1),
        (
            events.FunctionAnswered("1", "book", "too_late", "x", 10_000),
            "offhook_function_calls_total{function=book,outcome=too_late}",
            1,
        ),
        (
            events.FunctionAnswered("1", "book", "too_late", "x", 10_000),
            "offhook_function_seconds_sum{function=book}",
            10,
        ),
        (
            events.FunctionAnswered("1", "what the model made up", "unknown", "x", 1),
            "offhook_function_calls_total{function=(unknown),outcome=unknown}",
            1,
        ),
        (
            events.Dialled("fallback", "", "+12025550143"),
            "offhook_dials_total{kind=fallback}",
            1,
        ),
        (
            events.DialRefused("transfer", "country", "+18095551234"),
            "offhook_dials_refused_total{kind=transfer,reason=country}",
            1,
        ),
        (
            events.FunctionDropped("1", "book", "cancelled"),
            "offhook_function_calls_total{function=book,outcome=cancelled}",
            1,
        ),
        (events.AgentConnected("r", 400), "offhook_agent_connect_seconds_sum", 0.4),
        (events.Answered(400, 450), "offhook_turn_seconds_sum{stage=first_byte}", 0.4),
        (events.Answered(400, 450), "offhook_turn_seconds_sum{stage=first_played}", 0.45),
        (
            events.LatencyReported(None, 200, None, 900),
            "offhook_turn_seconds_sum{stage=total}",
            0.9,
        ),
        (
            events.AgentSaid("one two", "one two three four", 9, interrupted=True),
            "offhook_heard_ratio_sum",
            0.5,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_an_event_is_counted(event: Event, name: str, value: float) -> None:
    assert (await counted(event))[name] == pytest.approx(value)


async def test_what_deepgram_did_not_measure_is_no_zero() -> None:
    found = await counted(events.LatencyReported(None, 200, None, 900))
    stages = {name for name in found if name.startswith("offhook_turn_seconds_count")}
    assert stages == {
        "offhook_turn_seconds_count{stage=think}",
        "offhook_turn_seconds_count{stage=total}",
    }


async def test_what_was_said_is_in_no_metric() -> None:
    metrics = Metrics()
    for event in (
        events.CallBegan("AC1", "seed", "", "inbound", "webhook", "CANARY", "CANARY", "CANARY"),
        events.CallerSaid("CANARY"),
        events.AgentSaid("CANARY", "CANARY", 1, interrupted=False),
        events.KeyPressed("CANARY"),
        events.KeysEntered("CANARY"),
        events.MessageTaken("CANARY", "CANARY", "CANARY"),
        events.DoNotCall("CANARY"),
        events.DialRefused("text", "country", "CANARY"),
        events.FunctionCalled("1", "book", "CANARY"),
        events.FunctionAnswered("1", "book", "answered", "CANARY", 1),
        events.FunctionAnswered("1", "CANARY", "unknown", "CANARY", 1),
        events.AgentWarned("X", "CANARY", fatal=False),
    ):
        metrics(CallEvent("CANARY", 0, event))
    assert b"CANARY" not in await metrics.text()


async def test_delays_are_added_by_their_buckets() -> None:
    counts = tuple(range(1, len(DELAY_EDGES_MS) + 2))
    none = (0,) * len(counts)
    one = events.DelaysSampled(counts, none, counts)
    found = await counted(one, one)
    name = "offhook_added_delay_seconds_bucket{"
    to_agent = [v for k, v in found.items() if k.startswith(name) and "to=agent" in k]
    assert to_agent == [sum(counts[: n + 1]) * 2 for n in range(len(counts))]
    assert found["offhook_added_delay_seconds_bucket{le=0.25,to=agent}"] == 2 * sum(counts[:-1])
    assert found["offhook_barge_in_seconds_bucket{le=+Inf}"] == 2 * sum(counts)
    # The exact sum is not known, so none is claimed.
    assert not any("delay_seconds_sum" in each for each in found)


@given(st.lists(st.integers(0, 20_000), max_size=20))
def test_every_value_is_in_its_bucket_and_all_below_it_in_those_above(values: list[int]) -> None:
    found = asyncio.run(counted(*(events.AgentConnected("r", value) for value in values)))
    edges = catalogue.AGENT_CONNECT_SECONDS.edges
    expected = {f"{edge}": sum(v / 1000 <= edge for v in values) for edge in edges}
    expected["+Inf"] = len(values)
    got = buckets("offhook_agent_connect_seconds_bucket", found)
    assert got == {edge: count for edge, count in expected.items() if count}


async def test_words_from_outside_make_no_end_of_series() -> None:
    metrics = Metrics()
    for number in range(10 * SERIES_MAX):
        metrics(CallEvent("CA1", 0, events.AgentWarned(f"CODE{number}", "x", fatal=False)))
        metrics(CallEvent("CA1", 0, events.FunctionAnswered("1", f"f{number}", "failed", "x", 1)))
    found = await scrape(metrics)
    for name in ("offhook_agent_warnings_total", "offhook_function_calls_total"):
        series = {key: value for key, value in found.items() if key.startswith(name)}
        assert len(series) == SERIES_MAX + 1
        assert sum(series.values()) == 10 * SERIES_MAX
    assert found["offhook_agent_warnings_total{code=other,fatal=other}"] == 9 * SERIES_MAX


async def test_two_servers_share_nothing() -> None:
    one, other = Metrics(), Metrics()
    one(CallEvent("CA1", 0, events.Interrupted(5)))
    assert (await scrape(one))["offhook_barge_ins_total"] == 1
    assert (await scrape(other))["offhook_barge_ins_total"] == 0


async def test_a_loop_that_is_late_and_who_held_it() -> None:
    metrics = Metrics()
    metrics.late(0.3)
    metrics.held("book", 0.3)
    metrics.held("book", 0.5)
    found = await scrape(metrics)
    assert found["offhook_loop_lag_seconds_sum"] == 0.3
    assert found["offhook_interpreter_held_seconds_total{function=book}"] == 0.8


async def test_a_real_call_by_the_webhook_with_a_barge_in() -> None:
    long = "We are open from Monday to Friday, from nine in the morning until six in the evening."
    script = Script(turns=[ScriptTurn(hear=HOURS, say=[long])], silence_ms=300, reply_ms=50)
    barge_in = ScenarioStep.model_validate({"barge_in": {"after_ms": 1000, "say": "Stop."}})
    async with whole_server(script) as h:
        await h.call(GREET, ASK, barge_in, GREET, HANG_UP)
        await h.until_ended()
        text = (await h.server.metrics.text()).decode()
        ended = next(e for e in h.events() if isinstance(e, events.CallEnded))
        h.server.calls.registry.is_draining = True
        drains = samples((await h.server.metrics.text()).decode())
    assert drains["offhook_calls_capacity"] == 0
    found = samples(text)
    assert found["offhook_calls_live"] == 0
    assert found["offhook_calls_capacity"] == 100
    assert found["offhook_calls_ended_total{fault=nobody,slug=caller_hung_up}"] == 1
    assert found["offhook_barge_ins_total"] == 1
    assert found["offhook_barge_in_seconds_bucket{le=+Inf}"] >= 1
    assert found["offhook_turn_seconds_count{stage=first_played}"] >= 1
    assert 0 < found["offhook_heard_ratio_sum"] < found["offhook_heard_ratio_count"]
    assert found["offhook_added_delay_seconds_bucket{le=+Inf,to=agent}"] >= 1
    assert 0 < found["offhook_stream_seconds_total"] <= ended.duration_ms / 1000
    assert found["offhook_agent_connected_seconds_total"] > 0
    assert found["offhook_webhook_seconds_count{path=/twilio/voice,status=200}"] == 1
    assert found["offhook_subscriber_failures_total"] == 0
    assert found["process_resident_memory_bytes"] > 0


async def test_what_is_refused_is_counted_by_request_and_reason() -> None:
    async with whole_server(QUICK, capacity=1) as h:
        await h.post("/twilio/voice", signature="forged")
        first = await h.post("/twilio/voice", CallSid="CA" + "1" * 32)
        await h.post("/twilio/voice", CallSid="CA" + "2" * 32)
        assert re.search('name="token"', first.text)
        stream = await h.stream()
        stream.start("CA" + "3" * 32, "a-wrong-token")
        await stream.end()
        garbage = await h.stream()
        garbage.channel.send_text(b"no JSON")
        await garbage.end()
        with pytest.raises(Exception, match="403"):
            await h.stream(signature="forged")
        await until(lambda: h.server.calls.registry.live_count == 1)
        found = samples((await h.server.metrics.text()).decode())
    name = "offhook_calls_refused_total"
    assert {k: v for k, v in found.items() if k.startswith(name)} == {
        f"{name}{{reason=a wrong signature,request=webhook}}": 1,
        f"{name}{{reason=at capacity,request=webhook}}": 1,
        f"{name}{{reason=an unknown token,request=stream}}": 1,
        f"{name}{{reason=no media-stream message,request=stream}}": 1,
        f"{name}{{reason=a wrong signature,request=upgrade}}": 1,
    }
    assert found["offhook_webhook_seconds_count{path=/twilio/voice,status=403}"] == 1
