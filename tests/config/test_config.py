"""Configuration: what is read from where, and how every mistake is told."""

from pathlib import Path

import pytest

from offhook import config
from offhook.call import keypad
from offhook.calls import responses
from offhook.calls.agent_session import call_settings
from offhook.config import Announcement, Overrides
from offhook.deepgram import settings
from offhook.errors import UserError
from offhook.policy.dial_policy import DialRules
from offhook.yamlfile import InvalidFileError

EXAMPLES = Path(__file__).parents[2] / "examples"
AGENT = "settings: {greeting: Hi}\n"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(
    text: str | None = None, agent: str = AGENT, env: dict[str, str] | None = None
) -> config.Config:
    if text is not None:
        Path("offhook.yaml").write_text(text)
        Path("agent.yaml").write_text(agent)
    return config.load(None, env or {})


def mistakes(text: str, agent: str = AGENT) -> list[str]:
    with pytest.raises(InvalidFileError) as bad:
        load(text, agent)
    return [f"{finding} {finding.fix}" for finding in bad.value.findings]


def test_without_anything_the_seeds_agent_answers() -> None:
    loaded = load()
    assert loaded.server.host == "127.0.0.1"
    assert loaded.server.port == 5000
    assert loaded.server.capacity == 50
    assert loaded.twilio.bin
    assert loaded.deepgram.url == "wss://agent.deepgram.com/v1/agent/converse"
    agent = loaded.agent_for("+15550100100")
    assert agent is not None
    assert agent.settings.greeting == "Hello! How can I help you today?"
    assert agent.fallback.say == (
        "We are sorry, we cannot continue this call. Please try again later."
    )
    assert agent.limits.max_minutes == 30
    assert agent.limits.silence_seconds == 60
    assert any("agent.language" in remark.text for remark in loaded.remarks)
    assert load("server: {port: 1}\nlines:\n").agent_for(None) == agent


def test_everything_that_can_be_written() -> None:
    loaded = load(
        """
server:
  host: 0.0.0.0
  port: 0
  public_url: https://voice.example.com:8443/
  capacity: 2
  operator_hosts: [ops.example.com]
  operator_proxies: [127.0.0.1, "2001:db8::/64"]
  tls_cert: tls/cert.pem
  tls_key: /keys/key.pem
twilio: {account_sid: AC0123456789abcdef0123456789abcdef, bin: off}
deepgram:
  {url: "https://api.eu.deepgram.com", auth: bearer, connect_timeout_s: 2.5, max_sessions: 45}
dialling: {sip_hosts: [Example.com]}
lines: {"+15550100100": agent.yaml, default: agent.yaml}
""",
        """
name: desk
settings: 7ab1e2c4-9d4b-4f0a-8b1e-0123456789ab
announcement: This call may be recorded.
recording: true
fallback: {say: ~, dial: "sip:desk@example.com"}
busy: {dial: "+12025550101"}
limits: {max_minutes: 0.5, silence_seconds: 0}
phrases: {time_up: Bye.}
""",
    )
    assert loaded.server.public_url == "https://voice.example.com:8443"
    assert loaded.server.tls_cert == Path("tls/cert.pem")
    assert loaded.server.tls_key == Path("/keys/key.pem")
    assert loaded.server.operator_hosts == ("ops.example.com",)
    assert loaded.server.operator_proxies == ("127.0.0.1/32", "2001:db8::/64")
    assert not loaded.twilio.bin
    assert loaded.deepgram.url == "wss://api.eu.deepgram.com/v1/agent/converse"
    assert loaded.deepgram.auth == "bearer"
    assert loaded.deepgram.max_sessions == 45
    agent = loaded.lines["+15550100100"]
    assert agent is loaded.lines["default"]
    assert agent.name == "desk"
    assert agent.settings.stored
    assert agent.announcement == config.Announcement(say="This call may be recorded.")
    assert agent.recording
    assert agent.fallback == config.Fallback(say=None, dial="sip:desk@example.com")
    assert agent.busy == config.Busy(dial="+12025550101")
    assert agent.phrases.time_up == "Bye."
    assert agent.phrases.still_there == "Are you still there?"


@pytest.mark.parametrize(
    ("text", "voicemail"),
    [
        ("voicemail: true", config.Voicemail()),
        ("voicemail: on", config.Voicemail()),
        ("voicemail: off", None),
        ("voicemail: false", None),
        ("voicemail:", None),
        ("voicemail: {max_seconds: 9}", config.Voicemail(max_seconds=9)),
    ],
)
def test_voicemail_may_be_a_switch(text: str, voicemail: config.Voicemail | None) -> None:
    loaded = load("lines: {default: agent.yaml}", f"{AGENT}fallback:\n  {text}\n")
    assert loaded.lines["default"].fallback.voicemail == voicemail
    if voicemail is not None:
        loaded = load("lines: {default: agent.yaml}", f"{AGENT}busy:\n  {text}\n")
        assert loaded.lines["default"].busy == config.Busy(voicemail=voicemail)


