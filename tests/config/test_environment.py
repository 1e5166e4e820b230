"""The environment: a variable for every key of offhook.yaml, and secrets from files."""

import json
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic
import pytest

from offhook.config import AppConfig, load, load_app
from offhook.config.app_config import AppConfigFile
from offhook.config.app_reading import Overrides
from offhook.config.environment import NAMED, SECRET_MAX, SECRETS
from offhook.errors import UserError
from offhook.yamlfile import InvalidFileError

ACCOUNT, KEY = "AC" + "1" * 32, "SK" + "2" * 32

SAMPLES: dict[str, Any] = {
    "server.host": "0.0.0.0",
    "server.port": 6000,
    "server.public_url": "https://voice.example.com",
    "server.capacity": 7,
    "server.max_lag_ms": 0,
    "server.grace_seconds": 7200.0,
    "server.operator_hosts": ["ops.example.com", "localhost"],
    "server.operator_proxies": ["10.0.0.0/24"],
    "server.operator_listen": "[::1]:6001",
    "server.tls_cert": "cert.pem",
    "server.tls_key": "key.pem",
    "twilio.account_sid": ACCOUNT,
    "twilio.bin": False,
    "twilio.region": "ie1",
    "twilio.edge": "dublin",
    "twilio.api_url": "https://twilio.example.com",
    "deepgram.url": "wss://api.eu.deepgram.com",
    "deepgram.fallback_urls": ["wss://agent.deepgram.com"],
    "deepgram.auth": "bearer",
    "deepgram.connect_timeout_s": 2.5,
    "deepgram.max_sessions": 45,
    "deepgram.session_minutes": 60,
    "logs.level": "debug",
    "logs.texts": True,
    "records.folder": "elsewhere",
    "records.database": "postgresql://u@h/x",
    "records.journal_limit": 20_000_000,
    "records.prices.currency": "EUR",
    "records.prices.twilio_minute": 0.0085,
    "records.prices.stream_minute": 0.004,
    "records.prices.deepgram_minute": {"standard": 0.08},
    "records.webhook.url": "https://example.com/calls",
    "records.retention.text_days": 30,
    "records.retention.audio_days": 7,
    "records.redact.cards": True,
    "records.redact.phone_numbers": True,
    "records.redact.emails": True,
    "records.redact.patterns": ["[0-9]{4}"],
    "records.redact.caller_id": True,
    "records.redact.audio": True,
    "outbound.agents": ["sales.yaml"],
    "outbound.caller_id": "+12025550123",
    "outbound.calls_per_second": 2,
    "outbound.concurrent": 3,
    "dialling.countries": ["DE", "FR"],
    "dialling.sip_hosts": ["pbx.example.com"],
    "dialling.calls_per_hour": 1,
    "dialling.texts_per_hour": 2,
    "dialling.texts_per_call": 3,
    "dialling.texts_per_number": 4,
    "dialling.spend_per_hour": 5.5,
    "dialling.price_per_call": 0.5,
    "dialling.price_per_text": 0.05,
    "inbound.block": ["+1900*"],
    "inbound.blocked": "busy",
    "inbound.anonymous": "say",
    **{f"inbound.stir.{name}": "reject" for name in ("a", "b", "c", "failed", "none", "absent")},
    "inbound.calls_per_hour": 5,
    **{f"inbound.spend.per_{of}": 1.5 for of in ("call", "caller_day", "day")},
    **{f"inbound.minutes.per_{of}": 10 for of in ("call", "caller_day", "day")},
    "inbound.over_limit": "reject",
    "inbound.say": "Not now.",
    "fleet.node": "b",
    "fleet.listen": "10.0.0.2:5003",
    "fleet.address": "https://10.0.0.2:5003",
    "fleet.routed": True,
    "fleet.nodes": 2,
    **{f"fleet.tls.{name}": f"/etc/{name}.pem" for name in ("cert", "key", "ca")},
    "lines": {"+12025550123": "desk.yaml"},
}
"""A value of every key of offhook.yaml, none of which is its default."""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def keys(model: type[pydantic.BaseModel] = AppConfigFile, above: str = "") -> Iterator[str]:
    """Every key of offhook.yaml, with dots."""
    for name, field in model.model_fields.items():
        kinds = typing.get_args(field.annotation) or (field.annotation,)
        parts = [k for k in kinds if isinstance(k, type) and issubclass(k, pydantic.BaseModel)]
        if not parts:
            yield above + name
        for part in parts:
            yield from keys(part, f"{above}{name}.")


