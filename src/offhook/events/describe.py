"""Descriptions of events: a sentence for each, for the log, the terminal and other displays."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from offhook.events import types as events
from offhook.events.types import Event

_Sentences: TypeAlias = Mapping[type[Event], Callable[[Any], str]]


def describe(event: Event, *, texts: bool) -> str:
    """Return a sentence that describes an event.

    With `texts` the sentence holds what was said, pressed or dialled; without, no field of
    `events.PRIVATE`.
    """
    kind = type(event)
    sentence = (texts and _WITH_TEXTS.get(kind)) or _SENTENCES[kind]
    return sentence(event)


def _words(text: str) -> str:
    return text.replace("_", " ").replace("-", " ")


def _lookup(event: events.LookedUp) -> str:
    after = f", {event.why}" if event.why else f" after {event.after_ms} ms"
    return f"lookup: {_words(event.outcome)}{after}"


def _agent_said(event: events.AgentSaid) -> str:
    if event.interrupted:
        return f"{event.text} (interrupted after {event.heard_ms} ms)"
    return event.text or f"(not spoken: {event.intended})"


def _function_answered(event: events.FunctionAnswered) -> str:
    outcome = "" if event.outcome == "answered" else f"{_words(event.outcome)}: "
    return f"{event.name}, {event.after_ms} ms: {outcome}{event.content}"


def _finished_late(event: events.FunctionFinishedLate) -> str:
    return f"{event.name} has ended after {event.after_ms} ms, too late for the agent to know"


def _ended(event: events.CallEnded) -> str:
    detail = f" ({event.detail})" if event.detail else ""
    by = "" if event.fault == "nobody" else f", by {event.fault}"
    return f"ended, {event.slug}{by}: {event.words}{detail}"


def _handed_back(event: events.OperatorHandedBack) -> str:
    after_s = event.after_ms / 1000
    return f"{event.by} has handed the caller back after {after_s:.1f} s: {_words(event.why)}"


_SENTENCES: Final[_Sentences] = {
    events.CallBegan: lambda e: f"began, {e.direction}, by {e.by}, agent {e.agent!r}",
    events.LookedUp: _lookup,
    events.CallStarted: lambda e: "the caller is on the line",
    events.CallTakenOver: lambda e: (
        f"{f'node {e.node}' if e.node else 'another process'} goes on with the call,"
        f" {e.after_ms} ms after its last event"
    ),
    events.CallReleased: lambda e: (
        "this process has given the call up: another one goes on with it"
        if e.why == "handed_over"
        else "another process has taken the call over: this one drops it"
    ),
    events.AgentConnected: lambda e: (
        f"the agent is on the line, {e.after_ms} ms after it was dialled"
    ),
    events.AgentDisconnected: lambda e: (
        f"the agent was on the line for {e.connected_ms / 1000:.1f} s"
    ),
    events.AgentRolledOver: lambda e: (
        f"another session took over from the agent's, {e.after_ms} ms after it was dialled"
    ),
    events.SpareAgentFailed: lambda e: (
        f"no other session could take over: {_words(e.why)}{f', {e.code}' if e.code else ''}"
    ),
    events.AgentLost: lambda e: (
        f"the agent was lost: {_words(e.why)}{f' ({e.code})' if e.code else ''};"
        " another leg is dialled"
    ),
    events.AgentResumed: lambda e: f"the agent is back after {e.after_ms} ms",
    events.CallerSpeechBegan: lambda e: "the caller began to speak",
    events.CallerSaid: lambda e: "the caller spoke",
    events.AgentAnnounced: lambda e: "the agent is about to speak",
    events.AgentHeard: lambda e: f"{e.heard_ms} ms of what the agent says are heard",
    events.AgentSaid: lambda e: "the agent spoke",
    events.UtteranceRedacted: lambda e: (
        f"the {e.leg}'s audio is silenced from {e.start_ms} to {e.end_ms} ms"
    ),
    events.Answered: lambda e: (
        f"the agent answered after {e.first_byte_ms} ms, and was heard after {e.first_played_ms} ms"
    ),
    events.Interrupted: lambda e: (
        f"the caller interrupted the agent after {e.heard_ms} ms: {_words(e.cause)}"
    ),
    events.InterruptionSuppressed: lambda e: (
        f"a sound did not interrupt the agent: {_words(e.cause)}"
        + ("" if e.sound_ms is None else f", {e.sound_ms} ms long")
        + ("" if e.lag_ms is None else f", {e.lag_ms} ms after the agent")
    ),
    events.KeyPressed: lambda e: "a key was pressed",
    events.KeysEntered: lambda e: "keys were entered",
    events.SecretEntered: lambda e: (
        f"{e.count} digits were entered in secret"
        + ("" if e.complete else ", and they are not complete")
    ),
    events.FunctionCalled: lambda e: f"function {e.name!r} was called",
    events.FunctionAnswered: lambda e: (
        f"function {e.name!r}: {_words(e.outcome)} after {e.after_ms} ms"
    ),
    events.FunctionDropped: lambda e: (
        f"{e.name} was called off"
        if e.why == "cancelled"
        else f"{e.name} was not answered: the call is over"
    ),
    events.FunctionFinishedLate: _finished_late,
    events.AgentTold: lambda e: "the agent was told something",
    events.CallerLeft: lambda e: (
        f"the caller is transferred to {e.destination}"
        if e.handoff == "transfer"
        else "keys are pressed"
    ),
    events.Dialled: lambda e: (
        f"dialled: {e.kind}" + (f" to {e.destination!r}" if e.destination else "")
    ),
    events.TransferFailed: lambda e: f"the transfer to {e.destination} failed: {_words(e.why)}",
    events.CallerBack: lambda e: "the caller is back on the line",
    events.StreamBroke: lambda e: "the caller's stream broke off" + (f": {e.why}" if e.why else ""),
    events.AgentSwitched: lambda e: f"the agent is now {e.agent}",
    events.AgentMuted: lambda e: "the agent is muted" if e.on else "the agent is heard again",
    events.OperatorActed: lambda e: (
        f"{e.by}, {e.operation}{', refused' if e.outcome == 'refused' else ''}: {e.what}"
    ),
    events.ListeningBegan: lambda e: f"{e.by} listens",
    events.ListeningEnded: lambda e: f"{e.by} has listened for {e.after_ms / 1000:.1f} s",
    events.OperatorTookOver: lambda e: f"{e.by} speaks with the caller",
    events.OperatorHandedBack: _handed_back,
    events.DialRefused: lambda e: f"{e.kind} refused: {e.why}",
    events.MessageTaken: lambda e: "a message was taken",
    events.DoNotCall: lambda e: "the other party is never to be rung again",
    events.InterpreterHeld: lambda e: (
        f"{e.tool} held the interpreter for {e.held_ms} ms, at {e.where}"
    ),
    events.AgentWarned: lambda e: f"Deepgram: {e.code} {e.description}",
    events.CallerFrustrated: lambda e: (
        f"the caller seems frustrated, time {e.count}" + (", as often as it may be" * e.escalated)
    ),
    events.LatencyReported: lambda e: f"Deepgram: answered after {e.total_ms} ms",
    events.ProtocolViolation: lambda e: f"the {e.leg}'s socket sent {e.what}",
    events.AudioDropped: lambda e: f"{e.ms} ms of audio to the {e.leg} were dropped",
    events.StreamTrouble: lambda e: f"Twilio: {e.code} {e.words}",
    events.DelaysSampled: lambda e: f"{sum(e.to_agent) + sum(e.to_caller)} delays were sampled",
    events.RecordingStarted: lambda e: f"it is recorded into {e.name}",
    events.RecordingPaused: lambda e: "the recording is paused",
    events.RecordingResumed: lambda e: "the recording goes on",
    events.RecordingEnded: lambda e: f"the recording ends after {e.length_ms} ms",
    events.RecordingFailed: lambda e: f"from here on the call is not recorded: {e.why}",
    events.CallEnded: _ended,
    events.CallBilled: lambda e: f"Twilio: {e.status}, {e.duration_ms // 1000} s on the line",
}

_WITH_TEXTS: Final[_Sentences] = {
    events.CallerSaid: lambda e: e.text,
    events.AgentAnnounced: lambda e: f"about to say: {e.text}",
    events.AgentSaid: _agent_said,
    events.KeyPressed: lambda e: f"key {e.digit}",
    events.KeysEntered: lambda e: f"keys entered: {e.digits}",
    events.FunctionCalled: lambda e: f"{e.name}({e.arguments})",
    events.FunctionAnswered: _function_answered,
    events.FunctionFinishedLate: lambda e: f"{_finished_late(e)}: {e.content}",
    events.AgentTold: lambda e: f"the agent is told: {e.text}",
    events.OperatorHandedBack: lambda e: _handed_back(e) + (f" ({e.note})" if e.note else ""),
    events.Dialled: lambda e: f"{e.destination or e.kind}: {e.to} is rung",
    events.DialRefused: lambda e: f"{e.kind} to {e.to} refused: {e.why}",
    events.MessageTaken: lambda e: (
        f"message of {e.from_name}{f', {e.number}' if e.number else ''}: {e.text}"
    ),
    events.DoNotCall: lambda e: f"{e.number} is never to be rung again",
}
"""Sentences that hold what was said. Every other event has the same sentence for all readers."""
