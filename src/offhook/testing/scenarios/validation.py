"""Checks before any call: expectations that cannot be met, and those that cannot be judged."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from offhook.testing.scenarios.expectation import Expected, ExpectTurn
from offhook.testing.scenarios.scenario import Loaded, ScenarioCaller, ScenarioStep
from offhook.testing.scenarios.word_matching import AgentVocabulary
from offhook.testing.simulator.dialogue.words import words
from offhook.yamlfile import Finding, InvalidFileError, Loc, nearest


@dataclass(frozen=True, slots=True)
class Sight:
    """Facts of a call that the rehearsal can observe."""

    how: str
    """Source of the words, or the reason why they are missing."""
    words: bool
    inside: bool
    """True if the server runs in this process: its functions and endings can be seen."""


def check(loaded: Loaded, known: AgentVocabulary | None, sight: Sight) -> None:
    """Raise InvalidFileError for expectations that cannot be met or judged.

    The code is E-SCENARIO-01 for what cannot be met, E-SCENARIO-02 for what cannot be judged.
    """
    for code, found in (
        ("E-SCENARIO-01", _Checks(loaded, known).impossible()),
        ("E-SCENARIO-02", _Checks(loaded, known).invisible(sight)),
    ):
        findings = list(found)
        if findings:
            findings.sort(key=lambda finding: (finding.place is None, finding.place))
            raise InvalidFileError(code, findings)


class _Checks:
    def __init__(self, loaded: Loaded, known: AgentVocabulary | None) -> None:
        self._loaded = loaded
        self._known = known

    # --- expectations that cannot be met ---

    def impossible(self) -> Iterator[Finding]:
        for name, person in self._loaded.scenario.people.items():
            here = self._loaded.person_at(name)
            yield from self._order(person.steps, (*here, "steps"))
            yield from self._whole(person, here)
            turn: ScenarioStep | None = None
            for index, step in enumerate(person.steps):
                place: Loc = (*here, "steps", index)
                if step.expect is not None:
                    yield from self._turn(step.expect, turn, (*place, "expect"))
                if (
                    step.barge_in is not None
                    and step.barge_in.after is not None
                    and turn is not None
                ):
                    yield from self._sayable((step.barge_in.after,), (*place, "barge_in", "after"))
                if step.is_turn:
                    turn = step

    def _order(self, steps: Sequence[ScenarioStep], here: Loc) -> Iterator[Finding]:
        for index, step in enumerate(steps):
            before = steps[index - 1] if index else None
            place = (*here, index)
            if before is not None and before.hang_up is not None:
                fix = "Move it before hang_up, or remove it."
                if step.expect is not None:
                    fix = "Move it before hang_up, or to the expect of the whole call."
                yield self._wrong("After hang_up the call is over.", fix, place)
                return
            waits = before is not None and (
                before.expect is not None or before.wait_for_agent is not None
            )
            if step.barge_in is not None and waits:
                yield self._wrong(
                    "There is nothing to barge in on: the step before waits until the agent is"
                    " quiet.",
                    "Exchange the two: barge_in comes right after what the agent answers to, and"
                    " what is expected after that.",
                    place,
                )

    def _turn(
        self, expected: ExpectTurn, turn: ScenarioStep | None, place: Loc
    ) -> Iterator[Finding]:
        if expected.interrupted_within_ms is not None and (turn is None or turn.barge_in is None):
            yield self._wrong(
                "Nobody interrupts the agent here: the caller's last turn is no barge_in.",
                "Use barge_in instead of say, or remove interrupted_within_ms.",
                (*place, "interrupted_within_ms"),
            )
        # Before the caller's first turn comes the greeting, which no dialogue knows.
        yield from self._expected(expected, place, greeting=turn is None)

    def _whole(self, person: ScenarioCaller, here: Loc) -> Iterator[Finding]:
        takes = sum(
            (step.wait or 0.0)
            + (step.stay_silent or 0.0)
            + (step.barge_in.after_ms or 0 if step.barge_in else 0) / 1000
            for step in person.steps
        )
        limit = self._loaded.scenario.time_limit_s
        if takes >= limit:
            yield self._wrong(
                f"The caller waits for {takes:g} s, and the call may last {limit:g} s.",
                "Wait less, or raise time_limit_s.",
                (*here, "steps"),
            )
        if person.expect is None:
            return
        place = (*here, "expect")
        yield from self._expected(person.expect, place, greeting=False)
        ending = person.expect.ending
        hangs_up = any(step.hang_up is not None for step in person.steps)
        if ending is not None and ending.slug == "caller_hung_up" and not hangs_up:
            yield self._wrong(
                "The caller never hangs up, and the call is expected to end so.",
                "Add the step hang_up.",
                (*place, "ending"),
            )
        if self._loaded.scenario.telephones is None:
            if person.expect.rung is not None:
                yield self._wrong(
                    "Who is rung is known where a scenario has telephones.",
                    "Add telephones, with those that can be rung.",
                    (*place, "rung"),
                )
            if person.expect.hung_up_by == "rest":
                yield self._wrong(
                    "Without telephones the server has no account that it could ask to hang up.",
                    "Add telephones: {}, or expect twiml.",
                    (*place, "hung_up_by"),
                )
        longest = person.expect.duration_s.at_most if person.expect.duration_s else None
        if longest is not None and takes > longest:
            yield self._wrong(
                f"The caller waits for {takes:g} s, so the call lasts longer than {longest:g} s.",
                "Wait less, or raise duration_s.",
                (*place, "duration_s"),
            )

    def _expected(self, expected: Expected, place: Loc, *, greeting: bool) -> Iterator[Finding]:
        if expected.means and self._known is None:
            yield self._wrong(
                "What words mean is known from a dialogue, and this scenario names none.",
                "Add dialogue: with the path of a dialogue file.",
                (*place, "means"),
            )
        if self._known is None:
            return
        if not greeting:
            yield from self._sayable(expected.says, (*place, "says"))
        yield from self._named(
            expected.means, self._known.meanings, "intent or reply", (*place, "means")
        )
        called = [called.function for called in expected.called]
        yield from self._named(called, self._known.functions, "function", (*place, "called"))
        yield from self._named(
            expected.not_called, self._known.functions, "function", (*place, "not_called")
        )

    def _sayable(self, phrases: Sequence[str], place: Loc) -> Iterator[Finding]:
        if self._known is None:
            return
        for index, phrase in enumerate(phrases):
            for word in words(phrase):
                if word not in self._known.words:
                    close = nearest(word, self._known.words)
                    fix = f'Did you mean "{close}"?' if close else "Correct the phrase."
                    text = f'The agent of this dialogue never says "{word}".'
                    yield self._wrong(text, fix, (*place, index))

    def _named(
        self, names: Sequence[str], known: Collection[str], what: str, place: Loc
    ) -> Iterator[Finding]:
        for index, name in enumerate(names):
            if name not in known:
                close = nearest(name, known)
                fix = f'Did you mean "{close}"?' if close else f"Known: {', '.join(sorted(known))}."
                text = f'The dialogue has no {what} "{name}".'
                yield self._wrong(text, fix, (*place, index))

    # --- expectations that cannot be judged ---

    def invisible(self, sight: Sight) -> Iterator[Finding]:
        inside = "Run the server within the rehearsal, with --config."
        for name, person in self._loaded.scenario.people.items():
            here = self._loaded.person_at(name)
            expected: list[tuple[Expected, Loc]] = [
                (step.expect, (*here, "steps", index, "expect"))
                for index, step in enumerate(person.steps)
                if step.expect is not None
            ]
            if person.expect is not None:
                expected.append((person.expect, (*here, "expect")))
                if person.expect.called_off and not sight.inside:
                    text = "The functions that an agent calls are not seen from outside."
                    yield self._wrong(text, inside, (*here, "expect", "called_off"))
                ending = person.expect.ending
                if ending is not None and ending.wants_server and not sight.inside:
                    text = "How the server says that a call ended is not seen from outside."
                    yield self._wrong(text, inside, (*here, "expect", "ending"))
            for one, place in expected:
                if one.wants_words and not sight.words:
                    yield self._unheard(sight, place)
                if one.wants_functions and not sight.inside:
                    key = "called" if one.called else "not_called"
                    text = "The functions that an agent calls are not seen from outside."
                    yield self._wrong(text, inside, (*place, key))
            for index, step in enumerate(person.steps):
                if step.fault is not None and not sight.inside:
                    text = "A fault can only happen around a server within the rehearsal."
                    yield self._wrong(text, inside, (*here, "steps", index, "fault"))
                if (
                    step.barge_in is not None
                    and step.barge_in.after is not None
                    and not sight.words
                ):
                    yield self._unheard(sight, (*here, "steps", index, "barge_in", "after"))

    def _unheard(self, sight: Sight, place: Loc) -> Finding:
        return self._wrong(
            f"What is heard cannot be made into words here: {sight.how}.",
            "Name the agent's dialogue in the scenario, set DEEPGRAM_API_KEY, or run the server"
            " within the rehearsal, with --config.",
            place,
        )

    def _wrong(self, text: str, fix: str, place: Loc) -> Finding:
        return Finding("error", text, fix, self._loaded.place(*place))
