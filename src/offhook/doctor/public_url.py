"""Check of the public URL: does a signed request to it reach the process that runs here.

Why a webhook that exists answers it, and what its answer proves: docs/design/doctor.md.
"""

import hmac
import secrets
import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import urlencode, urlsplit

import httpx2

from offhook.clock import Clock
from offhook.config import AppConfig
from offhook.doctor.check import Check, bad, good, remark
from offhook.journal.folders import is_alive, process_folders
from offhook.twilio.signature import HEADER, SETTINGS_HEADER, settings_of, sign, sign_with_key
from offhook.webhooks import process_proof

SERVER: Final = "server"
PUBLIC: Final = "public URL"

PATH: Final = "/twilio/stream-status"

ANSWER_S: Final = 8.0
"""Seconds that an answer may take: Twilio gives up after 15 (twilio.md §4.1)."""

_GATEWAY: Final = (502, 503, 504, 530)
"""Answers of a proxy or tunnel whose server does not run."""

_START: Final = "Start it: offhook serve"


class _Answer(NamedTuple):
    status: int
    is_ours: bool
    """True if a process with a journal in the folder of records has answered."""
    proves: bool
    """True if some Offhook has answered that understands the request."""
    took_ms: int


class _NoAnswerError(Exception):
    """Error: a request got no answer; says why."""


