"""The block `deepgram:` of offhook.yaml, and what the environment adds to it."""

from typing import Literal
from urllib.parse import urlsplit

import pydantic
from pydantic import Field, SecretStr

from offhook import yamlfile
from offhook.config.parts import Part


def _agent_url(key: str, value: str) -> str:
    """Return the whole address of an agent's socket; `key` is what an error names."""
    url = urlsplit(value)
    scheme = {"http": "ws", "https": "wss"}.get(url.scheme, url.scheme)
    if scheme not in ("ws", "wss") or not url.hostname:
        raise yamlfile.refuse(
            f"{key} is not the address of a socket.",
            "Write wss:// and a host, such as wss://agent.deepgram.com.",
        )
    if url.hostname == "api.deepgram.com":
        raise yamlfile.refuse(
            "The agent is not served at api.deepgram.com.",
            "Write wss://agent.deepgram.com, or a region such as wss://api.eu.deepgram.com.",
        )
    if url.path == "/agent":
        raise yamlfile.refuse(
            "The path /agent was retired in 2025.", "Write wss://agent.deepgram.com alone."
        )
    path = url.path if url.path.strip("/") else "/v1/agent/converse"
    return url._replace(scheme=scheme, path=path).geturl()


class DeepgramFileSettings(Part):
    """The content of `deepgram:` in offhook.yaml."""

    url: str = Field(default="wss://agent.deepgram.com/v1/agent/converse", repr=False)
    """The agent's socket; an origin alone gets the path. Regions: deepgram.md §1.1."""

    fallback_urls: tuple[str, ...] = Field(default=(), max_length=8, repr=False)
    """Further addresses, as `url` is written, each tried when a dial of the one before failed."""

    auth: Literal["token", "bearer"] = "token"
    """The scheme of the key: `token` for an API key, `bearer` for a short-lived token (§1.2)."""

    connect_timeout_s: float = Field(default=4, gt=0, le=60)
    """Seconds that opening the socket may take."""

    max_sessions: int | None = Field(default=None, ge=1)
    """Sessions at once that Deepgram allows the project; None: as many as it opens (§1.3)."""

    session_minutes: float = Field(default=110, gt=0, le=118)
    """Minutes of an agent session after which another one takes over at a quiet moment; Deepgram
    ends each after 120 (§1.3)."""

    @property
    def urls(self) -> tuple[str, ...]:
        """Every address of the agent's socket, in the order in which they are tried."""
        return (self.url, *self.fallback_urls)

    @pydantic.field_validator("url")
    @classmethod
    def _socket(cls, value: str) -> str:
        return _agent_url("deepgram.url", value)

    @pydantic.field_validator("fallback_urls")
    @classmethod
    def _sockets(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_agent_url("deepgram.fallback_urls", value) for value in values)


class DeepgramSettings(DeepgramFileSettings):
    """The address of the agent, and the key for it."""

    api_key: SecretStr | None = None

    def headers(self, key: str) -> dict[str, str]:
        """Return the headers that identify us with `key`.

        Deepgram answers 401 when scheme and kind of key do not match (deepgram.md §1.2).
        """
        return {"Authorization": f"{self.auth.capitalize()} {key}"}
