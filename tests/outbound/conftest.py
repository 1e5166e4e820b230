import socket

import pytest


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
def free_port() -> int:
    """Return a port for Twilio's requests."""
    return _free_port()


@pytest.fixture
def operator_port() -> int:
    """Return a port for the operator's requests, which stays when that process is replaced."""
    return _free_port()
