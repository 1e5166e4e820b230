"""The credential with which one node opens a link to a process of another.

A link is a WebSocket. Its upgrade carries a credential, made with a key that every node has: who
sends it, for which call process it is, when it was made by the database's clock, and a nonce. It is
good once, for that process, for WINDOW_S. After it each line in either direction carries a code of
its own, by a key that is derived from the credential and by its number, so that nobody on the way
can put a line in, leave one out or send one again. docs/design/fleet.md has the reasons.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

NODE_HEADER: Final = "Offhook-Node"

LINK_PATH: Final = "/node/v1/link"
"""Path of the upgrade: the only one that a node listener serves."""

WINDOW_S: Final = 30
"""Seconds before and after its time in which a credential is good. The database's clock is known to
every node to some ms; what is added is a node that was just stopped for a while."""

NONCES_MAX: Final = 100_000
"""Nonces that are kept. Only credentials that are right are, so only nodes can reach the bound."""

CODE_BYTES: Final = 16
"""Bytes of the code before each line."""

_PATTERN: Final = re.compile(
    r"v1 ([a-z0-9-]{1,63}) ([0-9a-f]{32}) ([0-9]{1,16}) ([A-Za-z0-9_-]{22}) ([0-9a-f]{64})"
)

Why: TypeAlias = Literal["malformed", "wrong", "expired", "foreign", "unknown", "replayed"]
"""Reason for a refusal. `foreign`: for another process; `unknown`: from no known node."""


class NodeRefusedError(Exception):
    """Error: a credential is not accepted."""

    def __init__(self, why: Why) -> None:
        super().__init__(why)
        self.why: Final = why


@dataclass(frozen=True, slots=True)
class LineKeys:
    """Keys of the codes before the lines of one link."""

    of_client: bytes = field(repr=False)
    of_server: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class NodeCredential:
    """A credential for one upgrade: the header's value, and the keys of the lines after it."""

    header: str = field(repr=False)
    keys: LineKeys


def make(key: bytes, sender: str, target: str, now_ms: int) -> NodeCredential:
    """Return the credential of the node `sender` for the call process `target`.

    `now_ms` is the time by the database's clock, in ms since 1970.
    """
    text = f"v1 {sender} {target} {now_ms} {secrets.token_urlsafe(16)}"
    return NodeCredential(f"{text} {_mac(key, text)}", _line_keys(key, text))


class NodeCredentials:
    """Checks of the credentials that reach one call process.

    Args:
        keys: Keys of the fleet, of which any may have made a credential.
        process_id: This process, for which a credential must be.
        nodes: Returns the names of the known nodes.
        now_ms: Returns the time by the database's clock, in ms since 1970.
    """

    def __init__(
        self,
        keys: Sequence[bytes],
        process_id: str,
        nodes: Callable[[], Iterable[str]],
        now_ms: Callable[[], int],
    ) -> None:
        self._keys = keys
        self._process_id = process_id
        self._nodes = nodes
        self._now_ms = now_ms
        self._nonces: dict[str, int] = {}
        """Nonces of accepted credentials, with the time after which each is expired, oldest
        first."""

    def check(self, header: str) -> tuple[str, LineKeys]:
        """Return the node that sends a credential, and the keys of its lines.

        Raises NodeRefusedError. It is good for one call of this method.
        """
        match = _PATTERN.fullmatch(header)
        if match is None:
            raise NodeRefusedError("malformed")
        sender, target, made_ms, nonce, mac = match.groups()
        text = header.rpartition(" ")[0]
        key = next((one for one in self._keys if hmac.compare_digest(_mac(one, text), mac)), None)
        if key is None:
            raise NodeRefusedError("wrong")
        now_ms = self._now_ms()
        if abs(now_ms - int(made_ms)) > WINDOW_S * 1000:
            raise NodeRefusedError("expired")
        if target != self._process_id:
            raise NodeRefusedError("foreign")
        if sender not in self._nodes():
            raise NodeRefusedError("unknown")
        self._spend(nonce, now_ms)
        return sender, _line_keys(key, text)

    def _spend(self, nonce: str, now_ms: int) -> None:
        """Keep a nonce for as long as its credential would be good."""
        while self._nonces and next(iter(self._nonces.values())) < now_ms:
            del self._nonces[next(iter(self._nonces))]
        if nonce in self._nonces or len(self._nonces) >= NONCES_MAX:
            raise NodeRefusedError("replayed")
        # Made as late as the window allows, it would be good for twice the window from now on.
        self._nonces[nonce] = now_ms + 2 * WINDOW_S * 1000


def code(key: bytes, number: int, line: bytes) -> bytes:
    """Return the code of the line with that number, of the side that has the key."""
    return hmac.digest(key, number.to_bytes(8) + line, hashlib.sha256)[:CODE_BYTES]


def _mac(key: bytes, text: str) -> str:
    return hmac.digest(key, f"{NODE_HEADER} {LINK_PATH} {text}".encode(), hashlib.sha256).hex()


def _line_keys(key: bytes, text: str) -> LineKeys:
    def derived(side: str) -> bytes:
        return hmac.digest(key, f"lines of the {side} {text}".encode(), hashlib.sha256)

    return LineKeys(derived("client"), derived("server"))
