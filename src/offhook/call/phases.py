"""The phases of a call, the states of its agent link, and every step between them.

All transitions live here. `make pages` draws both tables in docs/design/call-tables.md.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Final


class Phase(Enum):
    """Phase of a call."""

    WAITING = "waiting"
    """Announced by our webhook; Twilio's stream has not come yet."""
    SETTLING = "settling"
    """The caller's leg is up, the agent's is not, or was lost: 2 s of caller audio are held."""
    TALKING = "talking"
    """Both legs are up."""
    BARGE_IN = "barge-in"
    """The caller cut an utterance that Deepgram had not finished: its late audio is dropped."""
    CLOSING = "closing"
    """Last words are being spoken; when they were heard the call ends, or leaves its stream."""
    AWAY = "away"
    """The caller is off the stream, for a handoff or as it broke off, and may come back."""
    ENDED = "ended"
    """The call is over; no phase follows."""


class Step(Enum):
    """Step that moves a call from phase to phase."""

    STREAM_STARTED = "stream started"
    AGENT_READY = "agent ready"
    AGENT_LOST = "agent lost"
    INTERRUPTED = "interrupted"
    FENCE_LIFTED = "fence lifted"
    FAREWELL_BEGUN = "farewell begun"
    CALLER_BACK = "caller back"
    CALLER_LEFT = "caller left"
    STREAM_BROKE = "stream broke off"
    AGENT_SWITCHED = "agent switched"
    TAKEN_OVER = "taken over"
    ENDED = "ended"


TRANSITIONS: Final[dict[tuple[Phase, Step], Phase]] = {
    (Phase.WAITING, Step.STREAM_STARTED): Phase.SETTLING,
    (Phase.WAITING, Step.TAKEN_OVER): Phase.AWAY,
    (Phase.WAITING, Step.ENDED): Phase.ENDED,
    (Phase.SETTLING, Step.AGENT_READY): Phase.TALKING,
    (Phase.SETTLING, Step.CALLER_LEFT): Phase.AWAY,
    (Phase.SETTLING, Step.STREAM_BROKE): Phase.AWAY,
    (Phase.SETTLING, Step.AGENT_SWITCHED): Phase.SETTLING,
    (Phase.SETTLING, Step.ENDED): Phase.ENDED,
    (Phase.TALKING, Step.INTERRUPTED): Phase.BARGE_IN,
    (Phase.TALKING, Step.FAREWELL_BEGUN): Phase.CLOSING,
    (Phase.TALKING, Step.CALLER_LEFT): Phase.AWAY,
    (Phase.TALKING, Step.AGENT_LOST): Phase.SETTLING,
    (Phase.TALKING, Step.STREAM_BROKE): Phase.AWAY,
    (Phase.TALKING, Step.ENDED): Phase.ENDED,
    (Phase.BARGE_IN, Step.FENCE_LIFTED): Phase.TALKING,
    (Phase.BARGE_IN, Step.CALLER_LEFT): Phase.AWAY,
    (Phase.BARGE_IN, Step.AGENT_LOST): Phase.SETTLING,
    (Phase.BARGE_IN, Step.STREAM_BROKE): Phase.AWAY,
    (Phase.BARGE_IN, Step.ENDED): Phase.ENDED,
    (Phase.CLOSING, Step.CALLER_BACK): Phase.TALKING,
    (Phase.CLOSING, Step.CALLER_LEFT): Phase.AWAY,
    (Phase.CLOSING, Step.AGENT_SWITCHED): Phase.SETTLING,
    (Phase.CLOSING, Step.ENDED): Phase.ENDED,
    (Phase.AWAY, Step.STREAM_STARTED): Phase.SETTLING,
    (Phase.AWAY, Step.ENDED): Phase.ENDED,
}


class LinkState(Enum):
    """State of the agent's leg."""

    ABSENT = "absent"
    """No socket to Deepgram is open or being opened."""
    DIALLED = "dialled"
    """A socket is being opened, or is open and Deepgram has not spoken."""
    WELCOMED = "welcomed"
    """Deepgram said Welcome, and was sent the Settings."""
    READY = "ready"
    """Deepgram applied the Settings: audio may flow."""
    LOST = "lost"
    """The leg was lost, and another is dialled after a wait."""


class LinkStep(Enum):
    """Step that moves the agent's leg from state to state."""

    DIALLED = "dialled"
    WELCOME_CAME = "Welcome"
    SETTINGS_APPLIED = "SettingsApplied"
    LOST = "lost"
    HUNG_UP = "hung up"
    CALL_ENDED = "call ended"


