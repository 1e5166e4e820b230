"""Secrets of after-call webhooks, as Standard Webhooks writes them."""

import base64
import binascii
from typing import Final

PREFIX: Final = "whsec_"

KEY_MIN: Final = 24
KEY_MAX: Final = 64
"""Bytes of a key: Standard Webhooks 1.0, "Signature scheme"."""


def signing_key(secret: str) -> bytes:
    """Return the key that signs, of a secret such as whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD.

    Raises ValueError, whose words do not quote the secret.
    """
    if not secret.startswith(PREFIX):
        raise ValueError(f"a secret begins with {PREFIX}")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"what follows {PREFIX} is not base64") from None
    if not KEY_MIN <= len(key) <= KEY_MAX:
        raise ValueError(f"a secret has {KEY_MIN} to {KEY_MAX} bytes, and this one {len(key)}")
    return key
