"""Opening of the socket of a simulated media stream.

Every such socket is opened here, so that faults of the network between Twilio and the rehearsed
server can be inserted in one place.
"""

from collections.abc import Mapping
from typing import Final

from offhook.net import tls, websocket
from offhook.testing.simulator.twilio.stream import SimulatedStream

UPGRADE_S: Final = 10.0
"""Wall-clock seconds that the upgrade may take. Twilio documents no limit (twilio.md §1.8)."""

MAX_MESSAGE: Final = 2**20
"""Bytes that one message of the server may have. Twilio's limit is not documented (§1.4)."""


async def connect(url: str, stream: SimulatedStream, headers: Mapping[str, str]) -> None:
    """Open a stream's socket. Raises websocket.Refused or websocket.Unreachable."""
    authorities = await tls.loading() if url.startswith("wss:") else None
    await websocket.connect(
        url, stream, headers=headers, timeout=UPGRADE_S, max_size=MAX_MESSAGE, tls=authorities
    )
