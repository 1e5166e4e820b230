"""The content of offhook.yaml, and of each part once the environment is read too."""

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import pydantic
from pydantic import BeforeValidator, Field, SecretStr

from offhook import yamlfile
from offhook.config.fleet_settings import FleetFileSettings
from offhook.config.inbound_settings import InboundSettings
from offhook.config.parts import (
    Country,
    Host,
    Part,
    Pattern,
    PhoneNumber,
    Text,
    or_empty,
    phone_number,
)
from offhook.errors import UserError
from offhook.net.addresses import is_this_machine
from offhook.text import urls
from offhook.twilio.rest_account import RestAccount

DOTENV: Final = Path(".env")

DEFAULT: Final = "default"

WEBHOOKS: Final = "/twilio"
"""Path of Twilio's streams; those of its webhooks begin with it."""
"""Key of the line that answers every number that is not in `lines`."""

HARD_TO_GUESS: Final = r"[\x21-\x7e]{16,256}"
"""Pattern of an API token: 16 to 256 printable ASCII characters, which fit into a header."""


def _lines(value: Any) -> Any:
    if isinstance(value, str | list):
        raise yamlfile.refuse(
            "lines gives each called number its agent file.",
            'Write lines: {default: FILE}, or {"+1…": FILE}.',
        )
    return or_empty(value)


def _line(value: Any) -> Any:
    return value if value == DEFAULT else phone_number(value)


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


class TwilioFileSettings(Part):
    """The content of `twilio:` in offhook.yaml."""

    account_sid: Annotated[str, Field(pattern=r"^AC[0-9a-f]{32}$")] | None = None
    """The account whose calls are answered; None: TWILIO_ACCOUNT_SID names it."""

    bin: bool = True
    """True if a stream may come from a TwiML Bin, without passing through our webhook."""

    region: Annotated[str, Field(pattern=r"^[a-z]{2}[0-9]$")] | None = None
    """The region that processes calls, such as ie1; None is us1 (twilio.md §5.1)."""

    edge: Annotated[str, Field(pattern=r"^[a-z]+(-[a-z]+)*$")] | None = None
    """The edge by which Twilio is reached, such as dublin."""

    api_url: str | None = None
    """The origin of the REST API, if it is not Twilio's."""

    @pydantic.field_validator("api_url")
    @classmethod
    def _rest_origin(cls, value: str | None) -> str | None:
        if value is None:
            return value
        url = urlsplit(value)
        safe = url.scheme == "https" or (
            url.scheme == "http" and is_this_machine(url.hostname or "")
        )
        if not safe or not url.hostname or url.path.strip("/") or url.query or "@" in url.netloc:
            raise yamlfile.refuse(
                "api_url is not an https origin; credentials are sent there.",
                "Write https:// and a host, such as https://api.twilio.com.",
            )
        return f"{url.scheme}://{url.netloc}"

    @pydantic.model_validator(mode="after")
    def _place(self) -> "TwilioFileSettings":
        if self.region is not None and self.edge is None:
            raise yamlfile.refuse(
                "region without edge: Twilio would take such requests to us1.",
                "Write both, such as region: ie1 and edge: dublin.",
            )
        return self


class TwilioSettings(TwilioFileSettings):
    """The Twilio account."""

    auth_tokens: tuple[SecretStr, ...] = ()
    """Tokens that may have signed a request: several while one is being rotated."""

    signing_secrets: dict[str, SecretStr] = Field(default={})
    """Shared keys that may have signed a request: id to secret (twilio.md §3.6)."""

    api_key: Annotated[str, Field(pattern=r"^SK[0-9a-f]{32}$")] | None = None
    api_secret: Annotated[SecretStr | None, Field(validate_default=True)] = None
    """Secret of the API key of REST requests; None: the account and the first of its tokens."""

    @pydantic.field_validator("api_secret")
    @classmethod
    def _key_and_secret(
        cls, value: SecretStr | None, info: pydantic.ValidationInfo
    ) -> SecretStr | None:
        if "api_key" in info.data and (info.data["api_key"] is None) != (value is None):
            missing = "TWILIO_API_SECRET" if value is None else "TWILIO_API_KEY"
            raise yamlfile.refuse(
                f"a key and its secret need each other, and {missing} is not set.",
                "Set both in .env (Twilio Console, API keys), or neither.",
            )
        return value

    @property
    def rest_account(self) -> RestAccount | None:
        """The account of REST requests; None when its credentials are not complete."""
        if self.account_sid is None:
            return None
        if self.api_key is not None and self.api_secret is not None:
            user, password = self.api_key, self.api_secret
        elif self.auth_tokens:
            user, password = self.account_sid, self.auth_tokens[0]
        else:
            return None
        return RestAccount(self.account_sid, user, password.get_secret_value(), self.rest_origin)

    @property
    def rest_origin(self) -> str:
        """Scheme and host of the REST API (twilio.md §5.1)."""
        if self.api_url is not None:
            return self.api_url
        if self.edge is None:
            return "https://api.twilio.com"
        return f"https://api.{self.edge}.{self.region or 'us1'}.twilio.com"

    def require_rest(self) -> RestAccount:
        """Return the account of REST requests. Raises UserError E-TW-02 when there is none."""
        account = self.rest_account
        if account is None:
            missing = (
                "TWILIO_ACCOUNT_SID"
                if self.account_sid is None
                else "TWILIO_API_KEY and TWILIO_API_SECRET"
            )
            raise UserError(
                "E-TW-02",
                "No credentials for Twilio's REST API, so nobody can be called or texted."
                f" Looked in: {missing}, {DOTENV}.",
                "Set them there (Twilio Console, Account, API keys).",
            )
        return account


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


