"""The listener of a call process for other nodes, which open links there, and nothing else."""

import logging
import socket
import ssl
from collections.abc import Callable
from typing import Final

from offhook.link.lines import MakeLines
from offhook.link.messages import LINE_MAX
from offhook.link.node_credential import (
    CODE_BYTES,
    LINK_PATH,
    NODE_HEADER,
    NodeCredentials,
    NodeRefusedError,
)
from offhook.link.node_lines import NodeLines, NodeLinkReceiver
from offhook.net.first_request import FirstRequestRouter
from offhook.net.listener import Listener
from offhook.net.websocket import Acceptance, Refusal, Upgrade

_log: Final = logging.getLogger("offhook.refused")

MESSAGE_MAX: Final = LINE_MAX + CODE_BYTES
"""Bytes of a message of a link."""

FILES_OF_LINK: Final = 16
"""Share of the open files that a link may take: with 1024 of them 44 links, with 65536 4076."""


class NodeListener:
    """A listening socket for links of other nodes.

    Connections are read, limited and dropped as those of the public port (net/listener.py). Every
    request but the upgrade of a link is answered with 404.
    """

    def __init__(
        self,
        sock: socket.socket,
        credentials: NodeCredentials,
        attend: Callable[[MakeLines[NodeLines]], NodeLines],
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Take `attend`, which serves the lines of each link: LinkServer.attend."""
        self._credentials = credentials
        self._attend = attend
        self._listener = Listener(
            sock,
            lambda listener: FirstRequestRouter(listener, self._decide, MESSAGE_MAX),
            tls=tls,
            files_of_stream=FILES_OF_LINK,
        )

    def open(self) -> None:
        """Begin to accept."""
        self._listener.open()

    def close(self) -> None:
        """Stop accepting, and cut connections that are not links. The owner of a link ends it."""
        self._listener.close()
        self._listener.cut()

    def _decide(self, upgrade: Upgrade) -> Acceptance | Refusal:
        if upgrade.path != LINK_PATH:
            return Refusal(404, "Not found.\n")
        try:
            _, keys = self._credentials.check(upgrade.headers.get(NODE_HEADER, ""))
        except NodeRefusedError as refused:
            _log.warning("E-LINK-08 a link from %s is refused: %s", upgrade.peer, refused.why)
            if refused.why == "foreign":  # it knows the key: the process that it wants has ended
                return Refusal(421, "This is another process.\n")
            return Refusal(403, "The credential is not accepted.\n")
        lines = self._attend(
            lambda on_line, on_lost: NodeLines(
                on_line, on_lost, sends=keys.of_server, receives=keys.of_client
            )
        )
        return Acceptance(NodeLinkReceiver(lines))