def test_headings_without_content_are_defaults() -> None:
    loaded = load("server:\ntwilio:\ndeepgram:\nlines: {default: agent.yaml}", f"{AGENT}limits:\n")
    assert loaded.lines["default"].limits == config.LimitSettings()
    assert loaded.server == config.ServerSettings()


def test_the_name_is_the_files_stem_and_paths_start_at_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    (folder / "agents").mkdir(parents=True)
    (folder / "agents" / "desk.yaml").write_text(AGENT)
    (folder / "o.yaml").write_text(
        "lines: {default: agents/desk.yaml}\nserver: {tls_cert: c, tls_key: k}"
    )
    loaded = config.load(folder / "o.yaml", {})
    assert loaded.lines["default"].name == "desk"
    assert loaded.server.tls_cert == folder / "c"


def test_the_called_number_chooses_the_agent() -> None:
    Path("two.yaml").write_text(AGENT)
    one = load('lines: {"+15550100100": agent.yaml}')
    assert one.agent_for("+15550100100") is one.agent_for(None)
    assert one.agent_for("+15550100199") is None
    two = load('lines: {"+15550100100": agent.yaml, "+15550100101": two.yaml}')
    assert two.agent_for(None) is None
    both = load('lines: {"+15550100100": agent.yaml, default: two.yaml}')
    assert both.agent_for("+15550100199") is both.lines["default"]
    assert both.agent_for(None) is both.lines["default"]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("{name: hang_up, description: End., parameters: {}}", []),
        (
            "{name: hang_up, parameters: {}, endpoint: {url: 'https://x.example'}}",
            [
                (
                    'agent.yaml:1:39 The function "hang_up" has an endpoint, and "tools" has one of'
                    " its name, which would never run."
                )
            ],
        ),
        (
            "{name: dance, parameters: {}}",
            [
                (
                    'agent.yaml:1:32 The function "dance" has no endpoint, so Deepgram asks us to'
                    ' run it, and "tools" has none of that name: it is answered with an error.'
                )
            ],
        ),
    ],
)
def test_functions_of_the_settings_and_tools_are_told_apart(
    function: str, expected: list[str]
) -> None:
    agent = f"settings: {{think: {{functions: [{function}]}}}}\ntools: [hang_up]\n"
    Path("agent.yaml").write_text(agent)
    try:
        found = config.read_agent(Path("agent.yaml"))[1]
    except InvalidFileError as bad:
        found = bad.findings
    assert [str(one) for one in found if "The function" in one.text] == expected


def test_what_takes_rest_is_refused_without_its_credentials() -> None:
    agent = f"""{AGENT}
tools: [send_sms]
texts: {{from: "+12025550100"}}
transfer:
  destinations:
    desk: {{to: "+12025550142", warm: true}}
"""
    with pytest.raises(InvalidFileError) as bad:
        load("lines: {default: agent.yaml}", agent).require_rest_of_agents()
    assert bad.value.code == "E-DIAL-02"
    assert [str(finding).split(" takes")[0] for finding in bad.value.findings] == [
        "agent.yaml:3:9 send_sms",
        "agent.yaml:7:38 a warm transfer",
    ]
    env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "token"}
    load("lines: {default: agent.yaml}", agent, env).require_rest_of_agents()


def test_agents_may_transfer_to_each_other_and_each_is_read_once() -> None:
    other = AGENT + "transfer: {destinations: {first: {agent: agent.yaml}}}\n"
    Path("other.yaml").write_text(other)
    agent = AGENT + "transfer: {destinations: {second: {agent: ./other.yaml}}}\n"
    loaded = load("lines: {default: agent.yaml}", agent)
    assert set(loaded.agents) == {Path("agent.yaml"), Path("other.yaml")}
    second = loaded.lines["default"].transfer
    assert second is not None
    assert second.destinations["second"].agent == Path("other.yaml")
    assert loaded.agents[Path("agent.yaml")] is loaded.lines["default"]
    Path("other.yaml").write_text(other + "tools: [dance]\n")
    assert (
        'other.yaml:3:9 No built-in tool is called "dance"'
        in mistakes("lines: {default: agent.yaml}", agent)[0]
    )