def variable(key: str) -> str:
    steps = tuple(key.split("."))
    return NAMED.get(steps, "OFFHOOK_" + "__".join(steps).upper())


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def of(config: AppConfig, key: str) -> Any:
    found: Any = config
    for step in key.split("."):
        found = getattr(found, step, None)
    return found


def test_every_key_has_a_variable_that_says_what_the_file_would() -> None:
    assert SAMPLES.keys() == set(keys())
    written: dict[str, Any] = {}
    for key, value in SAMPLES.items():
        *above, last = key.split(".")
        part = written
        for step in above:
            part = part.setdefault(step, {})
        part[last] = value
    Path("whole.yaml").write_text(json.dumps(written))
    by_file = load_app(Path("whole.yaml"), {})
    environ = {variable(key): text_of(value) for key, value in SAMPLES.items()}
    Path("empty.yaml").touch()
    by_variables, default = load_app(Path("empty.yaml"), environ), load_app(None, {})
    for key in SAMPLES.keys() - {"lines"}:
        assert repr(of(by_variables, key)) == repr(of(by_file, key)), key
        assert repr(of(by_variables, key)) != repr(of(default, key)), key


def test_lines_may_be_a_table_or_a_key_each() -> None:
    for name in ("a.yaml", "b.yaml"):
        Path(name).write_text("settings: {greeting: Hi}\n")
    Path("offhook.yaml").write_text("lines: {default: none.yaml, '+12025550123': a.yaml}\n")
    found = load(None, {"OFFHOOK_LINES__DEFAULT": "b.yaml"})
    assert {line: agent.name for line, agent in found.lines.items()} == {
        "default": "b",
        "+12025550123": "a",
    }
    found = load(
        None, {"OFFHOOK_LINES": '{"+12025550199": "a.yaml"}', "OFFHOOK_LINES__DEFAULT": "b.yaml"}
    )
    assert {line: agent.name for line, agent in found.lines.items()} == {
        "+12025550199": "a",
        "default": "b",
    }


def test_the_process_goes_before_dotenv_and_that_before_the_file() -> None:
    Path("offhook.yaml").write_text("server: {port: 1, capacity: 1, max_lag_ms: 1}\n")
    Path(".env").write_text("OFFHOOK_SERVER__PORT=2\nOFFHOOK_SERVER__CAPACITY=2\n")
    server = load_app(None, {"OFFHOOK_SERVER__PORT": "3"}).server
    assert (server.port, server.capacity, server.max_lag_ms) == (3, 2, 1)
    overrides = Overrides(port=4)
    assert load_app(None, {"OFFHOOK_SERVER__PORT": "3"}, overrides=overrides).server.port == 4
    assert load_app(None, {"OFFHOOK_SERVER__PORT": " "}).server.port == 2, "empty is not set"


@pytest.mark.parametrize(
    ("file", "environ", "port"),
    [
        ("", {}, 5000),
        ("", {"PORT": "8080"}, 8080),
        ("server:\n", {"PORT": "8080"}, 8080),
        ("server: {port: 6000}\n", {"PORT": "8080"}, 6000),
        ("", {"PORT": "8080", "OFFHOOK_SERVER__PORT": "7000"}, 7000),
        ("", {"PORT": "8080", "OFFHOOK_SERVER": '{"port": 7000}'}, 7000),
        ("", {"PORT": "8080", "OFFHOOK_SERVER": '{"capacity": 1}'}, 8080),
    ],
)
def test_the_port_of_a_platform_counts_where_no_other_is_set(
    file: str, environ: dict[str, str], port: int
) -> None:
    Path("offhook.yaml").write_text(file)
    assert load_app(None, environ).server.port == port


