"""Calls whose agent fails on purpose, for bench/reliability.py: whole calls over real sockets.

Each call has a server, a stand-in agent and a fault rig of its own, in this process, so that a
fault is known to have met this call, in this phase. A caller asks three things and hangs up; for
the second and the third answer the agent calls a function that takes a while (fault_tools.py).
What is made of these calls is in fault_verdicts.py.
"""

import asyncio
import dataclasses
import random
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.buffers import Peaks, watched
from bench.call_records import CallRecords, KeptCall

from offhook import config as configuration
from offhook.clock import Clock, LoopClock
from offhook.config import Config
from offhook.deepgram.retry import AFTER_CLOSE, AFTER_ERROR, Retry
from offhook.events.types import CallEnded, CallEvent, Event
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
from offhook.testing.simulator.deepgram.answers import TurnAnswer
from offhook.testing.simulator.deepgram.policy import StandInAgent
from offhook.testing.simulator.deepgram.script import Script, ScriptFunctionCall, ScriptTurn
from offhook.testing.simulator.deepgram.script_policy import ScriptPolicy, ScriptSpeechToText
from offhook.testing.simulator.deepgram.standin import StandIn
from offhook.testing.simulator.speech import clips
from offhook.testing.simulator.speech.clip_voice import ClipTextToSpeech
from offhook.testing.simulator.speech.engines import Transcript
from offhook.testing.simulator.twilio.phone import place_call

ACCOUNT = "AC" + "a" * 32
QUESTIONS = ("What are your opening hours?", "Is my order ready?", "Can I speak to a person?")
ANSWERS = (
    "We are open from nine in the morning until six.",
    "Your order is ready, you can collect it.",
    "I am asking a colleague.",
)
FUNCTIONS = (None, "look_up", "ring_colleague")
"""Function that the agent calls for each answer; the last one cannot be taken back."""

SCRIPT = Script(
    turns=[
        ScriptTurn(
            hear=question,
            function_calls=[] if name is None else [ScriptFunctionCall(name=name)],
            say=[answer],
        )
        for question, name, answer in zip(QUESTIONS, FUNCTIONS, ANSWERS, strict=True)
    ],
    silence_ms=400,
    reply_ms=100,
)
AGENT = """
settings:
  listen: {provider: {type: deepgram, model: nova-3}}
  think: {provider: {type: open_ai, model: gpt-4o-mini}}
  speak: {provider: {type: deepgram, model: aura-2-thalia-en}}
  greeting: Hello! How can I help you today?
tools: ['%s']
"""
TOOLS = Path(__file__).resolve().with_name("fault_tools.py")
FIRST = "What can I do for you?"
"""What the agent says when it is told to go on before the first question."""

GREETING = "Hello!"
"""Beginning of the greeting."""

TIME_LIMIT_S = 90.0
ATTEMPTS = 3
"""Runs of a call that went wrong while this machine was late."""

JOBS = 20
"""Calls at a time: they share a core with all that they are measured by."""

GREETED = WaitForAgent(quiet_ms=800, timeout=40)

REST_AWAITED = WaitForAgent(quiet_ms=12_000, timeout=60)
"""What a caller does who waits for the rest of an answer, longer than `limits.answer_seconds`."""


@dataclass(frozen=True, slots=True)
class Phase:
    """Phase of a call: the moment at which a fault strikes in it, and the question it is about."""

    moment: str
    asked: int = 0


PHASES: Mapping[str, Phase] = {
    "opening": Phase("welcome"),
    "settling": Phase("applied"),
    "greeting": Phase("audio+400"),
    "caller speaking": Phase("speech+300"),
    "turn unanswered": Phase("turn+20"),
    "in a function": Phase("function+300", 1),
    "in an irreversible function": Phase("function+300", 2),
    "function answered": Phase("response+20", 1),
    "answer arriving": Phase("audio+100"),
    "agent speaking": Phase("audio+400"),
    "agent done": Phase("done+20"),
}

IN_FUNCTIONS = ("in a function", "in an irreversible function")

MUTED: Mapping[str, Phase] = {
    "turn unanswered": Phase("sentence"),
    "in a function": PHASES["in a function"],
    "in an irreversible function": PHASES["in an irreversible function"],
    "function answered": Phase("sentence", 1),
    "answer arriving": PHASES["answer arriving"],
}
"""Phases in which an answer or its rest is due, so that silence alone tells of a silent agent."""

MISBEHAVES = "an answer is due"
"""Phase of a call for a side that goes on misbehaving."""

MISBEHAVES_S = 14.0
"""Seconds for which that goes on: longer than a socket may be full, or an agent silent."""

THOUGHT_S = 2.0
"""Seconds for which a caller thinks before a question, in a call whose sessions are exchanged."""

FROM_THE_START = ("opening", "settling", "greeting")
"""Phases before the caller's first question."""

MUTE = "agent:mute"
"""Fault after which nothing comes of the agent, while the caller's audio flows on."""

APPROACHING = "agent:warning=MAXIMUM_SESSION_LENGTH_APPROACHING"
"""Fault after which an exchange of sessions is due at once."""

