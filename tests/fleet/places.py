"""Where the nodes of a fleet are: addresses of their own, and what happens on the way to them."""

import itertools
import os
import random
from collections.abc import Sequence
from typing import Protocol

_RANDOM = random.SystemRandom()


class Place(Protocol):
    """Addresses of a fleet."""

    @property
    def host(self) -> str:
        """Address at which nodes reach the agent, Twilio's REST API and the database."""

    def join(self, name: str) -> str:
        """Give a node its address, and return it."""

    def command(self, name: str) -> Sequence[str]:
        """Return the words before a command that is to run at a node."""


class Loopback:
    """Nodes on this machine, each with an address of its own in 127.0.0.0/8.

    Ports of such an address are in nobody else's way, so that they can be the usual ones.
    """

    host = "127.0.0.1"

    def __init__(self) -> None:
        # The process id keeps workers of one machine apart, chance the fleets of one worker.
        self._net = f"127.{64 + os.getpid() % 190}.{_RANDOM.randrange(1, 255)}"
        self._numbers = itertools.count(1)

    def join(self, name: str) -> str:
        return f"{self._net}.{next(self._numbers)}"

    def command(self, name: str) -> Sequence[str]:
        return ()
