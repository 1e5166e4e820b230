"""What metrics cost: microseconds to count an event, milliseconds to write a scrape."""

import asyncio
import time

from offhook.events import types as events
from offhook.events.types import CallEvent
from offhook.observability.metrics.meter import Metrics

ROUNDS = 20_000
EVENTS = (
    events.CallBegan("AC", "seed", "", "inbound", "webhook", "", "", "{}"),
    events.CallStarted(),
    events.Answered(400, 450),
    events.LatencyReported(10, 300, 90, 400),
    events.AgentSaid("a b", "a b c d", 900, interrupted=True),
    events.FunctionAnswered("1", "book", "answered", "", 20),
    events.CallEnded("nobody", "caller_hung_up", "", "", 1000),
)


async def main() -> None:
    metrics = Metrics()
    began = time.perf_counter()
    for at_ms in range(ROUNDS):
        for event in EVENTS:
            metrics(CallEvent("CA1", at_ms, event))
    took = time.perf_counter() - began
    print(f"{took / ROUNDS / len(EVENTS) * 1e6:.1f} µs an event")
    began = time.perf_counter()
    text = await metrics.text()
    took = time.perf_counter() - began
    print(f"{took * 1000:.1f} ms a scrape of {len(text.splitlines())} lines")


asyncio.run(main())
