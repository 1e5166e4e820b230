"""Twilio's requests to the server that is rehearsed: their URLs and their signatures.

Source: twilio.md §3.1, §3.2 and §3.6 (signed data and keys), §4.1 and §4.2 (time limits, retries).

Twilio uses only https and wss; a rehearsal mostly contacts a plain server on loopback. The
simulator then behaves like a proxy that terminates TLS: every https or wss URL of that host, or of
the server's public host, is signed as Twilio signs it, without a port, and requested without TLS,
with the signed `Host` and with `X-Forwarded-Proto: https` (§3.3). So a server finds the signed URL
either in its configuration or in the request. A URL of any other host is never contacted, so that
a rehearsal calls nobody.
"""

import asyncio
import contextlib
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode, urljoin, urlsplit
from uuid import uuid4

import httpx2

from offhook.errors import UserError
from offhook.testing.simulator.twilio.overrides import (
    ConnectionOverrides,
    Failure,
    InvalidOverrideError,
    read_overrides,
)
from offhook.testing.simulator.twilio.verbs import MAX_BYTES
from offhook.twilio.signature import (
    HEADER,
    SETTINGS_HEADER,
    SharedKey,
    settings_of,
    sign,
    sign_with_key,
)

IDEMPOTENCY_HEADER: Final = "I-Twilio-Idempotency-Token"
"""Header whose value is the same in all attempts of one request, and in no other request."""

HTTP_FAILURE: Final = 11200
TOTAL_TIMEOUT: Final = 11203
CONNECTION_FAILURE: Final = 11205
PROTOCOL_VIOLATION: Final = 11206


class WebhookError(Exception):
    """Request without a usable answer, with the code that Twilio's debugger shows for it."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class _FailedAttemptError(WebhookError):
    """Attempt that failed, of the kind `failure`."""

    def __init__(self, failure: Failure, code: int, text: str) -> None:
        super().__init__(code, text)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Request:
    """Request to a public URL, with parameters for the form, or for the query of a GET."""

    url: str
    method: str = "POST"
    parameters: Mapping[str, str] = field(default_factory=dict)


class RehearsedHost:
    """Host that is rehearsed, with its URLs as Twilio knows, signs and requests them.

    `public_url` is the public https origin of the server, if it is not the origin of `to_url`; only
    a plain `to_url` needs it. `auth_token`, an Auth Token or a shared key, signs the requests; with
    None nothing is signed. Raises UserError E-REH-02 if `to_url` is not an http, https, ws or wss
    URL.
    """

    def __init__(
        self, to_url: str, auth_token: str | SharedKey | None, public_url: str | None = None
    ) -> None:
        scheme, self._netloc, rest = _split(to_url)
        if scheme not in ("http", "https", "ws", "wss") or not self._netloc:
            raise UserError(
                "E-REH-02",
                f'"{to_url}" is neither a voice webhook nor a media stream.',
                "Give a URL such as http://127.0.0.1:5000/twilio/voice.",
            )
        self.is_plain = scheme in ("http", "ws")
        """Whether it is reached without TLS."""
        self._auth_token = auth_token
        self.is_stream = scheme in ("ws", "wss")
        public = _split(public_url)[1] if self.is_plain and public_url else self._netloc
        self._hosts = [urlsplit(f"//{netloc}") for netloc in (self._netloc, public)]
        self.url = f"{'wss' if self.is_stream else 'https'}://{public}{rest}"
        """`to_url` in the form that Twilio would know."""

    def dialled(self, url: str) -> str | None:
        """Return the URL to request in place of `url`; None if it is of another host."""
        scheme, netloc, rest = _split(url)
        try:
            its = urlsplit(f"//{netloc}")
            port = its.port
        except ValueError:  # an invalid port or IPv6 address
            return None
        if not any(
            its.hostname == ours.hostname and port in (None, 443, ours.port) for ours in self._hosts
        ):
            return None
        if self.is_plain:
            scheme = {"https": "http", "wss": "ws"}.get(scheme, scheme)
        return f"{scheme}://{self._netloc}{rest.partition('#')[0]}"

    def proxied(self, url: str) -> dict[str, str]:
        """Return the headers that a proxy in front of a plain server gives a request.

        Without a token the result is empty: a server that checks no signatures serves only its own
        machine.
        """
        scheme, netloc, _ = _split(url)
        if not self.is_plain or self._auth_token is None:
            return {}
        proto = "https" if scheme in ("https", "wss") else "http"
        return {"Host": netloc.rpartition("@")[2], "X-Forwarded-Proto": proto}

    def signature(self, url: str, form: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the headers that sign a request, over its URL without port, user and fragment.

        A plain http URL keeps its port (§3.1).
        """
        if self._auth_token is None:
            return {}
        scheme, netloc, rest = _split(url)
        netloc = netloc.rpartition("@")[2]
        if scheme != "http":
            netloc = re.sub(r":\d+$", "", netloc)
        signed = f"{scheme}://{netloc}{rest.partition('#')[0]}"
        fields = (form or {}).items()
        if isinstance(self._auth_token, SharedKey):
            return {
                HEADER: sign_with_key(self._auth_token.secret, signed, fields),
                SETTINGS_HEADER: settings_of(self._auth_token.id),
            }
        return {HEADER: sign(self._auth_token, signed, fields)}

    async def send(
        self,
        http: httpx2.AsyncClient,
        request: Request,
        on_retry: Callable[[str], None] = lambda text: None,
    ) -> httpx2.Response:
        """Send a signed request, again as often as its URL's connection overrides say.

        `on_retry` is called with the failure of each attempt that is repeated. Raises WebhookError
        when there is no answer.
        """
        url, form = request.url.partition("#")[0], dict(request.parameters)
        if request.method == "GET":
            url += ("&" if "?" in url else "?") + urlencode(form)
            form = {}
        dialled = self.dialled(url)
        if dialled is None:
            raise WebhookError(
                CONNECTION_FAILURE, f"{request.url} is another host's: not contacted"
            )
        try:
            overrides = read_overrides(request.url)
        except InvalidOverrideError as bad:
            raise WebhookError(bad.code, f"{request.url}: {bad}") from None
        headers = {
            "User-Agent": "TwilioProxy/1.1",
            "Accept-Encoding": "gzip",
            IDEMPOTENCY_HEADER: str(uuid4()),
            **self.proxied(url),
            **self.signature(url, form),
        }

        def attempt() -> httpx2.Request:
            return http.build_request(
                request.method,
                self.dialled(url) or dialled,  # anew: each attempt is a connection of its own
                data=form or None,
                headers=headers,
                timeout=_limits(overrides),
            )

        try:
            async with asyncio.timeout(overrides.total_s):
                return await _repeated(http, attempt, request.url, overrides, on_retry)
        except TimeoutError:
            text = f"{request.url}: no answer within {overrides.total_s:g} s"
            raise WebhookError(TOTAL_TIMEOUT, text) from None


