"""The cheap checks of a webhook, by table: its signature's shape, its length and its fields."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.requests import Request

from offhook.twilio.signature import HEADER, sign
from offhook.webhooks.form_checks import BODY_MAX, FIELDS_MAX, BadFormError, may_be_signed, read


@pytest.mark.parametrize(
    ("signature", "may_be"),
    [
        (sign("a token", "https://h/", []), True),
        ("A" * 27 + "=", True),
        ("A" * 43 + "=", True),
        ("", False),
        ("A" * 28, False),
        ("A" * 26 + "==", False),
        ("A" * 27 + "=\n", False),
        (" " + "A" * 27 + "=", False),
        ("A" * 26 + "_=", False),
        ("A" * 42 + "=", False),
    ],
)
def test_a_signature_has_the_shape_of_one_of_two_hashes(signature: str, may_be: bool) -> None:
    assert may_be_signed({HEADER: signature}) is may_be


def test_no_signature_is_no_shape() -> None:
    assert not may_be_signed({})


def asked(body: bytes, length: str | None = None, *, is_whole: bool = True) -> Request:
    headers = [] if length is None else [(b"content-length", length.encode())]
    scope = {"type": "http", "method": "POST", "headers": headers}

    async def receive() -> dict[str, Any]:
        if not is_whole:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": body, "more_body": False}

    received: Callable[[], Awaitable[dict[str, Any]]] = receive
    return Request(scope, received)


FULL = b"&".join(b"a=%d" % number for number in range(FIELDS_MAX))


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"", []),
        (b"CallSid=CA1&Digits=", [("CallSid", "CA1"), ("Digits", "")]),
        (b"a=1&a=2", [("a", "1"), ("a", "2")]),
        (b"From=%2B1+2", [("From", "+1 2")]),
        (FULL, [("a", str(number)) for number in range(FIELDS_MAX)]),
    ],
)
async def test_the_fields_of_a_form_are_read(body: bytes, fields: list[tuple[str, str]]) -> None:
    assert await read(asked(body, str(len(body)))) == fields
    assert await read(asked(body)) == fields, "in chunks, without a length"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (asked(b"a=1", str(BODY_MAX + 1)), 413),
        (asked(b"a=1", "-1"), 413),
        (asked(b"a=1", "0x10"), 413),
        (asked(b"a=1", "10", is_whole=False), 408),
        (asked(FULL + b"&b=1"), 413),
        (asked(b"&" * FIELDS_MAX), 413),
        (asked(b"no form"), 400),
        (asked(b'{"a": 1}'), 400),
        (asked(b"a=%ff"), 400),
        (asked(b"a=\xff"), 400),
    ],
)
async def test_what_is_no_form_or_too_large_a_one_is_refused(
    request_: Request, status: int
) -> None:
    with pytest.raises(BadFormError) as refused:
        await read(request_)
    assert refused.value.status == status
    assert refused.value.why
