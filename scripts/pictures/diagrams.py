"""The diagrams: a call, a transfer, a call that is placed, the way to the record, a drain."""

from collections.abc import Callable
from typing import Final

from scripts.pictures.sequence import Part, Says, drawn
from scripts.pictures.svg import INK, OURS, Drawing, width_of


def call() -> str:
    """Draw a call, from dialling to its record."""
    return drawn(
        "A call, from dialling to its record",
        "The caller dials. Twilio asks Offhook, which dials Deepgram and has Twilio open a stream."
        " Audio passes in both directions until somebody hangs up; the record has it all.",
        ["Caller", "Twilio", "Offhook", "Deepgram", "Record"],
        [
            Part("The call comes in"),
            Says("Caller", "Twilio", "dials the number"),
            Says("Twilio", "Offhook", "POST /twilio/voice, signed"),
            Says("Offhook", "Deepgram", "opens a session, sends Settings"),
            Says("Offhook", "Twilio", "TwiML: Connect, Stream"),
            Says("Twilio", "Offhook", "WebSocket /twilio, start"),
            Says("Deepgram", "Offhook", "SettingsApplied, the greeting's audio"),
            Says("Offhook", "Twilio", "audio and marks"),
            Part("They talk"),
            Says("Twilio", "Offhook", "the caller's audio, every 20 ms", repeats=True),
            Says("Offhook", "Deepgram", "the same audio, at once", repeats=True),
            Says("Deepgram", "Offhook", "the agent's audio and words", repeats=True),
            Says("Offhook", "Record", "what was said, and what of it was heard", repeats=True),
            Part("The caller interrupts"),
            Says("Deepgram", "Offhook", "UserStartedSpeaking"),
            Says("Offhook", "Twilio", "clear: play no more"),
            Part("The agent needs something"),
            Says("Deepgram", "Offhook", "FunctionCallRequest"),
            Says("Offhook", "Offhook", "runs your Python function"),
            Says("Offhook", "Deepgram", "FunctionCallResponse"),
            Part("The end"),
            Says("Caller", "Twilio", "hangs up"),
            Says("Twilio", "Offhook", "stop"),
            Says("Offhook", "Deepgram", "closes the session"),
            Says("Offhook", "Record", "the ending: caller_hung_up"),
        ],
        ours="Offhook",
    )


def transfer() -> str:
    """Draw a cold transfer, answered and not answered."""
    return drawn(
        "A transfer to a person",
        "The agent asks for a transfer; the caller leaves the stream and Twilio dials. If nobody"
        " answers, the caller is back with the agent, which knows what happened.",
        ["Caller", "Twilio", "Offhook", "Deepgram", "Person"],
        [
            Part("The agent transfers the caller"),
            Says("Deepgram", "Offhook", "transfer_call(front_desk)"),
            Says("Offhook", "Twilio", "“One moment, I am connecting you.”"),
            Says("Offhook", "Twilio", "when that was heard: closes the stream"),
            Says("Offhook", "Deepgram", "closes the session"),
            Says("Twilio", "Offhook", "POST /twilio/after: what next?"),
            Says("Offhook", "Twilio", "TwiML: Dial the front desk"),
            Says("Twilio", "Person", "rings"),
            Part("The person answers"),
            Says("Caller", "Person", "they talk; the call ends as transferred"),
            Part("Or: busy, or nobody answers"),
            Says("Twilio", "Offhook", "POST /twilio/after: no-answer"),
            Says("Offhook", "Twilio", "TwiML: another stream"),
            Says("Offhook", "Deepgram", "a new session, with the conversation so far"),
            Says("Deepgram", "Caller", "“Nobody answers there. Can I take a message?”"),
        ],
        ours="Offhook",
    )


