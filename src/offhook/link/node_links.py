"""Links from this process to call processes of other nodes."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from offhook.link.node_credential import LINK_PATH, NODE_HEADER, make
from offhook.link.node_lines import NodeLines, NodeLinkReceiver
from offhook.link.node_listener import MESSAGE_MAX
from offhook.net import websocket

CONNECT_S: Final = 1.0
"""Seconds that opening a link may take."""


class NotHereError(Exception):
    """Error: another process answers at the address: the one that was meant has ended."""


@dataclass(frozen=True, slots=True)
class NodeLinks:
    """Settings with which a process opens links to other nodes.

    Attributes:
        node: The name of its own node.
        key: The key of the fleet with which it signs.
        now_ms: Returns the time by the database's clock, in ms since 1970.
        tls: Context for addresses with https; None: no such addresses.
    """

    node: str
    key: bytes = field(repr=False)
    now_ms: Callable[[], int]
    tls: ssl.SSLContext | None = None

    async def connect(
        self,
        process_id: str,
        address: str,
        on_line: Callable[[bytes], None],
        on_lost: Callable[[], None],
    ) -> NodeLines:
        """Open a link to a call process at the address of the node list.

        Raises NotHereError when another process answers there, and OSError when none does, or the
        credential is refused.
        """
        credential = make(self.key, self.node, process_id, self.now_ms())
        keys = credential.keys
        lines = NodeLines(on_line, on_lost, sends=keys.of_client, receives=keys.of_server)
        try:
            await websocket.connect(
                _url(address),
                NodeLinkReceiver(lines),
                headers={NODE_HEADER: credential.header},
                timeout=CONNECT_S,
                max_size=MESSAGE_MAX,
                tls=self.tls,
            )
        except websocket.UpgradeRefusedError as refused:
            if refused.status == 421:
                raise NotHereError from None
            raise ConnectionRefusedError(f"HTTP {refused.status}") from None
        except websocket.UnreachableError as error:
            raise ConnectionError(str(error)) from None
        return lines


def _url(address: str) -> str:
    """Return the URL of the link at an address of the node list."""
    parts = urlsplit(address)
    return f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}{LINK_PATH}"