KEYS = """
transfer: {destinations: {desk: {to: "+12025550142"}}}
variables: {shop: The Shop}
keypad:
  actions:
    0: {transfer: desk}
    "7": {say: "This is {{shop}}."}
    "9": hang_up
    "*": {hang_up: "{{shop}} says goodbye."}
"""


def test_keys_are_mapped_to_actions_with_the_calls_words() -> None:
    agent = load("lines: {default: agent.yaml}", AGENT + KEYS).lines["default"]
    assert call_settings(agent).key_s == 2
    assert call_settings(agent.filled({"shop": "Ada's"})).actions == {
        "0": keypad.TransferByKey("desk"),
        "7": keypad.SayByKey("This is Ada's."),
        "9": keypad.HangUpByKey(),
        "*": keypad.HangUpByKey("Ada's says goodbye."),
    }


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            ("{transfer: desk}", "{transfer: dusk}"),
            (
                '7:19 Key 0 transfers to "dusk", which is not in transfer.destinations.'
                ' Did you mean "desk"?'
            ),
        ),
        (
            ("0: {", '"10": {'),
            '7:5 This is no key of a telephone. Write one of 0 to 9, * and #, in quotes: "0".',
        ),
        (
            ('"9": hang_up', '"9": {}'),
            "9:10 A key must have one of transfer, hang_up and say. Keep one of them.",
        ),
        (("{{shop}}.", "{{shopp}}."), '8:25 No variable is called "shopp". Did you mean "shop"?'),
    ],
)
def test_mistakes_in_the_keys(change: tuple[str, str], expected: str) -> None:
    assert mistakes("lines: {default: agent.yaml}", AGENT + KEYS.replace(*change)) == [
        f"agent.yaml:{expected}"
    ]


def test_built_in_tools_know_the_destinations_of_their_agent() -> None:
    agent = f"""{AGENT}
tools: [hang_up, transfer_call, send_sms]
transfer:
  destinations:
    front_desk: {{to: "+12025550142", describe: People at the desk.}}
texts: {{from: "+12025550100", destinations: {{shop: {{to: "+12025550143"}}}}}}
"""
    tools = load("lines: {default: agent.yaml}", agent).lines["default"].tool_files.current
    assert list(tools) == ["hang_up", "transfer_call", "send_sms"]
    transfer, texts = tools["transfer_call"].definition, tools["send_sms"].definition
    assert transfer["parameters"]["properties"]["destination"]["enum"] == ["front_desk"]
    assert "- front_desk: People at the desk." in transfer["description"]
    assert texts["parameters"]["properties"]["to"]["enum"] == ["caller", "shop"]
    assert "+1" not in str(transfer) + str(texts), "a model knows names, and no numbers"


def test_what_may_be_dialled_is_by_default_what_the_lines_are_of() -> None:
    defaults = DialRules()
    loaded = load()
    assert loaded.dialling_rules() == defaults
    german = load('lines: {"+4930123456": agent.yaml}').dialling_rules()
    assert (german.countries, german.home) == (frozenset({"DE"}),) * 2
    both = load('dialling: {countries: [FR]}\nlines: {"+4930123456": agent.yaml}')
    assert both.dialling_rules().countries == {"FR"}
    assert both.dialling_rules().home == {"DE"}
    unknown = load('lines: {"+15550100100": agent.yaml}').dialling_rules()
    assert unknown.countries == {"US", "CA"}


# --- The environment and the command line ---


def test_secrets_come_from_the_environment_before_dotenv() -> None:
    Path(".env").write_text(
        "DEEPGRAM_API_KEY=from-file\nTWILIO_AUTH_TOKEN=old\n"
        "TWILIO_ACCOUNT_SID=AC0123456789abcdef0123456789abcdef\n"
    )
    loaded = load(env={"TWILIO_AUTH_TOKEN": "new, old,", "DEEPGRAM_API_KEY": "  "})
    assert loaded.require_deepgram_key().get_secret_value() == "from-file"
    loaded.require_signing_secrets()
    tokens = [token.get_secret_value() for token in loaded.twilio.auth_tokens]
    assert tokens == ["new", "old"]
    assert loaded.twilio.account_sid == "AC0123456789abcdef0123456789abcdef"


def test_a_dollar_in_dotenv_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "elsewhere")
    Path(".env").write_text("DEEPGRAM_API_KEY=a${HOME}b\n")
    assert load().require_deepgram_key().get_secret_value() == "a${HOME}b"


