"""What is made of calls whose agents failed (agent_faults.py): what caller and record lack."""

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from bench.agent_faults import (
    ANSWERS,
    DUE,
    FROM_THE_START,
    GREETING,
    IN_FUNCTIONS,
    QUESTIONS,
    Outcome,
)

from offhook.deepgram.messages import InjectUserMessage
from offhook.events.types import (
    AgentLost,
    AgentResumed,
    AgentRolledOver,
    AgentSaid,
    AgentWarned,
    CallerSaid,
    FunctionAnswered,
    FunctionCalled,
    FunctionDropped,
)
from offhook.testing.faults.fault import read

APPROACHING = "MAXIMUM_SESSION_LENGTH_APPROACHING"


def doing(outcome: Outcome, at: float) -> str:
    """Return what the agent was doing at a time of the clock: one of DUE, or "waiting"."""
    functions = set[str]()
    for one in outcome.noted:
        if one.at > at:
            break
        if isinstance(one.event, FunctionCalled):
            functions.add(one.event.id)
        elif isinstance(one.event, FunctionAnswered | FunctionDropped):
            functions.discard(one.event.id)
    caller = outcome.report.caller
    if functions:
        return "in a function"
    if any(one.began <= at <= one.ended for one in caller.stretches):
        return "talking"
    spoken = [(one.began, one.ended) for one in caller.said if one.began is not None]
    if any(began <= at and (ended is None or at <= ended) for began, ended in spoken):
        return "listening"
    return "waiting"


def unstruck(outcome: Outcome) -> list[str]:
    """Return the faults of a case that never happened."""
    struck = {str(one.fault) for one in outcome.happened}
    return [
        f"{spec} did not happen"
        for spec in outcome.case.spec.split()
        if str(read(spec)) not in struck
    ]


def problems_of(outcome: Outcome) -> list[str]:
    """Return why a call with a lost agent is not taken as resumed."""
    case = outcome.case
    found = [*unstruck(outcome), *_went_wrong(outcome)]
    # Under load the greeting may be there before the stream, and nobody has heard anything yet.
    before_talk = case.phase in ("dialling", *FROM_THE_START)
    if not before_talk and not any(isinstance(one, AgentResumed) for one in outcome.events):
        found.append("the agent was not resumed")
    if case.phase in IN_FUNCTIONS and outcome.happened:
        was = doing(outcome, outcome.happened[0].at)
        if was != "in a function":
            found.append(f"the fault struck while the agent was {was}")
    return found


def _went_wrong(outcome: Outcome) -> list[str]:
    """Return what is wrong in a call that was to go on to its end."""
    found = list(outcome.report.caller.faults)
    if outcome.ending != "caller_hung_up":
        found.append(f"it ended as {outcome.ending}")
    called = sum(
        isinstance(one, FunctionCalled) and one.name == "ring_colleague" for one in outcome.events
    )
    if (called, outcome.rung) != (1, 1):
        found.append(f"a colleague was asked for {called} times, and rung {outcome.rung} times")
    return found


def second_greetings(outcome: Outcome) -> int:
    """Return how many greetings the caller heard the beginning of, beyond the first."""
    said = " ".join(outcome.heard.words(one) or "" for one in outcome.report.caller.stretches)
    return max(0, said.count(GREETING) - 1)


def misses(outcome: Outcome) -> bool:
    """Return True if a call with a lost agent is anything but resumed, greeted once, and told."""
    return bool(problems_of(outcome) or second_greetings(outcome) or lost_lines(outcome))


def fallback_s(outcome: Outcome) -> float | None:
    """Return the seconds from the fault to the first word of Twilio's; None if it says nothing."""
    begins = [span.began for span in outcome.report.line if span.sound == "say"]
    if not begins or not outcome.happened:
        return None
    return max(0.0, min(begins) - outcome.happened[0].at)


# --- roll-over -----------------------------------------------------------------------------------


