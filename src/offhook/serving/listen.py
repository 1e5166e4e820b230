"""The listening socket of a server, and its certificate."""

import errno
import socket
import ssl
import sys

from offhook.config import Config
from offhook.errors import UserError


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket at an address. Raises UserError E-NET-01 or E-NET-02."""
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
        sock.listen()
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
            f"Stop it, or use another port: --port {port + 1}.",
        ) from None
    return sock


def check_certificate(config: Config) -> None:
    """Raise UserError E-CFG-05 when the certificate of the configuration cannot be used."""
    chain, key = config.server.tls_cert, config.server.tls_key
    if chain is None or key is None:
        return
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(chain, key)
    except OSError as error:  # ssl.SSLError is one
        raise UserError(
            "E-CFG-05",
            f"The TLS certificate {chain} with key {key} cannot be used: {error}.",
            "Name a PEM file with the whole chain, and one with its private key.",
        ) from None
