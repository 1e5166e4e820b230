"""The content of `fleet:` in offhook.yaml: nodes that share calls (docs/design/fleet.md)."""

import re
import socket
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import pydantic
from pydantic import BeforeValidator, Field, SecretStr

from offhook import yamlfile
from offhook.config.parts import Part
from offhook.errors import UserError

KEY_VARIABLE: Final = "OFFHOOK_FLEET_KEY"

KEY_MIN: Final = 32
"""Characters that a key of the fleet must have: it signs stream tokens and nodes' requests."""

NODE_NAME: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
"""Pattern of a node's name, which stands in URLs: as a label of a host name (RFC 1123)."""

EVERY_ADDRESS: Final = ("0.0.0.0", "::", "*")  # noqa: S104 - compared, not bound
"""Hosts of `listen` that tell other machines no address."""

_HOST_PORT: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\s\[\]]+):([0-9]{1,5})")


def _node_name(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(NODE_NAME, value):
        raise yamlfile.refuse(
            "This is no name for a node, which stands in URLs.",
            "Write 1 to 63 small letters, digits and -, such as a.",
        )
    return value


def _node_name_or_none(value: Any) -> Any:
    return "" if value == "" else _node_name(value)


def _no_origin() -> Exception:
    return yamlfile.refuse(
        "The node's address is not the origin of a web server.",
        "Write scheme, host and port alone: http://10.0.0.1:5002.",
    )


class NodeTlsSettings(Part):
    """PEM files of mutual TLS between nodes; relative to offhook.yaml."""

    cert: Path
    """The certificate chain of this node."""

    key: Path
    """PEM file with the private key of the node's certificate."""

    ca: Path
    """The authority that has signed the certificates of all nodes."""


class FleetFileSettings(Part):
    """The content of `fleet:` in offhook.yaml."""

    node: Annotated[str, BeforeValidator(_node_name)] | None = None
    """The name of this node; None is the host's. OFFHOOK_NODE overrides it."""

    listen: str = "0.0.0.0:5002"
    """HOST:PORT at which other nodes reach this call process; port 0 takes any that is free."""

    address: str | None = None
    """The origin under which other nodes reach it. OFFHOOK_NODE_ADDRESS overrides it."""

    routed: bool = False
    """True if the load balancer takes /twilio/n/NODE/… to that node."""

    nodes: int = Field(default=3, ge=1, le=100)
    """Nodes that share `deepgram.max_sessions` evenly while the database is away."""

    tls: NodeTlsSettings | None = None
    """Mutual TLS between nodes; None: their requests are signed with OFFHOOK_FLEET_KEY."""

    @pydantic.field_validator("listen")
    @classmethod
    def _listen(cls, value: str) -> str:
        found = _HOST_PORT.fullmatch(value)
        if found is None or int(found[2]) > 65535:
            raise yamlfile.refuse(
                "fleet.listen is not HOST:PORT.",
                "Write an address of this machine and a port: 0.0.0.0:5002.",
            )
        return value

    @pydantic.field_validator("address")
    @classmethod
    def _origin(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            url = urlsplit(value)
            extra = url.path.strip("/") or url.query or url.fragment or url.port == 0
        except ValueError:
            raise _no_origin() from None
        if url.scheme not in ("http", "https") or not url.hostname or extra or "@" in url.netloc:
            raise _no_origin()
        return f"{url.scheme}://{url.netloc}"

    @pydantic.model_validator(mode="after")
    def _scheme(self) -> "FleetFileSettings":
        if self.address is not None and (self.tls is not None) != self.address.startswith("https:"):
            raise yamlfile.refuse(
                "fleet.address and fleet.tls do not fit: a node has https with tls, else http.",
                "Write https:// in address and give fleet.tls, or http:// without it.",
            )
        return self

    @property
    def listen_address(self) -> tuple[str, int]:
        """Host and port of `listen`."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


class FleetSettings(FleetFileSettings):
    """The settings of this node, with the fleet's keys."""

    node: Annotated[str, BeforeValidator(_node_name_or_none)]
    """The name of this node; empty if none is set and the host's cannot be one."""

    keys: tuple[SecretStr, ...] = ()
    """Keys that sign stream tokens and nodes' requests: the first signs, each of them is good."""

    def check(self, database: str) -> None:
        """Raise UserError E-FLEET-01 to 04 for settings with which nodes cannot work together.

        `database` is the URL of the records.
        """
        if not re.match(r"postgres(ql)?(\+psycopg)?:", database):
            raise UserError(
                "E-FLEET-01",
                "fleet is set, and the database of the records is no PostgreSQL, which all nodes"
                " would share.",
                "Set records.database or OFFHOOK_DATABASE_URL, or remove fleet: one machine needs"
                " none.",
            )
        if not self.keys or any(len(key.get_secret_value()) < KEY_MIN for key in self.keys):
            raise UserError(
                "E-FLEET-02",
                "fleet is set, and there is no key of the fleet, or one of fewer than"
                f" {KEY_MIN} characters. Looked in: {KEY_VARIABLE}, .env.",
                "Make one, and set it on every node: openssl rand -base64 32",
            )
        if self.address is None and self.listen_address[0] in EVERY_ADDRESS:
            raise UserError(
                "E-FLEET-03",
                f"fleet.listen is {self.listen}, which tells other nodes no address of this one.",
                "Set fleet.address or OFFHOOK_NODE_ADDRESS, such as http://10.0.0.1:5002.",
            )
        if not self.node:
            raise UserError(
                "E-FLEET-04",
                "This node has no name: the host's is not made of 1 to 63 letters, digits and -.",
                "Set fleet.node or OFFHOOK_NODE, such as a.",
            )

    def address_at(self, port: int) -> str:
        """Return the origin under which other nodes reach the node listener at a port.

        `port` is the one that is listened on, which may not be that of `listen`: 0 takes any, and a
        second call process of the node has another.
        """
        host, wanted = self.listen_address
        if self.address is None:
            scheme = "http" if self.tls is None else "https"
            return f"{scheme}://{_bracketed(host)}:{port}"
        if port == wanted:
            return self.address
        url = urlsplit(self.address)
        return f"{url.scheme}://{_bracketed(url.hostname or '')}:{port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def host_label() -> str:
    """Return the host's name as the name of a node; empty if it cannot be one."""
    name = socket.gethostname().partition(".")[0].lower()
    return name if re.fullmatch(NODE_NAME, name) else ""