def roll_overs(outcome: Outcome) -> int:
    """Return how often a spare leg took over from the agent's."""
    return sum(isinstance(one, AgentRolledOver) for one in outcome.events)


def doing_when_due(outcome: Outcome) -> list[str]:
    """Return what the agent was doing each time that an exchange of sessions fell due."""
    return [
        doing(outcome, one.at)
        for one in outcome.noted
        if isinstance(one.event, AgentWarned) and one.event.code == APPROACHING
    ]


def never_due_while(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the states of DUE in which no exchange fell due in any of these calls."""
    counts = Counter(state for one in outcomes for state in doing_when_due(one))
    return [state for state in DUE if not counts[state]]


def noticed(outcome: Outcome) -> list[str]:
    """Return what a caller noticed of the exchange of sessions; that there was none counts."""
    found = [*unstruck(outcome), *_went_wrong(outcome)]
    if any(isinstance(one, AgentLost) for one in outcome.events):
        found.append("the agent was lost")
    if not roll_overs(outcome):
        found.append("no session was exchanged")
    return found


def answered_s(outcome: Outcome) -> list[float]:
    """Return the seconds from the end of each question to the end of its answer.

    A gap within the answer counts as well as one before it.
    """
    caller = outcome.report.caller
    begins = [one.began for one in caller.said if one.began is not None]
    ends = [one.ended for one in caller.said if one.ended is not None]
    found = []
    for ended, (_, until) in zip(ends, pairwise([*begins, float("inf")]), strict=False):
        heard = [one.ended for one in caller.stretches if ended <= one.ended < until]
        found.append(max(heard) - ended if heard else float("inf"))
    return found


def wrong_without_exchange(outcome: Outcome) -> list[str]:
    """Return what is wrong in a call that exchanges are compared with."""
    found = _went_wrong(outcome)
    unanswered = sum(math.isinf(time) for time in answered_s(outcome))
    return [*found, f"{unanswered} questions were not answered"] if unanswered else found


def added_silence_s(outcomes: Sequence[Outcome], usual: Sequence[Outcome]) -> float:
    """Return by how many seconds the latest answer was over later than the same one usually is.

    It is infinite if an answer does not usually come: nothing can be compared with it.
    """
    columns = list(zip(*map(answered_s, usual), strict=True))
    medians: list[float] = [statistics.median(times) for times in columns]
    if not all(map(math.isfinite, medians)):
        return math.inf
    return max(
        time - median
        for one in outcomes
        for time, median in zip(answered_s(one), medians, strict=False)
    )


# --- lines ---------------------------------------------------------------------------------------


def lost_lines(outcome: Outcome) -> list[str]:
    """Return what was said, and is not in the record as often as it was said.

    What the caller said is taken from the agent's socket, what the agent said from what the caller
    heard. Without a record, the events that the server has told of are looked at.
    """
    kept = outcome.kept
    if kept is not None:
        caller, agent = Counter(kept.caller), " ".join(kept.agent)
    else:
        caller = Counter(one.text for one in outcome.events if isinstance(one, CallerSaid))
        agent = " ".join(one.text for one in outcome.events if isinstance(one, AgentSaid))
    taken = Counter(one.text for one in outcome.heard.taken_for)
    ours = Counter(
        one.content
        for session in outcome.sessions
        for one in session.received
        if isinstance(one, InjectUserMessage)
    )
    lost = [text for text in taken if caller[text] < taken[text] - ours[text]]
    lost += [text for text in QUESTIONS if not caller[text] and text not in lost]
    lost += [f"twice: {text}" for text in caller if caller[text] > max(1, taken[text])]
    lost += [text for text in ANSWERS if text not in agent]
    if kept is not None:
        told = [type(one).__name__ for one in outcome.events]
        if kept.ending != outcome.ending:
            lost.append(f"its end: kept is {kept.ending}")
        if list(kept.events) != told[: len(kept.events)] or len(kept.events) < len(told):
            lost.append(f"events: {len(told)} told, {len(kept.events)} kept")
    return lost