DUE = {
    "talking": ("audio", 100, 1500),
    "listening": ("speech", 50, 1000),
    "in a function": ("function", 50, 1400),
}
"""What the agent is doing when an exchange falls due: the moment, and the range of ms after it."""


@dataclass(frozen=True, slots=True)
class Case:
    """A fault in one phase of a call, or several that are separated by spaces."""

    fault: str
    phase: str
    moment: str = ""
    """When the faults strike; empty for at once, or at the opening."""
    asked: int = 0
    """Index of the question before which they are armed."""
    thinks: bool = False
    """Whether the caller thinks before each question, so that sessions can be exchanged."""
    session_s: float | None = None
    """Length of Deepgram's sessions; half of it before that, it warns of their end."""

    @property
    def spec(self) -> str:
        if not self.moment:
            return self.fault
        return " ".join(f"{one}@{self.moment}" for one in self.fault.split())

    def __str__(self) -> str:
        if self.session_s is not None:
            return f"sessions of {self.session_s:.1f} s"
        return f"{self.fault} while {self.phase} ({self.moment or 'at once'})"


def in_phase(fault: str, phase: str, phases: Mapping[str, Phase] = PHASES) -> Case:
    """Return the case of a fault in one of these phases."""
    return Case(fault, phase, phases[phase].moment, phases[phase].asked)


@dataclass(frozen=True, slots=True)
class Noted:
    """An event of a call, and its time in seconds of the clock."""

    at: float
    event: Event


@dataclass(slots=True)
class Outcome:
    """What became of one call."""

    case: Case
    ending: str
    noted: list[Noted]
    report: CallReport
    heard: WireHearing
    happened: list[Happened]
    sessions: list[StandIn]
    late: bool
    peaks: Peaks
    rung: int
    """How often a colleague was rung."""
    kept: KeptCall | None
    """What the database has of it, if a record is kept."""

    @property
    def events(self) -> list[Event]:
        return [one.event for one in self.noted]

    @property
    def silence_s(self) -> float:
        """Longest time in seconds for which nobody was heard."""
        return longest_silence(self.report)[0]


@dataclass(frozen=True, slots=True)
class Placed:
    """Calls that were placed, `again` of them once more: they went wrong on a late machine."""

    outcomes: list[Outcome]
    again: int

    @property
    def repeats(self) -> str:
        """What a figure says of calls that were placed again; empty if there were none."""
        return f"; {self.again} placed again, as this machine was late" if self.again else ""


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
    """Yield so many cases of row 1: every fault in every phase, and silence, again and again."""
    dials = [f"agent:{one}" for one in ("status=500", "status=502", "status=503", "refuse")]
    cases = [Case(fault, "dialling") for fault in dials]
    cases += [in_phase(fault, phase) for phase in PHASES for fault in retryable()]
    cases += [in_phase(MUTE, phase, MUTED) for phase in MUTED]
    return _shuffled(cases, count)


def hopeless_agents(count: int) -> Iterator[Case]:
    """Yield so many cases of row 3."""
    dials = [f"agent:status={status}*5" for status in (400, 401, 402, 403, 404)]
    cases = [Case(fault, "dialling") for fault in dials]
    phases = ("settling", "greeting", "turn unanswered", "agent speaking")
    cases += [in_phase(fault, phase) for fault in not_retryable() for phase in phases]
    return _shuffled(cases, count)


def _shuffled(cases: list[Case], count: int) -> Iterator[Case]:
    """Yield so many of the cases, in an order that is the same in every run."""
    random.Random(1).shuffle(cases)
    return islice(cycle(cases), count)


def rolled_over(count: int) -> Iterator[Case]:
    """Yield so many cases of row 2: an exchange falls due while the agent talks, listens, or runs
    a function, and in every fourth call as Deepgram's sessions have it."""
    for number in range(count):
        share = number / count
        if number % 4 == 3:
            yield Case("", "a session's end", thinks=True, session_s=16.0 + 24.0 * share)
            continue
        doing = list(DUE)[number % 4]
        moment, first, last = DUE[doing]
        asked = 1 + number // 4 % 2 if moment == "function" else number // 4 % 3
        at = f"{moment}+{first + round((last - first) * share)}"
        yield Case(APPROACHING, doing, at, asked, thinks=True)


def without_exchange(count: int) -> list[Case]:
    """Return so many calls like those of row 2, in which no session is exchanged."""
    return [Case("", "no exchange", thinks=True)] * count


def misbehaving(short: bool) -> Iterator[Case]:
    """Yield the cases of row 4; in the short form one for each word of the row."""
    faults = {
        "agent:flood=600 stream:stall=3": True,
        "agent:stall": True,
        "agent:dribble=400": True,
        "agent:garbage=10": True,
        "agent:unknown=2000": True,
        "agent:stall agent:flood=600 stream:stall": False,
        "agent:flood=600": False,
        "agent:mute": False,
        "agent:half-open": False,
        "agent:garbage=40": False,
        "agent:noise": False,
        "agent:reorder=20": False,
        "agent:latency=1500": False,
        "stream:stall=5": False,
        "stream:dribble=4000": False,
        "stream:latency=1500": False,
        "stream:unknown=200": False,
        "stream:garbage=40": False,
    }
    for fault, is_short in faults.items():
        if is_short or not short:
            yield Case(fault, MISBEHAVES)


