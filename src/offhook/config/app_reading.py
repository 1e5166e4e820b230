"""Reading of offhook.yaml, the environment and the command line, without the agent files.

This is all of the configuration that a process needs which carries no calls.
"""

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import pydantic
from pydantic import SecretStr

from offhook import yamlfile
from offhook.config.app_config import (
    WEBHOOKS,
    AppConfigFile,
    DiallingSettings,
    LogSettings,
    OutboundSettings,
)
from offhook.config.deepgram_settings import DeepgramFileSettings, DeepgramSettings
from offhook.config.environment import SECRETS, read_environment, secret_of, set_keys
from offhook.config.fleet_settings import (
    KEY_VARIABLE,
    FleetFileSettings,
    FleetSettings,
    host_label,
)
from offhook.config.inbound_settings import InboundSettings
from offhook.config.parts import DOTENV, Part
from offhook.config.records_settings import RecordsFileSettings, RecordsSettings
from offhook.config.server_settings import ServerFileSettings, ServerSettings
from offhook.config.twilio_settings import TwilioFileSettings, TwilioSettings
from offhook.config.webhook_secret import signing_key
from offhook.errors import UserError
from offhook.text import urls
from offhook.yamlfile import Collected, Document, Finding

FILE: Final = Path("offhook.yaml")
"""The file that is read, if it is there, when no other is named."""

_BY_LINE: Final = (
    "which agent answers is said by number",
    "Write lines: {default: agents/shop.yaml}",
)
_IN_AGENT_FILE: Final = (
    "it is part of an agent file",
    "Move it into an agent file, and write lines: {default: agents/shop.yaml}",
)
_OF_AGENTS: Final = {
    **dict.fromkeys(("agent", "agents", "number", "numbers", "phone_number"), _BY_LINE),
    **dict.fromkeys(("settings", "prompt", "greeting", "voice", "tools"), _IN_AGENT_FILE),
}
"""Keys that people write into offhook.yaml for what stands elsewhere: where, and what to write."""

_SIGNING: Final = "TWILIO_SIGNING_SECRETS"


@dataclass(frozen=True, slots=True)
class Overrides:
    """Settings of the command line; None is not set."""

    host: str | None = None
    port: int | None = None
    operator_listen: str | None = None
    public_url: str | None = None
    deepgram_url: str | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    unsigned: bool | None = None


@dataclass(frozen=True, kw_only=True)
class AppConfig:
    """The configuration without its agents. Secrets are SecretStr, so that no repr shows one."""

    server: ServerSettings
    twilio: TwilioSettings
    deepgram: DeepgramSettings
    logs: LogSettings
    records: RecordsSettings
    outbound: OutboundSettings = field(default_factory=OutboundSettings)
    dialling: DiallingSettings = field(default_factory=DiallingSettings)
    inbound: InboundSettings = field(default_factory=InboundSettings)
    fleet: FleetSettings | None = None

    @property
    def webhook_path(self) -> str:
        """Path of Twilio's streams at this server, beneath which its webhooks are."""
        return WEBHOOKS if self.fleet is None else f"{WEBHOOKS}/n/{self.fleet.node}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every key and token, for code that must keep them out of a file or a log.

        So are passwords and query values of the URLs that are asked, and what REST requests
        carry as their credentials.
        """
        known = (
            *self.twilio.auth_tokens,
            *self.twilio.signing_secrets.values(),
            self.twilio.api_secret,
            *self.records.webhook_secrets,
            self.deepgram.api_key,
            self.server.api_token,
            *(self.fleet.keys if self.fleet is not None else ()),
        )
        secrets = [secret.get_secret_value() for secret in known if secret is not None]
        for url in (self.records.database, self.records.webhook.url, *self.deepgram.urls):
            secrets += [] if url is None else urls.secrets_in(url)
        if (account := self.twilio.rest_account) is not None:
            credentials = f"{account.user}:{account.password}".encode()
            secrets.append(base64.b64encode(credentials).decode())
        return tuple(secrets)

    def require_deepgram_key(self) -> SecretStr:
        """Return Deepgram's key. Raises UserError E-DG-01 without one."""
        if self.deepgram.api_key is None:
            raise UserError(
                "E-DG-01",
                f"No Deepgram key. Looked in: DEEPGRAM_API_KEY, {DOTENV}.",
                'Set it there, or run "offhook demo" to try without one.',
            )
        return self.deepgram.api_key

    def require_signing_secrets(self) -> None:
        """Raise UserError E-TW-01 when there is nothing to check Twilio's signatures with."""
        if not self.twilio.auth_tokens and not self.twilio.signing_secrets:
            raise UserError(
                "E-TW-01",
                "No Twilio auth token, so calls cannot be told from forgeries."
                f" Looked in: TWILIO_AUTH_TOKEN, TWILIO_SIGNING_SECRETS, {DOTENV}.",
                "Set it there (Twilio Console, Account Info), or develop with --unsigned.",
            )

    def require_fleet(self) -> FleetSettings | None:
        """Return the settings of the fleet, if there is one.

        Raises UserError E-FLEET-01 to 04 when nodes could not work together with them.
        """
        if self.fleet is not None:
            self.fleet.check(self.records.database)
        return self.fleet

    def require_webhook_secrets(self) -> tuple[SecretStr, ...]:
        """Return the secrets that sign after-call webhooks.

        Raises UserError E-HOOK-01 without one, or for one that is not of Standard Webhooks.
        """
        secrets = self.records.webhook_secrets
        try:
            if not secrets:
                raise ValueError("it is not set")
            for secret in secrets:
                signing_key(secret.get_secret_value())
        except ValueError as error:
            raise UserError(
                "E-HOOK-01",
                "records.webhook.url is set, and OFFHOOK_WEBHOOK_SECRET cannot sign what is sent"
                f" there: {error}. Looked in: the environment, {DOTENV}.",
                "Set it there, and give the same to the target:"
                ' echo "whsec_$(openssl rand -base64 32)"',
            ) from None
        return secrets


