"""The readers of the environment and of .env, one by one."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from offhook import config
from offhook.config import app_reading
from offhook.config.app_reading import Overrides, load_app, signing_secrets
from offhook.config.deepgram_settings import DeepgramFileSettings
from offhook.config.environment import read_environment
from offhook.config.records_settings import RecordsFileSettings
from offhook.config.server_settings import ServerFileSettings
from offhook.config.twilio_settings import TwilioFileSettings
from offhook.errors import UserError
from offhook.policy.inbound_policy import InboundRules, UseLimit
from offhook.yamlfile import InvalidFileError

ACCOUNT, KEY = "AC" + "1" * 32, "SK" + "2" * 32


@pytest.fixture(autouse=True)
def _without_dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("", {}),
        (" , ", {}),
        ("A=1", {"A": "1"}),
        (" A = 1 , B=2=3 ", {"A": "1", "B": "2=3"}),
        ("k-1.x=secret", {"k-1.x": "secret"}),
    ],
)
def test_shared_keys(text: str, secrets: dict[str, str]) -> None:
    assert {key: one.get_secret_value() for key, one in signing_secrets(text).items()} == secrets


@pytest.mark.parametrize(
    ("text", "part", "why"),
    [
        ("CANARY", 1, "is not KEY_ID=SECRET"),
        ("=CANARY", 1, "is not KEY_ID=SECRET"),
        ("A=1,B=", 2, "is not KEY_ID=SECRET"),
        ("A B=CANARY", 1, "is not KEY_ID=SECRET"),
        ("A=1,A=CANARY", 2, "has the key id of one before it"),
    ],
)
def test_mistakes_in_shared_keys_are_told_without_them(text: str, part: int, why: str) -> None:
    with pytest.raises(UserError, match=f"its part {part} {why}") as told:
        signing_secrets(text)
    assert told.value.code == "E-CFG-02"
    assert "CANARY" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "secrets"),
    [("", ()), (" , ", ()), ("one", ("one",)), (" new, old ,", ("new", "old"))],
)
def test_rotated_secrets(text: str, secrets: tuple[str, ...]) -> None:
    assert app_reading._secret_list(text) == tuple(map(SecretStr, secrets))


@pytest.mark.parametrize(
    ("environ", "dotenv", "found"),
    [
        ({"A": " 1 "}, "", {"A": "1"}),
        ({"A": ""}, "", {}),
        ({"A": "mine"}, "A=file\nB=2", {"A": "mine", "B": "2"}),
        ({"A": "  "}, "A=file", {"A": "file"}),
        ({}, "A=$B", {"A": "$B"}),
    ],
)
def test_the_environment_goes_before_dotenv(
    environ: dict[str, str], dotenv: str, found: dict[str, str]
) -> None:
    Path(".env").write_text(dotenv)
    assert read_environment(environ) == found


@pytest.mark.parametrize(
    ("env", "field", "value"),
    [
        ({}, "account_sid", None),
        ({"TWILIO_ACCOUNT_SID": ACCOUNT}, "account_sid", ACCOUNT),
        (
            {"TWILIO_AUTH_TOKEN": "new,old"},
            "auth_tokens",
            (SecretStr("new"), SecretStr("old")),
        ),
        ({"TWILIO_API_KEY": KEY, "TWILIO_API_SECRET": "s"}, "api_secret", SecretStr("s")),
    ],
)
def test_twilio(env: dict[str, str], field: str, value: object) -> None:
    assert getattr(app_reading._twilio(TwilioFileSettings(), env), field) == value


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"TWILIO_ACCOUNT_SID": "CANARY"}, "TWILIO_ACCOUNT_SID"),
        ({"TWILIO_API_KEY": "CANARY", "TWILIO_API_SECRET": "CANARY"}, "TWILIO_API_KEY"),
        ({"TWILIO_API_KEY": KEY}, "TWILIO_API_SECRET is not set"),
        ({"TWILIO_API_SECRET": "CANARY"}, "TWILIO_API_KEY is not set"),
    ],
)
def test_mistakes_in_twilios_variables(env: dict[str, str], says: str) -> None:
    with pytest.raises(UserError, match=says) as told:
        app_reading._twilio(TwilioFileSettings(), env)
    assert "CANARY" not in str(told.value)


def test_paths_of_the_file_start_at_its_folder_and_those_of_the_command_line_do_not() -> None:
    file = ServerFileSettings(tls_cert=Path("a.pem"), tls_key=Path("b.pem"))
    read = app_reading._server(file, Path("/etc/offhook"), Overrides(tls_key=Path("c.pem")), {})
    assert (read.tls_cert, read.tls_key) == (Path("/etc/offhook/a.pem"), Path("c.pem"))


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (Overrides(port=70_000), "--port"),
        (Overrides(public_url="http://example.com"), "--public-url"),
        (Overrides(tls_cert=Path("a.pem")), "tls_cert and tls_key need each other"),
    ],
)
def test_mistakes_on_the_command_line(overrides: Overrides, says: str) -> None:
    with pytest.raises(UserError, match=says) as told:
        app_reading._server(ServerFileSettings(), Path(), overrides, {})
    assert told.value.code == "E-CFG-02"


def test_the_command_line_goes_before_the_file() -> None:
    file = ServerFileSettings(host="0.0.0.0", port=1)
    read = app_reading._server(file, Path(), Overrides(port=2, unsigned=True), {})
    assert (read.host, read.port, read.unsigned) == ("0.0.0.0", 2, True)
    mine = DeepgramFileSettings(fallback_urls=("wss://api.eu.deepgram.com",))
    deepgram = app_reading._deepgram(mine, {}, Overrides(deepgram_url="ws://127.0.0.1:1"))
    assert deepgram.urls == ("ws://127.0.0.1:1/v1/agent/converse",), "and no other is dialled"


@pytest.mark.parametrize(
    ("env", "named", "url"),
    [
        ({}, None, "sqlite:////data/calls/offhook.db"),
        ({}, "postgresql://a/b", "postgresql://a/b"),
        ({"OFFHOOK_DATABASE_URL": "postgresql://c/d"}, "postgresql://a/b", "postgresql://c/d"),
    ],
)
def test_the_database(env: dict[str, str], named: str | None, url: str) -> None:
    file = RecordsFileSettings(folder=Path("calls"), database=named)
    read = app_reading._records(file, Path("/data"), env)
    assert (read.database, read.folder) == (url, Path("/data/calls"))
    assert read.recordings == Path("/data/calls/recordings")


def test_without_agents_their_files_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "o.yaml").write_text(
        "records: {folder: data}\nlogs: {level: debug}\nlines: {default: no.yaml}\n"
    )
    loaded = config.load_app(tmp_path / "o.yaml", {"DEEPGRAM_API_KEY": "canary-1"})
    assert loaded.records.folder == tmp_path / "data"
    assert loaded.logs.level == "debug"
    assert loaded.secrets == ("canary-1",)
    with pytest.raises(InvalidFileError, match="There is no agent file"):
        config.load(tmp_path / "o.yaml", {})


def test_the_whole_configuration_says_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    whole, part = config.load(None, {}), config.load_app(None, {})
    assert {name: value for name, value in vars(whole).items() if name in vars(part)} == vars(part)


@pytest.mark.parametrize("name", config.__all__)
def test_every_name_of_the_configuration_is_there(name: str) -> None:
    assert getattr(config, name) is not None


def test_what_loads_no_agent_imports_nothing_of_agents() -> None:
    code = (
        "import sys; from offhook.config import load_app; load_app(None, {}); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"offhook.tools", "offhook.deepgram", "offhook.policy"}.isdisjoint(done.stdout.split())


INBOUND = """
records: {prices: {deepgram_minute: {standard: 0.08}}}
inbound:
  block: ["+12025550142", "+1900*"]
  anonymous: busy
  stir: {failed: reject, none: say}
  calls_per_hour: 10
  spend: {per_call: 2, per_day: 150}
  minutes: {per_call: 20, per_caller_day: 60}
  over_limit: say