class ResumingPolicy(ScriptPolicy):
    """Policy of a script that, told to go on, gives the answer that was due, and calls nothing."""

    def answer(self, heard: Transcript, answer: TurnAnswer, *, interrupted: bool) -> None:
        """Answer a question as the script does, and what the server itself says by going on."""
        if not heard.text or heard.text in QUESTIONS:
            super().answer(heard, answer, interrupted=interrupted)
            return
        self._before = self._next
        answer.words = heard.text
        for text in self._script.turns[self._next - 1].say if self._next else [FIRST]:
            answer.say(text)
        answer.done(end=False)


def configured(folder: Path) -> Config:
    """Return the configuration of the servers, whose agent has functions, in an empty folder."""
    (folder / "agent.yaml").write_text(AGENT % TOOLS)
    (folder / "offhook.yaml").write_text("lines: {default: agent.yaml}\n")
    return configuration.load(folder / "offhook.yaml", {"DEEPGRAM_API_KEY": "any"})


async def place_all(
    cases: Sequence[Case],
    jobs: int,
    wrong: Callable[[Outcome], object] | None = None,
    records: CallRecords | None = None,
) -> Placed:
    """Place a call for each case, at most `jobs` at a time. Late `wrong` ones run again, alone."""
    clock = LoopClock(asyncio.get_running_loop())
    free = asyncio.Semaphore(jobs)
    again = 0
    with TemporaryDirectory(prefix="offhook-agents-") as folder:
        config = configured(Path(folder))

        async def one(case: Case) -> Outcome:
            async with free:
                return await place(case, clock, config, records)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(case)) for case in cases]
        outcomes = [task.result() for task in tasks]
        for _ in range(ATTEMPTS - 1 if wrong is not None else 0):
            for index, outcome in enumerate(outcomes):
                if outcome.late and wrong is not None and wrong(outcome):
                    again += 1
                    outcomes[index] = await place(outcome.case, clock, config, records)
    return Placed(outcomes, again)


async def place(
    case: Case, clock: Clock, config: Config, records: CallRecords | None = None
) -> Outcome:
    """Place one call."""
    noted: list[Noted] = []
    sessions: list[StandIn] = []
    length = {} if case.session_s is None else {"session_s": case.session_s}
    script = SCRIPT.model_copy(update=length)
    agent = StandInAgent(
        script, lambda settings: ResumingPolicy(script), ScriptSpeechToText, ClipTextToSpeech()
    )
    call_sid = "CA" + secrets.token_hex(16)

    def note(happened: CallEvent) -> None:
        noted.append(Noted(clock.now(), happened.event))

    standin = await standin_server.serve("127.0.0.1", 0, agent, clock, sessions.append)
    try:
        deepgram = config.deepgram.model_copy(update={"url": standin.url})
        early = case.phase in (*FROM_THE_START, "dialling")
        specs = case.spec.split()
        async with (
            watching() as late,
            own_server.run(
                dataclasses.replace(config, deepgram=deepgram),
                clock,
                watchers=[note],
                faults=[read(spec) for spec in specs] if early else [],
                journal=None if records is None else records.journal,
            ) as own,
            watched(own) if case.phase == MISBEHAVES else nullcontext(Peaks()) as peaks,
        ):
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
            happened = own.rig.armed.happened
    finally:
        await standin.close()
    ending = next((one.event.slug for one in noted if isinstance(one.event, CallEnded)), "none")
    return Outcome(
        case=case,
        ending=ending,
        noted=noted,
        report=report,
        heard=heard,
        happened=happened,
        sessions=sessions,
        late=late.is_too_much,
        peaks=peaks,
        rung=_rung(config)[call_sid],
        kept=None if records is None else await records.of(call_sid),
    )


def _rung(config: Config) -> Counter[str]:
    """Return how often a colleague was rung in each call, by the function itself."""
    tool: Any = config.lines["default"].tool_files.current["ring_colleague"]
    rung: Counter[str] = tool.__wrapped__.__globals__["RUNG"]
    return rung


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
        if number == case.asked:
            yield from (ScenarioStep.model_validate({"fault": spec}) for spec in specs)
        if case.thinks:
            yield ScenarioStep(wait=THOUGHT_S)
        yield ScenarioStep(say=question)
        waits = number == case.asked and (case.fault, phase) == (MUTE, "answer arriving")
        yield ScenarioStep(wait_for_agent=REST_AWAITED if waits else GREETED)
    if case.thinks:
        yield ScenarioStep(wait=2 * THOUGHT_S)
    yield ScenarioStep(hang_up=HangUpStep())


def _voice(text: str) -> bytes:
    name = clips.find(text)
    assert name is not None, text
    return clips.load(name)
