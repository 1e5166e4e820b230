"""Streams that a call process has offered, and that nobody has joined yet."""

import secrets
from collections.abc import Callable
from typing import Final

from offhook.clock import Clock, Timer
from offhook.net.websocket import Receiver

TOKEN_S: Final = 10.0
"""Seconds for which a token is valid at least: a page opens its stream as soon as it may."""

OFFERS_MAX: Final = 100
"""Streams that may be offered at once; for one more the oldest is withdrawn."""


class OfferedStreams:
    """Streams of one call process, by their tokens. Each can be joined once, in time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offers: dict[str, _Offer] = {}
        """Offers by their tokens, oldest first."""

    def offer(
        self, receiver: Receiver, unwanted: Callable[[], None], due_s: float = TOKEN_S
    ) -> str:
        """Return the token of a new stream, whose messages `receiver` gets, for `due_s` seconds.

        `receiver.on_open` is called when the stream is joined; `unwanted` is called instead when
        nobody joins it in time.
        """
        while len(self._offers) >= OFFERS_MAX:
            self._withdraw(next(iter(self._offers)))
        token = secrets.token_urlsafe(24)
        timer = self._clock.call_at(self._clock.now() + due_s, lambda: self._withdraw(token))
        self._offers[token] = _Offer(receiver, unwanted, timer)
        return token

    def take(self, token: str) -> Receiver | None:
        """Return the receiver of the stream with that token; None for any other token."""
        offer = self._offers.pop(token, None)
        if offer is None:
            return None
        offer.timer.cancel()
        return offer.receiver

    def close(self) -> None:
        """Withdraw every offer."""
        for token in [*self._offers]:
            self._withdraw(token)

    def _withdraw(self, token: str) -> None:
        offer = self._offers.pop(token, None)
        if offer is not None:
            offer.timer.cancel()
            offer.unwanted()


class _Offer:
    """An offered stream."""

    __slots__ = ("receiver", "timer", "unwanted")

    def __init__(self, receiver: Receiver, unwanted: Callable[[], None], timer: Timer) -> None:
        self.receiver: Final = receiver
        self.unwanted: Final = unwanted
        self.timer: Final = timer
