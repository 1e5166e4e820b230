"""The page of `offhook calls show`: one call from its beginning to its cost."""

from typing import Final

from rich.text import Text

from offhook.cli.calls import formatting
from offhook.observability.console_output import STYLES, WARNING, inert
from offhook.records.models import (
    AgentSessionRecord,
    CallRecord,
    Delays,
    DialRecord,
    EventRecord,
    FunctionRecord,
    KeyRecord,
    MessageRecord,
    Percentiles,
    TimelineEntry,
    TroubleRecord,
    TurnRecord,
    UtteranceRecord,
)

INDENT: Final = 12
"""Columns before what a row says; a line of the timeline has its party there."""


def page(record: CallRecord, currency: str) -> list[Text]:
    """Return the lines of the page."""
    return [*_head(record), *_timeline(record), *_foot(record, currency)]


def _row(name: str, value: str) -> Text:
    return Text.assemble((f"{name:{INDENT}}", "bold"), inert(value))


def _head(record: CallRecord) -> list[Text]:
    call = record.call
    live = call.duration_ms is None
    lasts = "and is live" if live else f"{formatting.length(call.duration_ms)} long"
    rows = [
        _row("Call", call.sid),
        _row("began", f"{formatting.local(call.started_ms)}, {lasts}"),
        _row("from, to", " → ".join(map(formatting.party, (call.from_number, call.to_number)))),
        _row("agent", f"{call.agent} ({call.direction}, by {call.came_by})"),
    ]
    if record.variables:
        given = ", ".join(f"{name}={value}" for name, value in record.variables.items())
        rows.append(_row("variables", given))
    if record.lookup is not None:
        outcome = record.lookup.outcome.replace("_", " ")
        why = f": {record.lookup.why}" if record.lookup.why else ""
        rows.append(_row("lookup", f"{outcome} after {record.lookup.after_ms} ms{why}"))
    return rows


# --- The timeline --------------------------------------------------------------------------------


def _timeline(record: CallRecord) -> list[Text]:
    lines = [Text(), Text(f"{'ms':>9}", "dim")]
    if record.text_erased:
        lines.append(Text("           what was said has been erased"))
    lines += [_line(entry) for entry in record.timeline]
    return lines


def _line(entry: TimelineEntry) -> Text:
    line = Text().append(f"{entry.at_ms:>9}  ", "dim")
    if isinstance(entry, UtteranceRecord):
        line.append(f"{inert(entry.who):8}", "cyan" if entry.who == "caller" else "green")
        return _said(line, entry)
    who, style, words = _happened(entry)
    line.append(f"{who:8}", style)
    return line.append(inert(words))


def _happened(
    entry: TimelineEntry,
) -> tuple[str, str, str]:
    """Return party, style and words of an entry that is not an utterance."""
    assert not isinstance(entry, UtteranceRecord), "`_said` prints utterances"
    match entry:
        case FunctionRecord():
            outcome = (entry.outcome or "not answered yet").replace("_", " ")
            took = "" if entry.after_ms is None else f", {entry.after_ms} ms"
            said = f": {entry.content}" if entry.content is not None else ""
            return "tool", "magenta", f"{entry.name}({entry.arguments}) → {outcome}{took}{said}"
        case KeyRecord():
            return "key", "cyan", entry.digit
        case MessageRecord():
            number = f", {entry.number}" if entry.number else ""
            return "message", "magenta", f"from {entry.from_name}{number}: {entry.text}"
        case DialRecord():
            destination = f" to {entry.destination}" if entry.destination else ""
            return "dial", "cyan", f"{entry.reason}{destination}: {entry.to_number}"
        case AgentSessionRecord():
            words = f"the agent is on the line after {entry.dialled_ms} ms ({entry.request_id})"
            return "call", "", words
        case TroubleRecord():
            parts = [entry.event, entry.leg or "", entry.code or "", entry.words]
            dropped = "" if entry.ms is None else f", {entry.ms} ms"
            return "trouble", STYLES["trouble"], f"{' '.join(filter(None, parts))}{dropped}"
        case TurnRecord():
            return "answer", "", _latencies(entry)
        case EventRecord():
            fields = ", ".join(f"{name} {value}" for name, value in entry.fields.items())
            return "call", "", entry.words or f"{entry.event} {fields}".rstrip()


def _said(line: Text, said: UtteranceRecord) -> Text:
    """Append what was heard, and the rest of an utterance that was cut."""
    line.append(inert(said.text))
    if said.text != said.intended:
        begins = said.text and said.intended.startswith(said.text)
        rest = said.intended[len(said.text) :].strip() if begins else said.intended
        line.append(f" ⟨not heard: {inert(rest)}⟩")
    if said.interrupted:
        about = ", estimated" if said.estimated else ""
        line.append(f" [cut after {said.heard_ms} ms{about}]", WARNING)
    return line


def _latencies(turn: TurnRecord) -> str:
    ours = [
        f"{name} {ms} ms"
        for name, ms in (("first byte", turn.first_byte_ms), ("played", turn.first_played_ms))
        if ms is not None
    ]
    deepgrams = [
        f"{name} {ms}"
        for name, ms in (
            ("hearing", turn.listen_ms),
            ("thinking", turn.think_ms),
            ("speaking", turn.speak_ms),
            ("all", turn.total_ms),
        )
        if ms is not None
    ]
    parts = [", ".join(ours)] if ours else []
    if deepgrams:
        parts.append(f"Deepgram: {', '.join(deepgrams)} ms")
    return "; ".join(parts)


# --- What remains --------------------------------------------------------------------------------


def _foot(record: CallRecord, currency: str) -> list[Text]:
    call, meters = record.call, record.meters
    lines = [Text()]
    if call.fault is not None:
        detail = f": {record.detail}" if record.detail else ""
        ended = formatting.ending(call.fault, call.slug or "", call.words or "")
        lines.append(_row("ended", f"{ended}{detail}"))
    if record.delays is not None:
        lines.append(_row("delays", _delays(record.delays)))
    billed = "not told yet"
    if call.came_by == "browser":
        billed = "none, as the call came from the browser"
    if meters.twilio_ms is not None:
        billed = f"{meters.twilio_minutes} min ({meters.twilio_ms} ms, {meters.twilio_status})"
    lines.append(_row("Twilio", f"{billed}; stream {meters.stream_minutes} min"))
    lines.append(_row("Deepgram", f"{meters.deepgram_ms} ms ({meters.deepgram_tier})"))
    if call.cost_micros is not None:
        lines.append(_row("cost", formatting.money(call.cost_micros, currency)))
    if call.recording is not None:
        faults = f" ({record.recording_fault})" if record.recording_fault else ""
        lines.append(_row("recording", f"{call.recording}{faults}"))
    return lines


def _delays(delays: Delays) -> str:
    """Return the longest delays of audio in this process."""
    parts = [
        f"{name} {_percentiles(of)}"
        for name, of in (
            ("to the agent", delays.to_agent),
            ("to the caller", delays.to_caller),
            ("barge-in to clear", delays.to_clear),
        )
        if of.samples
    ]
    return "; ".join(parts) or "no samples"


def _percentiles(of: Percentiles) -> str:
    edges = ", ".join(
        f"p{name} {'over 250' if ms is None else f'up to {ms}'} ms"
        for name, ms in (("50", of.p50_ms), ("95", of.p95_ms))
    )
    return f"{edges} ({of.samples} samples)"