def test_no_secret_is_ever_shown() -> None:
    loaded = load(
        "lines: {default: agent.yaml}",
        "settings: {think: {provider: {type: open_ai, model: m},"
        " endpoint: {url: 'https://llm.example', headers: {authorization: canary-c}}}}",
        {
            "DEEPGRAM_API_KEY": "canary-a",
            "TWILIO_AUTH_TOKEN": "canary-b",
            "TWILIO_API_KEY": "SK" + "0" * 32,
            "TWILIO_API_SECRET": "canary-d",
            "OFFHOOK_API_TOKEN": "canary-0123456789",
        },
    )
    assert {"canary-0123456789", "canary-d"} <= {*loaded.secrets}
    assert b"canary-c" in loaded.lines["default"].settings.message()
    for shown in (repr(loaded), str(loaded), repr(loaded.lines["default"])):
        assert "canary" not in shown


@pytest.mark.parametrize("token", ["letmein", "x" * 257, "has a space in its middle", "ümläut" * 9])
def test_an_api_token_that_cannot_be_one_is_refused(token: str) -> None:
    with pytest.raises(UserError) as raised:
        load(env={"OFFHOOK_API_TOKEN": token})
    assert raised.value.code == "E-CFG-02"
    assert raised.value.what.startswith("OFFHOOK_API_TOKEN: ")
    assert token not in str(raised.value)


def test_missing_secrets_are_told_when_they_are_needed() -> None:
    loaded = load()
    with pytest.raises(
        UserError, match=r"E-DG-01 No Deepgram key. Looked in: DEEPGRAM_API_KEY, .env"
    ):
        loaded.require_deepgram_key()
    looked = r"E-TW-01 .*TWILIO_AUTH_TOKEN, TWILIO_SIGNING_SECRETS, .env.*--unsigned"
    with pytest.raises(UserError, match=looked):
        loaded.require_signing_secrets()


def test_shared_keys_come_by_their_ids() -> None:
    loaded = load(env={"TWILIO_SIGNING_SECRETS": "webhooks_sharedkey_1=a==, key-2 = canary-2 ,"})
    loaded.require_signing_secrets()
    shown = {key: one.get_secret_value() for key, one in loaded.twilio.signing_secrets.items()}
    assert shown == {"webhooks_sharedkey_1": "a==", "key-2": "canary-2"}
    assert "canary-2" in loaded.secrets
    assert "canary" not in repr(loaded)


@pytest.mark.parametrize("value", ["canary", "=canary", "a=1,b=", "a b=canary", "a=1,a=canary"])
def test_shared_keys_without_an_id_or_a_secret_are_refused(value: str) -> None:
    with pytest.raises(
        UserError, match=r"E-CFG-02 TWILIO_SIGNING_SECRETS: its part [12]"
    ) as raised:
        load(env={"TWILIO_SIGNING_SECRETS": value})
    assert "canary" not in str(raised.value)


def test_an_unreadable_dotenv_is_told() -> None:
    Path(".env").write_bytes(b"KEY=\xff\n")
    with pytest.raises(UserError, match=r"E-CFG-03 .env cannot be read"):
        load()


def test_the_command_line_wins() -> None:
    Path("offhook.yaml").write_text("server: {port: 1, host: a, tls_cert: c, tls_key: k}")
    given = Overrides(
        port=0,
        public_url="https://x.example",
        deepgram_url="ws://127.0.0.1:9",
        tls_cert=Path("other"),
        unsigned=True,
    )
    loaded = config.load(None, {}, overrides=given)
    assert loaded.server.port == 0
    assert loaded.server.host == "a"
    assert loaded.server.public_url == "https://x.example"
    assert loaded.server.unsigned
    assert loaded.server.tls_cert == Path("other")
    assert loaded.server.tls_key == Path("k")
    assert loaded.deepgram.url == "ws://127.0.0.1:9/v1/agent/converse"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Overrides(public_url="http://x.example"), "--public-url: public_url is not an https"),
        (Overrides(public_url="https://x.example:y"), "--public-url: Value error, Port could not"),
        (Overrides(deepgram_url="agent.deepgram.com"), "--deepgram-url: deepgram.url is not"),
        (Overrides(port=70000), "--port: Input should be less than or equal to 65535"),
        (Overrides(tls_cert=Path("c")), "The command line: tls_cert and tls_key need each other"),
    ],
)
def test_mistakes_on_the_command_line(given: Overrides, message: str) -> None:
    with pytest.raises(UserError) as problem:
        config.load(None, {}, overrides=given)
    assert problem.value.code == "E-CFG-02"
    assert message in problem.value.what


