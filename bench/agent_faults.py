"""Calls whose agent fails on purpose, for bench/reliability.py: whole calls over real sockets.

Each call has a server, a stand-in agent and a fault rig of its own, in this process, so that a
fault is known to have met this call, in this phase. A caller asks three things and hangs up.
"""

import asyncio
import random
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from bench.buffers import Peaks, watched

from offhook import config as configuration
from offhook.clock import Clock, LoopClock
from offhook.config import Overrides
from offhook.deepgram.messages import InjectUserMessage
from offhook.deepgram.retry import AFTER_CLOSE, AFTER_ERROR, Retry
from offhook.events.types import (
    AgentLost,
    AgentResumed,
    AgentRolledOver,
    AgentSaid,
    CallEnded,
    CallerSaid,
    CallEvent,
    Event,
)
from offhook.testing.faults.armed import Happened
from offhook.testing.faults.fault import read
from offhook.testing.scenarios import own_server
from offhook.testing.scenarios.caller import CallReport, SimulatedCaller
from offhook.testing.scenarios.judge import longest_silence
from offhook.testing.scenarios.lateness import watching
from offhook.testing.scenarios.listeners import inside
from offhook.testing.scenarios.scenario import HangUpStep, ScenarioStep, WaitForAgent
from offhook.testing.scenarios.wire_hearing import WireHearing
from offhook.testing.simulator.deepgram import server as standin_server
from offhook.testing.simulator.deepgram.script import Script, ScriptFunctionCall, ScriptTurn
from offhook.testing.simulator.deepgram.standin import StandIn
from offhook.testing.simulator.speech import clips
from offhook.testing.simulator.twilio.phone import place_call

ACCOUNT = "AC" + "a" * 32
QUESTIONS = ("What are your opening hours?", "Is my order ready?", "Can I speak to a person?")
ANSWERS = (
    "We are open from nine in the morning until six.",
    "Your order is ready, you can collect it.",
    "I am asking a colleague.",
)
SCRIPT = Script(
    turns=[
        ScriptTurn(hear=QUESTIONS[0], say=[ANSWERS[0]]),
        ScriptTurn(
            hear=QUESTIONS[1],
            function_calls=[ScriptFunctionCall(name="look_up")],
            say=[ANSWERS[1]],
        ),
        ScriptTurn(hear=QUESTIONS[2], say=[ANSWERS[2]]),
    ],
    silence_ms=400,
    reply_ms=100,
)
GREETING = "Hello!"
"""Beginning of the greeting of the tutorial's Settings."""

TIME_LIMIT_S = 90.0
ATTEMPTS = 3
"""Runs of a call that went wrong while this machine was late."""

GREETED = WaitForAgent(quiet_ms=800)

PHASES = {
    "opening": "welcome",
    "settling": "applied",
    "greeting": "audio+400",
    "caller speaking": "speech+300",
    "turn unanswered": "turn+20",
    "function called": "function+5",
    "function answered": "response+20",
    "agent speaking": "audio+400",
    "agent done": "done+20",
}
"""Phases of a call, and the moment at which a fault strikes in it."""

MISBEHAVES = "an answer is due"
"""Phase of a call for a side that goes on misbehaving."""

MISBEHAVES_S = 14.0
"""Seconds for which that goes on: longer than a socket may be full, or an agent silent."""

THOUGHT_S = 2.0
"""Seconds for which a caller thinks before a question, in a call whose sessions are exchanged."""

FROM_THE_START = ("opening", "settling", "greeting")
"""Phases before the caller's first question."""


@dataclass(frozen=True, slots=True)
class Case:
    """A fault in one phase of a call, or several that are separated by spaces."""

    fault: str
    phase: str
    session_s: float | None = None
    """Length of Deepgram's sessions; half of it before that, it warns of their end."""

    @property
    def spec(self) -> str:
        if self.phase not in PHASES:
            return self.fault
        return " ".join(f"{one}@{PHASES[self.phase]}" for one in self.fault.split())

    def __str__(self) -> str:
        return f"{self.fault} while {self.phase}"


@dataclass(slots=True)
class Outcome:
    """What became of one call."""

    case: Case
    ending: str
    events: list[Event]
    report: CallReport
    heard: WireHearing
    happened: list[Happened]
    sessions: list[StandIn]
    late: bool
    peaks: Peaks

    @property
    def silence_s(self) -> float:
        """Longest time in seconds for which nobody was heard."""
        return longest_silence(self.report)[0]

    @property
    def fallback_s(self) -> float | None:
        """Seconds from the fault to the first word that Twilio says; None if it says nothing."""
        begins = [span.began for span in self.report.line if span.sound == "say"]
        if not begins or not self.happened:
            return None
        return max(0.0, min(begins) - self.happened[0].at)


