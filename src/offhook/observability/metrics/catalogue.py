"""Every metric that there is. The scrape, the dashboard and docs/operating.md are made from it.

Times are in seconds, as Prometheus has them. No label is a CallSid, a number or anything else of
which there may be any many.
"""

from dataclasses import dataclass
from typing import Final, Literal

from offhook.events.types import DELAY_EDGES_MS


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One metric. `unit` is none for a plain count; a histogram has upper edges in its unit.

    A histogram is not `summed` when only the bucket of each value is known. Of a gauge that is
    `common` each server tells the same: that of the database which they share.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    unit: Literal["", "seconds", "bytes", "minutes", "ratio"] = ""
    labels: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    summed: bool = True
    common: bool = False


DELAY_S: Final = tuple(edge / 1000 for edge in DELAY_EDGES_MS)
TURN_S: Final = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
CALL_S: Final = (5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
RATIO: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

# --- calls ---

CALLS_LIVE: Final = Metric(
    "offhook_calls_live", "gauge", "Calls that have a stream, or are about to have one."
)
CALLS_CAPACITY: Final = Metric("offhook_calls_capacity", "gauge", "server.capacity: calls at most.")
DRAINING: Final = Metric("offhook_draining", "gauge", "1 while the server takes no new call.")
CALLS_ADMITTED: Final = Metric(
    "offhook_calls_admitted_total",
    "counter",
    "Calls that were admitted, by the way in which they came: webhook, bin or api.",
    labels=("by",),
)
CALLS_REFUSED: Final = Metric(
    "offhook_calls_refused_total",
    "counter",
    "What was refused, by kind of request (webhook, upgrade, stream) and reason (docs/errors.md).",
    labels=("request", "reason"),
)
CALLS_ENDED: Final = Metric(
    "offhook_calls_ended_total",
    "counter",
    "Calls that are over, by whose doing and how (docs/errors.md, Endings).",
    labels=("fault", "slug"),
)
CALL_SECONDS: Final = Metric(
    "offhook_call_seconds", "histogram", "How long calls lasted.", "seconds", edges=CALL_S
)

# --- turns ---

TURN_SECONDS: Final = Metric(
    "offhook_turn_seconds",
    "histogram",
    "Time of a turn. listen, think, speak and total are Deepgram's own account; first_byte and"
    " first_played are ours, from the caller's confirmed words to the agent's first byte, and to"
    " the moment at which Twilio had played 20 ms of it.",
    "seconds",
    ("stage",),
    TURN_S,
)
BARGE_INS: Final = Metric(
    "offhook_barge_ins_total", "counter", "Utterances of the agent that the caller cut."
)
BARGE_IN_SECONDS: Final = Metric(
    "offhook_barge_in_seconds",
    "histogram",
    "From the wake-up of the process by a barge-in until `clear` was written to Twilio."
    " Counted at the end of each call.",
    "seconds",
    edges=DELAY_S,
    summed=False,
)
HEARD_RATIO: Final = Metric(
    "offhook_heard_ratio",
    "histogram",
    "Of each utterance of the agent, the share of its words that the caller heard.",
    "ratio",
    edges=RATIO,
)
ADDED_DELAY: Final = Metric(
    "offhook_added_delay_seconds",
    "histogram",
    "How long this process held a piece of audio that it passed on, by the leg that it went to."
    " One piece in 50 is sampled; counted at the end of each call.",
    "seconds",
    ("to",),
    DELAY_S,
    summed=False,
)

# --- what goes wrong ---

AUDIO_DROPPED: Final = Metric(
    "offhook_audio_dropped_seconds_total",
    "counter",
    "Audio on its way to a leg that was thrown away: late (after a barge-in) or full (no room).",
    "seconds",
    ("leg", "reason"),
)
FAULTS: Final = Metric(
    "offhook_faults_total", "counter", "Messages that break a leg's protocol.", labels=("leg",)
)
AGENT_WARNINGS: Final = Metric(
    "offhook_agent_warnings_total",
    "counter",
    "Deepgram's warnings, and its errors (fatal=true), by its code.",
    labels=("code", "fatal"),
)
STREAM_ERRORS: Final = Metric(
    "offhook_stream_errors_total", "counter", "Twilio's stream errors (319xx).", labels=("code",)
)
SUBSCRIBER_FAILURES: Final = Metric(
    "offhook_subscriber_failures_total", "counter", "Events of which a subscriber raised."
)

INTERNAL_FAULTS: Final = Metric(
    "offhook_internal_faults_total",
    "counter",
    "Exceptions that no code expected, caught where they end at most one call. The log has each.",
)

PARTS_FAILING: Final = Metric(
    "offhook_parts_failing",
    "gauge",
    "Threads and tasks of the server that fail or are dead; /readyz names them.",
)

# --- functions ---

FUNCTION_CALLS: Final = Metric(
    "offhook_function_calls_total",
    "counter",
    "Functions that the agent called, by what became of it. Those that nobody here has are under"
    " one name, (unknown).",
    labels=("function", "outcome"),
)
FUNCTION_SECONDS: Final = Metric(
    "offhook_function_seconds",
    "histogram",
    "From the call of a function to the answer that the agent got.",
    "seconds",
    ("function",),
    TURN_S,
)

DIALS: Final = Metric(
    "offhook_dials_total",
    "counter",
    "Numbers that Twilio was told to ring, by kind: transfer, warm-transfer, fallback or busy.",
    labels=("kind",),
)
DIALS_REFUSED: Final = Metric(
    "offhook_dials_refused_total",
    "counter",
    "Calls, transfers and texts that `dialling` forbids, by kind and reason (design/guard.md).",
    labels=("kind", "reason"),
)
HELD_SECONDS: Final = Metric(
    "offhook_interpreter_held_seconds_total",
    "counter",
    "Functions stopped every call of the process for so long, from 0.3 s on at a time.",
    "seconds",
    ("function",),
)

# --- vendors ---

AGENT_CONNECT_SECONDS: Final = Metric(
    "offhook_agent_connect_seconds",
    "histogram",
    "From dialling Deepgram to its word that the Settings are applied.",
    "seconds",
    edges=TURN_S,
)
WEBHOOK_SECONDS: Final = Metric(
    "offhook_webhook_seconds",
    "histogram",
    "How long Twilio waited for an answer, by path and status.",
    "seconds",
    ("path", "status"),
    TURN_S,
)

# --- meters ---

AGENT_SECONDS: Final = Metric(
    "offhook_agent_connected_seconds_total",
    "counter",
    "Deepgram sockets were open so long; it bills this. Counted when one closes.",
    "seconds",
)
STREAM_SECONDS: Final = Metric(
    "offhook_stream_seconds_total",
    "counter",
    "Twilio's media streams were up so long. Counted at the end of each call.",
    "seconds",
)
TWILIO_SECONDS: Final = Metric(
    "offhook_twilio_seconds_total",
    "counter",
    "Calls were on the line so long, as Twilio's status callback says.",
    "seconds",
)
TWILIO_MINUTES: Final = Metric(
    "offhook_twilio_billed_minutes_total",
    "counter",
    "The same in begun minutes of each call, which Twilio bills.",
    "minutes",
)

# --- the process ---

LOOP_LAG: Final = Metric(
    "offhook_loop_lag_seconds",
    "histogram",
    "How late the event loop is, ten times a second.",
    "seconds",
    edges=(*DELAY_S, 0.5, 1.0),
)
PENDING_STREAMS: Final = Metric(
    "offhook_pending_streams", "gauge", "Streams that have not identified their call yet."
)
TOOL_THREADS: Final = Metric(
    "offhook_tool_threads", "gauge", "Threads in which functions run, or hang; 32 at most."
)
TOOL_THREADS_STUCK: Final = Metric(
    "offhook_tool_threads_stuck",
    "gauge",
    "Of these threads, those whose function nobody waits for any more.",
)
RECORD_WAITING: Final = Metric(
    "offhook_record_lines_waiting", "gauge", "Of the record, lines that the database has not yet."
)
RECORD_JOURNAL: Final = Metric(
    "offhook_record_journal_ratio",
    "gauge",
    "How much of the journal, which takes lines while the database does not, is in use.",
    "ratio",
)
RECORD_LOST: Final = Metric(
    "offhook_record_lines_lost_total", "counter", "Lines of the record that no disk had room for."
)
AFTER_CALL_DELIVERED: Final = Metric(
    "offhook_after_call_delivered_total", "counter", "After-call webhooks that the target took."
)
AFTER_CALL_FAILED: Final = Metric(
    "offhook_after_call_failed_total",
    "counter",
    "Attempts at one that it did not take; another follows.",
)
AFTER_CALL_GIVEN_UP: Final = Metric(
    "offhook_after_call_given_up_total", "counter", "After-call webhooks that are not tried again."
)
AFTER_CALL_WAITING: Final = Metric(
    "offhook_after_call_waiting",
    "gauge",
    "After-call webhooks that are to be delivered, by whichever server of this database.",
    common=True,
)
AFTER_CALL_OLDEST: Final = Metric(
    "offhook_after_call_oldest_seconds",
    "gauge",
    "How long ago the call of the oldest of them ended. It is looked every 10 s.",
    "seconds",
    common=True,
)
LOG_WAITING: Final = Metric(
    "offhook_log_waiting_bytes", "gauge", "Of the log, what waits to be written to stderr.", "bytes"
)
LOG_LOST: Final = Metric(
    "offhook_log_lines_lost_total", "counter", "Lines for which stderr had no room."
)

SECTIONS: Final = {
    "Calls": (
        CALLS_LIVE,
        CALLS_CAPACITY,
        DRAINING,
        CALLS_ADMITTED,
        CALLS_REFUSED,
        CALLS_ENDED,
        CALL_SECONDS,
    ),
    "Turns": (TURN_SECONDS, BARGE_INS, BARGE_IN_SECONDS, HEARD_RATIO, ADDED_DELAY),
    "Trouble": (
        AUDIO_DROPPED,
        FAULTS,
        AGENT_WARNINGS,
        STREAM_ERRORS,
        SUBSCRIBER_FAILURES,
        INTERNAL_FAULTS,
        PARTS_FAILING,
    ),
    "Functions": (
        FUNCTION_CALLS,
        FUNCTION_SECONDS,
        TOOL_THREADS,
        TOOL_THREADS_STUCK,
        HELD_SECONDS,
        DIALS,
        DIALS_REFUSED,
    ),
    "Vendors": (
        AGENT_CONNECT_SECONDS,
        WEBHOOK_SECONDS,
        AGENT_SECONDS,
        STREAM_SECONDS,
        TWILIO_SECONDS,
        TWILIO_MINUTES,
    ),
    "Records": (RECORD_WAITING, RECORD_JOURNAL, RECORD_LOST),
    "After calls": (
        AFTER_CALL_DELIVERED,
        AFTER_CALL_FAILED,
        AFTER_CALL_GIVEN_UP,
        AFTER_CALL_WAITING,
        AFTER_CALL_OLDEST,
    ),
    "Process": (LOOP_LAG, PENDING_STREAMS, LOG_WAITING, LOG_LOST),
}
"""All of them, under the headings of the dashboard."""
