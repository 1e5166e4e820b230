"""URLs as logs, errors and the banner show them.

The user, the query and the fragment of a URL may each be a secret. So may the path at a host that
is not ours. What is written for a reader therefore goes through this module.
"""

import re
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,15}://[^\s\"'<>`]*")
"""Pattern of a URL in a text, with the punctuation behind it. The scheme's length is bounded."""

_BEHIND: Final = ".,;:!)]}"
"""Punctuation that ends a sentence and not a URL."""


def without_secrets(url: str) -> str:
    """Return scheme, host and path; `?…` stands for a query."""
    return _shown(url, with_path=True)


def origin(url: str) -> str:
    """Return scheme, host and port; `/…` stands for the rest."""
    return _shown(url, with_path=False)


def masked_in(text: str, *, with_path: bool = True) -> str:
    """Return a text in which each URL is `without_secrets`, or its `origin`."""
    if "://" not in text:
        return text
    return _URL.sub(lambda found: _in_text(found[0], with_path), text)


def secrets_in(url: str) -> list[str]:
    """Return the parts of a URL that may be credentials: password and values of the query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return []
    values = [value for _, value in parse_qsl(parts.query)]
    if parts.password:
        values += [parts.password, unquote(parts.password)]
    return values


def _in_text(found: str, with_path: bool) -> str:
    url = found.rstrip(_BEHIND)
    return _shown(url, with_path) + found[len(url) :]


def _shown(url: str, with_path: bool) -> str:
    scheme = url.partition("://")[0]
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return f"{scheme}://…"
    if ":" in host:
        host = f"[{host}]"
    shown = f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")
    if with_path:
        return shown + parts.path + ("?…" if parts.query or parts.fragment else "")
    return shown + ("/…" if parts.path.strip("/") or parts.query or parts.fragment else "")