def retryable() -> list[str]:
    """Return every close and Error after which another leg is dialled."""
    closes = [
        "close" if code == 1005 else f"close={code}"
        for code, retry in AFTER_CLOSE.items()
        if code not in (None, 1006) and retry is not Retry.NEVER
    ]
    errors = [f"error={code}" for code, retry in AFTER_ERROR.items() if retry is not Retry.NEVER]
    return [f"agent:{one}" for one in [*closes, "drop", "reset", *errors]]


def not_retryable() -> list[str]:
    """Return every close and Error after which no other leg is dialled."""
    closes = [f"close={code}" for code, retry in AFTER_CLOSE.items() if retry is Retry.NEVER]
    errors = [f"error={code}" for code, retry in AFTER_ERROR.items() if retry is Retry.NEVER]
    return [f"agent:{one}" for one in [*closes, *errors]]


def lost_agents(count: int) -> Iterator[Case]:
    """Yield so many cases of row 1: every fault in every phase, again and again."""
    dials = [f"agent:{one}" for one in ("status=500", "status=502", "status=503", "refuse")]
    cases = [Case(fault, "dialling") for fault in dials]
    cases += [Case(fault, phase) for phase in PHASES for fault in retryable()]
    return _shuffled(cases, count)


def hopeless_agents(count: int) -> Iterator[Case]:
    """Yield so many cases of row 3."""
    dials = [f"agent:status={status}*5" for status in (400, 401, 402, 403, 404)]
    cases = [Case(fault, "dialling") for fault in dials]
    phases = ("settling", "greeting", "turn unanswered", "agent speaking")
    cases += [Case(fault, phase) for fault in not_retryable() for phase in phases]
    return _shuffled(cases, count)


def _shuffled(cases: list[Case], count: int) -> Iterator[Case]:
    """Yield so many of the cases, in an order that is the same in every run."""
    random.Random(1).shuffle(cases)
    return islice(cycle(cases), count)


def rolled_over(count: int) -> Iterator[Case]:
    """Yield so many cases of row 2: sessions that end at another moment of each call."""
    for number in range(count):
        yield Case("", f"session {number}", session_s=16.0 + number * 12.0 / count)


def misbehaving(short: bool) -> Iterator[Case]:
    """Yield the cases of row 4."""
    faults = [
        "agent:stall agent:flood=600 stream:stall",
        "agent:flood=600 stream:stall=3",
        "agent:flood=600",
        "agent:stall",
        "agent:mute",
        "agent:half-open",
        "agent:dribble=400",
        "agent:garbage=10",
        "agent:garbage=40",
        "agent:unknown=2000",
        "agent:noise",
        "agent:reorder=20",
        "agent:latency=1500",
        "stream:stall=5",
        "stream:dribble=4000",
        "stream:latency=1500",
        "stream:unknown=200",
        "stream:garbage=40",
    ]
    for fault in faults[1:7:2] if short else faults:
        yield Case(fault, MISBEHAVES)


async def place_all(
    cases: Sequence[Case], jobs: int, wrong: Callable[["Outcome"], object] | None = None
) -> list[Outcome]:
    """Place a call for each case, at most `jobs` at a time. Late `wrong` ones run again, alone."""
    clock = LoopClock(asyncio.get_running_loop())
    free = asyncio.Semaphore(jobs)

    async def one(case: Case) -> Outcome:
        async with free:
            return await place(case, clock)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(case)) for case in cases]
    outcomes = [task.result() for task in tasks]
    for _ in range(ATTEMPTS - 1 if wrong is not None else 0):
        for index, outcome in enumerate(outcomes):
            if outcome.late and wrong is not None and wrong(outcome):
                outcomes[index] = await place(outcome.case, clock)
    return outcomes


