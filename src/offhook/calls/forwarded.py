"""Requests of Twilio's that one call process passes on to another, which has the call."""

from typing import Literal, TypeAlias

import msgspec

WebhookName: TypeAlias = Literal["voice", "after", "status", "stream-status", "amd"]
"""Last part of a webhook's path."""


class ForwardedWebhook(msgspec.Struct, frozen=True):
    """A request that was believed where it came in. Nobody passes it on a second time."""

    name: WebhookName
    form: dict[str, str]
    """Form and query fields of the request, by name."""
    origin: str
    """Our https origin, as Twilio has asked it."""

    def __repr__(self) -> str:
        return f"ForwardedWebhook({self.name!r}, {self.form.get('CallSid', '')!r})"


class WebhookAnswer(msgspec.Struct, frozen=True):
    """The answer of the process that has the call."""

    status: int
    body: str = ""
    media_type: str | None = None

    def __repr__(self) -> str:
        return f"WebhookAnswer({self.status})"
