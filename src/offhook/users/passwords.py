"""Passwords of users, kept as argon2id hashes with the parameters of RFC 9106 §4 (low memory).

Hashing takes some 50 ms and 64 MiB on purpose: never on an event loop, and few at once.
"""

import unicodedata
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from offhook.errors import UserError

LENGTH_MIN: Final = 10
LENGTH_MAX: Final = 200
"""Characters of a password."""

_hasher: Final = PasswordHasher()

NO_ONES: Final = (
    "$argon2id$v=19$m=65536,t=3,p=4$b2ZmaG9vayBub2JvZHkhIQ"
    "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)
"""A hash that belongs to no password: to check it takes as long as for a user who is there."""


def hash_of(password: str) -> str:
    """Return the hash of a new password. Raises UserError E-USR-01 when it will not do."""
    text = _normal(password)
    if not LENGTH_MIN <= len(text) <= LENGTH_MAX:
        raise UserError(
            "E-USR-01",
            f"A password has {LENGTH_MIN} to {LENGTH_MAX} characters, and this one {len(text)}.",
            "Take a longer one, such as four words.",
        )
    return _hasher.hash(text)


def is_right(hashed: str, password: str) -> bool:
    """Return whether a hash is that of a password. A hash that cannot be read is of none."""
    text = _normal(password)[: LENGTH_MAX + 1]
    try:
        return _hasher.verify(hashed, text)
    except (VerificationError, InvalidHashError):
        return False


def _normal(password: str) -> str:
    # Keyboards write the same letter in several ways; half a character has no encoding at all.
    whole = password.encode("utf-8", "replace").decode()
    return unicodedata.normalize("NFKC", whole)
