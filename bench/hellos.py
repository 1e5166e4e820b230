"""How long the loop of a server with TLS is held while connections say hello in one moment.

    python -m bench.hellos [--count 240] [--at-once]

For a key of each kind: the CPU, in ms, of the longest turns of the event loop, so that other
programs of this machine do not change it. With --at-once hellos are answered as they come, which is
what a server would do without net/handshakes.py.
"""

import argparse
import asyncio
import contextlib
import socket
import ssl
import time

import trustme

from offhook.bench.load import sockets
from offhook.concurrency.event_loop import run
from offhook.net.first_request import FirstRequestRouter
from offhook.net.handshakes import Handshakes
from offhook.net.listener import Listener
from offhook.net.websocket import Refusal

ANSWERED_S = 4.0
"""Seconds in which all hellos are to be answered."""


async def measure(key: trustme.KeyType, count: int, *, at_once: bool) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1", key_type=key).configure_cert(context)
    hello = sockets.client_hello()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as sock:
        listener = Listener(
            sock,
            lambda made: FirstRequestRouter(made, lambda _: Refusal(404, ""), 1024),
            tls=context,
        )
        listener.open()
        clients = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(count)]
        while listener.connections < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for client in clients:
            client.sendall(hello)
            client.setblocking(False)
        turns = list[float]()
        ends = time.monotonic() + ANSWERED_S
        last = time.thread_time()
        while time.monotonic() < ends:
            await asyncio.sleep(0)
            now = time.thread_time()
            turns.append(now - last)
            last = now
        answered = 0
        for client in clients:
            with contextlib.suppress(OSError):
                answered += bool(client.recv(1))
            client.close()
        listener.close()
        listener.cut()
    longest = ", ".join(f"{turn * 1000:.1f}" for turn in sorted(turns)[-3:])
    how = "at once" if at_once else "in turns"
    print(f"{key.name}, {how}: {answered} of {count} answered; longest turns {longest} ms of CPU")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=240)
    parser.add_argument("--at-once", action="store_true")
    given = parser.parse_args()
    if given.at_once:

        async def turn(self: Handshakes, sock: socket.socket) -> None:
            pass

        Handshakes.turn = turn
    for key in trustme.KeyType:
        run(measure(key, given.count, at_once=given.at_once))


if __name__ == "__main__":
    main()
