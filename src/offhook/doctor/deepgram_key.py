"""Check of a Deepgram key: does it open a session at the URL, and how long does that take."""

from collections.abc import Mapping
from typing import Final

from offhook.deepgram import settings
from offhook.doctor.agent_session import SessionFailedError, try_session
from offhook.doctor.check import Check, bad, good, remark

NAME: Final = "Deepgram key"

CONNECT_S: Final = 10.0
"""Seconds that opening the socket may take: a call waits `deepgram.connect_timeout_s`."""

SLOW_MS: Final = 1500
"""Milliseconds until Settings apply, beyond which callers notice the wait for the greeting."""


async def check_deepgram_key(key: str, url: str) -> Check:
    """Return whether an API key opens a session at `url`, with the Settings of the tutorial."""
    headers = {"Authorization": f"Token {key}"}
    return await with_headers(url, headers, settings.tutorial()[0].message(), CONNECT_S)


async def with_headers(
    url: str, headers: Mapping[str, str], message: bytes, connect_s: float
) -> Check:
    """Return whether a session opens with these headers, which hold a key.

    Settings that Deepgram refuses show that it took the key.
    """
    try:
        times = await try_session(url, headers, message, connect_s)
    except SessionFailedError as failed:
        if failed.is_of_settings:
            return good(NAME, "Deepgram takes it")
        return bad(NAME, failed.what, failed.fix)
    said = f"a session opens in {times.open_ms} ms; Settings apply after {times.applied_ms} ms"
    if times.applied_ms > SLOW_MS:
        fix = "Set deepgram.url to the region that is nearest to this machine."
        return remark(NAME, f"{said}: callers notice the wait", fix)
    return good(NAME, said)
