"""Verification of X-Twilio-Signature, on webhooks and on the upgrade.

Source: twilio.md §3.1 to §3.3, and §3.6 for requests that are signed with a shared key. The signed
text is the same in both schemes: the URL, then each field's name and value, sorted, with nothing
between them. `fields.py` reads such a text in one way only.

A signature has neither time nor nonce, so one that is valid today is valid for ever:
calls/replay_cache.py keeps a recorded one from being used again.
"""

import base64
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

HEADER: Final = "X-Twilio-Signature"

SETTINGS_HEADER: Final = "X-Twilio-Webhooks-Signature-Settings"
"""Header with a signature's shared key and algorithm; without it, the Auth Token has signed."""

SHARED_KEY_ALGORITHM: Final = "HMAC_SHA256"
"""The one algorithm that a shared key signs with (twilio.md §3.6)."""


class UnknownKeyError(ValueError):
    """Error: a request names a shared key or an algorithm that is not configured. Says which."""


@dataclass(frozen=True, slots=True)
class SharedKey:
    """A shared key of Twilio's Webhook Configuration: its id, and the secret that signs."""

    id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Scheme:
    """A way to sign: a hash of `hashlib`, and the secrets that may have been used."""

    hash: str
    secrets: Sequence[bytes] = field(repr=False)

    def sign(self, secret: bytes, signed: bytes) -> bytes:
        return base64.b64encode(hmac.digest(secret, signed, self.hash))


class Signatures:
    """Checks signatures made with any of `tokens`, or with the shared key that a request names.

    There are several tokens while one is being rotated. `keys` are shared keys: id to secret.
    """

    def __init__(self, tokens: Sequence[str], keys: Mapping[str, str] | None = None) -> None:
        self._by_token = _Scheme("sha1", [token.encode() for token in tokens])
        self._by_key = {
            key: _Scheme("sha256", [secret.encode()]) for key, secret in (keys or {}).items()
        }

    def webhook(
        self,
        origin: str,
        target: str,
        fields: Iterable[tuple[str, str]],
        signature: str,
        settings: str | None = None,
    ) -> bool:
        """Return whether a webhook is signed.

        `origin` is https://host[:port], `target` the raw path and query as they came, `fields` the
        decoded form of a POST, all of it, and empty for a GET. `settings` is the value of
        SETTINGS_HEADER, None without one. Raises UnknownKeyError.
        """
        text = "".join(name + value for name, value in in_order(fields))
        urls = [name + target for name in _with_and_without_port(origin)]
        return self._any(urls, text, signature, settings)

    def upgrade(self, origin: str, path: str, signature: str, settings: str | None = None) -> bool:
        """Return whether a WebSocket upgrade is signed.

        `origin` is wss://host[:port]; the query string is not signed, because Twilio never sends
        one (twilio.md §1.2). A slash at the end of the path may be there or not (twilio.md §3.2).
        Raises UnknownKeyError.
        """
        path = path.partition("?")[0]
        other = path[:-1] if path.endswith("/") else path + "/"
        urls = [name + end for name in _with_and_without_port(origin) for end in (path, other)]
        return self._any(urls, "", signature, settings)

    def scheme(self, settings: str | None) -> _Scheme:
        """Return how a request with these settings must be signed. Raises UnknownKeyError.

        The header alone decides: a request that names a key is never tried with a token, nor the
        other way round.
        """
        if settings is None:
            return self._by_token
        parts = [part.strip().partition("=") for part in settings.split(",")]
        named = {name.strip(): value.strip() for name, _, value in parts}
        if len(parts) != 2 or named.keys() != {"key", "algorithm"}:
            raise UnknownKeyError(f"{settings[:80]!r} is not key=…,algorithm=…")
        if named["algorithm"] != SHARED_KEY_ALGORITHM:
            raise UnknownKeyError(f"the algorithm {named['algorithm'][:40]!r} is not known")
        scheme = self._by_key.get(named["key"])
        if scheme is None:
            raise UnknownKeyError(f"the key {named['key'][:80]!r} is not known")
        return scheme

    def _any(self, urls: Iterable[str], text: str, signature: str, settings: str | None) -> bool:
        scheme = self.scheme(settings)
        given = signature.encode("utf-8", "replace")
        valid = False
        for url in urls:
            signed = (url + text).encode("utf-8", "replace")
            for secret in scheme.secrets:
                # No early exit, so that the time taken does not reveal which secret matched.
                valid |= hmac.compare_digest(scheme.sign(secret, signed), given)
        return valid


def in_order(fields: Iterable[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    """Return fields as they are signed: sorted by name, and of equal ones each value once."""
    return sorted(set(fields))


def sign(token: str, url: str, fields: Iterable[tuple[str, str]] = ()) -> str:
    """Return the signature that Twilio puts on a request to `url`: the simulated Twilio's side."""
    return _signature(_Scheme("sha1", []), token, url, fields)


def sign_with_key(secret: str, url: str, fields: Iterable[tuple[str, str]] = ()) -> str:
    """Return the signature of a request that is signed with a shared key's secret."""
    return _signature(_Scheme("sha256", []), secret, url, fields)


def settings_of(key: str) -> str:
    """Return the value of SETTINGS_HEADER that goes with a signature by this shared key."""
    return f"key={key},algorithm={SHARED_KEY_ALGORITHM}"


def _signature(scheme: _Scheme, secret: str, url: str, fields: Iterable[tuple[str, str]]) -> str:
    signed = url + "".join(name + value for name, value in in_order(fields))
    return scheme.sign(secret.encode(), signed.encode()).decode()


def _with_and_without_port(origin: str) -> tuple[str, str]:
    """Return both forms: Twilio drops the port of an https URL before it signs (twilio.md §3.1).

    Any text of a Host header passes through: an invalid host has no valid signature.
    """
    scheme, _, host = origin.partition("://")
    has_port = ":" in host.rpartition("]")[2]
    if has_port:
        return f"{scheme}://{host.rpartition(':')[0]}", origin
    return origin, f"{origin}:443"
