"""The block `server:` of offhook.yaml, and what the environment adds to it."""

import ipaddress
import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pydantic
from pydantic import Field, SecretStr

from offhook import yamlfile
from offhook.config.parts import Part, Text
from offhook.errors import UserError
from offhook.net.addresses import is_this_machine

HARD_TO_GUESS: Final = r"[\x21-\x7e]{16,256}"
"""Pattern of an API token: 16 to 256 printable ASCII characters, which fit into a header."""


class ServerFileSettings(Part):
    """The content of `server:` in offhook.yaml."""

    host: Text = "127.0.0.1"
    """The address to listen on."""

    port: int = Field(default=5000, ge=0, le=65535)
    """The port, for HTTP and WebSocket alike; 0 takes any that is free."""

    public_url: str | None = None
    """The https origin under which Twilio reaches this process, such as https://voice.example.com.

    Without one it is taken from each request's Host header.
    """

    capacity: int = Field(default=50, ge=1)
    """Calls at once; beyond, callers get the agent's `busy` answer."""

    max_lag_ms: int = Field(default=500, ge=0)
    """Milliseconds by which the event loop may be late; beyond, new calls get `busy`. 0: any."""

    grace_seconds: float | None = Field(default=None, ge=0, le=86_400)
    """Seconds that live calls may go on after a stop, then another process goes on with them or
    they end; None: as long as they last."""

    operator_hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "::1")
    """Host names under which the operator's paths are served, and /healthz and /readyz."""

    operator_listen: str = "127.0.0.1:5001"
    """HOST:PORT of the listener for the operator's paths; port 0 takes any that is free."""

    operator_proxies: tuple[str, ...] = ()
    """Addresses and networks of the proxies before `operator_listen`, whose X-Forwarded-For says
    whose wrong passwords are counted."""

    tls_cert: Path | None = None
    """PEM file with the certificate chain, if TLS ends here; relative to offhook.yaml."""

    tls_key: Path | None = None
    """PEM file with the certificate's private key."""

    @pydantic.field_validator("public_url")
    @classmethod
    def _origin(cls, value: str | None) -> str | None:
        if value is None:
            return None
        url = urlsplit(value)
        extra = url.path.strip("/") or url.query or url.fragment or url.port == 0
        if url.scheme != "https" or not url.hostname or extra or "@" in url.netloc:
            raise yamlfile.refuse(
                "public_url is not an https origin; Twilio opens streams over TLS only.",
                "Write scheme and host alone: https://voice.example.com.",
            )
        return f"https://{url.netloc}"

    @pydantic.field_validator("operator_listen")
    @classmethod
    def _listen(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        bare = ":" not in host or (host[:1] == "[" and host[-1:] == "]")
        if not host or not bare or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
            raise yamlfile.refuse(
                "operator_listen is not HOST:PORT.",
                "Write an address of this machine and a port: 127.0.0.1:5001 or [::1]:5001.",
            )
        return value

    @pydantic.field_validator("operator_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(str(ipaddress.ip_network(each)) for each in value)
        except ValueError:
            raise yamlfile.refuse(
                "operator_proxies has what is no address and no network.",
                "Write IP addresses or networks: 127.0.0.1, 10.0.0.0/24 or 2001:db8::/64.",
            ) from None

    @property
    def operator_address(self) -> tuple[str, int]:
        """Host and port of `operator_listen`."""
        host, _, port = self.operator_listen.rpartition(":")
        return host.strip("[]"), int(port)

    @pydantic.model_validator(mode="after")
    def _both(self) -> "ServerFileSettings":
        if (self.tls_cert is None) != (self.tls_key is None):
            raise yamlfile.refuse("tls_cert and tls_key need each other.", "Give both, or neither.")
        return self


class ServerSettings(ServerFileSettings):
    """The address of this process, and who may use it."""

    unsigned: bool = False
    """True if requests without Twilio's signature are answered. Only the command line sets it."""

    api_token: SecretStr | None = None
    """Bearer token of the API; None: one is made, into `records.folder` (api/token.py)."""

    @pydantic.field_validator("api_token")
    @classmethod
    def _hard_to_guess(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(HARD_TO_GUESS, value.get_secret_value()):
            raise yamlfile.refuse(
                "This is not 16 to 256 characters of ASCII without spaces.",
                "Make one: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
            )
        return value

    def require_operator_listen(self) -> tuple[str, int]:
        """Return host and port of the operator's listener.

        Raises UserError E-CFG-06 when other machines could reach it, and there is no token that
        the operator has chosen, or no host name by which they reach it.
        """
        host, port = self.operator_address
        named = any(not is_this_machine(name) for name in self.operator_hosts)
        if not is_this_machine(host) and (self.api_token is None or not named):
            missing = "OFFHOOK_API_TOKEN" if self.api_token is None else "server.operator_hosts"
            raise UserError(
                "E-CFG-06",
                f"The operator's listener {self.operator_listen} is open to other machines, and"
                f" {missing} is not set.",
                "Set OFFHOOK_API_TOKEN, and name the hosts of its URL in server.operator_hosts;"
                " or listen on 127.0.0.1:5001.",
            )
        return host, port
