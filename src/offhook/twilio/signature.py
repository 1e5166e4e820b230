"""Whether a request comes from Twilio: X-Twilio-Signature, on webhooks and on the upgrade.

Source: twilio.md §3.1 to §3.3. The HMAC itself is the vendor's code; which URL was signed, and the
comparison in constant time, are ours: the vendor's `validate` splits IPv6 hosts at their colons and
compares in a loop (twilio.md §3.1, faults).

A signature has neither time nor nonce, so one that is valid today is valid for ever: see calls.py
for what keeps a recorded one from being of use.
"""

import hmac
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from twilio.request_validator import RequestValidator

HEADER: Final = "X-Twilio-Signature"


class _Form(dict[str, list[str]]):
    """Form fields as the vendor's code reads them when a name comes more than once."""

    def getall(self, name: str) -> list[str]:
        return self[name]


class Signatures:
    """Checks signatures made with any of `tokens`: several while one is being rotated."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._validators = [RequestValidator(token) for token in tokens]

    def webhook(
        self, origin: str, target: str, fields: Iterable[tuple[str, str]], signature: str
    ) -> bool:
        """Whether a webhook is signed. `origin` is https://host[:port], `target` the raw path and
        query as they came, `fields` the decoded form of a POST, all of it, and empty for a GET.
        """  # noqa: D205
        form = _Form()
        for name, value in fields:
            form.setdefault(name, []).append(value)
        urls = [name + target for name in _with_and_without_port(origin)]
        return self._any(urls, form, signature)

    def upgrade(self, origin: str, path: str, signature: str) -> bool:
        """Whether a WebSocket upgrade is signed. `origin` is wss://host[:port]; the query string
        is not signed, because Twilio never sends one (twilio.md §1.2). A slash at the end of the
        path may be there or not (twilio.md §3.2).
        """  # noqa: D205
        path = path.partition("?")[0]
        other = path[:-1] if path.endswith("/") else path + "/"
        urls = [name + end for name in _with_and_without_port(origin) for end in (path, other)]
        return self._any(urls, _Form(), signature)

    def _any(self, urls: Iterable[str], form: Mapping[str, list[str]], signature: str) -> bool:
        given = signature.encode("utf-8", "replace")
        valid = False
        for url in urls:
            for validator in self._validators:
                computed = validator.compute_signature(url, form).encode()
                # No early exit: how long this takes tells nothing.
                valid |= hmac.compare_digest(computed, given)
        return valid


def sign(token: str, url: str, fields: Iterable[tuple[str, str]] = ()) -> str:
    """The signature that Twilio would put on a request to `url`: the simulated Twilio's side."""
    form = _Form()
    for name, value in fields:
        form.setdefault(name, []).append(value)
    signature: str = RequestValidator(token).compute_signature(url, form)
    return signature


def _with_and_without_port(origin: str) -> tuple[str, str]:
    """Both forms: Twilio drops the port of an https URL before it signs (twilio.md §3.1).

    Whatever a Host header may hold passes through: a host that is none has no valid signature.
    """
    scheme, _, host = origin.partition("://")
    has_port = ":" in host.rpartition("]")[2]
    if has_port:
        return f"{scheme}://{host.rpartition(':')[0]}", origin
    return origin, f"{origin}:443"
