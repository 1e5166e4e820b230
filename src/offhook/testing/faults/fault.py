"""Faults and their notation: which end commits which fault, and when.

    agent:close=1011@audio+300      300 ms after the agent's first audio, a close frame with 1011
    agent:error=SERVER_GOING_AWAY   at once
    agent:status=503@dial*2         the next two attempts to open the agent's socket are refused
    stream:reset@20                 20 s after the media stream was opened
    webhook:late=3@after            the next request of /twilio/after comes 3 s late
    rest:lost@place                 the next call is placed, and Twilio's answer is lost

A fault is what the server sees: `agent:stall` means that the server sees nothing more of the agent.
"""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias


class FaultError(ValueError):
    """Error: a text is no fault. `what` says why, `fix` what to write."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(f"{what} {fix}")
        self.what = what
        self.fix = fix


class FaultyEnd(enum.Enum):
    """End of a connection of the server that commits a fault."""

    AGENT = "agent"
    """Deepgram's end of an agent's socket."""
    STREAM = "stream"
    """Twilio's end of a media stream."""
    WEBHOOK = "webhook"
    """Twilio's end of an HTTP request."""
    REST = "rest"
    """Twilio's REST API, which the server asks."""


_Value: TypeAlias = Literal["none", "code", "number", "name", "status"]


@dataclass(frozen=True, slots=True)
class FaultKind:
    """Kind of fault: its ends, its value, and a sentence for help and documentation."""

    ends: tuple[FaultyEnd, ...]
    value: _Value
    about: str
    default: float | None = None
    """Number when none is written; None if one must be written."""
    at_dial: bool = False
    """True if the fault is committed when a connection is opened, and at no other moment."""


_SOCKETS: Final = (FaultyEnd.AGENT, FaultyEnd.STREAM)
_WEBHOOK: Final = (FaultyEnd.WEBHOOK,)
_OPENED: Final = (FaultyEnd.AGENT, FaultyEnd.WEBHOOK, FaultyEnd.REST)

KINDS: Final[Mapping[str, FaultKind]] = {
    "close": FaultKind(_SOCKETS, "code", "a close frame with that code, or without any"),
    "error": FaultKind(
        (FaultyEnd.AGENT,), "name", "an Error of that code, then a close frame without code"
    ),
    "error-open": FaultKind(
        (FaultyEnd.AGENT,), "name", "an Error of that code; the socket stays open"
    ),
    "warning": FaultKind(
        (FaultyEnd.AGENT,), "name", "a Warning of that code; the socket stays open"
    ),
    "drop": FaultKind(_SOCKETS, "none", "the connection ends without a close frame"),
    "reset": FaultKind(_SOCKETS, "none", "the connection is reset (RST)"),
    "stall": FaultKind(
        _SOCKETS, "number", "nothing passes in either direction, for so many seconds", float("inf")
    ),
    "half-open": FaultKind(
        _SOCKETS, "none", "the peer is gone, and the connection stays open without it"
    ),
    "mute": FaultKind(
        _SOCKETS, "number", "what the end sends is lost, for so many seconds", float("inf")
    ),
    "latency": FaultKind(_SOCKETS, "number", "what the end sends arrives so many ms later"),
    "dribble": FaultKind(
        _SOCKETS, "number", "what the end sends arrives byte by byte, so many bytes a second"
    ),
    "reorder": FaultKind(
        _SOCKETS, "number", "so many messages of the end arrive after their successor", 1.0
    ),
    "garbage": FaultKind(_SOCKETS, "number", "so many texts that are not JSON", 1.0),
    "unknown": FaultKind(_SOCKETS, "number", "so many messages of an unknown type", 1.0),
    "noise": FaultKind(_SOCKETS, "number", "so many bytes that are no WebSocket frame", 64.0),
    "flood": FaultKind(
        _SOCKETS, "number", "so many seconds of speech, as fast as they are read", 600.0
    ),
    "refuse": FaultKind(_OPENED, "none", "the connection is reset unread", at_dial=True),
    "status": FaultKind(
        _OPENED,
        "status",
        "that HTTP status is the answer; of a webhook, the server's own answer is lost",
        at_dial=True,
    ),
    "late": FaultKind(_OPENED, "number", "so many seconds late", at_dial=True),
    "lost": FaultKind(
        (FaultyEnd.REST,), "none", "what was asked is done, and the answer is lost", at_dial=True
    ),
    "doubled": FaultKind(_WEBHOOK, "none", "the request is sent twice", at_dial=True),
}
"""Every kind of fault, by its name."""

MOMENTS: Final[Mapping[FaultyEnd, Mapping[str, str]]] = {
    FaultyEnd.AGENT: {
        "dial": "the socket is being opened",
        "welcome": "in place of Welcome",
        "applied": "in place of SettingsApplied",
        "speech": "at UserStartedSpeaking",
        "turn": "at the ConversationText of the caller",
        "function": "at FunctionCallRequest",
        "response": "at FunctionCallResponse",
        "sentence": "at a ConversationText of the agent",
        "audio": "at the agent's audio",
        "done": "at AgentAudioDone",
    },
    FaultyEnd.STREAM: {
        "start": "at start",
        "media": "at the first audio",
        "mark": "at mark",
        "clear": "at clear",
    },
    FaultyEnd.WEBHOOK: {
        "voice": "at /twilio/voice",
        "after": "at /twilio/after",
        "status": "at /twilio/status",
        "stream-status": "at /twilio/stream-status",
        "amd": "at /twilio/amd: a person or a machine answered",
        "keys": "at any request that has Digits",
        "recording": "at any request that has a RecordingSid or a RecordingUrl",
        "person": "at any request about the leg of a person who is asked to take a call",
    },
    FaultyEnd.REST: {
        "place": "a call is to be placed",
        "change": "a call is to be changed: sent to other TwiML, or hung up",
        "read": "a call's state is asked for",
    },
}
"""Every named moment of each end. The fault comes before the message, or so many ms after it."""