NOTHING: Final = Overrides()


class AppRead(NamedTuple):
    """An offhook.yaml that was read, and what the environment and the command line make of it."""

    config: AppConfig
    file: AppConfigFile
    document: Document


class FileRead(NamedTuple):
    """An offhook.yaml that was read, as far as it has no mistakes."""

    file: AppConfigFile
    document: Document


def load_app(
    path: Path | None, environ: Mapping[str, str], *, overrides: Overrides = NOTHING
) -> AppConfig:
    """Return the configuration without its agents, whose files are neither read nor checked.

    `path` None is ./offhook.yaml if it is there, else the defaults.

    Raises UserError: E-YAML-01 to 03 for offhook.yaml, of which all but the first are an
    InvalidFileError with every finding; E-CFG-02 to 04 for what is around it.
    """
    return read_app(path, environ, overrides).config


def read_app(path: Path | None, environ: Mapping[str, str], overrides: Overrides) -> AppRead:
    """Return the same as `load_app`, with what it was made of. Raises as `load_app` does."""
    found = Collected()
    env = read_environment(environ)
    read = read_file(path, env, found)
    found.raise_errors()
    return AppRead(app_config(read, env, overrides), *read)


def app_of(document: Document, env: Mapping[str, str]) -> AppConfig:
    """Return the configuration of an offhook.yaml and of variables. Raises as `load_app` does."""
    found = Collected()
    read = read_document(document, env, found)
    found.raise_errors()
    return app_config(read, env, NOTHING)


def read_file(path: Path | None, env: Mapping[str, str], found: Collected) -> FileRead:
    """Return offhook.yaml, with what the environment sets of its keys.

    Parts that have a mistake are left out; it is added to `found`.

    Raises UserError E-YAML-01 or InvalidFileError E-YAML-02 for a file that is no YAML.
    """
    if path is None and FILE.exists():
        path = FILE
    document = yamlfile.parse("", FILE) if path is None else yamlfile.read(path)
    return read_document(document, env, found)


def read_document(document: Document, env: Mapping[str, str], found: Collected) -> FileRead:
    """Return the content of an offhook.yaml, as `read_file` does."""
    found.add("E-CFG-04", _without_secrets(document))
    found.add("E-YAML-03", _without_agents(document))
    found.add("E-CFG-02", set_keys(document, env))
    file = yamlfile.validate_rest(AppConfigFile, document, found)
    return FileRead(file or AppConfigFile(), document)


def app_config(read: FileRead, env: Mapping[str, str], overrides: Overrides) -> AppConfig:
    """Return what the environment and the command line make of a file. Raises UserError."""
    file, folder = read.file, read.document.path.parent
    return AppConfig(
        server=_server(file.server, folder, overrides, env),
        twilio=_twilio(file.twilio, env),
        deepgram=_deepgram(file.deepgram, env, overrides),
        logs=file.logs,
        records=_records(file.records, folder, env),
        outbound=file.outbound,
        dialling=file.dialling,
        inbound=file.inbound,
        fleet=_fleet(file.fleet, folder, env),
    )


def _without_secrets(document: Document) -> list[Finding]:
    """Take secrets out of the file's values. Return an error for each."""
    findings = []
    for path, variable in SECRETS.items():
        section = document.value
        for part in path[:-1]:
            section = section.get(part) if isinstance(section, dict) else None
        if isinstance(section, dict) and path[-1] in section:
            del section[path[-1]]
            text = f'"{path[-1]}" is a secret, and this file is meant to be shared.'
            fix = f"Remove it, and set {variable} in .env."
            findings.append(Finding("error", text, fix, document.place(path, key=True)))
    return findings


def _without_agents(document: Document) -> Iterator[Finding]:
    """Take out of the file's values what belongs elsewhere. Yield an error for each."""
    value = document.value
    for key in _OF_AGENTS.keys() & value.keys() if isinstance(value, dict) else ():
        del value[key]
        where, fix = _OF_AGENTS[key]
        text = f'"{key}" is not known here: {where}.'
        yield Finding("error", text, fix, document.place((key,), key=True))


