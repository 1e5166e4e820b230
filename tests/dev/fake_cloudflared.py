#!/usr/bin/env python3
"""A test double of the program cloudflared: it prints what a quick tunnel prints, on stderr, and
forwards a port of loopback in place of an https host. Nothing contacts Cloudflare.

`install` puts it into a folder for PATH. A running one writes its host and port into a file of
OFFHOOK_TEST_TUNNELS, by which a test finds the port that stands for the host. With
OFFHOOK_TEST_TUNNEL_FAILS it prints what cloudflared does without a network, and ends.
"""

import json
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

PREFIX = "2026-11-29T12:00:00Z INF "


class FakeTunnel(NamedTuple):
    pid: int
    origin: str
    port: int


def install(folder: Path) -> Path:
    """Put a `cloudflared` into a folder, which is returned."""
    folder.mkdir(exist_ok=True)
    program = folder / "cloudflared"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{Path(__file__)}" "$@"\n')
    program.chmod(0o755)
    return folder


def find(tunnels: Path, origin: str) -> FakeTunnel:
    """Return the tunnel of an https origin."""
    (found,) = (tunnel for tunnel in every(tunnels) if tunnel.origin == origin)
    return found


def every(tunnels: Path) -> list[FakeTunnel]:
    return [FakeTunnel(**json.loads(path.read_text())) for path in sorted(tunnels.glob("*.json"))]


def _said(text: str) -> None:
    print(PREFIX + text, file=sys.stderr, flush=True)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def _forward(accepted: socket.socket, host: str, port: int) -> None:
    with suppress(OSError), accepted, socket.create_connection((host, port)) as local:
        back = threading.Thread(target=_copy, args=(local, accepted), daemon=True)
        back.start()
        _copy(accepted, local)
        back.join()


def main(arguments: list[str]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    assert arguments[0] == "tunnel"
    assert Path(arguments[arguments.index("--config") + 1]).read_text() == ""
    _said("Requesting new quick Tunnel on trycloudflare.com...")
    if os.environ.get("OFFHOOK_TEST_TUNNEL_FAILS"):
        why = 'Post "https://api.trycloudflare.com/tunnel": dial tcp: no such host'
        print(f"failed to request quick Tunnel: {why}", file=sys.stderr)
        sys.exit(1)
    local = urlsplit(arguments[arguments.index("--url") + 1])
    origin = f"https://quiet-red-fox-{os.getpid()}.trycloudflare.com"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        tunnel = FakeTunnel(os.getpid(), origin, listening.getsockname()[1])
        path = Path(os.environ["OFFHOOK_TEST_TUNNELS"]) / f"{os.getpid()}.json"
        path.with_suffix(".new").write_text(json.dumps(tunnel._asdict()))
        path.with_suffix(".new").rename(path)
        _said("|  Your quick Tunnel has been created! Visit it at (it may take some time):  |")
        _said(f"|  {origin}  |")
        _said("Registered tunnel connection connIndex=0 location=fra01 protocol=quic")
        while True:
            accepted, _ = listening.accept()
            assert local.hostname is not None
            assert local.port is not None
            threading.Thread(
                target=_forward, args=(accepted, local.hostname, local.port), daemon=True
            ).start()


if __name__ == "__main__":
    main(sys.argv[1:])
