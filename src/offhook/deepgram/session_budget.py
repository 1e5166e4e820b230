"""The budget of Deepgram sessions: how many may be open at once, and how many are.

Deepgram counts sessions per project and answers one too many with 429 (deepgram.md §1.3). A session
counts here from its dial until its socket is closed, for any reason: ahead of a stream,
again after a loss, or as a spare.
"""

import logging
import math
from collections.abc import Callable
from typing import Final

from offhook.net.websocket import Channel, Closed, Receiver

_log: Final = logging.getLogger("offhook.deepgram")

LOWERED_S: Final = 60.0
"""Seconds for which the budget stays lowered after a 429."""

GROWING_S: Final = 60.0
"""Seconds after that in which it grows by one session a second; then it is whole again.

A budget that is whole at once would let every waiting caller dial into the same refusal.
"""


class SessionBudget:
    """Budget of the sessions of one server: `most` at once, or as many as Deepgram lets open.

    The budget refuses no dial, because a call that was admitted needs its agent. It answers whether
    there is room for a further call.

    Attributes:
        dialled: Sessions that are open, or being dialled.
        open: Of these, those that are open.
        refusals: Number of dials that Deepgram has refused with 429.
    """

    def __init__(self, most: int | None, now: Callable[[], float]) -> None:
        """Take the number of sessions, None if it is not known, and a clock in seconds."""
        self.dialled = 0
        self.open = 0
        self.refusals = 0
        self._most = most
        self._now = now
        self._lowered_to = 0
        self._lowered_until: float | None = None

    @property
    def limit(self) -> int | None:
        """Number of sessions that may be open at once; None when it is not known."""
        if self._lowered_until is None:
            return self._most
        grown_s = self._now() - self._lowered_until
        if grown_s >= GROWING_S:
            return self._most
        limit = self._lowered_to + max(0, math.floor(grown_s))
        return limit if self._most is None else min(limit, self._most)

    def has_room(self, promised: int) -> bool:
        """Return whether a further call can have a session.

        `promised` is the number of calls that have none now and will dial.
        """
        limit = self.limit
        return limit is None or self.dialled + promised < limit

    def counted(self, receiver: Receiver) -> "CountedReceiver":
        """Count a session that is about to be dialled; return the receiver to dial with."""
        return CountedReceiver(receiver, self)

    def on_refused(self) -> None:
        """Lower the budget to what is open: Deepgram has answered 429.

        One session stays, by which it is found out when there is room again.
        """
        self.refusals += 1
        now = self._now()
        if self._lowered_until is None or now >= self._lowered_until:
            _log.warning(
                "%d sessions are open, and Deepgram opens no more: further callers get the busy"
                " answer for %g s",
                self.open,
                LOWERED_S,
            )
        self._lowered_to = max(self.open, 1)
        self._lowered_until = now + LOWERED_S

    def on_opened(self) -> None:
        """Count an open session. One that opens beside a refused one shows that there was room."""
        self.open += 1
        if self._lowered_until is not None and self._now() < self._lowered_until:
            self._lowered_to = max(self._lowered_to, self.open)


class CountedReceiver:
    """The receiver of a session that counts in a budget. Messages go straight to `receiver`."""

    __slots__ = (
        "_budget",
        "_is_open",
        "_is_over",
        "_receiver",
        "on_binary",
        "on_text",
        "on_writable",
    )

    def __init__(self, receiver: Receiver, budget: SessionBudget) -> None:
        self._receiver = receiver
        self._budget = budget
        self._is_open = self._is_over = False
        # Bound methods, not methods of this class: no audio passes this object.
        self.on_text = receiver.on_text
        self.on_binary = receiver.on_binary
        self.on_writable = receiver.on_writable
        budget.dialled += 1

    def on_open(self, socket: Channel) -> None:
        """Count the open session, and pass the channel on."""
        if not self._is_over:
            self._is_open = True
            self._budget.on_opened()
        self._receiver.on_open(socket)

    def on_close(self, closed: Closed) -> None:
        """Count the session no more, and pass its end on."""
        self.release()
        self._receiver.on_close(closed)

    def on_dialled(self) -> None:
        """Count the session no more unless the dial, which is over, has opened it."""
        if not self._is_open:
            self.release()

    def release(self) -> None:
        """Count the session no more; repetitions change nothing."""
        if not self._is_over:
            self._is_over = True
            self._budget.dialled -= 1
            self._budget.open -= self._is_open
