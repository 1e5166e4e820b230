"""Twilio's verdict on a caller's number (twilio.md §4.1), and answers to a call."""

from typing import Final, Literal, TypeAlias

Refused: TypeAlias = Literal["reject", "busy", "say"]
"""Answer to a refused caller: "not in service"; the busy tone; or words, which cost a minute."""

Answer: TypeAlias = Literal["answer", "reject", "busy", "say"]
"""Answer to a caller: the agent, or one of Refused."""

Verdict: TypeAlias = Literal["a", "b", "c", "failed", "none", "absent"]
"""Twilio's verdict on the caller's number: an attestation, or why it is missing.

`none`: there was nothing to check. `absent`: Twilio does not say.
"""

WITHHELD: Final = frozenset(("+266696687", "+7378742833", "+2562533", "+8656696", "+86282452253"))
"""ANONYMOUS, RESTRICTED, BLOCKED, UNKNOWN and UNAVAILABLE as keys of a telephone: some carriers
send these for a number that is withheld."""

_ADDRESSES: Final = ("+", "sip:", "sips:", "client:")

_PASSED: Final[dict[str, Verdict]] = {
    "TN-Validation-Passed-A": "a",
    "TN-Validation-Passed-B": "b",
    "TN-Validation-Passed-C": "c",
}


def verdict_of(stir_verstat: str | None) -> Verdict:
    """Return the verdict that a webhook's `StirVerstat` tells."""
    if stir_verstat is None:
        return "absent"
    if stir_verstat.startswith("TN-Validation-Failed"):
        return "failed"
    return _PASSED.get(stir_verstat[: len("TN-Validation-Passed-A")], "none")


def is_withheld(number: str) -> bool:
    """Return whether a webhook's `From` is no number or address: the caller withholds it."""
    return number in WITHHELD or not number.startswith(_ADDRESSES)