def outbound() -> str:
    """Draw a call that Offhook places."""
    return drawn(
        "A call that you place",
        "A command or a request to the API asks for a call. The rules are checked and the request"
        " is on disk before Twilio is asked. A person talks with the agent; a machine gets a"
        " message or is hung up on.",
        ["You", "Offhook", "Twilio", "Person"],
        [
            Part("You ask"),
            Says("You", "Offhook", "offhook call, or POST /api/v1/calls"),
            Says("Offhook", "Offhook", "allowed? barred numbers, hours, country, limits"),
            Says("Offhook", "Offhook", "writes the request to ledger.db: never twice"),
            Says("Offhook", "Twilio", "REST: call this number, with TwiML"),
            Says("Offhook", "You", "placed, with the CallSid"),
            Part("It rings"),
            Says("Twilio", "Person", "rings"),
            Says("Person", "Twilio", "answers"),
            Says("Twilio", "Offhook", "WebSocket /twilio, start"),
            Part("A person"),
            Says("Person", "Offhook", "talks with the agent, as in any call"),
            Part("Or a machine"),
            Says("Twilio", "Offhook", "POST /twilio/amd: a machine"),
            Says("Offhook", "Twilio", "hang up, or the message after the tone"),
            Part("Afterwards"),
            Says("Twilio", "Offhook", "POST /twilio/status: completed, busy, no-answer"),
            Says("Offhook", "You", "how it ended"),
        ],
        ours="Offhook",
    )


def drain() -> str:
    """Draw how a server stops."""
    return drawn(
        "How a server drains",
        "After the first signal the server takes no new call and waits for the live ones. A second"
        " signal ends them with the words of the fallback.",
        ["You", "Supervisor", "Call process", "Operator process", "Twilio"],
        [
            Part("The first SIGTERM or Ctrl-C"),
            Says("You", "Supervisor", "SIGTERM"),
            Says("Supervisor", "Call process", "drain"),
            Says("Twilio", "Call process", "POST /twilio/voice: a new call"),
            Says("Call process", "Twilio", "the agent's busy answer; /readyz says draining"),
            Says("Call process", "Twilio", "live calls go on to their end", repeats=True),
            Says("Call process", "Operator process", "the last events, by the journal"),
            Says("Supervisor", "Operator process", "all events are stored: end"),
            Says("Supervisor", "You", "exits"),
            Part("Or a second signal meanwhile"),
            Says("You", "Supervisor", "SIGTERM again"),
            Says("Call process", "Twilio", "live calls end with the words of the fallback"),
        ],
        ours="Supervisor",
    )


Box = tuple[str, str]
"""Name, and a line about it."""


def record() -> str:
    """Draw how a call gets into the record, and who reads it there."""
    rows: list[list[Box]] = [
        [("Call process", "carries calls, appends each event within milliseconds")],
        [("Journal", "files on this disk; they hold what the database cannot take yet")],
        [("Operator process", "follows the journal, removes nothing that is not stored")],
        [("Database", "SQLite, or PostgreSQL that several servers share")],
        [
            ("offhook calls", "list, show, export"),
            ("The API", "calls, totals, live events"),
            ("Webhook", "after each call, signed"),
            ("Retention", "erases by age"),
        ],
    ]
    width, height, gap, margin = 760.0, 46.0, 30.0, 20.0
    drawing = Drawing(
        width,
        "How a call gets into the record",
        "The call process appends events to a journal; the operator process stores them in the"
        " database, which commands, the API, the webhook and retention read.",
    )
    y = margin
    for number, row in enumerate(rows):
        each = (width - 2 * margin - (len(row) - 1) * 12) / len(row)
        for place, (name, about) in enumerate(row):
            wide = max(each if len(row) > 1 else 0, min(each, width_of(about) + 60))
            x = margin + place * (each + 12) if len(row) > 1 else (width - wide) / 2
            is_ours = number in (0, 2)
            colour = "#ffffff" if is_ours else INK
            drawing.box(x, y, wide, height, fill=OURS if is_ours else "#e4e7eb")
            drawing.text(x + wide / 2, y + 19, name, bold=True, colour=colour)
            drawing.text(x + wide / 2, y + 37, about, colour=colour, size=12)
            if number:
                if len(row) > 1 and place == 0:
                    bar = y - gap + 12
                    drawing.line(width / 2, y - gap + 2, width / 2, bar)
                    drawing.line(x + wide / 2, bar, width - x - wide / 2, bar)
                top = y - gap + (12 if len(row) > 1 else 2)
                drawing.line(x + wide / 2, top, x + wide / 2, y - 2, arrow=True)
        y += height + gap
    return drawing.document(y - gap + margin)


DIAGRAMS: Final[dict[str, Callable[[], str]]] = {
    "call.svg": call,
    "transfer.svg": transfer,
    "outbound.svg": outbound,
    "record.svg": record,
    "drain.svg": drain,
}