class PublicUrlCheck:
    """The checks of the server on this machine and of the public URL that leads to it."""

    def __init__(self, config: AppConfig, http: httpx2.AsyncClient, clock: Clock) -> None:
        self._config = config
        self._http = http
        self._clock = clock
        root = config.records.journals
        self._processes = [each.name for each in process_folders(root) if is_alive(each)]

    async def look(self) -> Sequence[Check]:
        """Return how the server is, and whether the public URL reaches it."""
        server = await self._server()
        return [server, await self._public(runs=server.status == "good")]

    async def _server(self) -> Check:
        where = local_origin(self._config)
        origin = self._config.server.public_url or where.replace("http://", "https://", 1)
        if not self._processes:
            folder = self._config.records.folder
            return remark(SERVER, f"no server runs with the records in {folder}", _START)
        if not self._can_sign:
            return remark(SERVER, "it runs, and without a token it cannot be asked", _NO_TOKEN)
        try:
            answer = await self._ask(where, origin)
        except _NoAnswerError as error:
            fix = "Set server.host as the server was started, or restart it."
            return bad(SERVER, f"it runs, and does not answer at {where}: {error}", fix)
        if answer.is_ours:
            return good(SERVER, f"this process answers at {where}")
        if answer.status == 403:
            reason = "it refuses the signature (E-SEC-01): it has another token or public URL"
            return bad(SERVER, reason, "Restart it, so that it reads .env and offhook.yaml again.")
        reason = f"another program answers at {where} (HTTP {answer.status})"
        return bad(SERVER, reason, "Set server.host as the server was started, or restart it.")

    async def _public(self, *, runs: bool) -> Check:
        origin = self._config.server.public_url
        if origin is None:
            reason = "none is set: signatures are checked against each request's Host"
            return remark(PUBLIC, reason, "Name it: offhook doctor --public-url https://YOUR-HOST")
        if not self._can_sign:
            return remark(PUBLIC, "it cannot be tried without a token", _NO_TOKEN)
        try:
            answer = await self._ask(origin, origin)
        except _NoAnswerError as error:
            fix = "Start the tunnel or proxy, and correct server.public_url: offhook dev"
            return bad(PUBLIC, f"{origin} cannot be reached: {error}", fix)
        return self._judged(origin, answer, runs=runs)

    def _judged(self, origin: str, answer: _Answer, *, runs: bool) -> Check:
        status = answer.status
        if answer.is_ours:
            return good(PUBLIC, f"{origin} reaches this process in {answer.took_ms} ms, signed")
        if answer.proves:
            reason = f"{origin} reaches another Offhook than the one with these records"
            return bad(PUBLIC, reason, "Stop the other one, or point the tunnel at this machine.")
        if status in _GATEWAY:
            reason = f"{origin} reaches a proxy that finds no server (HTTP {status})"
            if not runs:
                return remark(PUBLIC, reason, _START)
            where = local_origin(self._config)
            return bad(PUBLIC, reason, f"Point the tunnel or proxy at {where}")
        if status == 403:
            reason = f"{origin} refuses the signature (E-SEC-01): another token, or another URL"
            fix = "Start the server with the same URL: offhook serve --public-url " + origin
            return bad(PUBLIC, reason, fix)
        if 300 <= status < 400:
            reason = f"{origin} redirects (HTTP {status}): Twilio loses the form of a webhook"
            return bad(PUBLIC, reason, "Name the URL to which it redirects in server.public_url.")
        reason = f"{origin} reaches another program (HTTP {status})"
        return bad(PUBLIC, reason, f"Point the tunnel or proxy at {local_origin(self._config)}")

    @property
    def _can_sign(self) -> bool:
        return bool(self._config.twilio.auth_tokens or self._config.twilio.signing_secrets)

    def _headers(self, origin: str, form: Mapping[str, str]) -> dict[str, str]:
        twilio, url = self._config.twilio, origin + PATH
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Host": urlsplit(origin).netloc,
        }
        if twilio.auth_tokens:
            token = twilio.auth_tokens[0].get_secret_value()
            return headers | {HEADER: sign(token, url, form.items())}
        key, secret = next(iter(twilio.signing_secrets.items()))
        signature = sign_with_key(secret.get_secret_value(), url, form.items())
        return headers | {HEADER: signature, SETTINGS_HEADER: settings_of(key)}

    async def _ask(self, where: str, origin: str) -> _Answer:
        """Send the signed request for `origin` to `where`. Raises _NoAnswerError."""
        call_sid = "CA" + secrets.token_hex(16)
        form = {
            "AccountSid": self._config.twilio.account_sid or "AC" + "0" * 32,
            "CallSid": call_sid,
            "StreamEvent": process_proof.EVENT,
        }
        began = self._clock.now()
        try:
            # Only the head is read: what another program answers may have no end.
            async with self._http.stream(
                "POST",
                where + PATH,
                content=urlencode(form),
                headers=self._headers(origin, form),
                timeout=ANSWER_S,
                extensions={"sni_hostname": urlsplit(origin).hostname},
            ) as response:
                told = response.headers.get(process_proof.HEADER, "")
        except httpx2.HTTPError as error:
            raise _NoAnswerError(why(error)) from None
        proofs = [process_proof.proof(each, call_sid) for each in self._processes]
        is_ours = any(hmac.compare_digest(each, told) for each in proofs)
        took_ms = round((self._clock.now() - began) * 1000)
        return _Answer(response.status_code, is_ours, bool(told), took_ms)


_NO_TOKEN: Final = "Set TWILIO_AUTH_TOKEN in .env."  # noqa: S105 - no token


def local_origin(config: AppConfig) -> str:
    """Return the URL at which a server with this configuration answers on this machine."""
    server = config.server
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(server.host, server.host)  # noqa: S104
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"{'https' if server.tls_cert else 'http'}://{host}:{server.port}"


def why(error: BaseException) -> str:
    """Return why a request got no answer, in words that hold no URL."""
    cause: BaseException | None = error
    while cause is not None:
        match cause:
            case socket.gaierror():
                return "its name does not exist"
            case ssl.SSLCertVerificationError():
                return f"TLS: {cause.verify_message}"
            case ssl.SSLError():
                return f"TLS: {cause.reason or 'it failed'}"
            case ConnectionRefusedError():
                return "the connection is refused"
            case httpx2.TimeoutException() | TimeoutError():
                return f"no answer within {ANSWER_S:g} s"
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
