"""Kinds of slot that callers can fill: days, times, numbers of people, digits, list entries.

A kind of slot turns words into a value and the value into words again:
`parse(words(kind.say(value)), 0)` is the value.
"""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias

from offhook.testing.simulator.dialogue import words

Value: TypeAlias = str | int
"""Value of a slot: day "friday", time "19:00", people 2, digits "4217", or a list's name."""

Parsed: TypeAlias = tuple[Value, int]
"""Value of a slot, with the index of the first word after it."""

_WEEKDAYS: Final = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_DAYS: Final = {
    **{day: day for day in _WEEKDAYS},
    **{f"{day}s": day for day in _WEEKDAYS},
    "today": "today",
    "tonight": "today",
    "tomorrow": "tomorrow",
}
_TIME: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_PEOPLE_MAX: Final = 30
_DIGITS_MAX: Final = 32


class SlotKind(Protocol):
    """Kind of slot."""

    def parse(self, tokens: Sequence[str], start: int) -> Parsed | None:
        """Parse the longest value that begins with the word at `start`."""

    def say(self, value: Value) -> str:
        """Return the value as an agent says it."""

    def samples(self) -> list[str]:
        """Return sample values as callers say them, which contain every word that matters."""


class DaySlot:
    """Slot for a day of the week, today or tomorrow."""

    def parse(self, tokens: Sequence[str], start: int) -> Parsed | None:
        """Parse a day, also in the plural: "on Sundays"."""
        day = _DAYS.get(tokens[start])
        return None if day is None else (day, start + 1)

    def say(self, value: Value) -> str:
        """Return the day with its capital."""
        return str(value).capitalize() if value in _WEEKDAYS else str(value)

    def samples(self) -> list[str]:
        """List every day."""
        return [*_WEEKDAYS, "today", "tomorrow"]


class TimeSlot:
    """Slot for a time of day. A bare "seven" is the first seven from `begins` (HH:MM) on."""

    def __init__(self, begins: str = "08:00") -> None:
        hour, minute = begins.split(":")
        self._begins = 60 * int(hour) + int(minute)

    def parse(self, tokens: Sequence[str], start: int) -> Parsed | None:
        """Parse a time: seven, half past six, ten to eight, seven thirty in the evening, noon."""
        first = tokens[start]
        if first in ("noon", "midday"):
            return "12:00", start + 1
        if first == "midnight":
            return "00:00", start + 1
        found = _past_or_to(tokens, start) or _hour_first(tokens, start)
        if found is None:
            return None
        hour, minute, end = found
        half, end = _half(tokens, end)
        return self._resolved(hour, minute, half), end

    def say(self, value: Value) -> str:
        """Return the time in words: half past six in the evening."""
        hour, minute = map(int, str(value).split(":"))
        if minute == 0 and hour in (0, 12):
            return "midnight" if hour == 0 else "noon"
        name = " ".join(words.spelt(hour % 12 or 12))
        if minute == 0:
            clock = name
        elif minute in (15, 30):
            clock = f"{'half' if minute == 30 else 'quarter'} past {name}"
        else:
            oh = "oh " if minute < 10 else ""
            clock = f"{name} {oh}{' '.join(words.spelt(minute))}"
        if hour == 0:
            part = "at night"
        elif hour < 12:
            part = "in the morning"
        else:
            part = "in the afternoon" if hour < 18 else "in the evening"
        return f"{clock} {part}"

    def samples(self) -> list[str]:
        """List every hour in the usual ways, and some minutes."""
        hours = [" ".join(words.spelt(hour)) for hour in range(1, 13)]
        said = [*hours, *hours, *hours]  # bare hours are what most callers say
        said += [f"{hour} o'clock" for hour in hours]
        said += [f"half past {hour}" for hour in hours]
        said += [f"{hour} thirty" for hour in hours]
        said += [f"quarter {way} {hour}" for way in ("past", "to") for hour in hours]
        said += [f"{hour} {part}" for hour in hours for part in ("fifteen", "forty five")]
        said += [f"{hour} in the morning" for hour in hours[6:11]]
        said += [f"{hour} in the afternoon" for hour in hours[:6]]
        said += [f"{hour} in the evening" for hour in hours[4:11]]
        said += [f"half past {hour} in the evening" for hour in hours[4:11]]
        return [*said, "noon"]

    def _resolved(self, hour: int, minute: int, half: str | None) -> str:
        if half == "am" or (half == "night" and not 6 <= hour <= 11):
            hour %= 12
        elif half in ("pm", "night"):
            hour = hour % 12 + 12
        elif 1 <= hour <= 12:
            at = 60 * (hour % 12) + minute
            while at < self._begins and at + 720 < 1440:
                at += 720
            hour = at // 60
        return f"{hour % 24:02}:{minute:02}"