def test_a_mistake_in_the_environment_is_told_without_its_value() -> None:
    with pytest.raises(UserError, match=r"E-CFG-02 TWILIO_ACCOUNT_SID: ") as problem:
        load(env={"TWILIO_ACCOUNT_SID": "canary"})
    assert "canary" not in str(problem.value)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"TWILIO_API_KEY": "SK" + "0" * 32}, "TWILIO_API_SECRET: a key and its secret need each"),
        ({"TWILIO_API_SECRET": "canary"}, "TWILIO_API_SECRET: .* TWILIO_API_KEY is not set"),
        ({"TWILIO_API_KEY": "canary", "TWILIO_API_SECRET": "x"}, "TWILIO_API_KEY: "),
    ],
)
def test_half_of_a_key_for_rest_is_told(env: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=f"E-CFG-02 {message}") as problem:
        load(env=env)
    assert "canary" not in str(problem.value)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("region: ie1", "region without edge"),
        ("region: Ireland", "pattern"),
        ("edge: dub/lin", "pattern"),
        ("api_url: http://api.twilio.com", "not an https origin"),
        ("api_url: 'https://user:x@api.example'", "not an https origin"),
        ("api_url: https://api.example/path", "not an https origin"),
        ("api_secret: canary", "is a secret"),
    ],
)
def test_mistakes_about_the_rest_api_are_told(file: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as problem:
        load(f"twilio: {{{file}}}")
    assert problem.value.code in ("E-YAML-02", "E-YAML-03", "E-CFG-04")
    assert "canary" not in str(problem.value)


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("wss://agent.deepgram.com", "wss://agent.deepgram.com/v1/agent/converse"),
        ("http://127.0.0.1:8080/", "ws://127.0.0.1:8080/v1/agent/converse"),
        ("wss://own.example/other", "wss://own.example/other"),
    ],
)
def test_an_origin_alone_gets_the_path(url: str, whole: str) -> None:
    assert load(f"deepgram: {{url: '{url}'}}").deepgram.url == whole
    read = load(f"deepgram: {{fallback_urls: ['{url}', '{url}']}}").deepgram
    assert read.urls == (read.url, whole, whole)


