"""The socket, the certificates and the links by which nodes of a fleet reach each other."""

import logging
import socket
from collections.abc import Callable
from typing import Final

from offhook.config.fleet_settings import FleetSettings
from offhook.errors import UserError
from offhook.link.node_links import NodeLinks
from offhook.net.tls import MutualTls, mutual
from offhook.serving.listen import listen

_log: Final = logging.getLogger("offhook.fleet")


def node_tls(settings: FleetSettings) -> MutualTls | None:
    """Return the contexts of mutual TLS between nodes; None without it.

    Raises UserError E-FLEET-07 for files that cannot be used.
    """
    tls = settings.tls
    if tls is None:
        return None
    try:
        return mutual(tls.cert, tls.key, tls.ca)
    except OSError as error:  # ssl.SSLError is one
        raise UserError(
            "E-FLEET-07",
            f"The files of fleet.tls cannot be used: {error}.",
            "Name three PEM files: the node's chain, its key, and the authority of all nodes.",
        ) from None


def node_links(
    settings: FleetSettings, tls: MutualTls | None, now_ms: Callable[[], int]
) -> NodeLinks:
    """Return what opens links to other nodes; `now_ms` is the database's clock."""
    key = settings.keys[0].get_secret_value().encode()
    return NodeLinks(settings.node, key, now_ms, None if tls is None else tls.client)


def node_socket(settings: FleetSettings) -> socket.socket:
    """Return the listening socket for other nodes.

    While another call process of this node drains, it has the port of `fleet.listen`: then any
    other is taken, and the list of nodes tells it. Raises UserError E-NET-02 for an address that is
    not of this machine.
    """
    host, port = settings.listen_address
    try:
        return listen(host, port, option="fleet.listen")
    except UserError as problem:
        if problem.code != "E-NET-01":
            raise
    sock = listen(host, 0, option="fleet.listen")
    _log.warning(
        "port %d of fleet.listen is in use: other nodes reach this process at port %d",
        port,
        sock.getsockname()[1],
    )
    return sock
