"""Variables of a call: the values of `{{name}}` in an agent's prompt, greeting and phrases.

Texts are filled once, from left to right, and what a value holds is not filled again. Values come
from people and from other programs, so `clean` makes one short line of each: nothing in it can
begin a line of a prompt, command a terminal, or be a character that XML cannot hold. Escaping for
XML and JSON is left to those who write them.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

VALUE_MAX: Final = 1000
"""Characters of a value from outside; the rest is cut off, visibly."""

VARIABLES_MAX: Final = 64
"""Variables that one source may give to a call; those beyond are left out."""

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

BUILT_IN: Final = frozenset({"agent", "call_sid", "called", "caller", "date", "time"})
"""Names of the variables that every call has."""

NOT_A_VARIABLE: Final = "token"
"""Stream parameter with the token that admits a call of our webhook."""

_PLACE: Final = re.compile(r"\{\{[ \t]*(" + NAME.pattern + r")[ \t]*\}\}")

_NO_TEXT: Final = re.compile(
    r"[\s\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]+"
)
"""White space, control characters, marks of text direction, halves of characters."""


def places(text: str) -> Iterator[tuple[str, str]]:
    """Return every `{{name}}` in a text: the name, and how it is written there."""
    return ((found[1], found[0]) for found in _PLACE.finditer(text))


def fill(text: str, values: Mapping[str, str]) -> str:
    """Return the text with a value in each place that has one. Anything else stays as it is."""
    return _PLACE.sub(lambda found: values.get(found[1], found[0]), text)


def clean(value: str) -> str:
    """Return a value from outside as one line of at most VALUE_MAX characters."""
    read = 4 * VALUE_MAX
    line = _NO_TEXT.sub(" ", value[:read]).strip()
    whole = len(line) <= VALUE_MAX and len(value) <= read
    return line if whole else line[: VALUE_MAX - 1] + "…"


def taken(given: Mapping[Any, Any]) -> tuple[dict[str, str], int]:
    """Return the variables that another program gave, and how many of its members were left out.

    Texts, numbers and truth values are variables; None counts as not given. Values of other types,
    names that cannot be written between braces, and those beyond VARIABLES_MAX are left out.
    """
    values: dict[str, str] = {}
    left_out = 0
    for name, value in given.items():
        if value is None:
            continue
        text = _text(value)
        named = isinstance(name, str) and NAME.fullmatch(name) is not None
        if text is None or not named or name == NOT_A_VARIABLE or len(values) == VARIABLES_MAX:
            left_out += 1
        else:
            values[name] = clean(text)
    return values, left_out


def of_call(
    defaults: Mapping[str, str],
    *,
    agent: str,
    call_sid: str,
    caller: str,
    called: str,
    date: str,
    time: str,
    given: Mapping[str, str],
) -> dict[str, str]:
    """Return all variables of one call: the agent file's, the built-in ones and those given for it.

    The later wins; but an unknown number leaves the agent file's value in its place.
    `given` went through `taken`.
    """
    known = {
        "agent": agent,
        "call_sid": clean(call_sid),
        "called": clean(called),
        "caller": clean(caller),
        "date": date,
        "time": time,
    }
    built_in = {name: value for name, value in known.items() if value or name not in defaults}
    return {**defaults, **built_in, **given}


def _text(value: Any) -> str | None:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int():
            return str(value) if abs(value) < 10**100 else None
        case float():
            return str(value) if math.isfinite(value) else None
        case _:
            return None