"""


def test_the_rules_of_inbound(tmp_path: Path) -> None:
    file = tmp_path / "offhook.yaml"
    file.write_text(INBOUND)
    rules = load_app(file, {}).inbound.rules
    assert rules.blocked == {"+12025550142"}
    assert rules.blocked_prefixes == ("+1900",)
    assert (rules.anonymous, rules.stir) == ("busy", {"failed": "reject", "none": "say"})
    assert (rules.call, rules.day) == (UseLimit(2_000_000, 20), UseLimit(150_000_000, None))
    assert (rules.caller_day, rules.over_limit) == (UseLimit(None, 60), "say")
    assert load_app(Path("/dev/null"), {}).inbound.rules == InboundRules(say=rules.say)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("block: [12025550142]", "without quotes"),
        ('block: ["2025550142"]', "not a phone number"),
        ('block: ["+1*900"]', "not the beginning of a number"),
        ('block: ["*"]', "not the beginning of a number"),
        ("spend: {per_day: 10}", "needs Deepgram's price of a minute"),
        ("minutes: {per_day: 0}", "greater than 0"),
        ("over_limit: answer", "'reject', 'busy' or 'say'"),
        ("stir: {d: reject}", "d"),
    ],
)
def test_a_mistake_in_inbound_is_found(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "offhook.yaml"
    file.write_text(f"inbound: {{{text}}}")
    with pytest.raises(InvalidFileError) as raised:
        load_app(file, {})
    assert words in " ".join(finding.text for finding in raised.value.findings)
