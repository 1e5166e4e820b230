"""Masking of secrets in the messages of a call: by the names of fields, and by value."""

import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

MASK: Final = "***"

SECRET_MIN: Final = 16
"""Characters of a value that is masked wherever it occurs: a shorter one may be a spoken word."""

_FIELDS: Final = frozenset({"headers", "customparameters", "accountsid", "apikey"})
"""Field names whose whole value is secret, in lower case. A stream's parameters are the user's."""

_WORDS: Final = frozenset(
    {
        "auth",
        "authorization",
        "bearer",
        "cookie",
        "credential",
        "credentials",
        "key",
        "password",
        "secret",
        "token",
    }
)
"""Words that make a name secret, as in `aws_secret_access_key`."""

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


class Masks:
    """Masks of the secrets of one call; a value that was masked once is masked in every quotation.

    `known` are values that are secret from the start, except those shorter than `at_least`.
    Prompts and speech are not masked here.
    """

    def __init__(self, known: tuple[str, ...], *, at_least: int = SECRET_MIN) -> None:
        encoded = (quote(value, safe="") for value in known)
        self._known: tuple[str, ...] = ()
        self._keep(value for value in (*known, *encoded) if len(value) >= at_least)

    def message(self, message: Any) -> Any:
        """Return a masked copy of a message: JSON of any kind."""
        return self._without_known(self._by_name(message, secret=False))

    def text(self, text: str) -> str:
        """Return a text without any known secret."""
        for value in self._known:
            text = text.replace(value, MASK)
        return text

    # --- by name ---

    def _by_name(self, value: Any, *, secret: bool) -> Any:
        if isinstance(value, dict):
            return {name: self._field(name, part, secret=secret) for name, part in value.items()}
        if isinstance(value, list):
            return [self._by_name(part, secret=secret) for part in value]
        if not secret or value is None or isinstance(value, bool):
            return value
        self._learn(str(value))
        return MASK

    def _field(self, name: str, value: Any, *, secret: bool) -> Any:
        if name == "functions" and isinstance(value, list) and not secret:
            return [self._function(part) for part in value]
        if name.lower() in ("url", "uri") and isinstance(value, str) and not secret:
            return self._url(value)
        if secret or name.lower() in _FIELDS:
            return self._by_name(value, secret=True)
        if any(word.lower() in _WORDS for word in _WORD.findall(name)):
            # A number under such a name is a measurement or a limit, as in `ttt_token_latency`.
            return value if isinstance(value, int | float) else self._by_name(value, secret=True)
        return self._by_name(value, secret=False)

    def _function(self, function: Any) -> Any:
        """Mask a function that is offered, called or cancelled; names in a schema stay."""
        if not isinstance(function, dict):
            return function
        return {
            name: part if name == "parameters" else self._field(name, part, secret=False)
            for name, part in function.items()
        }

    def _url(self, url: str) -> str:
        """Return the origin alone, as user, path and query may each hold a credential."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            return MASK
        for value in (parts.password, *(value for _, value in parse_qsl(parts.query))):
            self._learn(unquote(value or ""))
        if not parts.scheme or not host:
            return MASK
        origin = f"{parts.scheme}://{host}" + (f":{port}" if port else "")
        return origin if url in (origin, origin + "/") else f"{origin}/{MASK}"

    # --- by value ---

    def _learn(self, value: str) -> None:
        # A header's value may be a scheme and the secret.
        self._keep(part for part in (value, *value.split()) if len(part) >= SECRET_MIN)

    def _keep(self, values: Iterable[str]) -> None:
        new = set(values).difference(self._known)
        if new:
            # A longer one first: a shorter one may be a part of it.
            self._known = tuple(sorted(new.union(self._known), key=len, reverse=True))

    def _without_known(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(k): self._without_known(part) for k, part in value.items()}
        if isinstance(value, list):
            return [self._without_known(part) for part in value]
        return value