# --- Mistakes in files ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "server:\n  prot: 1",
            'offhook.yaml:2:3 "prot" is not known here. Did you mean "port"?',
        ),
        (
            "sever: {}",
            'offhook.yaml:1:1 "sever" is not known here. Did you mean "server"?',
        ),
        (
            "server:\n  unsigned: true",
            (
                'offhook.yaml:2:3 "unsigned" is not known here. Known here: capacity, '
                "grace_seconds, host, max_lag_ms, operator_hosts, operator_listen, "
                "operator_proxies, port, public_url, tls_cert, tls_key."
            ),
        ),
        (
            "server: {port: 70000}",
            (
                'offhook.yaml:1:16 "port" is wrong: input should be less than or equal to 65535.'
                " Correct this value."
            ),
        ),
        (
            "server:\n  tls_key: k",
            "offhook.yaml:2:3 tls_cert and tls_key need each other. Give both, or neither.",
        ),
        (
            "deepgram:\n  api_key: canary",
            (
                'offhook.yaml:2:3 "api_key" is a secret, and this file is meant to be shared.'
                " Remove it, and set DEEPGRAM_API_KEY in .env."
            ),
        ),
        (
            "deepgram: {url: wss://api.deepgram.com/v1/agent/converse}",
            (
                "offhook.yaml:1:17 The agent is not served at api.deepgram.com. Write"
                " wss://agent.deepgram.com, or a region such as wss://api.eu.deepgram.com."
            ),
        ),
        (
            "deepgram:\n  url: wss://agent.deepgram.com/agent",
            (
                "offhook.yaml:2:8 The path /agent was retired in 2025."
                " Write wss://agent.deepgram.com alone."
            ),
        ),
        (
            "lines:\n  +15550100100: agent.yaml",
            (
                "offhook.yaml:2:3 A phone number without quotes is an integer to YAML: its +"
                ' is lost. Put it in quotes: "+1…".'
            ),
        ),
        (
            'lines:\n  "555 0100": agent.yaml',
            (
                "offhook.yaml:2:3 This is not a phone number in international form."
                ' Write + and digits alone, in quotes: "+1…".'
            ),
        ),
        (
            'lines:\n  "+15550100100": agnet.yaml',
            (
                "offhook.yaml:2:19 There is no agent file agnet.yaml."
                " Correct the path: it starts at the folder of this file."
            ),
        ),
        (
            "lines:\n  default: a.yaml\n  default: b.yaml",
            (
                'offhook.yaml:3:3 Not valid YAML: "default" stands here and in line 2.'
                " Correct this line."
            ),
        ),
        (
            "server: [",
            (
                "offhook.yaml:1:10 Not valid YAML: while parsing a flow node, expected the node"
                " content, but found '<stream end>'. Correct this line."
            ),
        ),
        ("hello", "offhook.yaml:1:1 This must be a mapping. Write keys and values."),
        (
            "records: {redact: {patterns: ['a+', '(']}}",
            (
                "offhook.yaml:1:37 This is not a regular expression of RE2: missing ): (."
                " Correct it; single quotes keep its \\."
            ),
        ),
        (
            "records: {redact: {patterns: ['(?<=PIN )\\d+']}}",
            (
                "offhook.yaml:1:31 This is not a regular expression of RE2: invalid perl operator:"
                " (?<=. Write it without lookaround and backreferences, which can take for ever:"
                " find more, or write several patterns."
            ),
        ),
        (
            "records: {redact: {patterns: ['(\\d)\\1']}}",
            (
                "offhook.yaml:1:31 This is not a regular expression of RE2: invalid escape"
                " sequence: \\1. Write it without lookaround and backreferences, which can take for"
                " ever: find more, or write several patterns."
            ),
        ),
        (
            "records: {redact: {patterns: ['\\p{L}{1,99}']}}",
            (
                "offhook.yaml:1:31 This is not a regular expression of RE2: it is too large: 118506"
                " steps, and 4000 are allowed. Correct it; single quotes keep its \\."
            ),
        ),
        (
            "records: {redact: {patterns: ['a*']}}",
            (
                "offhook.yaml:1:31 This regular expression finds the empty text, which is"
                " everywhere. Have it find one character at least: + in place of *."
            ),
        ),
    ],
)
def test_mistakes_in_the_configuration(text: str, expected: str) -> None:
    assert mistakes(text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: x", 'agent.yaml:1:1 "settings" is missing here. Add "settings".'),
        (
            f"{AGENT}fallbak: {{}}",
            'agent.yaml:2:1 "fallbak" is not known here. Did you mean "fallback"?',
        ),
        (
            f"{AGENT}fallback:\n  dial: +15550100100",
            (
                "agent.yaml:3:9 A phone number without quotes is an integer to YAML: its +"
                ' is lost. Put it in quotes: "+1…".'
            ),
        ),
        (
            f"{AGENT}fallback:\n  voicemail: {{sey: x}}",
            'agent.yaml:3:15 "sey" is not known here. Did you mean "say"?',
        ),
        (
            f'{AGENT}fallback: {{dial: "+15550100100", voicemail: true}}',
            "agent.yaml:2:11 fallback has both dial and voicemail. Keep one of them.",
        ),
        (
            f"{AGENT}busy: {{say: x, reject: true}}",
            "agent.yaml:2:7 busy must have one of say, reject, dial and voicemail. Keep one.",
        ),
        (
            f"{AGENT}busy: {{}}",
            "agent.yaml:2:7 busy must have one of say, reject, dial and voicemail. Keep one.",
        ),
        (
            f"{AGENT}limits:\n  max_minutes: 0",
            (
                'agent.yaml:3:16 "max_minutes" is wrong: input should be greater than 0.'
                " Correct this value."
            ),
        ),
        (
            f"{AGENT}zebra: {{}}",
            (
                'agent.yaml:2:1 "zebra" is not known here. Known here: announcement, barge_in,'
                " busy, fallback, keypad, limits, lookup, name, outbound, phrases, recording,"
                " settings, speech, texts, tier, timezone, tools, transfer, variables."
            ),
        ),
        (
            f"{AGENT}tools: [hang_up, transfer]",
            (
                'agent.yaml:2:18 No built-in tool is called "transfer", and a file\'s name ends in'
                ' .py. Did you mean "transfer_call"?'
            ),
        ),
        (
            f"{AGENT}tools:\n- hang_up\n- missing.py",
            (
                "agent.yaml:4:3 There is no file missing.py."
                " Correct the path: it starts at the folder of this file."
            ),
        ),
        (
            f"{AGENT}tools: [hang_up, hang_up]",
            'agent.yaml:2:18 "hang_up" stands here twice. Remove one.',
        ),
        (
            f"{AGENT}tools: [transfer_call]",
            (
                "agent.yaml:2:9 transfer_call has no destinations: an agent dials no number that"
                ' you have not named. Add transfer: {destinations: {front_desk: {to: "+1…"}}}.'
            ),
        ),
        (
            f"{AGENT}tools: [send_sms]",
            'agent.yaml:2:9 send_sms has no number to send from. Add texts: {from: "+1…"}.',
        ),
        (
            f"{AGENT}transfer: {{destinations: {{desk: {{to: +12025550142}}}}}}",
            (
                "agent.yaml:2:38 A phone number without quotes is an integer to YAML: its + is"
                ' lost. Put it in quotes: "+1…".'
            ),
        ),
        (
            f'{AGENT}transfer: {{destinations: {{desk: {{to: "2025550142"}}}}}}',
            (
                "agent.yaml:2:38 This is not a phone number in international form."
                ' Write + and digits alone, in quotes: "+1…".'
            ),
        ),
        (
            f'{AGENT}transfer: {{destinations: {{desk: {{to: "+19005551234"}}}}}}',
            (
                "agent.yaml:2:38 This would never be dialled: it is a premium-rate number."
                " Give another number."
            ),
        ),
        (
            f'{AGENT}transfer: {{destinations: {{desk: {{to: "+18095551234"}}}}}}',
            (
                "agent.yaml:2:38 This would never be dialled: its country is not one that may be"
                " dialled. Add the country to dialling.countries in offhook.yaml, if you mean it."
            ),
        ),
        (
            f'{AGENT}fallback: {{dial: "sip:desk@pbx.example.com"}}',
            (
                "agent.yaml:2:18 This would never be dialled: its SIP host is not one that the"
                " configuration names."
                " Add the host to dialling.sip_hosts in offhook.yaml, if you mean it."
            ),
        ),
        (
            f"{AGENT}transfer: {{destinations: {{desk: {{agent: other.yaml}}}}}}",
            (
                "agent.yaml:2:41 There is no file other.yaml."
                " Correct the path: it starts at the folder of this file."
            ),
        ),
        (
            f"{AGENT}transfer: {{destinations: {{desk: {{describe: Somebody.}}}}}}",
            "agent.yaml:2:33 A destination must have one of to and agent. Keep one.",
        ),
        (
            f"{AGENT}transfer: {{destinations: {{desk: {{agent: a.yaml, warm: true}}}}}}",
            (
                "agent.yaml:2:33 warm and caller_id go with to: no telephone rings at another"
                " agent. Remove it."
            ),
        ),
        (
            f"{AGENT}transfer: {{destinations: {{front desk: {{agent: a.yaml}}}}}}",
            (
                "agent.yaml:2:27 This is no name for a destination."
                " Write letters, digits, _ and -, as front_desk."
            ),
        ),
        (f"{AGENT}texts: {{}}", 'agent.yaml:2:8 "from" is missing here. Add "from".'),
        (
            f'{AGENT}texts:\n  from: "+12025550100"\n  destinations: {{caller: {{to: "+1"}}}}',
            (
                "agent.yaml:4:31 This is not a phone number in international form."
                ' Write + and digits alone, in quotes: "+1…".'
            ),
        ),
        (
            f"{AGENT}recording: true",
            (
                "agent.yaml:2:12 recording is on, and no announcement tells callers so."
                " Add announcement: with what they are told, or remove this line."
            ),
        ),
        (
            f"{AGENT}recording: on\nannouncement: {{say: Recorded., sey: x}}",
            'agent.yaml:3:32 "sey" is not known here. Did you mean "say"?',
        ),
        (
            "settings:\n  audio: {input: {encoding: linear16}}\n  agent: {}",
            (
                "agent.yaml:2:29 audio.input.encoding is not what a phone line has; callers hear"
                ' noise. Write "mulaw", or remove audio altogether.'
            ),
        ),
    ],
)
def test_mistakes_in_an_agent_file(text: str, expected: str) -> None:
    assert mistakes("lines: {default: agent.yaml}", text) == [expected]


