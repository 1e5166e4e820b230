"""Everything that can be set, in one frozen tree, read once.

Three sources, each for what belongs in it: `offhook.yaml` and the agent files that it names, the
environment (with `.env` of the working directory) for secrets, and the command line. Nothing else
in Offhook reads the environment. Without any of them there are defaults, and the agent is that of
Deepgram's sample server.

A mistake is told with file, line and column, and nothing is half loaded.
"""

import ipaddress
import os.path
import re
import zoneinfo
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, TypeVar
from urllib.parse import urlsplit

import dotenv
import pydantic
from pydantic import BeforeValidator, Field, SecretStr, SkipValidation

from offhook import variables, yamlfile
from offhook.call import keypad
from offhook.deepgram import settings
from offhook.deepgram.settings import Settings
from offhook.errors import Problem
from offhook.outbound.hours import DAYS, Day, Hours, read_hours
from offhook.tools import builtin, modules
from offhook.tools.builtin.texts import CALLER
from offhook.tools.files import ToolFiles
from offhook.yamlfile import BadFile, Document, Finding, Loc, Place

if TYPE_CHECKING:  # its metadata takes its time
    from offhook.guard import Rules

FILE: Final = Path("offhook.yaml")
"""The file that is read, if it is there, when no other is named."""

DOTENV: Final = Path(".env")

DEFAULT: Final = "default"
"""The line that answers every number without a line of its own."""

HARD_TO_GUESS: Final = r"[\x21-\x7e]{16,256}"
"""A token for the API: it fits into a header, and takes longer to guess than anybody has."""

_SECRETS: Final = {
    ("server", "api_token"): "OFFHOOK_API_TOKEN",
    ("deepgram", "api_key"): "DEEPGRAM_API_KEY",
    ("twilio", "auth_token"): "TWILIO_AUTH_TOKEN",
    ("twilio", "auth_tokens"): "TWILIO_AUTH_TOKEN",
    ("twilio", "api_key"): "TWILIO_API_KEY",
    ("twilio", "api_secret"): "TWILIO_API_SECRET",
    ("records", "webhook", "secret"): "OFFHOOK_WEBHOOK_SECRET",
}

WEBHOOK_SECRET_MIN: Final = 16
"""Characters: what is shorter can be guessed from one signature."""


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, arbitrary_types_allowed=True
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _empty(cls, value: Any) -> Any:
        """A heading with nothing under it, as when every line is commented out."""
        return {} if value is None else value


# --- Values that several parts have ----------------------------------------------------------


def _number(value: Any) -> Any:
    """A phone number in E.164: + and 7 to 15 digits."""
    if isinstance(value, int):
        # The number itself is not told: findings end up in logs.
        raise yamlfile.refuse(
            "A phone number without quotes is an integer to YAML: its + is lost.",
            'Put it in quotes: "+1…".',
        )
    if isinstance(value, str) and not re.fullmatch(r"\+[1-9]\d{6,14}", value):
        raise yamlfile.refuse(
            "This is not a phone number in international form.",
            'Write + and digits alone, in quotes: "+1…".',
        )
    return value


def is_this_machine(host: str) -> bool:
    """Whether a URL's host is this machine, by its name alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _line(value: Any) -> Any:
    return value if value == DEFAULT else _number(value)


def _or_empty(value: Any) -> Any:
    return {} if value is None else value


def _destination(value: Any) -> Any:
    sip = isinstance(value, str) and re.fullmatch(r"sips?:[^\s@]+@[^\s@]+", value)
    return value if sip else _number(value)


def _said(value: Any) -> Any:
    """Text alone stands for what is said."""
    return {"say": value} if isinstance(value, str) else value


def _yes_or_no(value: Any) -> Any:
    """Yes stands for the defaults, no for nothing."""
    word = value.lower() if isinstance(value, str) else value
    if word in (True, "on", "yes"):  # words to YAML 1.2
        return {}
    return None if word in (False, "off", "no") else value


def _speakable(value: Any) -> Any:
    """Text that TwiML can hold: XML has no other control characters than these."""
    if isinstance(value, str) and re.search(
        r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", value
    ):
        raise yamlfile.refuse(
            "This text has a control character, which no voice can say.",
            "Remove it: write letters and punctuation alone.",
        )
    return value


def _variable_name(value: Any) -> Any:
    if not isinstance(value, str) or not variables.NAME.fullmatch(value):
        raise yamlfile.refuse(
            "This is no name for a variable.", "Write letters, digits and _, with no digit first."
        )
    if value == variables.NOT_A_VARIABLE:
        raise yamlfile.refuse(
            f'"{value}" is how Offhook knows its own streams.', "Give it another name."
        )
    return value


def _default(value: Any) -> Any:
    if isinstance(value, bool | int | float):
        # A number is read as one: 1.10 is 1.1 by then, and +1555 is 1555.
        raise yamlfile.refuse("This is a number or a switch to YAML.", "Put it in quotes.")
    return "" if value is None else _speakable(value)


def _zone(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        pass
    close = yamlfile.nearest(value, zoneinfo.available_timezones())
    raise yamlfile.refuse(
        "This machine knows no time zone of that name.",
        f'Did you mean "{close}"?' if close else "Write one as Europe/Berlin.",
    )


def _pattern(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        pattern = re.compile(value)
    except (re.error, OverflowError, RecursionError) as error:
        raise yamlfile.refuse(
            f"This is not a regular expression: {error}.", "Correct it; single quotes keep its \\."
        ) from None
    if pattern.search(""):
        raise yamlfile.refuse(
            "This regular expression finds the empty text, which is everywhere.",
            "Have it find one character at least: + in place of *.",
        )
    return pattern


def _country(value: Any) -> Any:
    from offhook.guard import is_country

    if isinstance(value, str) and not is_country(value):
        raise yamlfile.refuse(
            "This is not the code of a country.", "Write ISO 3166's two capital letters, as US."
        )
    return value


def _host(value: Any) -> Any:
    if isinstance(value, str):
        value = value.lower()
        if not re.fullmatch(r"[a-z0-9.\-]{1,253}|\[[0-9a-f:.]{2,45}\]", value):
            raise yamlfile.refuse(
                "This is not the name of a host.", "Write it without port: pbx.example.com."
            )
    return value


def _destination_name(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value):
        raise yamlfile.refuse(
            "This is no name for a destination.", "Write letters, digits, _ and -, as front_desk."
        )
    return value


def _key(value: Any) -> Any:
    """A key as text; YAML takes 0 for a number."""
    key = str(value) if type(value) is int else value
    if isinstance(key, str) and not re.fullmatch(r"[0-9*#]", key):
        raise yamlfile.refuse(
            "This is no key of a telephone.", 'Write one of 0 to 9, * and #, in quotes: "0".'
        )
    return key


def _action(value: Any) -> Any:
    """The bare word hangs up without words."""
    return {"hang_up": ""} if value == "hang_up" else value


Text = Annotated[str, Field(min_length=1), BeforeValidator(_speakable)]
Country = Annotated[str, BeforeValidator(_country)]
Host = Annotated[str, BeforeValidator(_host)]
DestinationName = Annotated[str, BeforeValidator(_destination_name)]
Name = Annotated[str, BeforeValidator(_variable_name)]
Default = Annotated[str, BeforeValidator(_default)]
Zone = Annotated[zoneinfo.ZoneInfo, BeforeValidator(_zone)]
Pattern = Annotated[re.Pattern[str], BeforeValidator(_pattern)]
Destination = Annotated[str, BeforeValidator(_destination)]
PhoneNumber = Annotated[str, BeforeValidator(_number)]
Key = Annotated[str, BeforeValidator(_key)]


# --- offhook.yaml ----------------------------------------------------------------------------


class ServerFile(_Part):
    """What `server:` in offhook.yaml may say."""

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

    operator_hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "::1")
    """Host names under which the operator's pages are served; every other serves /twilio alone."""

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
        extra = url.path.strip("/") or url.query or url.fragment or url.username or url.port == 0
        if url.scheme != "https" or not url.hostname or extra:
            raise yamlfile.refuse(
                "public_url is not an https origin; Twilio opens streams over TLS only.",
                "Write scheme and host alone: https://voice.example.com.",
            )
        return f"https://{url.netloc}"

    @pydantic.model_validator(mode="after")
    def _both(self) -> "ServerFile":
        if (self.tls_cert is None) != (self.tls_key is None):
            raise yamlfile.refuse("tls_cert and tls_key need each other.", "Give both, or neither.")
        return self


