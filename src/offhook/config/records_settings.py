"""The block `records:` of offhook.yaml, and what the environment adds to it."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import pydantic
from pydantic import Field, SecretStr

from offhook import yamlfile
from offhook.config.parts import Part, Pattern, Text
from offhook.net.addresses import is_this_machine
from offhook.text import urls


class Prices(Part):
    """Prices of a minute, in `currency`. Without any price no cost is shown."""

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"
    twilio_minute: float | None = Field(default=None, ge=0)
    """The price of a call's leg at Twilio, which bills begun minutes."""

    stream_minute: float | None = Field(default=None, ge=0)
    """The price of a media stream, for each begun minute."""

    deepgram_minute: dict[Text, Annotated[float, Field(ge=0)]] = Field(default={})
    """Tier to price of a minute of connection; an agent file names its `tier`."""


class WebhookSettings(Part):
    """The target of a webhook for each call that is over."""

    url: str | None = Field(default=None, repr=False)
    """An https URL, or an http one of this machine; None: no webhook is sent."""

    @pydantic.field_validator("url")
    @classmethod
    def _target(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            url = urlsplit(value)
            good = bool(url.hostname) and url.port != 0
        except ValueError:
            raise _no_target() from None
        if not good or url.scheme not in ("http", "https") or url.fragment:
            raise _no_target()
        if url.username or url.password:
            raise yamlfile.refuse(
                "A user in this URL is a secret, and this file is meant to be shared.",
                "Remove it: the target knows us by the signature of each request.",
            )
        if url.scheme == "http" and not is_this_machine(url.hostname or ""):
            raise yamlfile.refuse(
                "http:// to another machine would send what was said in calls in clear.",
                "Write https://, or name this machine: http://127.0.0.1:8080/….",
            )
        return value


def _no_target() -> Exception:
    return yamlfile.refuse(
        "This is not the URL of a web server.", "Write it whole: https://example.com/calls."
    )


class RetentionSettings(Part):
    """The age at which records are deleted, in days since a call began; None keeps them."""

    text_days: int | None = Field(default=None, ge=1)
    """Days after which text is deleted: what was said, pressed and looked up, and the numbers."""

    audio_days: int | None = Field(default=None, ge=1)
    """Days after which recordings are deleted."""


class RedactionSettings(Part):
    """Kinds of personal data to take out of texts before they are kept (offhook.redaction)."""

    cards: bool = False
    """True if card numbers (by Luhn) are taken out, and pressed keys are kept without digits."""

    phone_numbers: bool = False
    emails: bool = False

    patterns: tuple[Pattern, ...] = ()
    """Regular expressions (RE2) of other data to take out."""

    caller_id: bool = False
    """True if the call's own numbers are masked, except for their ends."""

    audio: bool = False
    """True if what is taken out of an utterance is silenced in the recording too."""

    @property
    def takes_any(self) -> bool:
        """True if anything is taken out."""
        return self != RedactionSettings(audio=self.audio)


class RecordsFileSettings(Part):
    """The content of `records:` in offhook.yaml."""

    folder: Path = Path("offhook-data")
    """The folder of database, journal and recordings; relative to offhook.yaml."""

    database: str | None = None
    """URL of a PostgreSQL; None is SQLite in `folder`. OFFHOOK_DATABASE_URL overrides it."""

    journal_limit: int = Field(default=1_000_000_000, ge=16_000_000)
    """Bytes of events that wait while the database takes none; later ones are lost."""

    prices: Prices = Prices()
    webhook: WebhookSettings = WebhookSettings()
    retention: RetentionSettings = RetentionSettings()
    redact: RedactionSettings = RedactionSettings()


class RecordsSettings(RecordsFileSettings):
    """The records of calls and their place. `folder` is ready to use."""

    database: str = Field(repr=False)
    """A URL, which may hold a password: it is dumped without."""

    webhook_secrets: tuple[SecretStr, ...] = ()
    """Secrets that each sign what `webhook.url` is sent: several while one is being rotated."""

    @pydantic.field_serializer("database")
    def _without_password(self, value: str) -> str:
        return urls.without_secrets(value)

    @property
    def journals(self) -> Path:
        """The folder in which each call process has its journal."""
        return self.folder / "journal"

    @property
    def recordings(self) -> Path:
        """The folder of recordings."""
        return self.folder / "recordings"
