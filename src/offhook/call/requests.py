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
    """Have the agent say `first`, then leave the stream for an action of Twilio's.

    While an operator speaks with the caller, only an operator may ask for it, and it is at once.
    """

    action: HandoffAction
    first: str = ""
    by: Literal["agent", "operator"] = "agent"


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


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Let the operator of that name speak with the caller, in the place of the muted agent."""

    by: str


@dataclass(frozen=True, slots=True)
class HandBack:
    """Let the agent speak with the caller again, and tell it the note of the operator."""

    note: str = ""


CallRequest: TypeAlias = (
    HangUp | Say | Tell | Update | Mute | Leave | SwitchAgent | AskDigits | TakeOver | HandBack
)


def refusal(
    request: CallRequest,
    phase: Phase,
    phrases: Phrases,
    *,
    is_secret: bool,
    operator_speaks: str,
) -> str | None:
    """Return why a request cannot be done now, in the agent's words; None when it can.

    `is_secret`: a secret is being entered. `operator_speaks` says who speaks with the caller in the
    agent's place; empty: nobody. OperatorVoice decides about TakeOver
    and HandBack.
    """
    if isinstance(request, HangUp) and request.by == "operator" and not request.farewell:
        return None
    if isinstance(request, TakeOver | HandBack):
        return None
    if operator_speaks and not _may_be_asked_of_muted(request):
        return operator_speaks
    if phase is Phase.CLOSING:
        return phrases.call_ending
    if phase is Phase.SETTLING and isinstance(request, Leave | SwitchAgent):
        return None
    if isinstance(request, AskDigits) and is_secret:
        return phrases.digits_asked
    return None if phase in (Phase.TALKING, Phase.BARGE_IN) else phrases.no_agent


def _may_be_asked_of_muted(request: CallRequest) -> bool:
    """Return whether a request can be done while an operator speaks with the caller."""
    if isinstance(request, Leave):
        return request.by == "operator"
    return isinstance(request, Tell | Update)
