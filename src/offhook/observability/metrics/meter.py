"""Metrics of a server: a subscriber that counts, and the scrape.

Counting is a few dictionary operations, on the event loop. Counters of prometheus-client lock, and
cannot take counts that were made elsewhere (DelaysSampled).
"""

import asyncio
import logging
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Final, Literal

from offhook.events import types as events
from offhook.observability.metrics import catalogue
from offhook.observability.metrics.catalogue import Metric
from offhook.observability.metrics.text_format import (
    CONTENT_TYPE,
    MetricText,
    Sample,
    of_this_process,
)

_log: Final = logging.getLogger("offhook.metrics")

SERIES_MAX: Final = 100
"""Series of one metric. A label that holds a vendor's or a user's word has no bound; what
comes beyond is counted under `other`."""

Labels = tuple[str, ...]


class _Histogram:
    __slots__ = ("counts", "sum")

    def __init__(self, metric: Metric) -> None:
        self.counts = [0] * (len(metric.edges) + 1)
        self.sum = 0.0


class Metrics:
    """The metrics of a server: counts of events and of direct calls; gauges are read at a scrape.

    An object belongs to one event loop and one server.
    """

    content_type: Final = CONTENT_TYPE

    def __init__(
        self, every: Collection[Metric] = catalogue.CALL_PROCESS, *, namespace: str = ""
    ) -> None:
        """Take the metrics that are counted, and a prefix for those of the process itself."""
        self._values: dict[Metric, dict[Labels, float]] = {
            metric: {} if metric.labels else {(): 0.0}
            for metric in every
            if metric.kind == "counter"
        }
        self._histograms: dict[Metric, dict[Labels, _Histogram]] = {
            metric: {} if metric.labels else {(): _Histogram(metric)}
            for metric in every
            if metric.kind == "histogram"
        }
        self._asked: dict[Metric, Callable[[], float]] = {}
        self._started: dict[str, int] = {}
        """Start of the stream in ms of the call, by CallSid, of calls with a stream."""
        self._namespace = namespace

    # --- counting ---

    def ask(self, metric: Metric, value: Callable[[], float]) -> None:
        """Register `value` for a gauge or counter without labels, to be called at every scrape."""
        self._asked[metric] = value

    def refused(
        self, request: Literal["webhook", "upgrade", "stream", "browser"], why: str
    ) -> None:
        """Count a refusal. `why` is one of few reasons: it becomes a label."""
        self._count(catalogue.CALLS_REFUSED, (request, why))

    def refused_stream(self, why: str) -> None:
        """Count a stream that was refused after its upgrade."""
        self.refused("stream", why)

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Observe the duration of a webhook."""
        self._observe(catalogue.WEBHOOK_SECONDS, seconds, (path, str(status)))

    def late(self, seconds: float) -> None:
        """Observe by how many seconds a beat of the event loop was late."""
        self._observe(catalogue.LOOP_LAG, seconds)

    def held(self, function: str, seconds: float) -> None:
        """Count the time for which a function held the interpreter."""
        self._count(catalogue.HELD_SECONDS, (function,), seconds)

    def __call__(self, call_event: events.CallEvent) -> None:
        """Count one event."""
        event = call_event.event
        match event:
            case events.CallBegan():
                self._count(catalogue.CALLS_ADMITTED, (event.by,))
            case events.CallStarted():
                self._started[call_event.call_sid] = call_event.at_ms
            case events.AgentConnected():
                self._observe(catalogue.AGENT_CONNECT_SECONDS, event.after_ms / 1000)
            case events.AgentDisconnected():
                self._count(catalogue.AGENT_SECONDS, (), event.connected_ms / 1000)
            case events.AgentRolledOver():
                self._count(catalogue.AGENT_ROLLOVERS, ("done",))
            case events.SpareAgentFailed():
                self._count(catalogue.AGENT_ROLLOVERS, (event.why,))
            case events.AgentSaid():
                intended = len(event.intended.split())
                if intended:
                    heard = len(event.text.split())
                    self._observe(catalogue.HEARD_RATIO, min(heard / intended, 1.0))
            case events.Answered():
                self._turn("first_byte", event.first_byte_ms)
                self._turn("first_played", event.first_played_ms)
            case events.LatencyReported():
                self._turn("listen", event.listen_ms)
                self._turn("think", event.think_ms)
                self._turn("speak", event.speak_ms)
                self._turn("total", event.total_ms)
            case events.Interrupted():
                self._count(catalogue.BARGE_INS)
            case events.InterruptionSuppressed():
                self._count(catalogue.BARGE_INS_SUPPRESSED, (event.cause,))
            case events.FunctionAnswered():
                name = "(unknown)" if event.outcome == "unknown" else event.name
                self._count(catalogue.FUNCTION_CALLS, (name, event.outcome))
                self._observe(catalogue.FUNCTION_SECONDS, event.after_ms / 1000, (name,))
            case events.FunctionDropped():
                self._count(catalogue.FUNCTION_CALLS, (event.name, event.why))
            case events.FunctionFinishedLate():
                self._count(catalogue.FUNCTION_CALLS, (event.name, "finished_late"))
            case events.Dialled():
                self._count(catalogue.DIALS, (event.kind,))
            case events.DialRefused():
                self._count(catalogue.DIALS_REFUSED, (event.kind, event.why))
            case events.AgentWarned():
                self._count(catalogue.AGENT_WARNINGS, (event.code, str(event.fatal).lower()))
            case events.ProtocolViolation():
                self._count(catalogue.FAULTS, (event.leg,))
            case events.AudioDropped():
                self._count(catalogue.AUDIO_DROPPED, (event.leg, event.why), event.ms / 1000)
            case events.StreamTrouble():
                self._count(catalogue.STREAM_ERRORS, (event.code,))
            case events.DelaysSampled():
                self._add(catalogue.ADDED_DELAY, event.to_agent, ("agent",))
                self._add(catalogue.ADDED_DELAY, event.to_caller, ("caller",))
                self._add(catalogue.BARGE_IN_SECONDS, event.to_clear, ())
            case events.CallEnded():
                self._ended(call_event, event)
            case events.CallReleased():
                self._count(catalogue.CALLS_RELEASED, (event.why,))
                self._left(call_event)
            case events.CallTakenOver():
                self._count(catalogue.CALLS_TAKEN_OVER, ())
            case events.CallBilled():
                self._count(catalogue.TWILIO_SECONDS, (), event.duration_ms / 1000)
                self._count(catalogue.TWILIO_MINUTES, (), -(-event.duration_ms // 60_000))
            case _:
                pass

    def _ended(self, call_event: events.CallEvent, event: events.CallEnded) -> None:
        self._count(catalogue.CALLS_ENDED, (event.fault, event.slug))
        self._observe(catalogue.CALL_SECONDS, event.duration_ms / 1000)
        self._left(call_event)

    def _left(self, call_event: events.CallEvent) -> None:
        started = self._started.pop(call_event.call_sid, None)
        if started is not None:
            self._count(catalogue.STREAM_SECONDS, (), (call_event.at_ms - started) / 1000)

    def _turn(self, stage: str, ms: int | None) -> None:
        if ms is not None:
            self._observe(catalogue.TURN_SECONDS, ms / 1000, (stage,))

    # --- how it is kept ---

    def _count(self, metric: Metric, labels: Labels = (), amount: float = 1) -> None:
        series = self._values[metric]
        if labels not in series:
            labels = _bounded(labels, len(series))
        series[labels] = series.get(labels, 0.0) + amount

    def _observe(self, metric: Metric, value: float, labels: Labels = ()) -> None:
        histogram = self._histogram(metric, labels)
        histogram.counts[bisect_left(metric.edges, value)] += 1
        histogram.sum += value

    def _add(self, metric: Metric, counts: Iterable[int], labels: Labels) -> None:
        """Add values of which only the bucket is known."""
        histogram = self._histogram(metric, labels)
        for index, count in enumerate(counts):
            histogram.counts[index] += count

    def _histogram(self, metric: Metric, labels: Labels) -> _Histogram:
        series = self._histograms[metric]
        known = series.get(labels)
        if known is None:
            labels = _bounded(labels, len(series))
            known = series.setdefault(labels, _Histogram(metric))
        return known

    # --- the scrape ---

    async def text(self) -> bytes:
        """Return all metrics at one moment, in Prometheus' text format, of `content_type`.

        The loop runs other work after each metric: to write a hundred lines takes about a
        millisecond, and the callers' audio must not wait for more.
        """
        parts = []
        for metric in (*self._texts(), *of_this_process(self._namespace)):
            parts.append(str(metric).encode())
            await asyncio.sleep(0)
        return b"".join(parts)

    def _texts(self) -> Iterator[MetricText]:
        for metric, ask in self._asked.items():
            try:
                value = float(ask())
            except Exception:  # noqa: BLE001 - one that cannot tell must not hide the others
                _log.exception("a fault in the metric %s", metric.name)
                continue
            yield _text(metric, [Sample(value)])
        for metric, values in self._values.items():
            if metric not in self._asked:
                yield _text(metric, [Sample(n, _named(metric, of)) for of, n in values.items()])
        for metric, histograms in self._histograms.items():
            yield _text(metric, _histogram_samples(metric, histograms))


def _text(metric: Metric, samples: Iterable[Sample]) -> MetricText:
    return MetricText(metric.name, metric.kind, metric.help, samples)


def _named(metric: Metric, labels: Labels) -> tuple[tuple[str, str], ...]:
    return tuple(zip(metric.labels, labels, strict=True))


def _histogram_samples(metric: Metric, histograms: Mapping[Labels, _Histogram]) -> Iterator[Sample]:
    edges = (*map(str, metric.edges), "+Inf")
    for labels, histogram in histograms.items():
        named, total = _named(metric, labels), 0
        for edge, count in zip(edges, histogram.counts, strict=True):
            total += count
            yield Sample(total, (*named, ("le", edge)), "_bucket")
        if metric.summed:
            yield Sample(total, named, "_count")
            yield Sample(histogram.sum, named, "_sum")


def _bounded(labels: Labels, series: int) -> Labels:
    return labels if series < SERIES_MAX else ("other",) * len(labels)