LINK_TRANSITIONS: Final[dict[tuple[LinkState, LinkStep], LinkState]] = {
    (LinkState.ABSENT, LinkStep.DIALLED): LinkState.DIALLED,
    (LinkState.ABSENT, LinkStep.CALL_ENDED): LinkState.ABSENT,
    (LinkState.DIALLED, LinkStep.WELCOME_CAME): LinkState.WELCOMED,
    (LinkState.DIALLED, LinkStep.LOST): LinkState.LOST,
    (LinkState.DIALLED, LinkStep.HUNG_UP): LinkState.ABSENT,
    (LinkState.DIALLED, LinkStep.CALL_ENDED): LinkState.ABSENT,
    (LinkState.WELCOMED, LinkStep.SETTINGS_APPLIED): LinkState.READY,
    (LinkState.WELCOMED, LinkStep.LOST): LinkState.LOST,
    (LinkState.WELCOMED, LinkStep.HUNG_UP): LinkState.ABSENT,
    (LinkState.WELCOMED, LinkStep.CALL_ENDED): LinkState.ABSENT,
    (LinkState.READY, LinkStep.LOST): LinkState.LOST,
    (LinkState.READY, LinkStep.HUNG_UP): LinkState.ABSENT,
    (LinkState.READY, LinkStep.CALL_ENDED): LinkState.ABSENT,
    (LinkState.LOST, LinkStep.DIALLED): LinkState.DIALLED,
    (LinkState.LOST, LinkStep.HUNG_UP): LinkState.ABSENT,
    (LinkState.LOST, LinkStep.CALL_ENDED): LinkState.ABSENT,
}

LINK_IGNORED: Final = frozenset(
    {
        (LinkState.ABSENT, LinkStep.WELCOME_CAME),
        (LinkState.WELCOMED, LinkStep.WELCOME_CAME),
        (LinkState.READY, LinkStep.WELCOME_CAME),
        (LinkState.LOST, LinkStep.WELCOME_CAME),
        (LinkState.ABSENT, LinkStep.SETTINGS_APPLIED),
        (LinkState.DIALLED, LinkStep.SETTINGS_APPLIED),
        (LinkState.READY, LinkStep.SETTINGS_APPLIED),
        (LinkState.LOST, LinkStep.SETTINGS_APPLIED),
    }
)
"""Messages of Deepgram's that come out of turn: they change nothing, and end no call."""


class OperatorState(Enum):
    """State of an operator who speaks with the caller in the agent's place."""

    ABSENT = "absent"
    """The agent speaks with the caller."""
    SPEAKING = "speaking"
    """An operator does, and the agent is muted."""
    LOST = "lost"
    """The operator's socket is gone: the agent goes on unless they come back in a moment."""


class OperatorStep(Enum):
    """Step that moves the operator from state to state."""

    TOOK_OVER = "took over"
    LOST = "lost"
    HANDED_BACK = "handed back"


OPERATOR_TRANSITIONS: Final[dict[tuple[OperatorState, OperatorStep], OperatorState]] = {
    (OperatorState.ABSENT, OperatorStep.TOOK_OVER): OperatorState.SPEAKING,
    (OperatorState.SPEAKING, OperatorStep.TOOK_OVER): OperatorState.SPEAKING,
    (OperatorState.SPEAKING, OperatorStep.LOST): OperatorState.LOST,
    (OperatorState.SPEAKING, OperatorStep.HANDED_BACK): OperatorState.ABSENT,
    (OperatorState.LOST, OperatorStep.TOOK_OVER): OperatorState.SPEAKING,
    (OperatorState.LOST, OperatorStep.HANDED_BACK): OperatorState.ABSENT,
}


def operator_after(state: OperatorState, step: OperatorStep) -> OperatorState:
    """Return the state of the operator that follows.

    A step that the table does not hold is our own mistake: KeyError.
    """
    return OPERATOR_TRANSITIONS[state, step]


def after(phase: Phase, step: Step) -> Phase:
    """Return the phase that follows.

    A step that the table does not hold is our own mistake: KeyError.
    """
    return TRANSITIONS[phase, step]


def link_after(state: LinkState, step: LinkStep) -> LinkState:
    """Return the state of the agent's leg that follows; the same where the step is ignored.

    A step that is in neither table is our own mistake: KeyError.
    """
    return state if (state, step) in LINK_IGNORED else LINK_TRANSITIONS[state, step]


def diagram() -> str:
    """Return the phases as a Mermaid state diagram."""
    steps = ((a.value, step.value, b.value) for (a, step), b in TRANSITIONS.items())
    return _diagram(Phase.WAITING.value, steps, Phase.ENDED.value)


def link_diagram() -> str:
    """Return the states of the agent's leg as a Mermaid state diagram."""
    steps = ((a.value, step.value, b.value) for (a, step), b in LINK_TRANSITIONS.items())
    return _diagram(LinkState.ABSENT.value, steps)


def operator_diagram() -> str:
    """Return the states of the operator as a Mermaid state diagram."""
    steps = ((a.value, step.value, b.value) for (a, step), b in OPERATOR_TRANSITIONS.items())
    return _diagram(OperatorState.ABSENT.value, steps)


def _diagram(first: str, steps: Iterable[tuple[str, str, str]], last: str = "") -> str:
    lines = ["stateDiagram-v2", f"    [*] --> {_id(first)}"]
    lines += [f"    {_id(a)} --> {_id(b)}: {step}" for a, step, b in steps]
    if last:
        lines.append(f"    {_id(last)} --> [*]")
    return "\n".join(lines)


def _id(value: str) -> str:
    return value.replace("-", "_")
