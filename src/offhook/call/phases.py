"""The phases of a call and every step between them: all transitions live here.

`python -m offhook.call.phases` prints the diagram in README.md; a test holds the two equal.
"""

from enum import Enum
from typing import Final


class Phase(Enum):
    """Where a call is."""

    WAITING = "waiting"
    """Announced by our webhook; Twilio's stream has not come yet."""
    SETTLING = "settling"
    """The caller's leg is up, the agent's is not: caller audio is held, 2 s at most."""
    TALKING = "talking"
    """Both legs are up."""
    BARGE_IN = "barge-in"
    """The caller cut an utterance that Deepgram had not finished: its late audio is dropped."""
    CLOSING = "closing"
    """Last words are being spoken; when they were heard the call ends, or leaves its stream."""
    AWAY = "away"
    """The caller has left the stream for an errand, and may come back."""
    ENDED = "ended"
    """Nothing follows."""


class Step(Enum):
    """What moves a call from phase to phase."""

    STREAM_STARTED = "stream started"
    AGENT_READY = "agent ready"
    INTERRUPTED = "interrupted"
    FENCE_LIFTED = "fence lifted"
    FAREWELL_BEGUN = "farewell begun"
    CALLER_BACK = "caller back"
    CALLER_LEFT = "caller left"
    AGENT_SWITCHED = "agent switched"
    ENDED = "ended"


TRANSITIONS: Final[dict[tuple[Phase, Step], Phase]] = {
    (Phase.WAITING, Step.STREAM_STARTED): Phase.SETTLING,
    (Phase.WAITING, Step.ENDED): Phase.ENDED,
    (Phase.SETTLING, Step.AGENT_READY): Phase.TALKING,
    (Phase.SETTLING, Step.CALLER_LEFT): Phase.AWAY,
    (Phase.SETTLING, Step.AGENT_SWITCHED): Phase.SETTLING,
    (Phase.SETTLING, Step.ENDED): Phase.ENDED,
    (Phase.TALKING, Step.INTERRUPTED): Phase.BARGE_IN,
    (Phase.TALKING, Step.FAREWELL_BEGUN): Phase.CLOSING,
    (Phase.TALKING, Step.ENDED): Phase.ENDED,
    (Phase.BARGE_IN, Step.FENCE_LIFTED): Phase.TALKING,
    (Phase.BARGE_IN, Step.ENDED): Phase.ENDED,
    (Phase.CLOSING, Step.CALLER_BACK): Phase.TALKING,
    (Phase.CLOSING, Step.CALLER_LEFT): Phase.AWAY,
    (Phase.CLOSING, Step.AGENT_SWITCHED): Phase.SETTLING,
    (Phase.CLOSING, Step.ENDED): Phase.ENDED,
    (Phase.AWAY, Step.STREAM_STARTED): Phase.SETTLING,
    (Phase.AWAY, Step.ENDED): Phase.ENDED,
}


def after(phase: Phase, step: Step) -> Phase:
    """The phase that follows. A step that the table does not hold is our own mistake: KeyError."""
    return TRANSITIONS[phase, step]


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> waiting"]
    for (phase, step), following in TRANSITIONS.items():
        lines.append(f"    {_id(phase)} --> {_id(following)}: {step.value}")
    lines.append("    ended --> [*]")
    return "\n".join(lines)


def _id(phase: Phase) -> str:
    return phase.value.replace("-", "_")


if __name__ == "__main__":
    print(diagram())  # noqa: T201 - what the command is for
