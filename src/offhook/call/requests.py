"""Requests to a live call: from its functions, its keys, the API or an operator.

Each request is answered once, with what happened (`commands.Reply`), not with what was asked.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from offhook.call.call_settings import CallSettings
from offhook.call.handoff_actions import HandoffAction
from offhook.call.phases import Phase
from offhook.call.phrases import Phrases
from offhook.deepgram.messages import UpdateListen, UpdatePrompt, UpdateSpeak, UpdateThink


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the call once the farewell was heard; without one, after the current speech."""

    by: Literal["agent", "operator"]
    farewell: str = ""


@dataclass(frozen=True, slots=True)
class Say:
    """Have the agent say a text; its effect on other speech: deepgram.md §2.14."""

    text: str
    behavior: Literal["default", "queue", "interrupt"] = "default"


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell the agent something that it answers to, as if the caller had said it (§2.15)."""

    text: str


@dataclass(frozen=True, slots=True)
class Update:
    """Change prompt, think, speak or listen (§2.10 to §2.13)."""

    message: UpdatePrompt | UpdateThink | UpdateSpeak | UpdateListen


@dataclass(frozen=True, slots=True)
class Mute:
    """Keep the agent from being heard by the caller, or let it be heard again."""

    on: bool


@dataclass(frozen=True, slots=True)
class Leave:
    """Have the agent say `first`, then leave the stream for an action of Twilio's."""

    action: HandoffAction
    first: str = ""


@dataclass(frozen=True, slots=True)
class SwitchAgent:
    """Have the agent say `first`, then hand the caller to another agent, with its `settings`."""

    agent: str
    settings: CallSettings
    first: str = ""


@dataclass(frozen=True, slots=True)
class AskDigits:
    """Have the agent say `prompt`, and treat what the caller then enters as a secret.

    The entry ends with `#` or the last of `max_digits`; `timeout_s` is the wait for the next
    key, in seconds. The reply is the digits.
    """

    prompt: str
    max_digits: int
    timeout_s: float


CallRequest: TypeAlias = HangUp | Say | Tell | Update | Mute | Leave | SwitchAgent | AskDigits


def refusal(request: CallRequest, phase: Phase, phrases: Phrases, *, is_secret: bool) -> str | None:
    """Return why a request cannot be done now, in the agent's words; None when it can.

    `is_secret`: a secret is being entered.
    """
    if isinstance(request, HangUp) and request.by == "operator" and not request.farewell:
        return None
    if phase is Phase.CLOSING:
        return phrases.call_ending
    if phase is Phase.SETTLING and isinstance(request, Leave | SwitchAgent):
        return None
    if isinstance(request, AskDigits) and is_secret:
        return phrases.digits_asked
    return None if phase in (Phase.TALKING, Phase.BARGE_IN) else phrases.no_agent
