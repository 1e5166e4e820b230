"""Authentication of Twilio's requests: by signature or, in development, by their origin.

Every refusal is counted and logged here, with the URL that was checked. A query may be a secret, so
it is not logged.
"""

import ipaddress
import logging
import re
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from starlette.requests import Request

from offhook.config import Config
from offhook.net import websocket
from offhook.observability.metrics.meter import Metrics
from offhook.twilio.fields import MisreadFieldError, read
from offhook.twilio.signature import HEADER, SETTINGS_HEADER, Signatures, UnknownKeyError
from offhook.webhooks import form_checks

_log: Final = logging.getLogger("offhook.refused")
"""Logger for refusals, which any client can cause repeatedly: net/log_limit.py limits them."""

URL_MAX: Final = 200
"""Characters of a refused URL in the log."""

_PROXY_OR_PAGE: Final = (
    "forwarded",
    "origin",  # from a page in this machine's browser; Twilio sends no Origin (twilio.md §1.2)
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
)
"""Headers that neither Twilio nor the simulated Twilio sends."""

_QUERY: Final = re.compile(
    "(placing)=([A-Za-z0-9_-]{16})|(person)=([A-Za-z0-9_-]{1,32})"
    "|(left|stream)=([0-9]{1,6})|(last)=(1)"
)
"""Queries in the addresses that Offhook gives to Twilio: those of an outbound call's
callbacks (outbound/outbound_calls.py), a person's leg (calls/transfers.py), and /twilio/after."""

_CUT_QUERY: Final = re.compile("placing|person|left|stream|last")

Form = dict[str, str]
"""The believed fields of a webhook, and the one value of its query, by name."""


_Kind: TypeAlias = Literal["webhook", "upgrade"]


class UnbelievedRequestError(Exception):
    """Raised for a request that is not believed; holds the status and words of the answer."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


class TwilioAuth:
    """Authentication of webhooks and upgrades: decides whether Twilio has sent them.

    With `server.unsigned`, requests from this machine are accepted, and no others.
    """

    def __init__(self, config: Config, metrics: Metrics) -> None:
        self._public_url = config.server.public_url
        self._unsigned = config.server.unsigned
        self._account_sid = config.twilio.account_sid
        self._metrics = metrics
        self._signatures = Signatures(
            [token.get_secret_value() for token in config.twilio.auth_tokens],
            {key: one.get_secret_value() for key, one in config.twilio.signing_secrets.items()},
        )

    def origin(self, headers: Mapping[str, str]) -> str:
        """Return our https origin: the configured one, else one from the request's Host.

        A forged Host gains nothing: the signature must be valid for it as well.
        """
        return self._public_url or f"https://{headers.get('host', '')}"

    async def form(self, request: Request, names: tuple[str, ...]) -> Form:
        """Return the fields `names` of a webhook, and its query. Raises UnbelievedRequestError."""
        headers = request.headers
        path = request.scope["raw_path"].decode("latin-1").partition("?")[0]
        query = request.scope["query_string"].decode("latin-1")
        url, target = self.origin(headers) + path, path + (f"?{query}" if query else "")
        fields = None
        # Headers alone can rule out a signature, and then the body is not read.
        if _is_local(headers) if self._unsigned else form_checks.may_be_signed(headers):
            try:
                fields = await form_checks.read(request)
            except form_checks.BadFormError as bad:
                raise UnbelievedRequestError(bad.status, f"{bad.why}\n") from None
        if fields is None or not (self._unsigned or self._is_signed(headers, url, target, fields)):
            raise self._unsigned_request("webhook", url)
        try:
            form = read(target, fields, names)
        except MisreadFieldError as error:
            _log.warning("E-SEC-04 400 for %s: %s.", url[:URL_MAX], error)
            raise self._refused("webhook", "a misread field", 400, _not_twilios(error)) from None
        if self._account_sid not in (None, form["AccountSid"]):
            raise self._refused("webhook", "a foreign account", 403, "This is not our account.\n")
        ours = _QUERY.fullmatch(query)
        if ours is not None:
            name, value = (part for part in ours.groups() if part is not None)
            form[name] = value
        elif _CUT_QUERY.match(query) is not None:
            words = _not_twilios("a query is cut")
            raise self._refused("webhook", "a misread field", 400, words)
        return form

    def check_upgrade(self, upgrade: websocket.Upgrade) -> None:
        """Raise UnbelievedRequestError for a WebSocket upgrade that does not come from Twilio."""
        headers = upgrade.headers
        origin = wss(self.origin(headers))
        url = origin + upgrade.path.partition("?")[0]
        if self._unsigned:
            believed = _is_local(headers)
        else:
            signature, settings = headers.get(HEADER, ""), headers.get(SETTINGS_HEADER)
            try:
                believed = self._signatures.upgrade(origin, upgrade.path, signature, settings)
            except UnknownKeyError as error:
                raise self._unknown_key("upgrade", url, error) from None
        if not believed:
            raise self._unsigned_request("upgrade", url)

    def _is_signed(
        self, headers: Mapping[str, str], url: str, target: str, fields: list[tuple[str, str]]
    ) -> bool:
        signature, settings = headers.get(HEADER, ""), headers.get(SETTINGS_HEADER)
        origin = self.origin(headers)
        try:
            return self._signatures.webhook(origin, target, fields, signature, settings)
        except UnknownKeyError as error:
            raise self._unknown_key("webhook", url, error) from None

    def _refused(self, kind: _Kind, why: str, status: int, words: str) -> UnbelievedRequestError:
        self._metrics.refused(kind, why)
        return UnbelievedRequestError(status, words)

    def _unknown_key(self, kind: _Kind, url: str, error: UnknownKeyError) -> UnbelievedRequestError:
        _log.warning(
            "E-SEC-03 403 for %s: signed with a shared key, but %s. Set TWILIO_SIGNING_SECRETS.",
            url[:URL_MAX],
            error,
        )
        words = "The signature names an unknown key.\n"
        return self._refused(kind, "an unknown signing key", 403, words)

    def _unsigned_request(self, kind: _Kind, url: str) -> UnbelievedRequestError:
        if self._unsigned:
            _log.warning(
                "E-SEC-02 403 for %s: --unsigned answers this machine's own alone.", url[:URL_MAX]
            )
        else:
            _log.warning(
                "E-SEC-01 403: signature missing or wrong for %s. Exactly that URL was checked;"
                " Twilio may have called another host. Set --public-url, and TWILIO_AUTH_TOKEN.",
                url[:URL_MAX],
            )
        return self._refused(kind, "a wrong signature", 403, "The signature is missing or wrong.\n")


def wss(origin: str) -> str:
    """Return an https origin in the form that the URL and the signature of a stream need."""
    return "wss" + origin.removeprefix("https")


def host_name(headers: Mapping[str, str]) -> str:
    """Return the host that a request is for, without its port and in lower case."""
    host = headers.get("host", "").lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def _not_twilios(why: object) -> str:
    return f"Not a request of Twilio's: {why}.\n"


def _is_local(headers: Mapping[str, str]) -> bool:
    """Return whether a request names this machine, without a sign of a proxy or a web page."""
    if any(name in headers for name in _PROXY_OR_PAGE):
        return False
    name = host_name(headers)
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
