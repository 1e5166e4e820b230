"""Stream tokens that any node can check: signed with the fleet's key, spent in the directory."""

import hashlib
import hmac
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

TOKEN_MAX: Final = 512
"""Characters of a token, at most; a longer one is not looked at."""

_PURPOSE: Final = b"offhook stream token 1\n"
"""Signed with each token, so that no other signature of the key is one."""


class TokenRefusedError(Exception):
    """Error: a stream's token is not one of this fleet, or not good any more."""


@dataclass(frozen=True, slots=True)
class StreamToken:
    """The content of a stream's token.

    Attributes:
        call_sid: The call whose stream may come.
        process_id: The process that issued it.
        node: Its node.
        epoch: Number of the ownership when it was issued.
        expires_ms: Time by the database's clock, ms since 1970, from which it is not good; 0: that
            clock was not known, and only the node that issued it takes it.
        nonce: What is spent in the directory.
    """

    call_sid: str
    process_id: str
    node: str
    epoch: int
    expires_ms: int
    nonce: str = field(repr=False)


class StreamTokens:
    """Issues and reads the tokens of streams.

    Args:
        keys: The fleet's keys; the first signs, and each of them is good.
        process_id: This process.
        node: Its node.
        now_ms: Returns the time by the database's clock, ms since 1970; None while it is not known.
    """

    def __init__(
        self,
        keys: Sequence[str],
        process_id: str,
        node: str,
        now_ms: Callable[[], int | None],
    ) -> None:
        self._keys = [key.encode() for key in keys]
        self._process_id = process_id
        self._node = node
        self._now_ms = now_ms

    def issue(self, call_sid: str, epoch: int, *, valid_s: float) -> tuple[str, str]:
        """Return a new token for a call's next stream, and its nonce."""
        nonce = secrets.token_urlsafe(18)
        now_ms = self._now_ms()
        expires_ms = 0 if now_ms is None else now_ms + round(valid_s * 1000)
        return self.signed(
            StreamToken(call_sid, self._process_id, self._node, epoch, expires_ms, nonce)
        ), nonce

    def signed(self, token: StreamToken) -> str:
        """Return a token as text, which is safe in XML and URLs."""
        content = [
            token.call_sid,
            token.process_id,
            token.node,
            token.epoch,
            token.expires_ms,
            token.nonce,
        ]
        body = urlsafe_b64encode(json.dumps(content, separators=(",", ":")).encode())
        return f"{body.decode()}.{_signature(self._keys[0], body)}"

    def read(self, text: str) -> StreamToken:
        """Return the content of a token. Raises TokenRefusedError: malformed, forged, expired."""
        body, _, signature = text.partition(".")
        given = body.encode("utf-8", "replace")
        if len(text) > TOKEN_MAX or not signature.isascii():
            raise TokenRefusedError("malformed")
        if not any(hmac.compare_digest(_signature(key, given), signature) for key in self._keys):
            raise TokenRefusedError("forged")
        token = StreamToken(*json.loads(urlsafe_b64decode(given)))
        now_ms = self._now_ms()
        if token.expires_ms and now_ms is not None and token.expires_ms <= now_ms:
            raise TokenRefusedError("expired")
        if not token.expires_ms and token.node != self._node:
            raise TokenRefusedError("of another node, without an expiry")
        return token


def nonce_of(text: str) -> str:
    """Return the nonce of a token that this process has issued, however old; nothing is checked."""
    content = json.loads(urlsafe_b64decode(text.partition(".")[0]))
    return StreamToken(*content).nonce


def _signature(key: bytes, body: bytes) -> str:
    return hmac.new(key, _PURPOSE + body, hashlib.sha256).hexdigest()