def _server(
    file: ServerFileSettings, folder: Path, overrides: Overrides, env: Mapping[str, str]
) -> ServerSettings:
    given = {name: value for name, value in asdict(overrides).items() if value is not None}
    given.pop("deepgram_url", None)
    values = file.model_dump()
    for name in ("tls_cert", "tls_key"):
        if values[name] is not None:
            values[name] = folder / values[name]
    values |= {**given, "api_token": secret_of(env, "OFFHOOK_API_TOKEN")}
    sources = {name: f"--{name.replace('_', '-')}" for name in given}
    return _outside(ServerSettings, values, sources | {"api_token": "OFFHOOK_API_TOKEN"})


def _twilio(file: TwilioFileSettings, env: Mapping[str, str]) -> TwilioSettings:
    values = file.model_dump() | {
        "auth_tokens": _secret_list(secret_of(env, "TWILIO_AUTH_TOKEN")),
        "signing_secrets": signing_secrets(secret_of(env, _SIGNING) or ""),
    }
    sources = {name: f"TWILIO_{name.upper()}" for name in ("account_sid", "api_key", "api_secret")}
    set_here = {name: secret_of(env, variable) for name, variable in sources.items()}
    values |= {name: value for name, value in set_here.items() if value is not None}
    return _outside(TwilioSettings, values, sources)


def _secret_list(text: str | None) -> tuple[SecretStr, ...]:
    """Return secrets as the environment has them: several, with commas, while one is rotated."""
    return tuple(SecretStr(part) for part in map(str.strip, (text or "").split(",")) if part)


def signing_secrets(text: str) -> dict[str, SecretStr]:
    """Return shared keys as the environment has them, `id=secret,id=secret`: id to secret.

    Raises UserError E-CFG-02, whose message does not quote the text.
    """
    secrets: dict[str, SecretStr] = {}
    for number, part in enumerate(filter(None, map(str.strip, text.split(","))), 1):
        key, _, secret = (word.strip() for word in part.partition("="))
        why = None
        if not re.fullmatch(r"[!-+\--<>-~]{1,128}", key) or not secret:
            why = f"its part {number} is not KEY_ID=SECRET."
        elif key in secrets:
            why = f"its part {number} has the key id of one before it."
        if why is not None:
            raise UserError("E-CFG-02", f"{_SIGNING}: {why}", "Correct this value.")
        secrets[key] = SecretStr(secret)
    return secrets


def _deepgram(
    file: DeepgramFileSettings, env: Mapping[str, str], overrides: Overrides
) -> DeepgramSettings:
    values = file.model_dump() | {"api_key": secret_of(env, "DEEPGRAM_API_KEY")}
    if overrides.deepgram_url is not None:
        # The addresses of the file belong to another Deepgram than the one that was asked for.
        values |= {"url": overrides.deepgram_url, "fallback_urls": ()}
    return _outside(DeepgramSettings, values, {"url": "--deepgram-url"})


def _records(file: RecordsFileSettings, folder: Path, env: Mapping[str, str]) -> RecordsSettings:
    folder = folder / file.folder
    database = secret_of(env, "OFFHOOK_DATABASE_URL") or file.database
    values = file.model_dump() | {
        "folder": folder,
        "database": database or f"sqlite:///{folder}/offhook.db",
        "webhook_secrets": _secret_list(secret_of(env, "OFFHOOK_WEBHOOK_SECRET")),
    }
    return RecordsSettings(**values)


def _fleet(
    file: FleetFileSettings | None, folder: Path, env: Mapping[str, str]
) -> FleetSettings | None:
    if file is None:
        return None
    values = file.model_dump()
    if values["tls"] is not None:
        values["tls"] = {name: folder / path for name, path in values["tls"].items()}
    sources = {"node": "OFFHOOK_NODE", "address": "OFFHOOK_NODE_ADDRESS"}
    set_here = {name: secret_of(env, variable) for name, variable in sources.items()}
    values |= {name: value for name, value in set_here.items() if value is not None}
    values["node"] = values["node"] or host_label()
    values["keys"] = _secret_list(secret_of(env, KEY_VARIABLE))
    return _outside(FleetSettings, values, sources)


_M = TypeVar("_M", bound=Part)


def _outside(model: type[_M], values: Mapping[str, Any], sources: Mapping[str, str]) -> _M:
    """Return a part completed by the environment and the command line.

    `sources` maps a field to the name by which the user set it.

    Raises UserError E-CFG-02. The value is not quoted: it may be a secret.
    """
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
    source = sources.get(str(detail["loc"][0])) if detail["loc"] else None
    context = detail.get("ctx", {})
    text = context.get("text", f"{detail['msg']}.")
    raise UserError(
        "E-CFG-02",
        f"{source or 'The command line'}: {text}",
        context.get("fix", "Correct this value."),
    )
