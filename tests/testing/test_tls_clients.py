"""Rehearsals over TLS check certificates by the authorities that the server checks them by."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from offhook.net import websocket
from offhook.testing.faults.proxy import Upstream
from offhook.testing.simulator.twilio import stream_socket

REFUSAL = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@asynccontextmanager
async def refusing(authority: trustme.CA) -> AsyncIterator[int]:
    """A server over TLS that answers 403 to whatever comes; its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(REFUSAL)
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """The one authority that this system knows."""
    ours = trustme.CA()
    ours.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return ours


async def test_a_simulated_stream_checks_the_certificate(authority: trustme.CA) -> None:
    stream: Any = object()  # nothing is received
    async with refusing(authority) as port:
        with pytest.raises(websocket.UpgradeRefusedError):
            await stream_socket.connect(f"wss://localhost:{port}/twilio", stream, {})
    async with refusing(trustme.CA()) as port:
        with pytest.raises(websocket.UnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
            await stream_socket.connect(f"wss://localhost:{port}/twilio", stream, {})


async def test_a_proxy_of_faults_checks_the_certificate(authority: trustme.CA) -> None:
    async with refusing(authority) as port:
        reader, writer = await Upstream.of(f"https://localhost:{port}").open()
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 403")
        writer.close()
    async with refusing(trustme.CA()) as port:
        with pytest.raises(ssl.SSLCertVerificationError):
            await Upstream.of(f"https://localhost:{port}").open()
