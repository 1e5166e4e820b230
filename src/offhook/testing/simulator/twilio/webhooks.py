"""Twilio's requests to the server that is rehearsed: their URLs and their signatures.

Source: twilio.md §3.1, §3.2 and §3.6 (signed data and keys) and §4.1 (timeout of a webhook).

Twilio uses only https and wss; a rehearsal mostly contacts a plain server on loopback. The
simulator then behaves like a proxy that terminates TLS: every https or wss URL of that host, or of
the server's public host, is signed as Twilio signs it, without a port, and requested without TLS,
with the signed `Host` and with `X-Forwarded-Proto: https` (§3.3). So a server finds the signed URL
either in its configuration or in the request. A URL of any other host is never contacted, so that
a rehearsal calls nobody.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode, urlsplit

import httpx2

from offhook.errors import UserError
from offhook.twilio.signature import (
    HEADER,
    SETTINGS_HEADER,
    SharedKey,
    settings_of,
    sign,
    sign_with_key,
)

TIMEOUT_S: Final = 15.0
"""Wall-clock seconds that a request may take in total."""

HTTP_FAILURE: Final = 11200
CONNECTION_FAILURE: Final = 11205
PROTOCOL_VIOLATION: Final = 11206


class WebhookError(Exception):
    """Request without a usable answer, with the code that Twilio's debugger shows for it."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


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
        self._plain = scheme in ("http", "ws")
        self._auth_token = auth_token
        self.is_stream = scheme in ("ws", "wss")
        public = _split(public_url)[1] if self._plain and public_url else self._netloc
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
        if self._plain:
            scheme = {"https": "http", "wss": "ws"}.get(scheme, scheme)
        return f"{scheme}://{self._netloc}{rest.partition('#')[0]}"

    def proxied(self, url: str) -> dict[str, str]:
        """Return the headers that a proxy in front of a plain server gives a request.

        Without a token there are none: a server that checks no signatures serves only its own
        machine.
        """
        scheme, netloc, _ = _split(url)
        if not self._plain or self._auth_token is None:
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

    async def send(self, http: httpx2.AsyncClient, request: Request) -> httpx2.Response:
        """Send a signed request. Raises WebhookError when there is no answer."""
        url, form = request.url, dict(request.parameters)
        if request.method == "GET":
            url += ("&" if "?" in url else "?") + urlencode(form)
            form = {}
        dialled = self.dialled(url)
        if dialled is None:
            raise WebhookError(
                CONNECTION_FAILURE, f"{request.url} is another host's: not contacted"
            )
        headers = {
            "User-Agent": "TwilioProxy/1.1",
            **self.proxied(url),
            **self.signature(url, form),
        }
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await http.request(
                    request.method, dialled, data=form or None, headers=headers
                )
        except httpx2.ConnectError as error:
            raise WebhookError(CONNECTION_FAILURE, f"{request.url}: {error}") from None
        except httpx2.RemoteProtocolError as error:
            raise WebhookError(PROTOCOL_VIOLATION, f"{request.url}: {error}") from None
        except (httpx2.TimeoutException, TimeoutError):
            text = f"{request.url}: no answer within {TIMEOUT_S:g} s"
            raise WebhookError(HTTP_FAILURE, text) from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise WebhookError(HTTP_FAILURE, f"{request.url}: {error}") from None


def _split(url: str) -> tuple[str, str, str]:
    """Return scheme, network location and rest of `url`, unchanged: a signature covers it."""
    found = re.fullmatch(r"(?s)([A-Za-z]+)://([^/?#]*)(.*)", url)
    return (found[1].lower(), found[2], found[3]) if found else ("", "", url)
