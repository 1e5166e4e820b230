"""A limit on wrong secrets from one address: tokens, passwords and codes."""

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from offhook.api.problems import ApiError
from offhook.errors import UserError

_log: Final = logging.getLogger("offhook.api")

FAILURES_MAX: Final = 20
"""Wrong secrets of one account from one address within FAILURES_S, after which none is checked."""

ADDRESS_FAILURES_MAX: Final = 100
"""Wrong secrets of all accounts from one address within FAILURES_S, after which none is checked."""

FAILURES_S: Final = 60.0

COUNTS_MAX: Final = 2000
"""Counts that are kept, two for each secret; the one added to longest ago is forgotten first."""


class Throttle:
    """Counts of wrong secrets, by address and account. `now` is a monotonic clock, in seconds.

    An account is a user's name, the API's token or the sign-in links: whoever guesses one user's
    password, or a program with an old token, shuts out nobody else who shares their address.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._counts: OrderedDict[tuple[str, str | None], tuple[int, float]] = OrderedDict()
        self._said_until = 0.0

    def require(self, address: str, account: str) -> None:
        """Raise ApiError 429 as long as no secret of that account from that address is checked."""
        for key, most in _limits(address, account):
            whose = "" if key[1] is None else " of this user, token or link"
            count, until = self._counts.get(key, (0, 0.0))
            wait_s = until - self._now()
            if count >= most and wait_s > 0:
                raise ApiError(
                    429,
                    UserError(
                        "E-API-05",
                        f"There were {most} wrong tokens or passwords{whose} from this address"
                        " within a minute.",
                        "Wait as long as Retry-After says, and then use the right one.",
                    ),
                    {"Retry-After": str(int(wait_s) + 1)},
                )

    def add(self, address: str, account: str) -> None:
        """Count another wrong secret, or one whose check begins."""
        now = self._now()
        for key, _ in _limits(address, account):
            count, until = self._counts.pop(key, (0, 0.0))
            self._counts[key] = (count + 1, until) if now < until else (1, now + FAILURES_S)
        while len(self._counts) > COUNTS_MAX:
            self._counts.popitem(last=False)

    def take_back(self, address: str, account: str) -> None:
        """Uncount one: the secret whose check had begun was right."""
        for key, _ in _limits(address, account):
            count, until = self._counts.get(key, (0, 0.0))
            if count:
                self._counts[key] = (count - 1, until)

    def tell(self, address: str) -> None:
        """Log that a secret was wrong, once a minute."""
        now = self._now()
        if now >= self._said_until:
            self._said_until = now + FAILURES_S
            _log.warning(
                "E-API-02 wrong API token or password from %s; the next minute's are not logged",
                address,
            )


def _limits(address: str, account: str) -> tuple[tuple[tuple[str, str | None], int], ...]:
    """Return the keys under which a secret is counted, each with its limit."""
    return ((address, account), FAILURES_MAX), ((address, None), ADDRESS_FAILURES_MAX)