def _limits(overrides: ConnectionOverrides) -> httpx2.Timeout:
    return httpx2.Timeout(overrides.read_s, connect=overrides.connect_s, pool=None)


async def _repeated(
    http: httpx2.AsyncClient,
    make: Callable[[], httpx2.Request],
    url: str,
    overrides: ConnectionOverrides,
    on_retry: Callable[[str], None],
) -> httpx2.Response:
    """Send a request until an attempt succeeds or may not be repeated (twilio.md §4.2)."""
    for retries_left in range(overrides.retries, -1, -1):
        response: httpx2.Response | None = None
        failure: Failure
        try:
            response = await _attempt(http, make, url)
            if response.status_code < 400:
                return response
            failure = "5xx" if response.status_code >= 500 else "4xx"
            words = f"{url} answered {response.status_code}"
        except _FailedAttemptError as failed:
            if retries_left == 0 or failed.failure not in overrides.retried:
                raise
            failure, words = failed.failure, str(failed)
        if response is not None and (retries_left == 0 or failure not in overrides.retried):
            return response
        on_retry(f"{words}: sent again ({failure})")
    raise AssertionError("the last attempt returns or raises")


async def _attempt(
    http: httpx2.AsyncClient, make: Callable[[], httpx2.Request], url: str
) -> httpx2.Response:
    """Send a request once. Raises _FailedAttemptError, or WebhookError for what is not repeated."""
    try:
        async with contextlib.aclosing(await http.send(make(), stream=True)) as response:
            return await _read(response)
    except zlib.error:
        raise WebhookError(HTTP_FAILURE, f"{url}: its answer is not what it says: gzip") from None
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
        # The URL is the one that Twilio knows: its host need not be the one that was tried.
        where = f"nothing answers at {error.request.url.netloc.decode()}"
        raise _FailedAttemptError("ct", CONNECTION_FAILURE, f"{url}: {where}: {error}") from None
    except httpx2.TimeoutException:
        raise _FailedAttemptError("rt", HTTP_FAILURE, f"{url}: no answer in time") from None
    except httpx2.RemoteProtocolError as error:
        raise _FailedAttemptError("cut", PROTOCOL_VIOLATION, f"{url}: {error}") from None
    except httpx2.NetworkError as error:
        raise _FailedAttemptError("cut", HTTP_FAILURE, f"{url}: {error}") from None
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise WebhookError(HTTP_FAILURE, f"{url}: {error}") from None


async def _read(response: httpx2.Response) -> httpx2.Response:
    """Return a response with its body, of which no more is read than verbs.read needs to refuse it.

    The server may be anybody's: its answer may have no end, or may be small only on its way.
    """
    body = b""
    async for part in response.aiter_raw():
        body += part
        if len(body) > MAX_BYTES:
            break
    if response.headers.get("content-encoding") == "gzip":
        body = zlib.decompressobj(wbits=31).decompress(body, MAX_BYTES + 1)
    kinds = [pair for pair in response.headers.raw if pair[0].lower() == b"content-type"]
    return httpx2.Response(response.status_code, headers=kinds, content=body[: MAX_BYTES + 1])


def joined(base: str, url: str) -> str:
    """Return a URL that is relative to the URL of its document; a malformed one as it is.

    A malformed URL is no host's, and is not contacted.
    """
    try:
        return urljoin(base, url)
    except ValueError:
        return url


def _split(url: str) -> tuple[str, str, str]:
    """Return scheme, network location and rest of `url`, unchanged: a signature covers it."""
    found = re.fullmatch(r"(?s)([A-Za-z]+)://([^/?#]*)(.*)", url)
    return (found[1].lower(), found[2], found[3]) if found else ("", "", url)
