"""Signed links to a call's audio that expire, for clients without a token."""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs, quote

from pydantic import SecretStr

from offhook.api.paths import PREFIX

_PATH: Final = re.compile(PREFIX + r"/calls/([^/]{1,64})/audio")


class Links:
    """Links, made and checked. `wall_s` is the wall clock, in seconds since 1970.

    The signature is an HMAC over path and expiry. Its key is derived from the API's token, so a
    new token makes every link invalid. A link is valid for both forms of the file (`format`).
    """

    def __init__(self, token: SecretStr, wall_s: Callable[[], float]) -> None:
        token_bytes = token.get_secret_value().encode()
        self._key = hmac.digest(token_bytes, b"offhook audio link 1", hashlib.sha256)
        self._wall_s = wall_s

    def make(self, call_sid: str, lasts_s: int) -> tuple[str, int]:
        """Return a path with its query, and its expiry in seconds since 1970."""
        expires = int(self._wall_s()) + lasts_s
        signature = self._sign(f"{PREFIX}/calls/{call_sid}/audio", expires)
        path = f"{PREFIX}/calls/{quote(call_sid, safe='')}/audio"
        return f"{path}?expires={expires}&signature={signature}", expires

    def opens(self, method: str, path: str, query: bytes) -> bool:
        """Return whether a request needs no token: its path is signed and has not expired."""
        if method not in ("GET", "HEAD") or not _PATH.fullmatch(path):
            return False
        try:
            fields = parse_qs(query.decode("latin-1"), max_num_fields=20)
        except ValueError:  # more fields than any link has
            return False
        expires, signature = fields.get("expires", []), fields.get("signature", [])
        if len(expires) != 1 or len(signature) != 1:
            return False
        if not re.fullmatch(r"[0-9]{1,12}", expires[0], re.ASCII):
            return False
        until = int(expires[0])
        wanted = self._sign(path, until).encode()
        return hmac.compare_digest(wanted, signature[0].encode()) and self._wall_s() < until

    def _sign(self, path: str, expires: int) -> str:
        digest = hmac.digest(self._key, f"{path}\n{expires}".encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