def test_the_mistakes_of_all_agent_files_are_told_together() -> None:
    Path("other.yaml").write_text("settings: {listen: 3}\n")
    text = (
        'lines:\n  default: agent.yaml\n  "+15550100100": other.yaml\n  "+15550100101": none.yaml'
    )
    found = mistakes(text, "settings: {speak: []}\n")
    assert [line.split(" ")[0] for line in found] == [
        "agent.yaml:1:19",
        "other.yaml:1:20",
        "offhook.yaml:4:19",
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [("care/agent.yaml", "sales/agent.yaml"), ("a.yaml", "b.yaml")],
    ids=["by their files", "by their own words"],
)
def test_two_agents_do_not_share_a_name(first: str, second: str) -> None:
    own = "" if first.endswith("agent.yaml") else "name: agent\n"
    for path in (first, second):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text(f"{AGENT.rstrip()}\n{own}")
    lines = AGENT.rstrip().count("\n") + 2
    Path("offhook.yaml").write_text(f'lines: {{default: {first}, "+15550100100": {second}}}\n')
    with pytest.raises(InvalidFileError) as bad:
        config.load(Path("offhook.yaml"), {})
    (finding,) = bad.value.findings
    where = "1:1" if not own else f"{lines}:7"
    assert str(finding) == f'{second}:{where} The agent of {first} is called "agent" too.'
    assert finding.fix == "Give one of the two a name of its own: name: …"