@pytest.mark.parametrize(
    ("environ", "says", "fix"),
    [
        ({"OFFHOOK_SERVER__PORT": "CANARY"}, 'OFFHOOK_SERVER__PORT: "port" is wrong', "Correct"),
        ({"PORT": "99999"}, 'PORT: "port" is wrong', "Correct"),
        ({"OFFHOOK_SERVER__PUBLIC_URL": "http://CANARY"}, "PUBLIC_URL: public_url is", "https"),
        ({"OFFHOOK_SERVER__PUBLC_URL": "x"}, 'PUBLC_URL: "publc_url" is not known', "public_url"),
        ({"OFFHOOK_SERVR__PORT": "1"}, 'OFFHOOK_SERVR__PORT: "servr" is not known', '"server"'),
        ({"OFFHOOK_SERVER__PORT__X": "1"}, "OFFHOOK_SERVER__PORT__X: ", "Correct"),
        ({"OFFHOOK_SERVER__OPERATOR_HOSTS": "CANARY,b"}, "HOSTS: This is not JSON", '["a", "b"]'),
        ({"OFFHOOK_SERVER": "CANARY"}, "OFFHOOK_SERVER: This is not JSON", '{"a": 1}'),
        ({"OFFHOOK_SERVER": '["CANARY"]'}, 'OFFHOOK_SERVER: "server" must be a mapping', "keys"),
        ({"OFFHOOK_DIALLING__COUNTRIES": '["XX"]'}, "DIALLING__COUNTRIES: ", "ISO 3166"),
        ({"OFFHOOK_LINES": '{"x": "CANARY"}'}, "OFFHOOK_LINES: This is not a phone number", "+1"),
        ({"OFFHOOK_RECORDS__DATABASE": "CANARY"}, "BASE: This is not read", "DATABASE_URL"),
        ({"OFFHOOK_FLEET__KEY": "CANARY"}, "KEY: This is not read", "OFFHOOK_FLEET_KEY"),
        ({"OFFHOOK_FLEET__NODE": "CANARY"}, "NODE: This is not read", "OFFHOOK_NODE"),
        ({"OFFHOOK_SERVER__API_TOKEN": "CANARY"}, "TOKEN: This is not read", "OFFHOOK_API_TOKEN"),
        ({"OFFHOOK_TWILIO__REGION": "ie1"}, "OFFHOOK_TWILIO__REGION: region without edge", "edge"),
    ],
)  # fmt: skip
def test_a_mistake_names_its_variable_and_not_the_value(
    environ: dict[str, str], says: str, fix: str
) -> None:
    with pytest.raises(InvalidFileError) as told:
        load_app(None, environ)
    assert told.value.code == "E-CFG-02"
    assert says in str(told.value)
    assert fix in told.value.fix
    assert "CANARY" not in str(told.value)
    assert ":0" not in str(told.value)


def test_mistakes_of_file_and_environment_are_told_together() -> None:
    Path("offhook.yaml").write_text("server:\n  prt: 1\n")
    with pytest.raises(InvalidFileError, match="2 mistakes") as told:
        load_app(None, {"OFFHOOK_LOGS__LEVEL": "loud"})
    assert told.value.code == "E-YAML-03"
    assert "offhook.yaml:2:3 " in str(told.value)
    assert "OFFHOOK_LOGS__LEVEL: " in str(told.value)


def test_a_file_that_an_agents_variable_names_must_be_there() -> None:
    with pytest.raises(UserError, match="OFFHOOK_LINES__DEFAULT: There is no") as told:
        load(None, {"OFFHOOK_LINES__DEFAULT": "none.yaml"})
    assert told.value.code == "E-CFG-01"


def test_a_heading_that_is_not_one_stays_a_mistake_of_the_file() -> None:
    Path("offhook.yaml").write_text("server: 5\n")
    with pytest.raises(InvalidFileError, match=r"offhook.yaml:1:\d+ .*mapping"):
        load_app(None, {"OFFHOOK_SERVER__PORT": "1"})


def test_other_variables_are_left_alone() -> None:
    environ = {"OFFHOOK_URL": "x", "OFFHOOK_MODEL_KEY": "y", "SERVER__PORT": "1"}
    assert load_app(None, environ) == load_app(None, {})


# --- Secrets in files ----------------------------------------------------------------------------

