"""Comparison of a call with the expectations of its scenario, without waiting.

The same judge decides during the call if the caller may go on, and lists after it what failed.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from offhook.testing.scenarios.caller import CallReport, Exchange, SimulatedCaller
from offhook.testing.scenarios.expectation import (
    Ended,
    ExpectCall,
    Expected,
    ExpectedFunction,
    ExpectTurn,
    find,
)
from offhook.testing.scenarios.hearing import SeenFunctionCall, Stretch
from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.testing.simulator.dialogue.words import words
from offhook.testing.simulator.twilio.calls.ledger import NetworkLedger

MAX_QUOTED: Final = 200
"""Number of characters of heard text that a failure quotes, from its end."""


_HEARD: Final = frozenset({"say", "play", "ringing", "together", "waiting"})
"""Sounds other than the agent that a caller can hear."""


@dataclass(frozen=True, slots=True)
class ServersEnding:
    """Ending of a call as the server reports it."""

    slug: str
    doing: str


class Judge:
    """Judge of the calls of one scenario. `meant` returns the names of a text's meanings."""

    def __init__(self, meant: Callable[[str], set[str]] | None = None) -> None:
        self._meant = meant

    def is_satisfied(
        self, expected: ExpectTurn, caller: SimulatedCaller, exchange: Exchange
    ) -> bool:
        """Return True if the exchange meets the expectation (caller.Satisfied)."""
        return not self.turn(expected, caller, exchange)

    def turn(self, expected: ExpectTurn, caller: SimulatedCaller, exchange: Exchange) -> list[str]:
        """Return the failures of the agent's turn."""
        answer = caller.answer(exchange)
        heard = _Heard(caller, answer)
        failures = self._words(expected, heard)
        since = exchange.began if exchange.said is None else exchange.said.began or exchange.began
        until = float("inf") if exchange.ended is None else exchange.ended
        seen = [one for one in caller.hearing.functions() if since <= one.at < until]
        failures += _functions(expected, seen)
        if expected.within_ms is not None:
            began = heard.begin_of(expected)
            if began is None:
                failures.append(f"nothing of it within {expected.within_ms} ms")
            elif (after := _ms(began - exchange.began)) > expected.within_ms:
                failures.append(f"it came after {after} ms, not within {expected.within_ms} ms")
        if expected.interrupted_within_ms is not None:
            failures += _interruption(expected.interrupted_within_ms, exchange)
        if not answer and not failures:
            failures.append("the agent said nothing")
        return failures

    def call(
        self,
        expected: ExpectCall,
        report: CallReport,
        server: ServersEnding | None,
        ledger: NetworkLedger | None = None,
    ) -> list[str]:
        """Return the failures of the call. `ledger` is that of its simulated account, if any."""
        caller = report.caller
        failures = self._words(expected, _Heard(caller, caller.stretches))
        seen = caller.hearing.functions()
        failures += _functions(expected, seen)
        failures += _called_off(expected.called_off, seen)
        if expected.ending is not None:
            failures += _ending(expected.ending, report, server)
        if expected.hung_up_by is not None:
            failures += _hung_up(expected.hung_up_by, report, ledger)
        if expected.rung is not None:
            rung = tuple(one.to for one in ledger.rung) if ledger is not None else ()
            if rung != expected.rung:
                failures.append(f"rung was {_list(rung)}, not {_list(expected.rung)}")
        lasted = report.ended_at - report.answered_at
        if expected.duration_s is not None and not expected.duration_s.hold(lasted):
            failures.append(f"the call lasted {lasted:.1f} s, not {expected.duration_s} s")
        if expected.turns is not None:
            turns = sum(bool(caller.answer(exchange)) for exchange in caller.exchanges)
            if not expected.turns.hold(turns):
                failures.append(f"the agent spoke {turns} times, not {expected.turns}")
        if expected.dead_air_ms is not None:
            length, at = longest_silence(report)
            if _ms(length) > expected.dead_air_ms:
                failures.append(
                    f"nobody was heard for {_ms(length)} ms from {at - report.answered_at:.1f} s"
                    f" on, not {expected.dead_air_ms} ms at most"
                )
        return failures

    def _words(self, expected: Expected, heard: "_Heard") -> list[str]:
        if not expected.wants_words:
            return []
        if heard.unknown:
            return ["what was heard is not known in words"]
        failures = []
        start = 0
        for phrase in expected.says:
            at = find(heard.words, words(phrase), start)
            if at is None:
                before = find(heard.words, words(phrase)) is not None
                what = "was heard too early" if before else "was not heard"
                failures.append(f'"{phrase}" {what}: {heard}')
            else:
                start = at + len(words(phrase))
        failures += [
            f'"{pattern}" matches nothing that was heard: {heard}'
            for pattern in expected.matches
            if re.search(pattern, heard.text, re.IGNORECASE) is None
        ]
        failures += [
            f'"{phrase}" was heard: {heard}'
            for phrase in expected.absent
            if find(heard.words, words(phrase)) is not None
        ]
        if expected.means:
            assert self._meant is not None  # validation.py has refused it
            meant = set[str]().union(*map(self._meant, (*heard.texts, heard.text)))
            others = ", ".join(sorted(meant)) or "nothing that is known"
            failures += [
                f"{name} was not meant, but {others}: {heard}"
                for name in expected.means
                if name not in meant
            ]
        return failures


