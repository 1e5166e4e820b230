"""Every metric. The scrape, the dashboard and docs/metrics.md are made from this module.

Times are in seconds, as is usual for Prometheus. No label is a CallSid, a number or another value
without a bound on its variety.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from offhook.events.types import DELAY_EDGES_MS

Unit: TypeAlias = Literal["", "seconds", "bytes", "minutes", "ratio"]


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """A metric. `unit` is empty for a plain count; a histogram has upper edges in its unit.

    A histogram is not `summed` when only the bucket of each value is known. A gauge that is
    `common` has the same value in each process and on each server: that of the database which they
    share.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    unit: Unit = ""
    labels: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    summed: bool = True
    common: bool = False


def _counter(name: str, help_: str, labels: str = "", unit: Unit = "") -> Metric:
    return Metric(name, "counter", help_, unit, tuple(labels.split()))


def _gauge(name: str, help_: str, *, unit: Unit = "", common: bool = False) -> Metric:
    return Metric(name, "gauge", help_, unit, common=common)


def _histogram(
    name: str,
    help_: str,
    edges: tuple[float, ...],
    labels: str = "",
    *,
    unit: Unit = "seconds",
    summed: bool = True,
) -> Metric:
    return Metric(name, "histogram", help_, unit, tuple(labels.split()), edges, summed)