class LogSettings(Part):
    """The content of `logs:` in offhook.yaml."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The lowest level that is logged."""

    texts: bool = False
    """True if the log shows what is said and pressed in calls, and whole phone numbers."""


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


class OutboundSettings(Part):
    """The content of `outbound:` in offhook.yaml: the calls that we place."""

    agents: tuple[Path, ...] = ()
    """Agent files that place calls and answer no line; relative to offhook.yaml."""

    caller_id: PhoneNumber | None = None
    """The number that people see; None is the line of the agent."""

    calls_per_second: float = Field(default=1, gt=0, le=100)
    """Calls placed in a second: Twilio's own limit is 1 until it is raised (twilio.md §5.2)."""

    concurrent: int = Field(default=5, ge=1)
    """Calls that we place which may ring or go on at once."""


class DiallingSettings(Part):
    """The content of `dialling:` in offhook.yaml: the rules of dial_policy."""

    countries: tuple[Country, ...] | None = None
    """ISO codes; None: those of the numbers in `lines`, or US and CA if these have none."""

    sip_hosts: tuple[Host, ...] = ()
    """Hosts whose SIP addresses may be dialled."""

    calls_per_hour: int = Field(default=60, ge=0)
    """Calls that we place, and transfers, in an hour."""

    texts_per_hour: int = Field(default=60, ge=0)

    texts_per_call: int = Field(default=5, ge=0)
    """Texts that an agent may send in one call."""

    texts_per_number: int = Field(default=10, ge=0)
    """Texts to one number within an hour, from whichever call."""

    spend_per_hour: float = Field(default=20.0, ge=0)
    """Allowed cost of the calls and texts of an hour, by `price_per_call` and `price_per_text`."""

    price_per_call: float = Field(default=0.2, ge=0)
    """Estimated cost of a call: a minute's price times the minutes that it lasts."""

    price_per_text: float = Field(default=0.01, ge=0)
    """The price of a segment: 160 letters, or 70 when one is not in GSM's alphabet."""


class AppConfigFile(Part):
    """The content of offhook.yaml."""

    server: ServerFileSettings = ServerFileSettings()
    twilio: TwilioFileSettings = TwilioFileSettings()
    deepgram: DeepgramFileSettings = DeepgramFileSettings()
    logs: LogSettings = LogSettings()
    records: RecordsFileSettings = RecordsFileSettings()
    outbound: OutboundSettings = OutboundSettings()
    dialling: DiallingSettings = DiallingSettings()
    inbound: InboundSettings = InboundSettings()
    fleet: FleetFileSettings | None = None
    """Nodes that share calls; None: this machine answers alone."""

    lines: Annotated[
        dict[Annotated[str, BeforeValidator(_line)], Text], BeforeValidator(_lines)
    ] = Field(default={})
    """Called number, or `default`, to the path of an agent file, relative to offhook.yaml."""

    @pydantic.field_validator("inbound")
    @classmethod
    def _priced(cls, value: InboundSettings, info: pydantic.ValidationInfo) -> InboundSettings:
        records = info.data.get("records")
        if value.spend.is_set and records is not None and not records.prices.deepgram_minute:
            raise yamlfile.refuse(
                "inbound.spend needs Deepgram's price of a minute, and records.prices has none.",
                "Give records.prices.deepgram_minute, or write inbound.minutes in place of spend.",
            )
        return value