class PeopleSlot:
    """Slot for a number of people, from 1 to 30."""

    def parse(self, tokens: Sequence[str], start: int) -> Parsed | None:
        """Parse a number: four, four people, two of us, just me."""
        if list(tokens[start : start + 2]) == ["just", "me"]:
            return 1, start + 2
        found = words.number(tokens, start)
        if found is None or not 1 <= found[0] <= _PEOPLE_MAX:
            return None
        count, end = found
        rest = list(tokens[end : end + 2])
        if rest[:1] in (["people"], ["person"], ["persons"], ["guests"]):
            end += 1
        elif rest == ["of", "us"]:
            end += 2
        return count, end

    def say(self, value: Value) -> str:
        """Return the number in words."""
        return " ".join(words.spelt(int(value)))

    def samples(self) -> list[str]:
        """List one to twelve, and some more."""
        counts = [" ".join(words.spelt(count)) for count in (*range(1, 13), 15, 20)]
        return [*counts, *counts[:8], *(f"{count} people" for count in counts[1:10]), "just me"]


class DigitsSlot:
    """Slot for two or more digits said one by one, such as an order or telephone number."""

    def parse(self, tokens: Sequence[str], start: int) -> Parsed | None:
        """Parse digits: four two one seven, double four, oh, forty two seventeen."""
        digits = ""
        end = start
        while end < len(tokens) and len(digits) < _DIGITS_MAX:
            times = {"double": 2, "triple": 3}.get(tokens[end], 1)
            here = end + (times > 1)
            token = tokens[here] if here < len(tokens) else ""
            if token in ("oh", "o"):
                digit, after = "0", here + 1
            else:
                found = words.number(tokens, here)
                if found is None or (times > 1 and found[0] > 9):
                    break
                digit, after = str(found[0]), found[1]
            digits += digit * times
            end = after
        return (digits, end) if len(digits) > 1 else None

    def say(self, value: Value) -> str:
        """Return each digit in words."""
        return " ".join(words.one_by_one(str(value)))

    def samples(self) -> list[str]:
        """List strings of four, chosen so that every digit follows every other."""
        random_ = random.Random(0)
        strings = ["".join(random_.choices("0123456789", k=4)) for _ in range(60)]
        said = [self.say(digits) for digits in strings]
        return [*said, *(text.replace("zero", "oh") for text in said if "zero" in text)]


class ChoiceSlot:
    """Slot for a name of a list, each with the ways in which it is said."""

    def __init__(self, names: Mapping[str, Sequence[str]]) -> None:
        self._said = [
            (words.words(said), name) for name, ways in names.items() for said in (name, *ways)
        ]
        self._said.sort(key=lambda entry: -len(entry[0]))
        self._ways = [way for name, ways in names.items() for way in (ways or (name,))]

    def parse(self, tokens: Sequence[str], start: int) -> Parsed | None:
        """Parse the longest name of the list that begins with the word at `start`."""
        for said, name in self._said:
            if said and list(tokens[start : start + len(said)]) == said:
                return name, start + len(said)
        return None

    def say(self, value: Value) -> str:
        """Return the name."""
        return str(value)

    def samples(self) -> list[str]:
        """List every way to say each."""
        return list(self._ways)


