"""Cheap checks of a webhook, made before its signature is computed, in this order.

A signature of the wrong shape cannot be right, so the body of such a request is not read. The
fields are counted in the raw body: to decode and sort thousands of fields, only to refuse them
then, takes a hundred times as long as to count them.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

from offhook.twilio.signature import HEADER

BODY_MAX: Final = 16 * 1024
"""Bytes of a webhook's body; Twilio's own are under 2 KiB."""

FIELDS_MAX: Final = 200
"""Number of fields of a webhook; Twilio sends about 40."""

_SIGNATURE: Final = re.compile(r"[A-Za-z0-9+/]{27}=|[A-Za-z0-9+/]{43}=")
"""Pattern of a signature: Base64 of an HMAC by SHA-1 (20 bytes) or SHA-256 (32 bytes)."""


class BadFormError(Exception):
    """Raised for a webhook that holds no form, or too large a one; holds the HTTP status."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


def may_be_signed(headers: Mapping[str, str]) -> bool:
    """Return whether there is a signature of the right shape."""
    return _SIGNATURE.fullmatch(headers.get(HEADER, "")) is not None


async def read(request: Request) -> list[tuple[str, str]]:
    """Return the fields of a webhook. Raises BadFormError.

    The time limit for the body is in net/first_request.py.
    """
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > BODY_MAX:
        raise BadFormError(413, "The request is too large.")
    try:
        body = await request.body()
    except ClientDisconnect:
        raise BadFormError(408, "The request did not arrive whole.") from None
    if body.count(b"&") >= FIELDS_MAX:
        raise BadFormError(413, "The request has too many fields.")
    try:
        # Strictly read, an empty body would be a mistake; it is a form without fields.
        return parse_qsl(
            body.decode(), keep_blank_values=True, strict_parsing=bool(body), errors="strict"
        )
    except ValueError:
        raise BadFormError(400, "The request holds no form.") from None
