"""A limit on wrong secrets from one address: tokens, passwords and codes together."""

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from offhook.api.problems import ApiError
from offhook.errors import UserError

_log: Final = logging.getLogger("offhook.api")

FAILURES_MAX: Final = 20
"""Wrong secrets from one address within FAILURES_S, after which its secrets are not checked."""
FAILURES_S: Final = 60.0

ADDRESSES_MAX: Final = 1000
"""Addresses whose failures are counted; the one that failed longest ago is forgotten first."""


class Throttle:
    """Counts of wrong secrets, by address. `now` is a monotonic clock, in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._by_address: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._said_until = 0.0

    def require(self, address: str) -> None:
        """Raise ApiError 429 as long as no secret from that address is checked."""
        count, until = self._by_address.get(address, (0, 0.0))
        wait_s = until - self._now()
        if count >= FAILURES_MAX and wait_s > 0:
            raise ApiError(
                429,
                UserError(
                    "E-API-05",
                    f"There were {FAILURES_MAX} wrong tokens or passwords from this address within"
                    " a minute.",
                    "Wait as long as Retry-After says, and then use the right one.",
                ),
                {"Retry-After": str(int(wait_s) + 1)},
            )

    def add(self, address: str) -> None:
        """Count another wrong secret, or one whose check begins."""
        now = self._now()
        count, until = self._by_address.pop(address, (0, 0.0))
        self._by_address[address] = (count + 1, until) if now < until else (1, now + FAILURES_S)
        if len(self._by_address) > ADDRESSES_MAX:
            self._by_address.popitem(last=False)

    def take_back(self, address: str) -> None:
        """Uncount one: the secret whose check had begun was right."""
        count, until = self._by_address.get(address, (0, 0.0))
        if count:
            self._by_address[address] = (count - 1, until)

    def tell(self, address: str) -> None:
        """Log that a secret was wrong, once a minute."""
        now = self._now()
        if now >= self._said_until:
            self._said_until = now + FAILURES_S
            _log.warning(
                "E-API-02 wrong API token or password from %s; the next minute's are not logged",
                address,
            )
