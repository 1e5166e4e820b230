"""The listening sockets of a server, and its certificate.

The supervisor imports this, and waits for nothing but Python's standard library.
"""

import errno
import socket
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from offhook.errors import UserError

if TYPE_CHECKING:
    from offhook.config import Config

OTHER_PORT: Final = 5050
"""Port that is suggested when the public port is in use. The port after it would not do: 5001, next
to the default, is that of the operator's listener."""

WAITING_MAX: Final = 1024
"""Connections that wait to be accepted, such as while the call process restarts; the system may
have a lower limit."""


def listen(host: str, port: int, *, option: str = "--port") -> socket.socket:
    """Open a listening socket at an address. Raises UserError E-NET-01 or E-NET-02.

    `option` is the option of the command line by which the port is set.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise UserError(
            "E-NET-02",
            f"{host!r} is not an address of this machine ({error.strerror}).",
            "Use --host 127.0.0.1, or --host 0.0.0.0 for all of this machine's addresses.",
        ) from None
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        # Before anything else: until then a second process could bind the same port.
        sock.listen(WAITING_MAX)
    except OSError as error:
        sock.close()
        if error.errno != errno.EADDRINUSE:
            raise UserError(
                "E-NET-02",
                f"Cannot listen on {host}:{port}: {error.strerror}.",
                "Use --host and --port with an address that this machine may use.",
            ) from None
        why = "Another program listens there."
        if port == 5000 and sys.platform == "darwin":
            why = "On macOS that is often AirPlay Receiver (System Settings, AirDrop & Handoff)."
        raise UserError(
            "E-NET-01",
            f"Port {port} of {host} is in use. {why}",
            f"Stop it, or use another port: {option} {_other(option, host, port)}.",
        ) from None
    return sock


def _other(option: str, host: str, port: int) -> str:
    """Return the value of the option to suggest instead of a port that is in use."""
    if option == "--port":
        return str(OTHER_PORT if port != OTHER_PORT else OTHER_PORT + 1)
    return f"{host}:{port + 1}"


def address_of(sock: socket.socket) -> str:
    """Return host and port of a listening socket, as in a URL."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def given_by_systemd(environ: Mapping[str, str], pid: int) -> int | None:
    """Return the descriptor of the socket that a service manager has opened; None without one.

    The protocol is sd_listen_fds(3). Raises UserError E-NET-03 for more than one socket.
    """
    if environ.get("LISTEN_PID") != str(pid):
        return None
    count = environ.get("LISTEN_FDS", "")
    if count == "1":
        return 3
    raise _unusable(f"LISTEN_FDS is {count!r}, and Offhook takes one socket")


def public_socket(config: "Config", inherited: int | None) -> socket.socket:
    """Return the public socket: that of an inherited descriptor, else a new one, as configured.

    Raises UserError as `adopt` or `listen`.
    """
    if inherited is not None:
        return adopt(inherited)
    return listen(config.server.host, config.server.port)


def adopt(descriptor: int) -> socket.socket:
    """Return the listening socket of a descriptor. Raises UserError E-NET-03 for another file."""
    try:
        sock = socket.socket(fileno=descriptor)
        listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise _unusable(f"descriptor {descriptor}: {error.strerror}") from None
    if not listens or sock.family not in (socket.AF_INET, socket.AF_INET6):
        raise _unusable(f"descriptor {descriptor} is not a TCP socket that listens")
    sock.set_inheritable(False)
    return sock


def _unusable(why: str) -> UserError:
    return UserError(
        "E-NET-03",
        f"The socket of the service manager cannot be used: {why}.",
        "Give the service one socket unit with one ListenStream=, such as 127.0.0.1:5000.",
    )


def check_certificate(config: "Config") -> None:
    """Raise UserError E-CFG-05 when the certificate of the configuration cannot be used."""
    chain, key = config.server.tls_cert, config.server.tls_key
    if chain is None or key is None:
        return
    import ssl

    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(chain, key)
    except OSError as error:  # ssl.SSLError is one
        raise UserError(
            "E-CFG-05",
            f"The TLS certificate {chain} with key {key} cannot be used: {error}.",
            "Name a PEM file with the whole chain, and one with its private key.",
        ) from None
