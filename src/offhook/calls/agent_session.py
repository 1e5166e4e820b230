"""An agent within one call: its limits, Settings and functions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from offhook import variables
from offhook.call import inputs
from offhook.call.call_settings import CallSettings
from offhook.call.phrases import date_words
from offhook.calls.call_entry import NO_VALUES
from offhook.clock import wall_clock
from offhook.config import Agent
from offhook.deepgram import messages as deepgram
from offhook.deepgram.changes import Change
from offhook.deepgram.settings import Part

ToolNews: TypeAlias = inputs.ToolBegan | inputs.ToolFinished | inputs.ToolFinishedLate


class Tools(Protocol):
    """Runs the functions of one call."""

    def run(
        self,
        call_id: str,
        name: str,
        arguments: str,
        told: Callable[[ToolNews], None],
    ) -> None:
        """Begin to run a function; `told` is called later, at its beginning and its end.

        `told` gets the beginning only of an irreversible function. It gets no end of a
        cancelled function, unless the function finished all the same.
        """

    def cancel(self, call_id: str, *, over: bool) -> None:
        """Stop a function: the agent cancelled it, or the call is `over`."""


@dataclass(frozen=True, slots=True)
class AgentSession:
    """An agent in one call.

    Attributes:
        call_settings: Limits and phrases of the call.
        settings: Returns Settings: with a greeting or not, with the earlier conversation, and with
            the changes that were made of the agent.
        change: `Settings.change` with the agent's functions.
        tools: Runs the agent's functions.
        recording: True if the agent's calls are recorded.
    """

    call_settings: CallSettings
    settings: Callable[[bool, Sequence[deepgram.History], Sequence[Change]], bytes]
    change: Callable[[Part, Any], Change]
    tools: Tools
    recording: bool = False


def call_settings(agent: Agent, spend_s: float | None = None) -> CallSettings:
    """Return the limits and phrases of calls from an agent's file.

    `spend_s` is the spend limit of a call in seconds, if there is one.
    """
    return CallSettings(
        spend_s=spend_s,
        max_s=agent.limits.max_minutes * 60,
        silence_s=agent.limits.silence_seconds,
        answer_s=agent.limits.answer_seconds,
        phrases=agent.phrases,
        key_s=agent.keypad.timeout_seconds,
        actions={key: each.action for key, each in agent.keypad.actions.items()},
        forces_turns=agent.settings.listens_with_flux,
        is_stored=agent.settings.stored,
        echo_guard=agent.barge_in.echo_guard,
        min_speech_s=agent.barge_in.min_speech_ms / 1000,
        protects_greeting=agent.barge_in.protect_greeting,
    )


def values_for(
    agent: Agent, call_sid: str, from_: str, to: str, given: Mapping[str, str] = NO_VALUES
) -> dict[str, str]:
    """Return the values of `{{name}}` in a call of the agent; `given` are the call's own."""
    now = wall_clock(agent.timezone)
    return variables.of_call(
        agent.variables,
        agent=agent.name,
        call_sid=call_sid,
        caller=from_,
        called=to,
        date=date_words(agent.phrases, now),
        time=f"{now:%H:%M}",
        given=given,
    )