_SPEC: Final = re.compile(
    r"(?P<end>[a-z]+):(?P<kind>[a-z-]+)(=(?P<value>[A-Za-z0-9_.-]+))?"
    r"(@((?P<seconds>\d+(\.\d+)?)|(?P<moment>[a-z-]+)(\+(?P<ms>\d+))?))?(\*(?P<times>\d+))?"
)

PATTERN: Final = r"^[a-z]+:[a-z-]+(=[A-Za-z0-9_.-]+)?(@(\d+(\.\d+)?|[a-z-]+(\+\d+)?))?(\*\d+)?$"
"""Regular expression of a fault's text, for JSON Schema."""

_UNSENDABLE: Final = frozenset({1004, 1005, 1006, 1015})
"""Close codes that no frame may carry (RFC 6455 §7.4.1)."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Time of a fault: `name` with `after_s`, or, without a name, seconds since the opening."""

    name: str
    after_s: float


@dataclass(frozen=True, slots=True)
class Fault:
    """Fault of one end."""

    end: FaultyEnd
    kind: str
    value: str = ""
    at: Moment | None = None
    """None: at once; of a request, at the next one; else at the next opening."""
    times: int = 1

    @property
    def number(self) -> float:
        """Value as a number, or the default of the kind."""
        kind = KINDS[self.kind]
        if kind.value == "number" and self.value:
            return float(self.value)
        return kind.default or 0.0

    @property
    def opening(self) -> bool:
        """True if the fault is committed when a connection is opened."""
        return KINDS[self.kind].at_dial

    def __str__(self) -> str:
        text = f"{self.end.value}:{self.kind}" + (f"={self.value}" if self.value else "")
        if self.at is not None and self.at.name:
            text += f"@{self.at.name}" + (f"+{self.at.after_s * 1000:.0f}" if self._after else "")
        elif self.at is not None:
            text += f"@{self.at.after_s:g}"
        return text + (f"*{self.times}" if self.times > 1 else "")

    @property
    def _after(self) -> bool:
        return self.at is not None and self.at.after_s > 0


def read(text: str) -> Fault:
    """Return the fault that a text describes. Raises FaultError."""
    found = _SPEC.fullmatch(text.strip())
    if found is None:
        raise FaultError(
            f'"{text}" is no fault.', "Write END:KIND=VALUE@WHEN, such as agent:close=1011@8."
        )
    end = next((one for one in FaultyEnd if one.value == found["end"]), None)
    if end is None:
        raise FaultError(
            f'"{found["end"]}" is no end.',
            f"Write one of: {', '.join(e.value for e in FaultyEnd)}.",
        )
    kind = KINDS.get(found["kind"])
    if kind is None or end not in kind.ends:
        known = ", ".join(name for name, one in KINDS.items() if end in one.ends)
        raise FaultError(
            f'"{found["kind"]}" is no fault of the {end.value}.', f"Write one of: {known}."
        )
    _check_value(found["kind"], kind, found["value"] or "")
    times = int(found["times"] or 1)
    if not 1 <= times <= 1000:
        raise FaultError(f"{times} times is too often or never.", "Write 1 to 1000 after the *.")
    return Fault(end, found["kind"], found["value"] or "", _moment(found, end, kind), times)


def _moment(found: re.Match[str], end: FaultyEnd, kind: FaultKind) -> Moment | None:
    if found["seconds"] is not None:
        if kind.at_dial:
            raise FaultError(
                f"{found['kind']} happens when a connection is opened, not seconds later.",
                "Write a moment such as dial (agent), voice (webhook) or place (rest), or none.",
            )
        return Moment("", float(found["seconds"]))
    name = found["moment"]
    if name is None:
        return None
    if name not in MOMENTS[end]:
        raise FaultError(
            f'"{name}" is no moment of the {end.value}.',
            f"Write seconds, or one of: {', '.join(MOMENTS[end])}.",
        )
    if end is FaultyEnd.AGENT and kind.at_dial != (name == "dial"):
        fix = "Write @dial, or no moment." if kind.at_dial else "Write another moment than dial."
        raise FaultError(f"{found['kind']} cannot happen at {name}.", fix)
    return Moment(name, int(found["ms"] or 0) / 1000)


def _check_value(name: str, kind: FaultKind, value: str) -> None:
    if kind.value == "none" and value:
        raise FaultError(f"{name} has no value.", f"Remove ={value}.")
    if kind.value == "name" and not value:
        raise FaultError(f"{name} needs a code.", f"Write {name}=SERVER_GOING_AWAY, for instance.")
    if kind.value == "code" and value:
        code = int(value) if value.isdigit() else 0
        if not 1000 <= code <= 4999 or code in _UNSENDABLE:
            raise FaultError(
                f"No close frame can carry {value}.",
                "Write a code from 1000 to 4999; close alone is 1005, drop is 1006.",
            )
    if kind.value == "status" and not (value.isdigit() and 400 <= int(value) <= 599):
        raise FaultError(f'"{value}" is no HTTP status of a refusal.', "Write one from 400 to 599.")
    if kind.value == "number":
        if not value and kind.default is None:
            raise FaultError(f"{name} needs a number.", f"Write {name}=500, for instance.")
        if value and (not re.fullmatch(r"\d+(\.\d+)?", value) or float(value) <= 0):
            raise FaultError(f'"{value}" is no number above 0.', "Correct it.")