def builtin(begins: str = "08:00") -> dict[str, SlotKind]:
    """Return the kinds that need no list, by name."""
    return {
        "day": DaySlot(),
        "time": TimeSlot(begins),
        "people": PeopleSlot(),
        "digits": DigitsSlot(),
    }


def spoken(value: Any) -> str:
    """Return a field of a function's answer as an agent says it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and 0 <= value <= 99:
        return " ".join(words.spelt(value))
    text = str(value)
    if _TIME.fullmatch(text):
        return TimeSlot().say(text)
    if text.lower() in _WEEKDAYS:
        return text.capitalize()
    if text.isdecimal() and text.isascii():
        return DigitsSlot().say(text[:_DIGITS_MAX])
    return text[:200]


def spoken_samples(value: Any) -> Iterator[str]:
    """Yield ways in which values of the same kind as `value` may be said."""
    if isinstance(value, bool):
        yield from ("yes", "no")
    elif isinstance(value, int):
        yield from (spoken(count) for count in range(1, 21))
    elif _TIME.fullmatch(str(value)):
        yield from (
            TimeSlot().say(f"{hour}:{minute}") for hour in range(7, 24) for minute in (0, 30)
        )
    elif str(value).lower() in _WEEKDAYS:
        yield from map(str.capitalize, _WEEKDAYS)
    yield spoken(value)


def _past_or_to(tokens: Sequence[str], start: int) -> tuple[int, int, int] | None:
    """Parse "half past six", "quarter to seven" or "ten past eight": hour, minute, end."""
    at = start + (tokens[start] == "a" and tokens[start + 1 : start + 2] == ["quarter"])
    named = {"half": 30, "quarter": 15}.get(tokens[at])
    if named is not None:
        minutes, at = named, at + 1
    else:
        found = words.number(tokens, at)
        if found is None or not 1 <= found[0] <= 59:
            return None
        minutes, at = found
        at += tokens[at : at + 1] == ["minutes"]
    way = tokens[at] if at < len(tokens) else ""
    found = words.number(tokens, at + 1)
    if way not in ("past", "after", "to") or found is None or not 1 <= found[0] <= 12:
        return None
    hour, end = found
    if way == "to":
        return (hour - 1 or 12), 60 - minutes, end
    return hour, minutes, end


def _hour_first(tokens: Sequence[str], start: int) -> tuple[int, int, int] | None:
    """Parse "seven", "seven o'clock", "seven thirty" or "seven oh five": hour, minute, end."""
    found = words.number(tokens, start)
    if found is None or not 0 <= found[0] <= 23:
        return None
    hour, end = found
    if tokens[end : end + 1] == ["o'clock"]:
        return hour, 0, end + 1
    if tokens[end : end + 1] in (["oh"], ["zero"]):
        minute = words.number(tokens, end + 1)
        if minute is not None and minute[0] <= 9:
            return hour, minute[0], minute[1]
        return hour, 0, end
    minute = words.number(tokens, end)
    if minute is not None and 10 <= minute[0] <= 59:
        return hour, minute[0], minute[1]
    return hour, 0, end


_HALVES: Final = {
    ("in", "the", "morning"): "am",
    ("in", "the", "afternoon"): "pm",
    ("in", "the", "evening"): "pm",
    ("this", "evening"): "pm",
    ("at", "night"): "night",
    ("tonight",): "pm",
    ("am",): "am",
    ("pm",): "pm",
    ("a", "m"): "am",
    ("p", "m"): "pm",
}


def _half(tokens: Sequence[str], start: int) -> tuple[str | None, int]:
    for said, half in _HALVES.items():
        if tuple(tokens[start : start + len(said)]) == said:
            # "Tonight" is also a day, so it is left for DaySlot.
            return half, start if said == ("tonight",) else start + len(said)
    return None, start
