"""Requests that a function may make of its call, beside those of call/requests.py."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from offhook.call.requests import CallRequest
from offhook.deepgram.settings import Part


@dataclass(frozen=True, slots=True)
class UpdateAgent:
    """Change a part of the agent to a block of Settings. Raises UserError E-SET-01, E-SET-02."""

    part: Part
    block: Any


@dataclass(frozen=True, slots=True)
class StartTransfer:
    """Transfer the caller to a destination of the agent file.

    A person who is called first hears the summary. `by` is as in `Leave`.
    """

    destination: str
    summary: str = ""
    by: Literal["agent", "operator"] = "agent"


@dataclass(frozen=True, slots=True)
class SendText:
    """Send a text message to the other party, or to a destination of the agent file's `texts`."""

    text: str
    to: str


@dataclass(frozen=True, slots=True)
class TakeMessage:
    """Keep a message in the record of the call."""

    name: str
    number: str
    text: str


@dataclass(frozen=True, slots=True)
class StopCalling:
    """Put the other party's number on the list of those that are never rung."""


@dataclass(frozen=True, slots=True)
class SetRecording:
    """Record what is said, or silence on both sides, from now on."""

    is_on: bool


ControlRequest: TypeAlias = (
    CallRequest | UpdateAgent | StartTransfer | SendText | TakeMessage | StopCalling | SetRecording
)
"""Every request that CallControl performs."""
