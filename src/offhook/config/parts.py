"""Types of configuration values, which are checked as they are read."""

import re
import zoneinfo
from pathlib import Path
from typing import Annotated, Any, Final

import pydantic
from pydantic import BeforeValidator, Field

from offhook import variables, yamlfile
from offhook.text.phone_numbers import E164
from offhook.text.user_pattern import PatternError, UserPattern

DOTENV: Final = Path(".env")
"""File of the working directory that has secrets."""


class Part(pydantic.BaseModel):
    """Base class of a heading of a file: frozen, and an unknown key is an error."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _empty(cls, value: Any) -> Any:
        """Return {} for a heading with nothing under it, as when every line is commented out."""
        return {} if value is None else value


def phone_number(value: Any) -> Any:
    """Return the value if it is a phone number in E.164. Refuse every other text, and integers."""
    if isinstance(value, int):
        # The number itself is not told: findings end up in logs.
        raise yamlfile.refuse(
            "A phone number without quotes is an integer to YAML: its + is lost.",
            'Put it in quotes: "+1…".',
        )
    if isinstance(value, str) and not E164.fullmatch(value):
        raise yamlfile.refuse(
            "This is not a phone number in international form.",
            'Write + and digits alone, in quotes: "+1…".',
        )
    return value


def or_empty(value: Any) -> Any:
    """Return {} for a table with nothing under its heading."""
    return {} if value is None else value


def _destination(value: Any) -> Any:
    sip = isinstance(value, str) and re.fullmatch(r"sips?:[^\s@]+@[^\s@]+", value)
    return value if sip else phone_number(value)


def speakable(value: Any) -> Any:
    """Return text that TwiML can hold: XML has no other control characters than these."""
    if isinstance(value, str) and re.search(
        r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", value
    ):
        raise yamlfile.refuse(
            "This text has a control character, which no voice can say.",
            "Remove it: write letters and punctuation alone.",
        )
    return value


def _variable_name(value: Any) -> Any:
    if not isinstance(value, str) or not variables.NAME.fullmatch(value):
        raise yamlfile.refuse(
            "This is no name for a variable.", "Write letters, digits and _, with no digit first."
        )
    if value == variables.NOT_A_VARIABLE:
        raise yamlfile.refuse(
            f'"{value}" is how Offhook knows its own streams.', "Give it another name."
        )
    return value


def _default(value: Any) -> Any:
    if isinstance(value, bool | int | float):
        # A number is read as one: 1.10 is 1.1 by then, and +1555 is 1555.
        raise yamlfile.refuse("This is a number or a switch to YAML.", "Put it in quotes.")
    return "" if value is None else speakable(value)


def _zone(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        pass
    known = zoneinfo.available_timezones()
    fix = yamlfile.did_you_mean(value, known, "Write one as Europe/Berlin.")
    raise yamlfile.refuse("This machine knows no time zone of that name.", fix)


def _pattern(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        pattern = UserPattern(value)
    except PatternError as error:
        fix = "Correct it; single quotes keep its \\."
        if re.search(r"\(\?<?[=!>]|\\[1-9]|\(\?P=", value):
            fix = (
                "Write it without lookaround and backreferences, which can take for ever: find"
                " more, or write several patterns."
            )
        raise yamlfile.refuse(f"This is not a regular expression of RE2: {error}.", fix) from None
    if pattern.finds_nothing_at_all():
        raise yamlfile.refuse(
            "This regular expression finds the empty text, which is everywhere.",
            "Have it find one character at least: + in place of *.",
        )
    return pattern


def _country(value: Any) -> Any:
    from offhook.policy.dial_policy import is_country

    if isinstance(value, str) and not is_country(value):
        raise yamlfile.refuse(
            "This is not the code of a country.", "Write ISO 3166's two capital letters, as US."
        )
    return value


def _host(value: Any) -> Any:
    if isinstance(value, str):
        value = value.lower()
        if not re.fullmatch(r"[a-z0-9.\-]{1,253}|\[[0-9a-f:.]{2,45}\]", value):
            raise yamlfile.refuse(
                "This is not the name of a host.", "Write it without port: pbx.example.com."
            )
    return value


def _destination_name(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value):
        raise yamlfile.refuse(
            "This is no name for a destination.", "Write letters, digits, _ and -, as front_desk."
        )
    return value


def _key(value: Any) -> Any:
    """Return a key as text; YAML takes 0 for a number."""
    key = str(value) if type(value) is int else value
    if isinstance(key, str) and not re.fullmatch(r"[0-9*#]", key):
        raise yamlfile.refuse(
            "This is no key of a telephone.", 'Write one of 0 to 9, * and #, in quotes: "0".'
        )
    return key


Text = Annotated[str, Field(min_length=1), BeforeValidator(speakable)]
Country = Annotated[str, BeforeValidator(_country)]
Host = Annotated[str, BeforeValidator(_host)]
DestinationName = Annotated[str, BeforeValidator(_destination_name)]
Name = Annotated[str, BeforeValidator(_variable_name)]
Default = Annotated[str, BeforeValidator(_default)]
Zone = Annotated[zoneinfo.ZoneInfo, BeforeValidator(_zone)]
Pattern = Annotated[UserPattern, BeforeValidator(_pattern)]
Destination = Annotated[str, BeforeValidator(_destination)]
PhoneNumber = Annotated[str, BeforeValidator(phone_number)]
Key = Annotated[str, BeforeValidator(_key)]
