"""Segments of text messages, each of which is paid for (twilio.md §5.6)."""

from typing import Final

_BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    "ÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED: Final = frozenset("^{}\\[~]|€\f")
"""Characters that count as two: GSM 03.38, 6.2.1."""


def segments(text: str) -> int:
    """Return the segments of a text: one holds 160 letters of GSM's alphabet, or 70 with another.

    In a text of several segments, each uses 7 or 3 of these letters for joining them.
    """
    if _BASIC.union(_EXTENDED).issuperset(text):
        return _parts(len(text) + sum(letter in _EXTENDED for letter in text), 160, 153)
    return _parts(len(text.encode("utf-16-le")) // 2, 70, 67)


def _parts(length: int, alone: int, each: int) -> int:
    return 1 if length <= alone else -(-length // each)