class _Heard:
    """Words heard in some stretches, each with its stretch."""

    def __init__(self, caller: SimulatedCaller, stretches: Sequence[Stretch]) -> None:
        found = [(stretch, caller.hearing.words(stretch)) for stretch in stretches]
        self.unknown = any(text is None for _, text in found)
        self.texts = [text or "" for _, text in found]
        self.text = " ".join(filter(None, self.texts))
        self.words: list[str] = []
        self._stretches = stretches
        self._owners: list[Stretch] = []
        for stretch, text in found:
            own = words(text or "")
            self.words += own
            self._owners += [stretch] * len(own)

    def begin_of(self, expected: ExpectTurn) -> float | None:
        """Return the start of the stretch with the first expected words, or None."""
        if expected.says:
            at = find(self.words, words(expected.says[0]))
            return None if at is None else self._owners[at].began
        if expected.matches:
            for count, stretch in enumerate(self._stretches, 1):
                text = " ".join(filter(None, self.texts[:count]))
                if re.search(expected.matches[0], text, re.IGNORECASE):
                    return stretch.began
            return None
        return self._stretches[0].began if self._stretches else None

    def __str__(self) -> str:
        if not self.text:
            return "nothing was"
        more = "…" if len(self.text) > MAX_QUOTED else ""
        return f'heard was "{more}{self.text[-MAX_QUOTED:]}"'


def unreached(steps: Sequence[ScenarioStep], caller: SimulatedCaller) -> int | None:
    """Return the index of the first step that the call did not reach, or None.

    Steps that hang up or wait need not be reached.
    """
    for index, step in enumerate(steps[caller.done :], caller.done):
        under_way = index == caller.done and (
            step.wait_for_agent is not None or index in caller.expected
        )
        idle = step.hang_up is not None or step.wait is not None or step.stay_silent is not None
        if not under_way and not idle:
            return index
    return None


def longest_silence(report: CallReport) -> tuple[float, float]:
    """Return the length and the start of the longest silence, in seconds.

    A caller who is silent by the scenario counts as heard, and so do ringing, music and other
    people on the line. In a stream, only the agent's speech counts.
    """
    caller = report.caller
    began = report.streams[0].started_at if report.streams else report.answered_at
    sounds = [(one.began, one.ended) for one in caller.stretches]
    sounds += [(one.began, one.ended) for one in caller.silent]
    sounds += [(one.at, one.at) for one in caller.pressed]
    sounds += [(one.began, one.ended) for one in report.line if one.sound in _HEARD]
    sounds += [
        (said.began, report.ended_at if said.ended is None else said.ended)
        for said in caller.said
        if said.began is not None
    ]
    edges = [(began, began), *sorted(sounds), (report.ended_at, report.ended_at)]
    longest, at = 0.0, began
    until = began
    for (_, ended), (following, _) in pairwise(edges):
        until = max(until, ended)
        if following - until > longest:
            longest, at = following - until, until
    return longest, at


