"""Connection overrides: the time limits and retries of a webhook, in its URL's fragment.

Source: twilio.md §4.2. Where Twilio's documentation is silent, the rule here is the one that a
server can rely on least (docs/live-checks.md): retries follow each other without a pause, and a
connection that breaks before an answer is retried under `rp=all` alone.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast

Failure: TypeAlias = Literal["4xx", "5xx", "ct", "rt", "cut"]
"""Kind of a failed attempt: answered 4xx or 5xx; no connection (`ct`); no answer within the time
for it (`rt`); connection broken before the answer (`cut`)."""

INVALID_POLICY: Final = 11243
INVALID_URL: Final = 11100

_POLICIES: Final = frozenset({"4xx", "5xx", "ct", "rt"})
_ALL: Final[frozenset[Failure]] = frozenset({"4xx", "5xx", "ct", "rt", "cut"})
_RANGES: Final = {
    "ct": range(100, 10_001),
    "rt": range(100, 15_001),
    "tt": range(100, 15_001),
    "rc": range(6),
}
_DEFAULTS: Final = {"ct": 5000, "rt": 15_000, "tt": 15_000, "rc": 1}
_NUMBER: Final = re.compile("[0-9]{1,5}")
_IGNORED: Final = frozenset({"e", "sni"})
"""Keys that say from where Twilio sends a request, and how it does TLS."""


class InvalidOverrideError(ValueError):
    """Fragment that Twilio refuses, with the code that its debugger shows."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class ConnectionOverrides:
    """Time limits, in wall-clock seconds, and retries of one webhook."""

    connect_s: float
    """Seconds in which a connection must be made."""

    read_s: float
    """Seconds in which the answer must begin, and between two pieces of it."""

    total_s: float
    """Seconds that all attempts may take together."""

    retries: int
    retried: frozenset[Failure]
    """Failures after which the request is sent again."""


def read_overrides(url: str) -> ConnectionOverrides:
    """Return the overrides in a URL's fragment, with Twilio's defaults for those not given.

    Raises InvalidOverrideError for a key, number or policy that Twilio does not have. What Twilio
    does with an unknown key is not documented: in a URL of ours it is a mistake.
    """
    numbers = dict(_DEFAULTS)
    retried: frozenset[Failure] = frozenset({"ct"})
    for pair in url.partition("#")[2].split("&"):
        key, _, value = pair.partition("=")
        if key == "rp":
            retried = _policy(value)
        elif key in _RANGES:
            if not _NUMBER.fullmatch(value) or int(value) not in _RANGES[key]:
                low, high = _RANGES[key][0], _RANGES[key][-1]
                raise InvalidOverrideError(INVALID_URL, f"{pair}: {key} is {low} to {high}")
            numbers[key] = int(value)
        elif pair and key not in _IGNORED:
            raise InvalidOverrideError(INVALID_URL, f"{pair} is no connection override")
    return ConnectionOverrides(
        connect_s=numbers["ct"] / 1000,
        read_s=numbers["rt"] / 1000,
        total_s=numbers["tt"] / 1000,
        retries=numbers["rc"],
        retried=retried,
    )


def _policy(value: str) -> frozenset[Failure]:
    names = value.split(",")
    if "all" in names:
        names.remove("all")
    unknown = [name for name in names if name not in _POLICIES]
    if unknown:
        raise InvalidOverrideError(INVALID_POLICY, f"rp={value}: unknown policy {unknown[0]!r}")
    return _ALL if "all" in value.split(",") else frozenset(cast("list[Failure]", names))
