"""Results of a scenario and its calls, and the lines of their reports."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from offhook.testing.scenarios.caller import CallReport, Said, SimulatedCaller
from offhook.testing.scenarios.lateness import Lateness
from offhook.testing.scenarios.scenario import Loaded
from offhook.testing.scenarios.wire_hearing import WireHearing
from offhook.testing.simulator.twilio.call_report import Sound
from offhook.yamlfile import Place

_ON_THE_LINE: Final[Mapping[Sound, str]] = {
    "say": "Twilio's voice",
    "play": "sound",
    "ringing": "ringing",
    "together": "transferred",
    "waiting": "music",
}

Who: TypeAlias = Literal["caller", "agent", "call"]


@dataclass(frozen=True, slots=True)
class ReportLine:
    """A line of a call's report, for an event `at` seconds after the answer."""

    at: float
    who: Who
    text: str
    remark: str = ""

    def __str__(self) -> str:
        remark = f"  ({self.remark})" if self.remark else ""
        return f"{self.at:7.1f} s  {self.who:7} {self.text}{remark}"


@dataclass(frozen=True, slots=True)
class Failure:
    """An unmet expectation or other fault, and its place in the scenario file."""

    what: str
    place: Place | None = None
    at: float | None = None
    """Seconds after the answer; None if the failure has no time."""

    @property
    def told(self) -> str:
        """Text of the failure with its time, without its place."""
        return self.what if self.at is None else f"at {self.at:.1f} s: {self.what}"

    def __str__(self) -> str:
        return self.told if self.place is None else f"{self.place} {self.told}"


@dataclass(frozen=True, slots=True)
class CallResult:
    """Result of one caller's call."""

    caller: str
    report: CallReport
    failures: list[Failure]
    wire: WireHearing | None

    @property
    def seconds(self) -> float:
        """Seconds from the answer to the end of the call."""
        return self.report.ended_at - self.report.answered_at

    def lines(self) -> list[ReportLine]:
        """Return the lines of the call's report, in order of time."""
        return _lines(self.report, self.wire)


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """Result of a scenario. `how` tells the source of the words that were heard."""

    loaded: Loaded
    calls: Mapping[str, CallResult]
    how: str
    failures: list[Failure] = field(default_factory=list)
    """Failures that belong to no caller."""
    late: Lateness | None = None
    """Lateness of this machine, if it was too much to judge the agent."""
    attempts: int = 1
    """Number of times the scenario ran."""

    @property
    def name(self) -> str:
        """Name of the scenario."""
        return self.loaded.name

    @property
    def all_failures(self) -> list[Failure]:
        """Failures of the scenario and of all its callers."""
        return [*self.failures, *(one for call in self.calls.values() for one in call.failures)]

    @property
    def passed(self) -> bool:
        """True if there are no failures."""
        return not self.all_failures

    @property
    def is_judged(self) -> bool:
        """True if the scenario passed, or this machine was not too late to judge."""
        return self.passed or self.late is None

    @property
    def seconds(self) -> float:
        """Length of the longest call, in seconds."""
        return max((call.seconds for call in self.calls.values()), default=0.0)


def _lines(report: CallReport, wire: WireHearing | None) -> list[ReportLine]:
    caller = report.caller
    lines = [
        ReportLine(
            one.began, "agent", _words(caller, index), "interrupted" if one.interrupted else ""
        )
        for index, one in enumerate(caller.stretches)
    ]
    lines += [
        ReportLine(said.began, "caller", said.text, _measured(said))
        for said in caller.said
        if said.began is not None
    ]
    lines += [ReportLine(one.at, "caller", f"[key {one.key}]") for one in caller.pressed]
    lines += [
        ReportLine(one.began, "caller", f"[silent for {one.ended - one.began:.1f} s]")
        for one in caller.silent
    ]
    if wire is not None:
        lines += [ReportLine(one.at, "call", f'taken for "{one.text}"') for one in wire.taken_for]
        for call in wire.functions():
            arguments = ", ".join(f"{name}={value!r}" for name, value in call.arguments.items())
            remark = "called off" if call.called_off else ""
            lines.append(ReportLine(call.at, "call", f"calls {call.name}({arguments})", remark))
    lines += [
        ReportLine(
            one.began, "call", f"[{_ON_THE_LINE[one.sound]} for {one.ended - one.began:.1f} s]"
        )
        for one in report.line
        if one.sound in _ON_THE_LINE
    ]
    lines.append(ReportLine(report.ended_at, "call", f"over: {report.ending.replace('_', ' ')}"))
    lines.sort(key=lambda line: line.at)
    began = report.answered_at
    return [ReportLine(line.at - began, line.who, line.text, line.remark) for line in lines]


def _words(caller: SimulatedCaller, index: int) -> str:
    text = caller.hearing.words(caller.stretches[index])
    if text:
        return text
    return "[speech]" if text is None else "[no words]"


def _measured(said: Said) -> str:
    measured = []
    if said.barge_in and said.time_to_silence is not None:
        measured.append(f"agent silent after {round(1000 * said.time_to_silence)} ms")
    if said.time_to_answer is not None:
        measured.append(f"answered after {round(1000 * said.time_to_answer)} ms")
    return ", ".join(measured)