def _interruption(limit: int, exchange: Exchange) -> list[str]:
    said = exchange.said
    if said is None or said.time_to_silence is None:
        return ["the agent was not speaking when the caller barged in"]
    after = _ms(said.time_to_silence)
    if after > limit:
        return [f"the agent was silent {after} ms after the caller's first sound, not {limit} ms"]
    return []


def _ending(expected: Ended, report: CallReport, server: ServersEnding | None) -> list[str]:
    if not expected.wants_server:
        if report.ending != expected.slug:
            return [f"the call ended as {report.ending}, not {expected.slug}"]
        return []
    if server is None:
        return ["the server has not said how the call ended"]
    if server.slug != expected.slug:
        return [f"the call ended as {server.slug}, not {expected.slug}"]
    if expected.doing is not None and server.doing != expected.doing:
        return [f"the ending was the doing of {server.doing}, not {expected.doing}"]
    return []


def _hung_up(by: str, report: CallReport, ledger: NetworkLedger | None) -> list[str]:
    asked = [one for one in ledger.hang_ups if one.call_sid == report.call_sid] if ledger else []
    seen = "the call ended as " + report.ending.replace("_", " ")
    if asked:
        seen += f", and Twilio was asked {len(asked)} times to end it"
    if by == "rest":
        right = report.ending == "ended_by_rest" and [one.in_time for one in asked] == [True]
        return [] if right else [f"{seen}: it was not hung up once, by a request to Twilio"]
    right = report.ending == "hangup_verb" and not asked
    return [] if right else [f"{seen}: it was not hung up by <Hangup> alone"]


def _list(numbers: Sequence[str]) -> str:
    return ", ".join(numbers) or "nobody"


def _called_off(expected: Sequence[str], seen: Sequence[SeenFunctionCall]) -> list[str]:
    failures = []
    for name in expected:
        off = [one for one in seen if one.name == name and one.called_off]
        if not off:
            failures.append(f"{name} was not called off; {_calls(seen)}")
        elif any(one.answered for one in off):
            failures.append(f"{name} was called off, and answered all the same")
    return failures


def _functions(expected: Expected, all_of_them: Sequence[SeenFunctionCall]) -> list[str]:
    seen = [one for one in all_of_them if not one.called_off]
    failures = []
    start = 0
    for called in expected.called:
        index = next((i for i in range(start, len(seen)) if _is(called, seen[i])), None)
        if index is None:
            failures.append(f"{_call(called)} was not called; {_calls(seen)}")
        else:
            start = index + 1
    for name in expected.not_called:
        calls = [one for one in seen if one.name == name]
        if calls:
            failures.append(f"{name} was called: {_calls(calls)}")
    return failures


def _is(called: ExpectedFunction, seen: SeenFunctionCall) -> bool:
    if called.function != seen.name:
        return False
    if called.exactly is not None:
        return dict(seen.arguments) == called.exactly
    return all(
        name in seen.arguments and seen.arguments[name] == value
        for name, value in (called.arguments or {}).items()
    )


def _call(called: ExpectedFunction) -> str:
    arguments = called.exactly if called.exactly is not None else called.arguments
    if arguments is None:
        return called.function
    return f"{called.function}({_arguments(arguments)}{'' if called.exactly else ', …'})"


def _calls(seen: Sequence[SeenFunctionCall]) -> str:
    if not seen:
        return "no function was"
    return "called was " + ", ".join(f"{one.name}({_arguments(one.arguments)})" for one in seen)


def _arguments(arguments: Any) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())


def _ms(seconds: float) -> int:
    return round(1000 * seconds)
