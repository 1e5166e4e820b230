"""Where the nodes of a fleet are: addresses of their own, and what happens on the way to them."""

import itertools
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol

_RANDOM = random.SystemRandom()

HOLD: Final = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN);"
    " print(flush=True); sys.stdin.read()"
)
"""Python that keeps namespaces until its standard input is closed, also after Ctrl-C."""

CLOCK_APART_S: Final = 100_000
"""Seconds by which the monotonic clocks of neighbours differ."""


FRONT_MAC: Final = "02:77:00:00:00:01"
BACK_MAC: Final = "02:77:00:00:01:01"
"""Addresses of the bridges."""


class Place(Protocol):
    """Addresses of a fleet."""

    @property
    def host(self) -> str:
        """Address at which nodes reach the agent and Twilio's REST API."""

    @property
    def back_host(self) -> str:
        """Address at which nodes reach the database."""

    def join(self, name: str) -> str:
        """Give a node its address, and return it."""

    def back(self, name: str) -> str:
        """Return the address at which other nodes reach it."""

    def command(self, name: str) -> Sequence[str]:
        """Return the words before a command that is to run there."""


class Loopback:
    """Nodes on this machine, each with an address of its own in 127.0.0.0/8.

    Ports of such an address are in nobody else's way, so that they can be the usual ones.
    """

    host = back_host = "127.0.0.1"

    def __init__(self) -> None:
        # The process id keeps workers of one machine apart, chance the fleets of one worker.
        self._net = f"127.{64 + os.getpid() % 190}.{_RANDOM.randrange(1, 255)}"
        self._addresses: dict[str, str] = {}
        self._numbers = itertools.count(1)

    def join(self, name: str) -> str:
        self._addresses[name] = f"{self._net}.{next(self._numbers)}"
        return self._addresses[name]

    def back(self, name: str) -> str:
        return self._addresses[name]

    def command(self, name: str) -> Sequence[str]:
        return ()


class Namespaces:
    """Nodes in network namespaces: two networks, and a monotonic clock of its own for each node.

    The front network leads to Twilio, the balancer and the agent, the back network to the database
    and the other nodes. `namespaces` makes them, one for each fleet.
    """

    host: Final = "10.77.0.1"
    back_host: Final = "10.77.1.1"

    def __init__(self, numbers: Iterator[int]) -> None:
        self._numbers = numbers
        self._nodes: dict[str, int] = {}
        self._holders: dict[str, subprocess.Popen[str]] = {}

    def join(self, name: str) -> str:
        number = self._nodes[name] = next(self._numbers)
        ahead = str((number - 10) * CLOCK_APART_S)
        # The child that unshare starts has them all; this process waits for it.
        command = ("unshare", "-n", "-T", "--monotonic", ahead, "--boottime", ahead, "-f")
        holder = subprocess.Popen(
            [*command, "--kill-child", sys.executable, "-c", HOLD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._holders[name] = holder
        assert holder.stdout is not None
        holder.stdout.readline()
        for net, octet in (("front", 0), ("back", 1)):
            inner = f"{net}0"
            _ip(f"link add {net}{number} type veth peer name {inner} netns {self._pid(name)}")
            _ip(f"link set {net}{number} master {net} up")
            self._inside(name, f"addr add 10.77.{octet}.{number}/24 dev {inner}")
            self._inside(name, f"link set {inner} up")
        self._inside(name, "link set lo up")
        return f"10.77.0.{number}"

    def back(self, name: str) -> str:
        return f"10.77.1.{self._nodes[name]}"

    def command(self, name: str) -> Sequence[str]:
        return ("nsenter", "-t", str(self._pid(name)), "-n", "-T", "--")

    def lose(self, name: str, *nets: str) -> None:
        """Drop all packets from and to a node, on these networks; on both without any."""
        for net in nets or ("front", "back"):
            _ip(f"link set {net}{self._nodes[name]} nomaster")

    def find(self, name: str) -> None:
        """Let its packets pass again."""
        for net in ("front", "back"):
            _ip(f"link set {net}{self._nodes[name]} master {net}")

    def part(self, name: str) -> None:
        """Drop all packets from a node to the others, on the network that leads to them."""
        others = f"-o back0 ! -d {self.back_host} -j DROP"
        self._run(name, f"iptables -A OUTPUT {others}")

    def refuse(self, name: str) -> None:
        """Answer all packets to a node's public port with a reset: connections break."""
        self._run(name, "iptables -A INPUT -i front0 -p tcp -j REJECT --reject-with tcp-reset")

    def join_again(self, name: str) -> None:
        """Let all packets of a node pass again."""
        for chain in ("INPUT", "OUTPUT"):
            self._run(name, f"iptables -F {chain}")

    def lose_some(self, name: str, share: float) -> None:
        """Drop that share of the packets from and to a node by chance; 0: none."""
        self.join_again(name)
        for chain, way in (("INPUT", "-i"), ("OUTPUT", "-o")):
            if share:
                chance = f"-m statistic --mode random --probability {share}"
                self._run(name, f"iptables -A {chain} ! {way} lo {chance} -j DROP")

    def close(self) -> None:
        for holder in self._holders.values():
            holder.communicate()

    def _pid(self, name: str) -> int:
        holder = self._holders[name].pid
        path = f"/proc/{holder}/task/{holder}/children"
        with open(path, encoding="ascii") as file:  # noqa: PTH123 - a file of the kernel
            return int(file.read().split()[0])

    def _inside(self, name: str, words: str) -> None:
        self._run(name, f"ip {words}")

    def _run(self, name: str, command: str) -> None:
        inside = ["nsenter", "-t", str(self._pid(name)), "-n", *command.split()]
        subprocess.run(inside, check=True, timeout=60)


@contextmanager
def namespaces() -> Iterator[Callable[[], Namespaces]]:
    """Make both networks, yield what makes the place of a fleet on them, and remove all of it.

    This process must be in a network namespace of its own: in_own_namespace.
    """
    made: list[Namespaces] = []
    numbers = itertools.count(11)

    def make() -> Namespaces:
        made.append(Namespaces(numbers))
        return made[-1]

    nets = (("front", Namespaces.host, FRONT_MAC), ("back", Namespaces.back_host, BACK_MAC))
    for net, address, mac in nets:
        # An address of its own: else it has that of a port, which changes when the port is lost.
        _ip(f"link add {net} address {mac} type bridge")
        _ip(f"link set {net} up")
        _ip(f"addr add {address}/24 dev {net}")
    try:
        yield make
    finally:
        for place in made:
            place.close()
        for net in ("front", "back"):
            _ip(f"link del {net}")


def in_own_namespace(run: Callable[[], None]) -> None:
    """Run something in a network namespace of its own, where nothing outside can be reached.

    Starts this command anew there, and ends with its exit code. Needs root.
    """
    if os.environ.get("FLEET_NAMESPACE") == "own":
        _ip("link set lo up")
        run()
        return
    if os.geteuid() != 0:
        sys.exit("Network namespaces need root: sudo make soak-fleet")
    os.environ["FLEET_NAMESPACE"] = "own"
    os.execvp("unshare", ["unshare", "-n", sys.executable, *sys.orig_argv[1:]])


def _ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True, timeout=60)