def test_an_agent_on_two_lines_is_one_agent() -> None:
    loaded = load('lines: {default: agent.yaml, "+15550100100": ./agent.yaml}', AGENT)
    assert loaded.lines["default"] is loaded.lines["+15550100100"]


def test_a_file_that_was_asked_for_must_be_there() -> None:
    with pytest.raises(UserError, match=r"E-YAML-01 nowhere.yaml cannot be read: No such file"):
        config.load(Path("nowhere.yaml"), {})


def test_the_examples_are_good() -> None:
    loaded = config.load(EXAMPLES / "offhook.yaml", {})
    assert loaded.lines["default"].settings == settings.tutorial()[0]
    desk = config.read_agent(EXAMPLES / "agents" / "front-desk.yaml")
    assert desk[0].settings.listens_with_flux
    assert desk[1] == ()


GERMAN = "settings: {}\nspeech: {language: de-DE, voice: Polly.Vicki}\nannouncement: Guten Tag.\n"


def test_what_twilio_says_has_the_language_and_voice_of_speech() -> None:
    agent = load("lines: {default: agent.yaml}\n", GERMAN + "outbound: {message: Bis bald.}\n")
    german = agent.lines["default"]
    message = german.outbound.message
    assert german.announcement == Announcement(
        say="Guten Tag.", language="de-DE", voice="Polly.Vicki"
    )
    assert message == Announcement(say="Bis bald.", language="de-DE", voice="Polly.Vicki")
    said = responses.spoken(german, "Leider.")
    assert (said.language, said.voice) == ("de-DE", "Polly.Vicki")


def test_an_announcement_may_have_a_language_of_its_own() -> None:
    english = GERMAN.replace("Guten Tag.", "{say: Hello., language: en-GB}")
    agent = load("lines: {default: agent.yaml}\n", english).lines["default"]
    assert agent.announcement == Announcement(say="Hello.", language="en-GB")
    assert responses.spoken(agent, "Leider.").language == "de-DE"
    alone = load("lines: {default: agent.yaml}\n", english.replace("speech", "#")).lines["default"]
    assert responses.spoken(alone, "Sorry.").language == "en-GB", "as before there was a speech"


@pytest.mark.parametrize(("key", "count"), [("weekdays", 7), ("months", 12)])
def test_days_and_months_have_all_their_names(key: str, count: int) -> None:
    agent = f"settings: {{}}\nphrases: {{{key}: 'a, b, c'}}\n"
    (told,) = mistakes("lines: {default: agent.yaml}\n", agent)
    assert f"phrases.{key} has 3 names, not {count}." in told


def test_the_example_of_the_environment_names_what_is_read() -> None:
    text = (EXAMPLES.parent / ".env.example").read_text()
    names = [line.split("=")[0] for line in text.splitlines() if "=" in line]
    assert names == [
        "DEEPGRAM_API_KEY",
        "TWILIO_ACCOUNT_SID",
        "TWILIO_AUTH_TOKEN",
        "TWILIO_SIGNING_SECRETS",
        "TWILIO_API_KEY",
        "TWILIO_API_SECRET",
    ]


@pytest.mark.parametrize("text", ["\\x0b", "\\x1b[31m", "\\uffff", "a\\0b"])
def test_text_that_twiml_cannot_hold_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "agent.yaml").write_text(f'settings: {{}}\nannouncement: "{text}"\n')
    (tmp_path / "offhook.yaml").write_text("lines: {default: agent.yaml}\n")
    with pytest.raises(InvalidFileError, match="control character"):
        config.load(tmp_path / "offhook.yaml", {})


ARABIC = {48 + digit: 0x660 + digit for digit in range(10)}
WIDE = {48 + digit: 0xFF10 + digit for digit in range(10)}


@pytest.mark.parametrize(
    "text", ['lines: {"NUMBER": seed.yaml}', 'outbound: {caller_id: "NUMBER"}']
)
@pytest.mark.parametrize(
    "number",
    [
        "+1" + "2025550142".translate(ARABIC),
        "+1" + "2025550142".translate(WIDE),
        "\N{FULLWIDTH PLUS SIGN}12025550142",
        "+12025550142;ext=1",
    ],
)
def test_a_number_has_digits_of_ascii_and_nothing_else(text: str, number: str) -> None:
    (found,) = mistakes(text.replace("NUMBER", number))
    assert "This is not a phone number in international form." in found