VALUES = {
    "OFFHOOK_API_TOKEN": "a-token-of-the-api",
    "DEEPGRAM_API_KEY": "a-key-of-deepgram",
    "TWILIO_AUTH_TOKEN": "one,two",
    "TWILIO_SIGNING_SECRETS": "k1=secret",
    "TWILIO_API_KEY": KEY,
    "TWILIO_API_SECRET": "of-the-key",
    "OFFHOOK_WEBHOOK_SECRET": "whsec_" + "ab12" * 10,
    "OFFHOOK_DATABASE_URL": "postgresql://u:word@h/x",
    "TWILIO_ACCOUNT_SID": ACCOUNT,
    "OFFHOOK_FLEET_KEY": "k" * 32,
    "OFFHOOK_NODE": "c",
    "OFFHOOK_NODE_ADDRESS": "http://10.0.0.3:5002",
}


def test_every_secret_may_be_in_a_file() -> None:
    assert {*SECRETS.values(), *NAMED.values()} == VALUES.keys()
    for name, value in VALUES.items():
        Path(name.lower()).write_text(f"{value}\n")
    Path("offhook.yaml").write_text("fleet: {}\n")
    by_files = load_app(None, {f"{name}_FILE": name.lower() for name in VALUES})
    assert by_files == load_app(None, VALUES)
    known = {"a-token-of-the-api", "a-key-of-deepgram", "one", "two", "k" * 32}
    assert set(by_files.secrets) >= known


def test_a_lookups_secret_may_be_in_a_file() -> None:
    Path("secret").write_text("of-the-lookup")
    Path("a.yaml").write_text(
        "settings: {greeting: Hi}\nlookup: {url: 'https://h/', secret_env: CRM_KEY}\n"
    )
    Path("offhook.yaml").write_text("lines: {default: a.yaml}\n")
    found = load(None, {"CRM_KEY_FILE": "secret"}).lookup_secrets
    assert found["CRM_KEY"].get_secret_value() == "of-the-lookup"


@pytest.mark.parametrize(
    ("dotenv", "environ", "key"),
    [
        ("DEEPGRAM_API_KEY_FILE=file", {"DEEPGRAM_API_KEY": "process"}, "process"),
        ("DEEPGRAM_API_KEY=dotenv", {"DEEPGRAM_API_KEY_FILE": "file"}, "of the file"),
        ("DEEPGRAM_API_KEY_FILE=none", {"DEEPGRAM_API_KEY_FILE": "file"}, "of the file"),
        ("DEEPGRAM_API_KEY_FILE=file", {"DEEPGRAM_API_KEY": ""}, "of the file"),
    ],
)
def test_the_process_goes_before_dotenv_for_files_too(
    dotenv: str, environ: dict[str, str], key: str
) -> None:
    Path("file").write_text("of the file\n")
    Path(".env").write_text(dotenv)
    assert load_app(None, environ).require_deepgram_key().get_secret_value() == key


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file"),
        (b" \n", "it is empty"),
        (b"\xff", "not UTF-8"),
        (b"x" * (SECRET_MAX + 1), "too long"),
    ],
    ids=["not there", "empty", "not text", "too long"],
)
def test_a_file_without_a_secret_is_told(content: bytes | None, why: str) -> None:
    if content is not None:
        Path("key").write_bytes(content)
    with pytest.raises(UserError, match=f"DEEPGRAM_API_KEY_FILE names key, .*{why}") as told:
        load_app(None, {"DEEPGRAM_API_KEY_FILE": "key"})
    assert told.value.code == "E-CFG-08"


def test_a_folder_is_no_file_with_a_secret(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"TWILIO_AUTH_TOKEN_FILE names .* directory"):
        load_app(None, {"TWILIO_AUTH_TOKEN_FILE": str(tmp_path)})


def test_a_secret_and_its_file_are_not_both_set() -> None:
    environ = {"DEEPGRAM_API_KEY": "CANARY", "DEEPGRAM_API_KEY_FILE": "key"}
    with pytest.raises(UserError, match="DEEPGRAM_API_KEY and DEEPGRAM_API_KEY_FILE") as told:
        load_app(None, environ)
    assert told.value.code == "E-CFG-08"
    assert "CANARY" not in str(told.value)
