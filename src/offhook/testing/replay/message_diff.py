"""Comparison of two calls by the agent's messages: recognised text, replies, function calls."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from offhook.testing.replay.call_side import CallSide
from offhook.testing.replay.captured import AgentWire, CapturedFunctionCall, SpokenText
from offhook.testing.replay.difference import TIME_MS, Difference


def differences(
    then: AgentWire, before: CallSide, now: AgentWire, after: CallSide
) -> Iterator[Difference]:
    """Yield differences in recognised text, in the agent's replies, and in function calls."""
    yield from _texts(_turns(then.texts, before), _turns(now.texts, after))
    yield from _functions(_surely(then.functions, before), _surely(now.functions, after))


@dataclass(frozen=True, slots=True)
class _Turn:
    """A recognised turn of the caller, and the agent's reply until the caller's next turn.

    `surely` is the part of the reply that was sent at least TIME_MS before an interruption or the
    end of the call: the rest depends on chance.
    """

    at_ms: float
    caller: str
    agent: str
    surely: str
    by_chance: bool
    """True if the turn came less than TIME_MS before the end of the call."""


def _turns(texts: Sequence[SpokenText], side: CallSide) -> list[_Turn]:
    begins = [n for n, text in enumerate(texts) if text.role == "user"]
    turns = []
    for begin, end in zip_longest([-1, *begins], begins):
        at_ms = texts[begin].at_ms if begin >= 0 else 0.0
        until = texts[end].at_ms if end is not None else side.ended
        cuts = [at for at in side.cleared if at_ms <= at <= until]
        if end is None:
            cuts.append(side.ended)
        sure = min(cuts, default=float("inf")) - TIME_MS
        replies = texts[begin + 1 : end]
        turns.append(
            _Turn(
                at_ms,
                caller=texts[begin].content if begin >= 0 else "",
                agent=" ".join(text.content for text in replies),
                surely=" ".join(text.content for text in replies if text.at_ms < sure),
                by_chance=at_ms > side.ended - TIME_MS,
            )
        )
    return turns


def _texts(then: Sequence[_Turn], now: Sequence[_Turn]) -> Iterator[Difference]:
    for old, new in zip_longest(then, now):
        if new is None:
            if not old.by_chance:
                what = f"the caller was not understood to say anything; captured: {old.caller!r}"
                yield Difference(round(old.at_ms), what)
        elif old is None:
            if not new.by_chance:
                what = f"the caller was understood to say {new.caller!r}; captured: nothing"
                yield Difference(round(new.at_ms), what)
        elif _plain(old.caller) != _plain(new.caller):
            what = f"the caller was understood to say {new.caller!r}; captured: {old.caller!r}"
            yield Difference(round(new.at_ms), what)
        elif not (_begins(new.agent, old.surely) and _begins(old.agent, new.surely)):
            what = f"the agent said {new.agent!r}; captured: {old.agent!r}"
            yield Difference(round(new.at_ms), what)


def _begins(reply: str, words: str) -> bool:
    return _plain(reply).startswith(_plain(words))


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _surely(
    functions: Sequence[CapturedFunctionCall], side: CallSide
) -> list[tuple[CapturedFunctionCall, bool]]:
    return [(one, one.at_ms <= side.ended - TIME_MS) for one in functions]


def _functions(
    then: Sequence[tuple[CapturedFunctionCall, bool]],
    now: Sequence[tuple[CapturedFunctionCall, bool]],
) -> Iterator[Difference]:
    nothing = (None, False)
    for (old, old_is_sure), (new, new_is_sure) in zip_longest(then, now, fillvalue=nothing):
        if old is not None and new is not None:
            if (old.name, old.arguments) != (new.name, new.arguments):
                what = f"{_call(new)} was called; captured: {_call(old)}"
                yield Difference(round(new.at_ms), what)
        elif old is not None and old_is_sure:
            yield Difference(round(old.at_ms), f"no function was called; captured: {_call(old)}")
        elif new is not None and new_is_sure:
            yield Difference(round(new.at_ms), f"{_call(new)} was called; captured: none")


def _call(call: CapturedFunctionCall) -> str:
    return f"{call.name}({call.arguments})"