class Server(ServerFile):
    """How this process is reached."""

    unsigned: bool = False
    """Whether to answer requests without Twilio's signature. Only the command line can say so."""

    api_token: SecretStr | None = None
    """What opens the API; None: one is made, into `records.folder` (api/token.py)."""

    @pydantic.field_validator("api_token")
    @classmethod
    def _hard_to_guess(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(HARD_TO_GUESS, value.get_secret_value()):
            raise yamlfile.refuse(
                "This is not 16 to 256 characters of ASCII without spaces.",
                "Make one: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
            )
        return value


class TwilioFile(_Part):
    """What `twilio:` in offhook.yaml may say."""

    account_sid: Annotated[str, Field(pattern=r"^AC[0-9a-f]{32}$")] | None = None
    """The account whose calls are answered; else TWILIO_ACCOUNT_SID says."""

    bin: bool = True
    """Whether a stream may come from a TwiML Bin, without passing through our webhook."""

    region: Annotated[str, Field(pattern=r"^[a-z]{2}[0-9]$")] | None = None
    """Where calls are processed, such as ie1; none is us1 (twilio.md §5.1)."""

    edge: Annotated[str, Field(pattern=r"^[a-z]+(-[a-z]+)*$")] | None = None
    """Where Twilio is entered, such as dublin."""

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
        if not safe or not url.hostname or url.path.strip("/") or url.query or url.username:
            raise yamlfile.refuse(
                "api_url is not an https origin; credentials are sent there.",
                "Write https:// and a host, such as https://api.twilio.com.",
            )
        return f"{url.scheme}://{url.netloc}"

    @pydantic.model_validator(mode="after")
    def _place(self) -> "TwilioFile":
        if self.region is not None and self.edge is None:
            raise yamlfile.refuse(
                "region without edge: Twilio would take such requests to us1.",
                "Write both, such as region: ie1 and edge: dublin.",
            )
        return self


class Twilio(TwilioFile):
    """The Twilio account."""

    auth_tokens: tuple[SecretStr, ...] = ()
    """Tokens that may have signed a request: several while one is being rotated."""

    api_key: Annotated[str, Field(pattern=r"^SK[0-9a-f]{32}$")] | None = None
    api_secret: Annotated[SecretStr | None, Field(validate_default=True)] = None
    """What REST requests are made with; else the account and the first of its tokens."""

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
    def rest_credentials(self) -> tuple[str, str] | None:
        """User and password of REST requests; None when they are not complete."""
        if self.account_sid is None:
            return None
        if self.api_key is not None and self.api_secret is not None:
            return self.api_key, self.api_secret.get_secret_value()
        if self.auth_tokens:
            return self.account_sid, self.auth_tokens[0].get_secret_value()
        return None

    @property
    def rest_origin(self) -> str:
        """Scheme and host of the REST API (twilio.md §5.1)."""
        if self.api_url is not None:
            return self.api_url
        if self.edge is None:
            return "https://api.twilio.com"
        return f"https://api.{self.edge}.{self.region or 'us1'}.twilio.com"

    def require_rest(self) -> tuple[str, str]:
        """User and password of REST requests. Raises Problem E-TW-02 when there are none."""
        credentials = self.rest_credentials
        if credentials is None:
            missing = (
                "TWILIO_ACCOUNT_SID"
                if self.account_sid is None
                else "TWILIO_API_KEY and TWILIO_API_SECRET"
            )
            raise Problem(
                "E-TW-02",
                "No credentials for Twilio's REST API, so nobody can be called or texted."
                f" Looked in: {missing}, {DOTENV}.",
                "Set them there (Twilio Console, Account, API keys).",
            )
        return credentials


class DeepgramFile(_Part):
    """What `deepgram:` in offhook.yaml may say."""

    url: str = "wss://agent.deepgram.com/v1/agent/converse"
    """The agent's socket; an origin alone gets the path. Regions: deepgram-voice-agent.md §1.1."""

    auth: Literal["token", "bearer"] = "token"
    """The scheme of the key: `token` for an API key, `bearer` for a short-lived token (§1.2)."""

    connect_timeout_s: float = Field(default=4, gt=0, le=60)
    """Seconds that opening the socket may take."""

    @pydantic.field_validator("url")
    @classmethod
    def _socket(cls, value: str) -> str:
        url = urlsplit(value)
        scheme = {"http": "ws", "https": "wss"}.get(url.scheme, url.scheme)
        if scheme not in ("ws", "wss") or not url.hostname:
            raise yamlfile.refuse(
                "deepgram.url is not the address of a socket.",
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


class Deepgram(DeepgramFile):
    """Where the agent is."""

    api_key: SecretStr | None = None


class Logs(_Part):
    """What `logs:` in offhook.yaml may say."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is logged."""

    texts: bool = False
    """Whether the log has what is said and pressed in calls, and whole phone numbers."""


class Prices(_Part):
    """What a minute costs, in `currency`. Without any price no cost is shown."""

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"
    twilio_minute: float | None = Field(default=None, ge=0)
    """Of a call's leg at Twilio, which bills begun minutes."""

    stream_minute: float | None = Field(default=None, ge=0)
    """Of a media stream, for each begun minute."""

    deepgram_minute: dict[Text, Annotated[float, Field(ge=0)]] = {}
    """Tier to price of a minute of connection; an agent file names its `tier`."""


class WebhookFile(_Part):
    """Who is told of each call when it is over."""

    url: str | None = None
    """An https URL, or an http one of this machine; None tells nobody."""

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


class Kept(_Part):
    """How long records are kept, in days since a call began; None keeps them."""

    text_days: int | None = Field(default=None, ge=1)
    """What was said, pressed and looked up, and the numbers."""

    audio_days: int | None = Field(default=None, ge=1)
    """Recordings."""


class Redact(_Part):
    """What is taken out of texts before they are kept or passed on: redaction.py."""

    cards: bool = False
    """Card numbers, by Luhn; keys that the caller presses are then kept without their digits."""

    phone_numbers: bool = False
    emails: bool = False

    patterns: tuple[Pattern, ...] = ()
    """Regular expressions of your own, as Python's re has them."""

    caller_id: bool = False
    """The numbers of the call itself, of which the ends are left."""

    audio: bool = False
    """Whether what was taken out of an utterance is to be silenced in its recording too."""


class RecordsFile(_Part):
    """What `records:` in offhook.yaml may say."""

    folder: Path = Path("offhook-data")
    """Where the database, the journal and recordings are; relative to offhook.yaml."""

    database: str | None = None
    """URL of a PostgreSQL; None is SQLite in `folder`. OFFHOOK_DATABASE_URL goes before it."""

    prices: Prices = Prices()
    webhook: WebhookFile = WebhookFile()
    retention: Kept = Kept()
    redact: Redact = Redact()


class Records(RecordsFile):
    """What calls leave behind, and where. `folder` is ready to use."""

    database: str = Field(repr=False)
    """A URL, which may hold a password."""

    webhook_secrets: tuple[SecretStr, ...] = ()
    """Each signs what `webhook.url` is sent: several while one is being rotated."""

    @property
    def recordings(self) -> Path:
        """The folder of their recordings."""
        return self.folder / "recordings"


class Outbound(_Part):
    """What `outbound:` in offhook.yaml may say: the calls that we place."""

    agents: tuple[Path, ...] = ()
    """Agent files that place calls and answer no line; relative to offhook.yaml."""

    caller_id: PhoneNumber | None = None
    """The number that people see; None is the line of the agent."""

    calls_per_second: float = Field(default=1, gt=0, le=100)
    """How fast calls are placed: Twilio's own limit is 1 until it is raised (twilio.md §5.2)."""

    concurrent: int = Field(default=5, ge=1)
    """How many calls that we place may ring or go on at once."""


class Dialling(_Part):
    """What may be dialled and texted, whoever asks for it: guard.py."""

    countries: tuple[Country, ...] | None = None
    """ISO codes; None: those of the numbers in `lines`, or US and CA if these tell none."""

    sip_hosts: tuple[Host, ...] = ()
    """Hosts whose SIP addresses may be dialled."""

    calls_per_hour: int = Field(default=60, ge=0)
    """Calls that we place, and transfers."""

    texts_per_hour: int = Field(default=60, ge=0)
    spend_per_hour: float = Field(default=20.0, ge=0)
    """What the calls and texts of an hour may cost together, by the two prices here."""

    price_per_call: float = Field(default=0.2, ge=0)
    """What a call costs, about: a minute's price times the minutes that it lasts."""

    price_per_text: float = Field(default=0.01, ge=0)
    """Of each segment: 160 letters, or 70 with letters that few know."""


class ConfigFile(_Part):
    """What offhook.yaml may say."""

    server: ServerFile = ServerFile()
    twilio: TwilioFile = TwilioFile()
    deepgram: DeepgramFile = DeepgramFile()
    logs: Logs = Logs()
    records: RecordsFile = RecordsFile()
    outbound: Outbound = Outbound()
    dialling: Dialling = Dialling()
    lines: Annotated[
        dict[Annotated[str, BeforeValidator(_line)], Text], BeforeValidator(_or_empty)
    ] = {}
    """Called number, or `default`, to the path of an agent file, relative to offhook.yaml."""


# --- Agent files -----------------------------------------------------------------------------


class Announcement(_Part):
    """What Twilio says before the agent is connected. It delays the agent by its length."""

    say: Text
    language: str | None = None
    """BCP-47; None is Twilio's default, en-US."""

    voice: str | None = None
    """Such as Polly.Joanna-Neural; None is the account's."""


class Voicemail(_Part):
    """A recorded message, when there is no agent to talk to."""

    say: Text = "Please leave a message after the tone."
    max_seconds: int = Field(default=120, ge=1, le=3600)


class Fallback(_Part):
    """What the caller gets when the agent cannot be reached or is lost: `say`, then one more."""

    say: Text | None = "We are sorry, we cannot continue this call. Please try again later."
    dial: Destination | None = None
    """A number in E.164, or a sip: address, that takes over."""

    voicemail: Annotated[Voicemail | None, BeforeValidator(_yes_or_no)] = None

    @pydantic.model_validator(mode="after")
    def _one(self) -> "Fallback":
        if self.dial and self.voicemail:
            raise yamlfile.refuse("fallback has both dial and voicemail.", "Keep one of them.")
        return self


class Busy(_Part):
    """What the caller gets when the house is full: one of the three."""

    say: Text | None = None
    reject: bool = False
    """Decline with the busy tone; the call is not answered and costs nothing."""

    dial: Destination | None = None

    @pydantic.model_validator(mode="after")
    def _one(self) -> "Busy":
        if [bool(self.say), self.reject, bool(self.dial)].count(True) != 1:
            raise yamlfile.refuse("busy must have one of say, reject and dial.", "Keep one.")
        return self


class Limits(_Part):
    """When a call ends that nobody ends."""

    max_minutes: float = Field(default=30, gt=0, le=1440)
    silence_seconds: float = Field(default=60, ge=0)
    """Silence of the caller after which the agent asks, and then says goodbye; 0 never."""


class Phrases(_Part):
    """What the agent is made to say when a limit is reached."""

    still_there: Text = "Are you still there?"
    silent_goodbye: Text = "I cannot hear you. Goodbye."
    time_up: Text = "We have reached the end of our time. Goodbye."
    one_moment: Text = "One moment, please."
    """Said when a function takes long."""
    transferring: Text = "One moment, I am connecting you."
    """Said before the caller is put through."""


class Lookup(_Part):
    """Who is asked about a call before it is answered: one of `url` and `python`."""

    url: str | None = None
    """It is posted JSON with call_sid, caller, called and agent, and answers with a JSON object."""

    python: Annotated[str, Field(pattern=r"^[^:]+\.py:[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """`file.py:function`, relative to the agent file. It is given the Call of offhook.tools."""

    timeout_ms: int = Field(default=1000, ge=50, le=5000)
    """Then the call goes on without it. The caller hears ringing until then."""

    secret_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """The variable of the environment whose value is sent as `Authorization: Bearer`."""

    @pydantic.field_validator("url")
    @classmethod
    def _web(cls, value: str | None) -> str | None:
        if value is None:
            return None
        url = urlsplit(value)
        if url.scheme not in ("http", "https") or not url.hostname or re.search(r"\s", value):
            raise yamlfile.refuse("This is not a web address.", "Write https:// and a host.")
        if url.username or url.password:
            raise yamlfile.refuse(
                "This address has a secret in it, and this file is meant to be shared.",
                "Put the secret into the environment, and name it in secret_env.",
            )
        return value

    @pydantic.model_validator(mode="after")
    def _one(self) -> "Lookup":
        if (self.url is None) == (self.python is None):
            raise yamlfile.refuse("lookup must have one of url and python.", "Keep one.")
        if self.secret_env is not None and self.url is None:
            raise yamlfile.refuse("secret_env goes with url only.", "Remove it.")
        return self


class Placing(_Part):
    """How an agent's file wants the calls that it places."""

    answering_machine: Literal["hang_up", "leave_message", "talk"] = "hang_up"
    """What becomes of a call that a machine answers."""

    message: Annotated[Announcement | None, BeforeValidator(_said)] = None
    """What Twilio says to a machine after the tone; `leave_message` needs it."""

    ring_seconds: int = Field(default=30, ge=5, le=600)
    """How long it may ring; Twilio may add about 5 s."""

    call_reason: Annotated[str, Field(min_length=1, max_length=50)] | None = None
    """Shown to the called person, where carriers do that."""

    caller_id: PhoneNumber | None = None
    """The number that people see; None is `outbound.caller_id` of offhook.yaml."""

    hours: str = "09:00-20:00"
    """When people of lists may be rung, in their own time zone."""

    days: Annotated[tuple[Day, ...], Field(min_length=1)] = DAYS
    """On which days."""

    @pydantic.field_validator("hours")
    @classmethod
    def _range(cls, value: str) -> str:
        if read_hours(value, DAYS) is None:
            raise yamlfile.refuse(
                "These are no hours of a day.", 'Write from and until: "09:00-20:00".'
            )
        return value

    @pydantic.model_validator(mode="after")
    def _something_to_say(self) -> "Placing":
        if self.answering_machine == "leave_message" and self.message is None:
            raise yamlfile.refuse(
                "answering_machine is leave_message, and there is no message.",
                "Add message: with what a machine is told.",
            )
        return self

    @property
    def calling_hours(self) -> Hours:
        """`hours` and `days`, read."""
        found = read_hours(self.hours, self.days)
        assert found is not None, "it was validated"
        return found


class TransferDestination(_Part):
    """Where `transfer_call` may put a caller through to: a person, or another agent."""

    to: Destination | None = None
    """A number in E.164, or a sip: address."""

    agent: Path | None = None
    """Another agent file, instead of `to`; relative to this one."""

    describe: str = ""
    """What the agent is told of it: who is there, and for what."""

    warm: bool = False
    """Whether the person first hears what the call is about, and may decline."""

    timeout_seconds: int = Field(default=25, ge=5, le=600)
    """How long it rings."""

    caller_id: PhoneNumber | None = None
    """The number that the person sees; None is the caller's, if warm the line that was called."""

    @pydantic.model_validator(mode="after")
    def _one(self) -> "TransferDestination":
        if (self.to is None) == (self.agent is None):
            raise yamlfile.refuse("A destination must have one of to and agent.", "Keep one.")
        if self.agent is not None and (self.warm or self.caller_id):
            raise yamlfile.refuse(
                "warm and caller_id go with to: no telephone rings at another agent.", "Remove it."
            )
        return self


class Transfer(_Part):
    """Whom `transfer_call` may reach, by the names that the agent knows them by."""

    destinations: dict[DestinationName, TransferDestination] = Field(min_length=1)


class KeyAction(_Part):
    """What a key does in place of being told to the agent: one of the three."""

    transfer: DestinationName | None = None
    """One of `transfer.destinations`."""

    hang_up: Annotated[str, BeforeValidator(_speakable)] | None = None
    """Words before the call ends. The bare word `hang_up` has none."""

    say: Text | None = None
    """What the agent then says."""

    @pydantic.model_validator(mode="after")
    def _one(self) -> "KeyAction":
        if [self.transfer, self.hang_up, self.say].count(None) != 2:
            raise yamlfile.refuse(
                "A key must have one of transfer, hang_up and say.", "Keep one of them."
            )
        return self

    @property
    def action(self) -> keypad.Action:
        """As the call knows it."""
        if self.transfer is not None:
            return keypad.PutThrough(self.transfer)
        return keypad.HangUp(self.hang_up or "") if self.say is None else keypad.Say(self.say)


class Keypad(_Part):
    """What the caller enters on the telephone's keys. The agent is told, unless it is an action."""

    timeout_seconds: float = Field(default=2, ge=0.2, le=30)
    """How long the next key of an entry is waited for; `#` ends one at once."""

    actions: Annotated[
        dict[Key, Annotated[KeyAction, BeforeValidator(_action)]], BeforeValidator(_or_empty)
    ] = {}
    """What an entry of that one key does."""


class TextDestination(_Part):
    """Whom `send_sms` may reach beside the caller."""

    to: PhoneNumber
    describe: str = ""
    """What the agent is told of it."""


class Texts(_Part):
    """How `send_sms` sends."""

    model_config = pydantic.ConfigDict(populate_by_name=True)

    from_: PhoneNumber = Field(alias="from")
    """A number of the account that can send texts."""

    destinations: Annotated[dict[DestinationName, TextDestination], BeforeValidator(_or_empty)] = {}

    @pydantic.field_validator("destinations")
    @classmethod
    def _not_the_caller(cls, value: dict[str, TextDestination]) -> dict[str, TextDestination]:
        if CALLER in value:
            raise yamlfile.refuse(
                f'"{CALLER}" is whoever is on the line.', "Give this one another name."
            )
        return value


class Agent(_Part):
    """Who answers a line: one agent file."""

    name: Text = ""
    """The file's stem, unless it says otherwise."""

    settings: SkipValidation[Settings] = Field(repr=False)
    """A Settings message, its agent block or a stored agent's UUID, checked by `read_agent`."""

    announcement: Annotated[Announcement | None, BeforeValidator(_said)] = None
    recording: bool = False
    """Whether calls are recorded. It takes an announcement, which says so to the caller."""

    fallback: Fallback = Fallback()
    busy: Annotated[Busy, BeforeValidator(_said)] = Busy(
        say="All our lines are busy. Please call again later."
    )
    limits: Limits = Limits()
    phrases: Phrases = Phrases()
    outbound: Placing = Placing()

    tier: Text = "standard"
    """Which of `records.prices.deepgram_minute` the agent costs."""
    variables: Annotated[dict[Name, Default], BeforeValidator(_or_empty)] = {}
    """What fills `{{name}}` when nothing else gives it: variables.py."""

    timezone: Zone | None = None
    """Of `{{date}}` and `{{time}}`; None is this machine's."""

    lookup: Lookup | None = None

    tools: tuple[Text, ...] = ()
    """Python files with functions for the agent, relative to this file; and built-in tools."""

    transfer: Transfer | None = None
    texts: Texts | None = None
    keypad: Keypad = Keypad()

    _tool_files: ToolFiles = pydantic.PrivateAttr(default_factory=ToolFiles)
    _lookup_function: modules.Latest[Callable[..., Any]] | None = pydantic.PrivateAttr(None)

    @pydantic.field_validator("recording")
    @classmethod
    def _announced(cls, value: bool, info: pydantic.ValidationInfo) -> bool:
        if value and "announcement" in info.data and info.data["announcement"] is None:
            raise yamlfile.refuse(
                "recording is on, and no announcement tells callers so.",
                "Add announcement: with what they are told, or remove this line.",
            )
        return value

    @property
    def tool_files(self) -> ToolFiles:
        """What `tools` names, made by `read_agent`."""
        return self._tool_files

    @property
    def lookup_function(self) -> Callable[..., Any] | None:
        """What `lookup.python` names, loaded by `read_agent`, as its file is now."""
        return self._lookup_function.get() if self._lookup_function is not None else None

    def templates(self) -> Iterator[tuple[Loc, str]]:
        """Every text in which `{{name}}` is filled, with the way to it in the agent file."""
        yield from _said_in(self, ())
        yield from ((("settings", *loc), text) for loc, text in self.settings.texts())

    def filled(self, values: Mapping[str, str]) -> "Agent":
        """The agent with a call's variables in its set phrases.

        Its settings stay as they are: they are filled when they are sent.
        """
        return _fill(self, values)


def _said_in(part: _Part, way: Loc) -> Iterator[tuple[Loc, str]]:
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, _Part):
            yield from _said_in(value, (*way, name))
        elif isinstance(value, dict):
            for key, each in value.items():
                if isinstance(each, _Part):
                    yield from _said_in(each, (*way, name, key))
        elif isinstance(value, str) and _is_said(part, name):
            yield (*way, name), value


def _is_said(part: _Part, name: str) -> bool:
    return name in ("say", "hang_up") or isinstance(part, Phrases)


_P = TypeVar("_P", bound=_Part)


def _fill(part: _P, values: Mapping[str, str]) -> _P:
    update: dict[str, Any] = {}
    for name in {str(name) for (name, *_), _ in _said_in(part, ())}:
        value = getattr(part, name)
        if isinstance(value, _Part):
            update[name] = _fill(value, values)
        elif isinstance(value, dict):
            update[name] = {key: _fill(each, values) for key, each in value.items()}
        else:
            update[name] = variables.fill(value, values)
    return part.model_copy(update=update)


# --- The whole -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line says; None is nothing."""

    host: str | None = None
    port: int | None = None
    public_url: str | None = None
    deepgram_url: str | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    unsigned: bool | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """All of it. Secrets are SecretStr, so that no repr shows one."""

    server: Server
    twilio: Twilio
    deepgram: Deepgram
    logs: Logs
    records: Records
    lines: Mapping[str, Agent]
    """Called number, or `default`, to its agent. Never empty."""

    outbound: Outbound = field(default_factory=Outbound)

    placers: tuple[Agent, ...] = ()
    """Agents that place calls and answer no line."""
    dialling: Dialling = field(default_factory=Dialling)
    agents: Mapping[Path, Agent] = field(default_factory=dict)
    """Every agent of `lines`, and those to which they may transfer, by the path of its file."""

    lookup_secrets: Mapping[str, SecretStr] = field(default_factory=dict)
    """What the environment has of the names in the agents' `lookup.secret_env`."""

    remarks: tuple[Finding, ...] = field(default=(), repr=False)
    """What `offhook check` has to say about the agents' settings."""

    by_rest: tuple[Finding, ...] = field(default=(), repr=False)
    """What agents can do by Twilio's REST API alone, as errors to tell when it cannot be asked."""

    def agent_for(self, number: str | None) -> Agent | None:
        """Who answers this called number; None for the number means that it is not known.

        None is the answer for a number that has no line when there is no default either.
        """
        agent = self.lines.get(number or DEFAULT, self.lines.get(DEFAULT))
        if agent is None and number is None and len(self.lines) == 1:
            return next(iter(self.lines.values()))
        return agent

    def agents_by_name(self) -> Mapping[str, Agent]:
        """Every agent that can place calls."""
        return {agent.name: agent for agent in (*self.placers, *self.lines.values())}

    def caller_id_of(self, agent: Agent) -> str | None:
        """The number that people see whom this agent rings; None: nothing says."""
        lines = self.lines.items()
        own = (line for line, of in lines if of.name == agent.name and line != DEFAULT)
        return agent.outbound.caller_id or self.outbound.caller_id or next(own, None)

    def dialling_rules(self) -> "Rules":
        """What guard.py allows."""
        return _rules(self.dialling, self.lines)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every key and token, for whoever must keep them out of a file."""
        known = (
            *self.twilio.auth_tokens,
            self.twilio.api_secret,
            *self.records.webhook_secrets,
            *self.lookup_secrets.values(),
            self.deepgram.api_key,
            self.server.api_token,
        )
        secrets = [secret.get_secret_value() for secret in known if secret is not None]
        password = urlsplit(self.records.database).password
        return (*secrets, *([password] if password else ()))

    def require_deepgram_key(self) -> SecretStr:
        """The key. Raises Problem E-DG-01 when there is none."""
        if self.deepgram.api_key is None:
            raise Problem(
                "E-DG-01",
                f"No Deepgram key. Looked in: DEEPGRAM_API_KEY, {DOTENV}.",
                'Set it there, or run "offhook demo" to try without one.',
            )
        return self.deepgram.api_key

    def require_auth_tokens(self) -> tuple[SecretStr, ...]:
        """Twilio's tokens, at least one. Raises Problem E-TW-01 when there is none."""
        if not self.twilio.auth_tokens:
            raise Problem(
                "E-TW-01",
                "No Twilio auth token, so calls cannot be told from forgeries."
                f" Looked in: TWILIO_AUTH_TOKEN, {DOTENV}.",
                "Set it there (Twilio Console, Account Info), or develop with --unsigned.",
            )
        return self.twilio.auth_tokens

    def require_rest_of_agents(self) -> None:
        """Raises BadFile E-DIAL-02 for what agents can do by REST alone, without credentials.

        A rehearsal, in which nobody is dialled, goes without them.
        """
        if self.by_rest and self.twilio.rest_credentials is None:
            raise BadFile("E-DIAL-02", self.by_rest)

    def require_webhook_secrets(self) -> tuple[SecretStr, ...]:
        """What signs after-call webhooks, at least one. Raises Problem E-HOOK-01."""
        secrets = self.records.webhook_secrets
        if not secrets or any(len(one) < WEBHOOK_SECRET_MIN for one in secrets):
            raise Problem(
                "E-HOOK-01",
                "records.webhook.url is set, but there is no secret of 16 characters or more to"
                f" sign with. Looked in: OFFHOOK_WEBHOOK_SECRET, {DOTENV}.",
                "Set it there, and give the same to the target: openssl rand -hex 32",
            )
        return secrets

    def require_lookup_secrets(self) -> Mapping[str, SecretStr]:
        """The lookups' secrets by name. Raises Problem E-LOOKUP-01 when one is missing."""
        for name in _lookup_secrets(self.lines):
            if name not in self.lookup_secrets:
                raise Problem(
                    "E-LOOKUP-01",
                    f"No secret for a lookup. Looked in: {name}, {DOTENV}.",
                    "Set it there, or remove secret_env from the agent file.",
                )
        return self.lookup_secrets


NOTHING: Final = Overrides()


def load(
    path: Path | None, environ: Mapping[str, str], *, overrides: Overrides = NOTHING
) -> Config:
    """Read everything. `path` None is ./offhook.yaml if it is there, else the defaults.

    Raises Problem: E-YAML-01 to 03 and E-SET-01 for the files, of which all but the first are a
    BadFile with every finding; E-CFG-01 to 04 for what is around them.
    """
    if path is None and FILE.exists():
        path = FILE
    document = yamlfile.parse("", FILE) if path is None else yamlfile.read(path)
    _refuse_secrets(document)
    file = yamlfile.validate(ConfigFile, document)
    lines, agents, remarks = _read_lines(file.lines, file.outbound.agents, document)
    _check_dialled(agents, file.dialling, lines)
    env = _environment(environ)
    return Config(
        server=_server(file.server, document.path.parent, overrides, env),
        twilio=_twilio(file.twilio, env),
        deepgram=_deepgram(file.deepgram, env, overrides),
        logs=file.logs,
        records=_records(file.records, document.path.parent, env),
        lines=lines,
        outbound=file.outbound,
        placers=tuple(agents[_at(document, path)].agent for path in file.outbound.agents),
        dialling=file.dialling,
        agents={path: read.agent for path, read in agents.items()},
        lookup_secrets={n: SecretStr(env[n]) for n in _lookup_secrets(lines) if n in env},
        remarks=remarks,
        by_rest=tuple(_by_rest(agents)),
    )


def _lookup_secrets(lines: Mapping[str, Agent]) -> Iterator[str]:
    for agent in lines.values():
        if agent.lookup is not None and agent.lookup.secret_env is not None:
            yield agent.lookup.secret_env


class _Read(NamedTuple):
    """An agent file that was read."""

    agent: Agent
    document: Document
    remarks: tuple[Finding, ...]

    def other_agents(self) -> Iterator[tuple[str, Path]]:
        """To which agent files it may transfer, by the destination's name."""
        if self.agent.transfer is not None:
            for name, destination in self.agent.transfer.destinations.items():
                if destination.agent is not None:
                    yield name, destination.agent


def read_agent(path: Path) -> tuple[Agent, tuple[Finding, ...]]:
    """One agent file, with the remarks about its settings. Raises as `load` does."""
    read = _read_agent(path)
    return read.agent, read.remarks


def _read_agent(path: Path) -> _Read:
    document = yamlfile.read(path)
    agent = yamlfile.validate(Agent, document)

    def locate(loc: yamlfile.Loc, key: bool) -> Place:
        return document.place(("settings", *loc), key=key)

    tools = _tools(agent, document)
    accepted, remarks = settings.accept(agent.settings, locate, tools.latest())
    agent = _with_agent_paths(agent, document)
    agent = agent.model_copy(update={"settings": accepted, "name": agent.name or path.stem})
    agent._tool_files = tools
    agent._lookup_function = _lookup_function(agent, document)
    _check_variables(agent, document)
    _check_keypad(agent, document)
    return _Read(agent, document, remarks + _lookup_remarks(agent, document))


def _no_file(path: Path, document: Document, *loc: str | int) -> Finding:
    fix = "Correct the path: it starts at the folder of this file."
    return Finding("error", f"There is no file {path}.", fix, document.place(loc))


def _with_agent_paths(agent: Agent, document: Document) -> Agent:
    """The agent, with the files of those to which it may transfer as `Config.agents` has them."""
    if agent.transfer is None:
        return agent
    found = {}
    for name, destination in agent.transfer.destinations.items():
        if destination.agent is not None:
            path = _at(document, destination.agent)
            if not path.is_file():
                where = ("transfer", "destinations", name, "agent")
                raise BadFile("E-CFG-01", [_no_file(path, document, *where)])
            destination = destination.model_copy(update={"agent": path})
        found[name] = destination
    transfer = agent.transfer.model_copy(update={"destinations": found})
    return agent.model_copy(update={"transfer": transfer})


def _at(document: Document, name: str | Path) -> Path:
    """A path that is relative to a file, in the one form in which paths are compared."""
    return Path(os.path.normpath(document.path.parent / name))


def _tools(agent: Agent, document: Document) -> ToolFiles:
    paths = []
    names: list[str] = []
    errors = []
    for index, tool in enumerate(agent.tools):
        if tool in builtin.NAMES:
            fault = _unfit(tool, agent, names)
            if fault is not None:
                errors.append(Finding("error", *fault, document.place(("tools", index))))
            names.append(tool)
        elif re.fullmatch(r"[\w-]+", tool):
            close = yamlfile.nearest(tool, builtin.NAMES)
            fix = f'Did you mean "{close}"?' if close else f"There are: {', '.join(builtin.NAMES)}."
            text = f'No built-in tool is called "{tool}", and a file\'s name ends in .py.'
            errors.append(Finding("error", text, fix, document.place(("tools", index))))
        else:
            path = document.path.parent / tool
            if not path.is_file():
                raise BadFile("E-CFG-01", [_no_file(path, document, "tools", index)])
            paths.append(path)
    if errors:
        raise BadFile("E-TOOL-02", errors)
    transfer = agent.transfer.destinations if agent.transfer is not None else {}
    texts = agent.texts.destinations if agent.texts is not None else {}
    named = builtin.Destinations(
        {name: each.describe for name, each in transfer.items()},
        {name: each.describe for name, each in texts.items()},
    )
    return ToolFiles(paths, builtin.offered(names, named))


def _unfit(tool: str, agent: Agent, before: Sequence[str]) -> tuple[str, str] | None:
    """Why a built-in tool cannot be had, and what to do, if so."""
    if tool in before:
        return f'"{tool}" stands here twice.', "Remove one."
    if tool == "transfer_call" and agent.transfer is None:
        text = (
            "transfer_call has no destinations: an agent dials no number that you have not named."
        )
        return text, 'Add transfer: {destinations: {front_desk: {to: "+1…"}}}.'
    if tool == "send_sms" and agent.texts is None:
        return "send_sms has no number to send from.", 'Add texts: {from: "+1…"}.'
    return None


def _lookup_function(agent: Agent, document: Document) -> modules.Latest[Callable[..., Any]] | None:
    if agent.lookup is None or agent.lookup.python is None:
        return None
    name, _, function = agent.lookup.python.rpartition(":")
    path = document.path.parent / name
    if not path.is_file():
        raise BadFile("E-CFG-01", [_no_file(path, document, "lookup", "python")])
    return modules.Latest((path,), lambda: modules.function(path, function))


def _lookup_remarks(agent: Agent, document: Document) -> tuple[Finding, ...]:
    url = urlsplit(agent.lookup.url or "") if agent.lookup is not None else None
    if url is None or url.scheme != "http" or url.hostname in ("localhost", "127.0.0.1", "::1"):
        return ()
    text = "The lookup goes over the network unencrypted, with callers' numbers and the secret."
    return (Finding("remark", text, "Use https.", document.place(("lookup", "url"))),)


def _check_variables(agent: Agent, document: Document) -> None:
    known = {*agent.variables, *variables.BUILT_IN}
    findings = []
    for loc, text in agent.templates():
        for name, written in variables.places(text):
            if name in known:
                continue
            close = yamlfile.nearest(name, known)
            fix = (
                f'Did you mean "{close}"?'
                if close
                else f"Give it a default: variables: {{{name}: …}}."
            )
            where = document.place_within(loc, written)
            findings.append(Finding("error", f'No variable is called "{name}".', fix, where))
    if findings:
        raise BadFile("E-VAR-01", findings)


def _check_keypad(agent: Agent, document: Document) -> None:
    """Raises BadFile E-CFG-01 for every key that is to put through to nobody."""
    known = agent.transfer.destinations if agent.transfer is not None else {}
    findings = []
    for key, action in agent.keypad.actions.items():
        name = action.transfer
        if name is None or name in known:
            continue
        close = yamlfile.nearest(name, known)
        fix = f'Did you mean "{close}"?' if close else f"Add it to transfer.destinations: {name}."
        # Without quotes the key is a number there; a step that is not there is passed over.
        steps = (int(key), key) if key.isdigit() else (key,)
        where = document.place(("keypad", "actions", *steps, "transfer"))
        text = f'Key {key} puts through to "{name}", which is not in transfer.destinations.'
        findings.append(Finding("error", text, fix, where))
    if findings:
        raise BadFile("E-CFG-01", findings)


def _read_lines(
    files: Mapping[str, str], placers: Sequence[Path], document: Document
) -> tuple[dict[str, Agent], dict[Path, _Read], tuple[Finding, ...]]:
    """Every agent, each file read once; the findings of all of them together."""
    agents: dict[Path, _Read] = {}
    errors: list[Finding] = []
    code = "E-CFG-01"
    waiting = {_at(document, name): document.place(("lines", of)) for of, name in files.items()}
    for index, name in enumerate(placers):
        waiting.setdefault(_at(document, name), document.place(("outbound", "agents", index)))
    tried: set[Path] = set()
    while waiting:
        path = next(iter(waiting))
        where = waiting.pop(path)
        tried.add(path)
        if not path.is_file():
            fix = "Correct the path: it starts at the folder of this file."
            errors.append(Finding("error", f"There is no agent file {path}.", fix, where))
            continue
        try:
            read = agents[path] = _read_agent(path)
        except BadFile as bad:
            errors += bad.findings
            code = bad.code
            continue
        for label, named in read.other_agents():
            if named not in tried:
                loc = ("transfer", "destinations", label, "agent")
                waiting[named] = read.document.place(loc)
    remarks = tuple(remark for read in agents.values() for remark in read.remarks)
    if errors:
        raise BadFile(code, [*errors, *remarks])
    lines = {line: agents[_at(document, name)].agent for line, name in files.items()}
    if not files:
        seed, about = settings.seed()
        lines, remarks = {DEFAULT: Agent(name="seed", settings=seed)}, remarks + about
    return lines, agents, remarks


def _rules(dialling: Dialling, lines: Mapping[str, Agent]) -> "Rules":
    from offhook import guard

    home = frozenset(filter(None, map(guard.country_of, lines)))
    allowed = frozenset(dialling.countries or home or guard.DEFAULT_COUNTRIES)
    return guard.Rules(
        countries=allowed,
        home=home or allowed,
        **dialling.model_dump(exclude={"countries", "sip_hosts"}),
        sip_hosts=frozenset(dialling.sip_hosts),
    )


def _dialled(agent: Agent) -> Iterator[tuple[Loc, str]]:
    """Every number and address that an agent file has dialled or texted."""
    if agent.fallback.dial is not None:
        yield ("fallback", "dial"), agent.fallback.dial
    if agent.busy.dial is not None:
        yield ("busy", "dial"), agent.busy.dial
    if agent.transfer is not None:
        for name, transfer in agent.transfer.destinations.items():
            if transfer.to is not None:
                yield ("transfer", "destinations", name, "to"), transfer.to
    if agent.texts is not None:
        for name, text in agent.texts.destinations.items():
            yield ("texts", "destinations", name, "to"), text.to


def _check_dialled(
    agents: Mapping[Path, _Read], dialling: Dialling, lines: Mapping[str, Agent]
) -> None:
    """Raises BadFile E-DIAL-01 for every destination that guard.py would refuse in a call."""
    dialled = [(read, loc, to) for read in agents.values() for loc, to in _dialled(read.agent)]
    if not dialled:
        return
    from offhook.guard import Why, refusal

    rules = _rules(dialling, lines)
    fixes = {
        Why.COUNTRY: "Add the country to dialling.countries in offhook.yaml, if you mean it.",
        Why.SIP_HOST: "Add the host to dialling.sip_hosts in offhook.yaml, if you mean it.",
    }
    errors = []
    for read, loc, to in dialled:
        refused = refusal(rules, to)
        if refused is not None:
            text = f"This would never be dialled: {refused.words}."
            fix = fixes.get(refused.why, "Give another number.")
            errors.append(Finding("error", text, fix, read.document.place(loc)))
    if errors:
        raise BadFile("E-DIAL-01", errors)


def _by_rest(agents: Mapping[Path, _Read]) -> Iterator[Finding]:
    """Everything that agents can do only by Twilio's REST API."""
    for read in agents.values():
        transfer = read.agent.transfer
        where: list[tuple[Loc, str]] = [
            (("tools", index), tool)
            for index, tool in enumerate(read.agent.tools)
            if tool == "send_sms"
        ]
        if transfer is not None:
            where += [
                (("transfer", "destinations", name, "warm"), "a warm transfer")
                for name, to in transfer.destinations.items()
                if to.warm
            ]
        for loc, what in where:
            text = f"{what} takes Twilio's REST API, and there are no credentials for it."
            fix = f"Set TWILIO_ACCOUNT_SID, TWILIO_API_KEY and TWILIO_API_SECRET in {DOTENV}."
            yield Finding("error", text, fix, read.document.place(loc))


def _refuse_secrets(document: Document) -> None:
    for path, variable in _SECRETS.items():
        section = document.value
        for part in path[:-1]:
            section = section.get(part) if isinstance(section, dict) else None
        if isinstance(section, dict) and path[-1] in section:
            text = f'"{path[-1]}" is a secret, and this file is meant to be shared.'
            fix = f"Remove it, and set {variable} in .env."
            raise BadFile("E-CFG-04", [Finding("error", text, fix, document.place(path, key=True))])


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The process's environment over that of .env; what is empty counts as not set."""
    try:
        own = dotenv.dotenv_values(DOTENV, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(
            "E-CFG-03", f"{DOTENV} cannot be read: {error}.", "Make it a readable UTF-8 text file."
        ) from None
    both = [*own.items(), *environ.items()]
    return {name: value.strip() for name, value in both if value and value.strip()}


def _server(file: ServerFile, folder: Path, overrides: Overrides, env: Mapping[str, str]) -> Server:
    given = {
        "host": overrides.host,
        "port": overrides.port,
        "public_url": overrides.public_url,
        "tls_cert": overrides.tls_cert,
        "tls_key": overrides.tls_key,
        "unsigned": overrides.unsigned,
    }
    values = file.model_dump()
    for name in ("tls_cert", "tls_key"):
        if values[name] is not None:
            values[name] = folder / values[name]
    values |= {name: value for name, value in given.items() if value is not None}
    values["api_token"] = env.get("OFFHOOK_API_TOKEN")
    sources = {name: f"--{name.replace('_', '-')}" for name in given}
    return _outside(Server, values, sources | {"api_token": "OFFHOOK_API_TOKEN"})


def _twilio(file: TwilioFile, env: Mapping[str, str]) -> Twilio:
    tokens = env.get("TWILIO_AUTH_TOKEN", "").split(",")
    values = file.model_dump() | {
        "account_sid": env.get("TWILIO_ACCOUNT_SID", file.account_sid),
        "auth_tokens": tuple(SecretStr(token.strip()) for token in tokens if token.strip()),
        "api_key": env.get("TWILIO_API_KEY"),
        "api_secret": env.get("TWILIO_API_SECRET"),
    }
    sources = {
        "account_sid": "TWILIO_ACCOUNT_SID",
        "api_key": "TWILIO_API_KEY",
        "api_secret": "TWILIO_API_SECRET",
    }
    return _outside(Twilio, values, sources)


def _deepgram(file: DeepgramFile, env: Mapping[str, str], overrides: Overrides) -> Deepgram:
    values = file.model_dump() | {"api_key": env.get("DEEPGRAM_API_KEY")}
    if overrides.deepgram_url is not None:
        values["url"] = overrides.deepgram_url
    return _outside(Deepgram, values, {"url": "--deepgram-url"})


def _records(file: RecordsFile, folder: Path, env: Mapping[str, str]) -> Records:
    folder = folder / file.folder
    database = env.get("OFFHOOK_DATABASE_URL", file.database) or f"sqlite:///{folder}/offhook.db"
    secrets = env.get("OFFHOOK_WEBHOOK_SECRET", "").split(",")
    values = file.model_dump() | {
        "folder": folder,
        "database": database,
        "webhook_secrets": tuple(SecretStr(one.strip()) for one in secrets if one.strip()),
    }
    return Records(**values)


_M = TypeVar("_M", bound=_Part)


def _outside(model: type[_M], values: Mapping[str, Any], sources: Mapping[str, str]) -> _M:
    """A part with what came from outside the file. `sources` says how the user calls it.

    Raises Problem E-CFG-02. The value is not quoted: it may be a secret.
    """
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
    source = sources.get(str(detail["loc"][0])) if detail["loc"] else None
    context = detail.get("ctx", {})
    text = context.get("text", f"{detail['msg']}.")
    raise Problem(
        "E-CFG-02",
        f"{source or 'The command line'}: {text}",
        context.get("fix", "Correct this value."),
    )