async def place(case: Case, clock: Clock) -> Outcome:
    """Place one call."""
    happened: list[CallEvent] = []
    sessions: list[StandIn] = []
    length = {} if case.session_s is None else {"session_s": case.session_s}
    script = SCRIPT.model_copy(update=length)
    standin = await standin_server.serve("127.0.0.1", 0, script, clock, sessions.append)
    try:
        config = configuration.load(
            Path("/dev/null"),
            {"DEEPGRAM_API_KEY": "any"},
            overrides=Overrides(deepgram_url=standin.url),
        )
        early = case.phase in (*FROM_THE_START, "dialling")
        specs = case.spec.split()
        faults = [read(spec) for spec in specs] if early else []
        async with (
            watching() as late,
            own_server.run(config, clock, watchers=[happened.append], faults=faults) as own,
            watched(own) as peaks,
        ):
            call_sid = "CA" + secrets.token_hex(16)
            heard = inside(own, call_sid)
            assert own.rig is not None  # faults were asked for
            caller = SimulatedCaller(
                list(_steps([] if early else specs, case)),
                _voice,
                hearing=heard,
                strike=own.rig.strike,
            )
            report = await place_call(
                own.url,
                caller,
                clock=clock,
                auth_token=own.token,
                account_sid=ACCOUNT,
                from_="+12025550142",
                to="+12025550100",
                call_sid=call_sid,
                time_limit_s=TIME_LIMIT_S,
            )
            await heard.finish()
            committed = own.rig.armed.happened
    finally:
        await standin.close()
    events = [one.event for one in happened]
    ending = next((one.slug for one in events if isinstance(one, CallEnded)), "none")
    return Outcome(
        case, ending, events, report, heard, committed, sessions, late.is_too_much, peaks
    )


def problems_of(outcome: Outcome) -> list[str]:
    """Return why a call with a lost agent is not taken as resumed."""
    found = []
    caller = outcome.report.caller
    if not outcome.happened:
        found.append("the fault did not happen")
    if outcome.ending != "caller_hung_up":
        found.append(f"it ended as {outcome.ending}")
    found += caller.faults
    # Under load the greeting may be there before the stream, and nobody has heard anything yet.
    before_talk = outcome.case.phase in ("dialling", *FROM_THE_START)
    if not before_talk and not any(isinstance(one, AgentResumed) for one in outcome.events):
        found.append("the agent was not resumed")
    return found


def second_greetings(outcome: Outcome) -> int:
    """Return how many greetings the caller heard the beginning of, beyond the first."""
    said = " ".join(outcome.heard.words(one) or "" for one in outcome.report.caller.stretches)
    return max(0, said.count(GREETING) - 1)


def misses(outcome: Outcome) -> bool:
    """Return True if a call with a lost agent is anything but resumed, greeted once, and told."""
    return bool(problems_of(outcome) or second_greetings(outcome) or lost_lines(outcome))


def roll_overs(outcome: Outcome) -> int:
    """Return how often a spare leg took over from the agent's."""
    return sum(isinstance(one, AgentRolledOver) for one in outcome.events)


def noticed(outcome: Outcome) -> list[str]:
    """Return what a caller noticed of the exchange of sessions."""
    found = list(outcome.report.caller.faults)
    if outcome.ending != "caller_hung_up":
        found.append(f"it ended as {outcome.ending}")
    if any(isinstance(one, AgentLost) for one in outcome.events):
        found.append("the agent was lost")
    told = [one.text for one in outcome.events if isinstance(one, CallerSaid)]
    found += [f"not heard: {text}" for text in QUESTIONS if text not in told]
    return found


def lost_lines(outcome: Outcome) -> list[str]:
    """Return lines that the server had from its agent and that its events lack."""
    told = [one.text for one in outcome.events if isinstance(one, CallerSaid)]
    ours = {
        one.content
        for session in outcome.sessions
        for one in session.received
        if isinstance(one, InjectUserMessage)
    }
    lost = [
        one.text for one in outcome.heard.taken_for if one.text not in told and one.text not in ours
    ]
    said = " ".join(one.intended for one in outcome.events if isinstance(one, AgentSaid))
    for stretch in outcome.report.caller.stretches:
        words = outcome.heard.words(stretch) or ""
        lost += [text for text in ANSWERS if text in words and text not in said]
    return lost


def _steps(specs: Sequence[str], case: Case) -> Iterator[ScenarioStep]:
    phase = case.phase
    yield ScenarioStep(wait_for_agent=GREETED)
    if phase == MISBEHAVES:
        yield ScenarioStep(say=QUESTIONS[0])
        yield from (ScenarioStep.model_validate({"fault": spec}) for spec in specs)
        yield ScenarioStep(wait=MISBEHAVES_S)
        yield ScenarioStep(hang_up=HangUpStep())
        return
    for number, question in enumerate(QUESTIONS):
        asked = 1 if phase.startswith("function") else 0
        if number == asked:
            yield from (ScenarioStep.model_validate({"fault": spec}) for spec in specs)
        if case.session_s is not None:
            yield ScenarioStep(wait=THOUGHT_S)
        yield ScenarioStep(say=question)
        yield ScenarioStep(wait_for_agent=GREETED)
    yield ScenarioStep(hang_up=HangUpStep())


def _voice(text: str) -> bytes:
    name = clips.find(text)
    assert name is not None, text
    return clips.load(name)