DELAY_S: Final = tuple(edge / 1000 for edge in DELAY_EDGES_MS)
TURN_S: Final = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
CALL_S: Final = (5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
RATIO: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

# --- calls ---

CALLS_LIVE: Final = _gauge(
    "offhook_calls_live", "Calls that have a stream, or are about to have one."
)
CALLS_CAPACITY: Final = _gauge(
    "offhook_calls_capacity", "server.capacity: calls at most; 0 while draining."
)
SESSIONS: Final = _gauge(
    "offhook_agent_sessions", "Deepgram's sessions of this server that are open, or being dialled."
)
SESSIONS_LIMIT: Final = _gauge(
    "offhook_agent_sessions_limit",
    "Sessions that may be open now: deepgram.max_sessions, or fewer after a 429. 0: not known.",
)
SESSIONS_REFUSED: Final = _counter(
    "offhook_agent_sessions_refused_total", "Dials that Deepgram refused with 429: too many."
)
LATE: Final = _gauge(
    "offhook_overloaded", "1 while new calls get `busy` because the event loop is late."
)
DRAINING: Final = _gauge("offhook_draining", "1 while the server takes no new call.")
CALLS_ADMITTED: Final = _counter(
    "offhook_calls_admitted_total",
    "Calls that were admitted, by the way in which they came: webhook, bin, api or browser.",
    "by",
)
CALLS_REFUSED: Final = _counter(
    "offhook_calls_refused_total",
    "What was refused, by kind of request (webhook, upgrade, stream, browser) and reason"
    " (docs/errors.md).",
    "request reason",
)
CALLS_ENDED: Final = _counter(
    "offhook_calls_ended_total",
    "Calls that are over, by whose doing and how (docs/errors.md, Endings).",
    "fault slug",
)
CALLS_TAKEN_OVER: Final = _counter(
    "offhook_calls_taken_over_total",
    "Calls that this process has taken over from one that died or gave them up.",
)
CALLS_RELEASED: Final = _counter(
    "offhook_calls_released_total",
    "Calls that another process goes on with: given up in good order (handed_over), or found to be"
    " its own after a pause (fenced).",
    "why",
)
CALL_SECONDS: Final = _histogram("offhook_call_seconds", "How long calls lasted.", CALL_S)

# --- turns ---

TURN_SECONDS: Final = _histogram(
    "offhook_turn_seconds",
    "Time of a turn. listen, think, speak and total are Deepgram's own account; first_byte and"
    " first_played are ours, from the caller's confirmed words to the agent's first byte, and to"
    " the moment at which Twilio had played 20 ms of it.",
    TURN_S,
    "stage",
)
BARGE_INS: Final = _counter(
    "offhook_barge_ins_total", "Utterances of the agent that the caller cut."
)
BARGE_INS_SUPPRESSED: Final = _counter(
    "offhook_barge_ins_suppressed_total",
    "Sounds that did not cut the agent: its own echo, too short, or during a protected greeting.",
    "cause",
)
BARGE_IN_SECONDS: Final = _histogram(
    "offhook_barge_in_seconds",
    "From the wake-up of the process by a barge-in until `clear` was written to Twilio."
    " Counted at the end of each call.",
    DELAY_S,
    summed=False,
)
HEARD_RATIO: Final = _histogram(
    "offhook_heard_ratio",
    "Of each utterance of the agent, the share of its words that the caller heard.",
    RATIO,
    unit="ratio",
)
ADDED_DELAY: Final = _histogram(
    "offhook_added_delay_seconds",
    "How long this process held a piece of audio that it passed on, by the leg that it went to."
    " One piece in 50 is sampled; counted at the end of each call.",
    DELAY_S,
    "to",
    summed=False,
)

# --- what goes wrong ---

AUDIO_DROPPED: Final = _counter(
    "offhook_audio_dropped_seconds_total",
    "Audio on its way to a leg that was thrown away: late (after a barge-in) or full (no room).",
    "leg reason",
    unit="seconds",
)
FAULTS: Final = _counter("offhook_faults_total", "Messages that break a leg's protocol.", "leg")
AGENT_WARNINGS: Final = _counter(
    "offhook_agent_warnings_total",
    "Deepgram's warnings, and its errors (fatal=true), by its code.",
    "code fatal",
)
AGENT_ROLLOVERS: Final = _counter(
    "offhook_agent_rollovers_total",
    "Spare sessions of Deepgram that took over from one about to end (`done`), or failed, and why.",
    "outcome",
)
STREAM_ERRORS: Final = _counter(
    "offhook_stream_errors_total", "Twilio's stream errors (319xx).", "code"
)
SUBSCRIBER_FAILURES: Final = _counter(
    "offhook_subscriber_failures_total", "Events for which a subscriber raised an exception."
)

INTERNAL_FAULTS: Final = _counter(
    "offhook_internal_faults_total",
    "Exceptions that no code expected, caught where they end at most one call. The log has each.",
)

PARTS_FAILING: Final = _gauge(
    "offhook_parts_failing",
    "Threads and tasks of the server that fail or are dead; /readyz names them.",
)

# --- functions ---

FUNCTION_CALLS: Final = _counter(
    "offhook_function_calls_total",
    "Calls of functions by the agent, by outcome. Functions that do not exist are counted under one"
    " name, (unknown).",
    "function outcome",
)
FUNCTION_SECONDS: Final = _histogram(
    "offhook_function_seconds",
    "From the call of a function to the answer that the agent got.",
    TURN_S,
    "function",
)

DIALS: Final = _counter(
    "offhook_dials_total",
    "Numbers that Twilio was told to ring, by kind: transfer, warm-transfer, fallback or busy.",
    "kind",
)
DIALS_REFUSED: Final = _counter(
    "offhook_dials_refused_total",
    "Calls, transfers and texts that `dialling` forbids, by kind and reason.",
    "kind reason",
)
HELD_SECONDS: Final = _counter(
    "offhook_interpreter_held_seconds_total",
    "Time for which functions stopped every call of the process, where it was 0.3 s or more.",
    "function",
    unit="seconds",
)

# --- vendors ---

AGENT_CONNECT_SECONDS: Final = _histogram(
    "offhook_agent_connect_seconds",
    "From dialling Deepgram to its word that the Settings are applied.",
    TURN_S,
)
WEBHOOK_SECONDS: Final = _histogram(
    "offhook_webhook_seconds",
    "How long Twilio waited for an answer, by path and status.",
    TURN_S,
    "path status",
)

# --- meters ---

AGENT_SECONDS: Final = _counter(
    "offhook_agent_connected_seconds_total",
    "Time for which Deepgram sockets were open, which Deepgram bills. Counted when one closes.",
    unit="seconds",
)
STREAM_SECONDS: Final = _counter(
    "offhook_stream_seconds_total",
    "Time for which Twilio's media streams were open. Counted at the end of each call.",
    unit="seconds",
)
TWILIO_SECONDS: Final = _counter(
    "offhook_twilio_seconds_total",
    "Length of calls, as Twilio's status callback says.",
    unit="seconds",
)
TWILIO_MINUTES: Final = _counter(
    "offhook_twilio_billed_minutes_total",
    "Length of calls in minutes, each call rounded up, as Twilio bills them.",
    unit="minutes",
)

# --- the process ---

LOOP_LAG: Final = _histogram(
    "offhook_loop_lag_seconds",
    "How late the event loop is, measured ten times a second.",
    (*DELAY_S, 0.5, 1.0),
)
TASKS: Final = _gauge(
    "offhook_tasks",
    "Tasks of the event loop that answers calls. Each call has some, until its end.",
)
OPERATOR_TASKS: Final = _gauge(
    "offhook_operator_tasks", "Tasks of the operator process's event loop."
)
PENDING_STREAMS: Final = _gauge(
    "offhook_pending_streams", "Streams that have not identified their call yet."
)
TOOL_THREADS: Final = _gauge(
    "offhook_tool_threads", "Threads in which functions run, or hang; 32 at most."
)
TOOL_THREADS_STUCK: Final = _gauge(
    "offhook_tool_threads_stuck",
    "Threads of functions for whose result nobody waits any more.",
)
TOOL_PROCESSES: Final = _gauge(
    "offhook_tool_processes", "Processes in which functions run, or will run; 8 at most."
)
TOOL_PROCESSES_DIED: Final = _counter(
    "offhook_tool_processes_died_total",
    "Processes of functions that died before their function returned.",
)
RECORD_WAITING: Final = _gauge(
    "offhook_record_lines_waiting", "Lines of the record that are not in the database yet."
)
RECORD_LAG: Final = _gauge(
    "offhook_record_lag_seconds",
    "Age of the oldest line that is not in the database yet.",
    unit="seconds",
)
RECORD_JOURNAL: Final = _gauge(
    "offhook_record_journal_ratio",
    "Share of `records.journal_limit` in use by lines that are not in the database yet.",
    unit="ratio",
)
RECORD_LOST: Final = _counter(
    "offhook_record_lines_lost_total",
    "Lines of the record that neither disk nor memory had room for.",
)
RECORD_REFUSED: Final = _counter(
    "offhook_record_lines_refused_total",
    "Lines that a node wrote of calls which another one had taken over before: E-REC-09.",
)

# --- more than one machine ---

FLEET_AWAY: Final = _gauge(
    "offhook_fleet_directory_away", "1 while the database of the fleet does not answer."
)
FLEET_PROCESSES: Final = _gauge(
    "offhook_fleet_processes", "Call processes of all nodes that are alive.", common=True
)
FLEET_NODES: Final = _gauge(
    "offhook_fleet_nodes", "Nodes that have a call process which is alive.", common=True
)
FLEET_SESSIONS: Final = _gauge(
    "offhook_fleet_sessions", "Agent sessions that all nodes have taken.", common=True
)
FLEET_SESSIONS_LIMIT: Final = _gauge(
    "offhook_fleet_sessions_limit", "Agent sessions that all nodes may take; 0: any.", common=True
)
FLEET_LINES_WAITING: Final = _gauge(
    "offhook_fleet_lines_waiting_bytes",
    "Lines of live calls that other machines could not read yet.",
    unit="bytes",
)
FLEET_LINES_LOST: Final = _counter(
    "offhook_fleet_lines_lost_total",
    "Lines of live calls that other machines never get, as memory had no room for them.",
)

# --- after calls ---

AFTER_CALL_DELIVERED: Final = _counter(
    "offhook_after_call_delivered_total", "After-call webhooks that the target took."
)
AFTER_CALL_FAILED: Final = _counter(
    "offhook_after_call_failed_total",
    "Attempts to deliver an after-call webhook that failed; another follows.",
)
AFTER_CALL_GIVEN_UP: Final = _counter(
    "offhook_after_call_given_up_total", "After-call webhooks that are not tried again."
)
AFTER_CALL_WAITING: Final = _gauge(
    "offhook_after_call_waiting",
    "After-call webhooks that are to be delivered, by whichever server of this database.",
    common=True,
)
AFTER_CALL_OLDEST: Final = _gauge(
    "offhook_after_call_oldest_seconds",
    "Time since the end of the call whose after-call webhook waits longest. Measured every 10 s.",
    unit="seconds",
    common=True,
)
CALL_PROCESSES: Final = _gauge(
    "offhook_call_processes",
    "Call processes that run. There are two while one takes over from another.",
)
CALL_PROCESSES_SILENT: Final = _gauge(
    "offhook_call_processes_silent",
    "Call processes that have not answered within 2 s: their part of this page is missing.",
)
CONSOLE_DROPPED: Final = _counter(
    "offhook_console_messages_dropped_total",
    "Messages with audio that were dropped for pages of the console that read too slowly.",
)
OPERATOR_FAULTS: Final = _counter(
    "offhook_operator_internal_faults_total",
    "Exceptions that no code of the operator's side expected. The log has each; no call ends.",
)
LOG_WAITING: Final = _gauge(
    "offhook_log_waiting_bytes", "Bytes of the log that wait to be written to stderr.", unit="bytes"
)
LOG_LOST: Final = _counter("offhook_log_lines_lost_total", "Lines for which stderr had no room.")

SECTIONS: Final = {
    "Calls": (
        CALLS_LIVE,
        CALLS_CAPACITY,
        SESSIONS,
        SESSIONS_LIMIT,
        SESSIONS_REFUSED,
        LATE,
        DRAINING,
        CALLS_ADMITTED,
        CALLS_REFUSED,
        CALLS_ENDED,
        CALLS_TAKEN_OVER,
        CALLS_RELEASED,
        CALL_SECONDS,
    ),
    "Turns": (
        TURN_SECONDS,
        BARGE_INS,
        BARGE_INS_SUPPRESSED,
        BARGE_IN_SECONDS,
        HEARD_RATIO,
        ADDED_DELAY,
    ),
    "Trouble": (
        AUDIO_DROPPED,
        FAULTS,
        AGENT_WARNINGS,
        AGENT_ROLLOVERS,
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
        TOOL_PROCESSES,
        TOOL_PROCESSES_DIED,
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
    "Records": (RECORD_WAITING, RECORD_LAG, RECORD_JOURNAL, RECORD_LOST, RECORD_REFUSED),
    "Fleet": (
        FLEET_AWAY,
        FLEET_PROCESSES,
        FLEET_NODES,
        FLEET_SESSIONS,
        FLEET_SESSIONS_LIMIT,
        FLEET_LINES_WAITING,
        FLEET_LINES_LOST,
    ),
    "After calls": (
        AFTER_CALL_DELIVERED,
        AFTER_CALL_FAILED,
        AFTER_CALL_GIVEN_UP,
        AFTER_CALL_WAITING,
        AFTER_CALL_OLDEST,
    ),
    "Process": (
        LOOP_LAG,
        TASKS,
        OPERATOR_TASKS,
        PENDING_STREAMS,
        LOG_WAITING,
        LOG_LOST,
        CALL_PROCESSES,
        CALL_PROCESSES_SILENT,
        CONSOLE_DROPPED,
        OPERATOR_FAULTS,
    ),
}
"""All metrics, under the headings of the dashboard."""

OPERATOR: Final = (
    RECORD_REFUSED,
    AFTER_CALL_DELIVERED,
    AFTER_CALL_FAILED,
    AFTER_CALL_GIVEN_UP,
    AFTER_CALL_WAITING,
    AFTER_CALL_OLDEST,
    CALL_PROCESSES,
    CALL_PROCESSES_SILENT,
    CONSOLE_DROPPED,
    OPERATOR_FAULTS,
    OPERATOR_TASKS,
)
"""Metrics of the operator's process. It adds those of the call processes to its page."""

CALL_PROCESS: Final = tuple(
    metric for section in SECTIONS.values() for metric in section if metric not in OPERATOR
)
"""Metrics of a call process."""
