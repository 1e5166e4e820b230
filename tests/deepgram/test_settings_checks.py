"""Checks of Settings: every mistake with its line, and nothing said about what is right."""

from pathlib import Path
from typing import Any

import pytest

from offhook import yamlfile
from offhook.deepgram import settings
from offhook.deepgram.settings_checks import change
from offhook.deepgram.think_checks import PROMPT_LIMIT
from offhook.yamlfile import Finding, InvalidFileError


def findings(text: str, level: str) -> list[Finding]:
    """What there is to say of that level about an agent file's `settings: …`."""
    document = yamlfile.parse(text, Path("a.yaml"))

    def locate(loc: yamlfile.Loc, key: bool) -> yamlfile.Place:
        return document.place(("settings", *loc), key=key)

    try:
        found = settings.accept(document.value["settings"], locate)[1]
    except InvalidFileError as bad:
        found = bad.findings
    return [finding for finding in found if finding.level == level]


# --- Errors: what ends or cripples a session ---

LISTEN = "settings:\n  listen:\n    provider:\n      type: deepgram\n"
FLUX = f"{LISTEN}      version: v2\n      model: flux-general-en\n"
THINK = "settings:\n  think:\n    provider: {type: open_ai, model: gpt-4o-mini}\n"
SPEAK = "settings:\n  speak:\n    provider:\n      type: deepgram\n"
VOICE = f"{SPEAK}      version: v2\n      model: flux-kit-en\n"
FUNCTION = f"{THINK}    functions:\n      - name: f\n        parameters: {{}}\n"


@pytest.mark.parametrize(
    ("text", "place", "what", "fix"),
    [
        # §2.1: the root
        ("settings: just text", "1:11", "neither a mapping nor the UUID", "Paste the agent"),
        ("settings: 5", "1:11", "agent must be a mapping, or a UUID", "Correct"),
        ("settings:", "1:10", "agent must be a mapping, or a UUID", "Correct"),
        ("settings: {type: Settings}", "1:11", 'no "agent"', 'Add "agent"'),
        (
            "settings:\n  type: SettingsConfiguration\n  agent: {}",
            "2:9",
            "early access",
            '"Settings"',
        ),
        ("settings:\n  type: KeepAlive\n  agent: {}", "2:9", "not that of a Settings", "Settings"),
        ("settings:\n  tags: one\n  agent: {}", "2:9", "tags must be a list of texts", "Correct"),
        ("settings:\n  type: Settings\n  agent: {}\n  think: {}", "4:3", "beside", "under"),
        ("settings:\n  session_id: x\n  agent: {}", "2:3", "early access", "Remove"),
        # What needs think_live, and what is another vendor's
        (f"{FUNCTION}        initial_agent_filler: true", "7:9", "has no think_live", "Remove"),
        (f"{FUNCTION}        agent_filler_max_count: 2", "7:9", "has no think_live", "Remove"),
        (
            f"{FUNCTION}        agent_filler_interval_ms: 999\n  think_live: {{}}",
            "7:35",
            "outside 1000 to 60000",
            "Write",
        ),
        (
            (
                "settings:\n  think:\n    provider:\n"
                "      {type: open_ai, model: gpt-4o, voice_prompt_opt_out: true}"
            ),
            "4:38",
            "Deepgram's own",
            "Remove",
        ),
        (
            (
                "settings:\n  speak:\n    endpoint: {url: 'wss://x.example/v?output_format=ulaw_8000'}\n"
                "    provider: {type: eleven_labs, model_id: m}"
            ),
            "3:21",
            "output_format, which",
            "Remove output_format",
        ),
        (
            (
                "settings:\n  speak:\n    endpoint: {url: 'wss://x.example/v?a=1&model_id=m'}\n"
                "    provider: {type: eleven_labs, model_id: m}"
            ),
            "3:21",
            "model_id, which",
            "Remove model_id",
        ),
        # §2.2: audio
        (
            "settings:\n  audio:\n    input: {encoding: linear16, sample_rate: 8000}\n  agent: {}",
            "3:23",
            "audio.input.encoding",
            'Write "mulaw"',
        ),
        (
            "settings:\n  audio:\n    output: {sample_rate: 24000}\n  agent: {}",
            "3:27",
            "audio.output.sample_rate",
            "Write 8000",
        ),
        (
            "settings:\n  audio:\n    output: {container: wav}\n  agent: {}",
            "3:25",
            "audio.output.container",
            'Write "none"',
        ),
        (
            "settings:\n  audio:\n    output: {bitrate: 64000}\n  agent: {}",
            "3:14",
            "bitrate",
            "Remove",
        ),
        # §2.3: agent
        ("settings:\n  greeting: a\n  tags: [a]", "3:3", '"tags" stands under', "beside"),
        ("settings:\n  agent:\n    mip_opt_out: true", "3:5", '"mip_opt_out" stands', "beside"),
        ("settings:\n  agent:\n    flags: {history: true}", "3:5", '"flags" stands', "beside"),
        ("settings:\n  greeting: 5", "2:13", "agent.greeting must be text", "Correct"),
        ("settings:\n  instructions: x", "2:3", "early access", '"prompt"'),
        ("settings:\n  think: []", "2:10", "empty list", "Give it an entry"),
        ("settings:\n  listen: [{}]", "2:11", "agent.listen must be a mapping", "Correct"),
        (
            "settings:\n  context:\n    messages: [{type: History, role: user}]",
            "3:16",
            "neither role and content",
            "Complete",
        ),
        (
            "settings:\n  context:\n    messages: [{role: user, content: x}]",
            "3:16",
            "another type",
            "History",
        ),
        # §2.4: listen
        (f"{LISTEN}      model: flux-general-en", "5:14", "is Flux", '"version": "v2"'),
        (f"{LISTEN}      version: v2", "4:7", "needs a model", "flux-general-en"),
        (f"{LISTEN}      version: v2\n      model: nova-3", "6:14", "is not Flux", "flux-general"),
        (f"{FLUX}      smart_format: true", "7:7", "not allowed with Flux", "Remove"),
        (f"{FLUX}      language: en", "7:7", "not allowed with Flux", "Remove"),
        (f"{FLUX}      language_hints: [en]", "7:7", "flux-general-multi only", "Remove"),
        (f"{LISTEN}      language_hints: [en]", "5:7", "for Flux only", "Remove"),
        (f"{LISTEN}      eot_threshold: 0.7", "5:7", "for Flux only", "Remove"),
        (f"{FLUX}      eot_threshold: 0.4", "7:22", "outside 0.5 to 1", "from 0.5 to 1"),
        (f"{FLUX}      eot_threshold: .nan", "7:22", "outside 0.5 to 1", "from 0.5 to 1"),
        (f"{FLUX}      eager_eot_threshold: 0.95", "7:28", "outside 0.3 to 0.9", "from 0.3"),
        (f"{FLUX}      eager_eot_threshold: 0.8", "7:28", "above eot_threshold (0.7)", "0.7 or"),
        (f"{FLUX}      eot_timeout_ms: 400", "7:23", "outside 500 to 60000", "from 500"),
        (f"{FLUX}      eot_timeout_ms: 1e3", "7:23", "must be a whole number", "Correct"),
        (f"{FLUX}      keyterm: x", "7:7", "transcription sockets", '"keyterms"'),
        (f"{FLUX}      keyterms: x", "7:17", "must be a list of texts", "Correct"),
        (f"{FLUX}      language_hint: en", "7:7", "never honoured", '"language_hints"'),
        ("settings:\n  listen:\n    model: nova-3", "3:5", 'beside "provider"', "under"),
        ("settings:\n  listen:\n    provider: {model: nova-3}", "3:15", "has no type", "deepgram"),
        # §2.5: think
        ("settings:\n  think: {prompt: x}", "2:10", "no provider", "Add"),
        ("settings:\n  think: {provider: {model: x}}", "2:21", "has no type", "Add"),
        ("settings:\n  think: {provider: {type: open_ai}}", "2:21", "has no model", "Add"),
        (f"{THINK}    tools: []", "4:5", "language models call them", '"functions"'),
        (f"{THINK}    context_length: max", "4:5", "endpoint of your own", "Remove"),
        (
            f"{THINK}    endpoint: {{url: 'https://x'}}\n    context_length: 1",
            "5:21",
            "neither max nor",
            '"max"',
        ),
        (f"{THINK}    endpoint: {{headers: {{}}}}", "4:15", "no url", "Add"),
        (f"{THINK}    prompt: {'x' * 25_001}", "4:13", "25001 characters", "Shorten"),
        ("settings:\n  think: {provider: {type: groq, model: m}}", "2:28", "an endpoint", "Add"),
        (
            "settings:\n  think: {provider: {type: aws_bedrock, model: m}}",
            "2:28",
            "an endpoint",
            "Add",
        ),
        (
            "settings:\n  think:\n    provider: {type: anthropic, model: m, temperature: 1.1}",
            "3:56",
            "outside 0 to 1",
            "from 0 to 1",
        ),
        (
            "settings:\n  think:\n    provider: {type: open_ai, model: m, temperature: 2.1}",
            "3:54",
            "outside 0 to 2",
            "from 0 to 2",
        ),
        # §4.1: functions
        (f"{THINK}    functions:\n      - parameters: {{}}", "5:9", "no name", "Add"),
        (f"{THINK}    functions: [f]", "4:17", "not a mapping", "name and parameters"),
        (f"{FUNCTION}        client_side: true", "7:9", "decided by Deepgram", "Remove"),
        (f"{FUNCTION}        endpoint: {{method: get}}", "7:19", "no url", "Add"),
        (f"{FUNCTION}      - name: f\n        parameters: {{}}", "7:15", "two functions", "Rename"),
        (f"{THINK}    functions: [{{type: function, function: {{}}}}]", "4:34", "one level", "up"),
        # §2.6: speak
        ("settings:\n  speak: {}", "2:10", "no provider", "Add"),
        (f"{SPEAK}      model: flux-kit-en", "5:14", "is Flux", '"version": "v2"'),
        (
            f"{SPEAK}      version: v2\n      model: aura-2-thalia-en",
            "6:14",
            "is not Flux",
            '"version": "v1"',
        ),
        (f"{SPEAK}      speed: 1", "4:7", "no model", "Add"),
        (f"{SPEAK}      model: aura-2-thalia-en\n      speed: 0.6", "6:14", "0.7 to 1.5", "0.7"),
        (f"{SPEAK}      model: aura-2-thalia-en\n      speed: fast", "6:14", "a number", "Correct"),
        (
            f"{SPEAK}      model: aura-2-thalia-en\n      expressivity: 1",
            "6:7",
            "Flux voices only",
            "Remove",
        ),
        (f"{VOICE}      speed: 0.45", "7:14", "0.5 to 1.5", "0.5"),
        (f"{VOICE}      speed: 1.07", "7:14", "multiple of 0.05", "1.05"),
        (f"{VOICE}      expressivity: 3", "7:21", "outside -2 to 2", "-2"),
        (
            "settings:\n  speak: {provider: {type: eleven_labs, model_id: m}}",
            "2:28",
            "needs an endpoint",
            "Add",
        ),
        ("settings:\n  speak: {provider: [x]}", "2:21", "must be a mapping", "Correct"),
        (
            "settings:\n  speak: {provider: {type: cartesia, model_id: m}}",
            "2:21",
            "no voice",
            "Add",
        ),
        (
            (
                "settings:\n  speak:\n    - provider: {type: deepgram, model: aura-2-thalia-en}\n"
                "    - provider: {type: deepgram, model: flux-kit-en}"
            ),
            "4:41",
            "is Flux",
            '"version": "v2"',
        ),
        (
            (
                "settings:\n  think:\n    - provider: {type: open_ai, model: m}\n"
                "    - provider: {type: groq, model: m}"
            ),
            "4:24",
            "needs an endpoint",
            "Add",
        ),
    ],
)
def test_errors(text: str, place: str, what: str, fix: str) -> None:
    (finding,) = findings(text, "error")
    assert str(finding.place) == f"a.yaml:{place}"
    assert what in finding.text
    assert fix in finding.fix


# --- Remarks: what is dated, doubtful or not known here ---


@pytest.mark.parametrize(
    ("text", "place", "what", "fix"),
    [
        ("settings:\n  language: en", "2:3", "deprecated.", "Remove"),
        (f"{FLUX}  language: en", "7:3", "with Flux it may end", "Remove"),
        (f"{LISTEN}      model: nova-3", "5:14", "uses Nova", "flux-general-en"),
        (f"{FLUX}      keyterms: [Hello, Deepgram]", "7:17", '("Hello")', "names"),
        (f"{FLUX}      keyterms: [{'x,' * 101}]", "7:17", "more than 100", "100"),
        (f"{FLUX}      zzz: 1", "7:7", '"zzz" is not', "sent as is"),
        (THINK, "2:3", "think has no fallback", "two providers"),
        (VOICE, "2:3", "speak has no fallback", "two providers"),
        (
            "settings:\n  think:\n    - provider: {type: nvidia, model: m}",
            "2:3",
            "no fallback",
            "two",
        ),
        ('settings:\n  greeting: ""', "2:13", "greeting is empty", "Remove"),
        ("settings:\n  think_live: {}", "2:3", "by invitation", "Remove"),
        (FUNCTION, "5:9", "has none of that name", "endpoint"),
        (f"{THINK}    functions:\n      - name: f", "5:9", "no parameters", "Add"),
        (
            "settings:\n  think:\n    - provider: {type: mistral, model: m}",
            "3:24",
            "not a provider known here",
            "open_ai",
        ),
        (f"{LISTEN}      model: nova-4", "5:14", '"nova-4" is not among', "sent as is"),
        (f"{THINK[:-2].replace('gpt-4o-mini', 'gpt-6')}}}", "3:38", '"gpt-6" is not', "as is"),
        (f"{VOICE.replace('kit', 'zoe')}", "6:14", '"flux-zoe-en" is not among', "as is"),
        (
            (
                "settings:\n  think:\n    - {provider: {type: nvidia, model: m}, prompt: p}\n"
                "    - {provider: {type: nvidia, model: m}}"
            ),
            "4:7",
            "has no prompt",
            "Repeat prompt",
        ),
        (
            "settings:\n  think:\n    - provider: {type: open_ai, model: gpt-5, temperature: 1}",
            "3:47",
            "has no temperature",
            "Remove",
        ),
        (
            (
                "settings:\n  think:\n    - provider:\n"
                "        {type: anthropic, model: claude-sonnet-4-20250514}"
            ),
            "4:34",
            "deprecated",
            "claude-sonnet-4-6",
        ),
        (
            (
                "settings:\n  speak:\n    - endpoint: {url: 'https://x'}\n"
                "      provider: {type: eleven_labs, model_id: m, language_code: en}"
            ),
            "4:50",
            "deprecated",
            '"language"',
        ),
        (
            (
                "settings:\n  speak:\n    - provider:\n"
                "        {type: deepgram, model: aura-2-thalia-en, language: es}"
            ),
            "4:61",
            "has its own",
            "Remove",
        ),
        (f"{FLUX}      eot_threshold: 1.0", "7:22", "eot_timeout_ms still does", "Set"),
        (
            (
                "settings:\n  think:\n    - provider: {type: deepgram, model: phonellm-mini-alpha,"
                " reasoning_mode: low}"
            ),
            "3:62",
            "says aloud",
            "Remove",
        ),
        ("settings:\n  think_live: {provider: {zzz: 1}}", "2:27", '"zzz" is not', ""),
        ("settings:\n  language: en", "2:3", "deprecated", "speak.provider.language"),
        ("settings:\n  settings: {flags: {}}\n  agent: {}", "2:3", '"settings" is not', ""),
    ],
)
def test_remarks(text: str, place: str, what: str, fix: str) -> None:
    assert findings(text, "error") == []
    (finding,) = (f for f in findings(text, "remark") if what in f.text)
    assert str(finding.place) == f"a.yaml:{place}"
    assert fix in finding.fix


# --- Mistakes: what is probably misspelt ---


@pytest.mark.parametrize(
    ("text", "place", "what", "fix"),
    [
        (f"{FLUX}      keytrms: []", "7:7", '"keytrms" is not', 'mean "keyterms"?'),
        (f"{FLUX}      eotThreshold: 0.7", "7:7", "eotThreshold", 'mean "eot_threshold"?'),
        (f"{THINK}    promt: x", "4:5", '"promt" is not', 'mean "prompt"?'),
        ("settings:\n  greetng: x", "2:3", '"greetng" is not', 'mean "greeting"?'),
        # Where Deepgram does not look for it: what it means there, and where it belongs.
        ("settings:\n  promt: x", "2:3", '"promt"', 'mean "prompt", under "agent.think"?'),
        ("settings:\n  agent: {}\n  promt: x", "3:3", '"promt"', '"prompt", under "agent.think"?'),
        (f"{THINK}    greetng: x", "4:5", '"greetng"', 'mean "greeting", under "agent"?'),
        (f"{THINK}    greeting: x", "4:5", '"greeting"', 'mean "greeting", under "agent"?'),
        (THINK.replace("open_ai", "openai"), "3:22", '"openai" is not', 'mean "open_ai"?'),
        (THINK.replace("open_ai", "open_ia"), "3:22", '"open_ia" is not', 'mean "open_ai"?'),
        (THINK.replace("open_ai", "OpenAI"), "3:22", '"OpenAI" is not', 'mean "open_ai"?'),
        (
            "settings: {think: {provider: {type: claude, model: claude-sonnet-5}}}",
            "1:37",
            '"claude" is not',
            'mean "anthropic"?',
        ),
        (
            SPEAK.replace("deepgram", "deepgran") + "      model: aura-2-thalia-en",
            "4:13",
            '"deepgran" is not',
            'mean "deepgram"?',
        ),
        (f"{SPEAK}      model: aura-2-thalya-en", "5:14", "thalya", 'mean "aura-2-thalia-en"?'),
        (VOICE.replace("kit", "kitt"), "6:14", "flux-kitt-en", 'mean "flux-kit-en"?'),
        (f"{LISTEN}      model: nova-33", "5:14", "nova-33", 'mean "nova-3"?'),
        (FLUX.replace("general", "genral"), "6:14", "genral", 'mean "flux-general-en"?'),
        (THINK.replace("mini", "mnii"), "3:38", "gpt-4o-mnii", 'mean "gpt-4o-mini"?'),
        (VOICE.replace("kit", "general"), "6:14", "it is no voice", "flux-kit-en"),
        (FLUX.replace("general", "kit"), "6:14", "is a voice", "flux-general-en"),
        (
            THINK.replace("gpt-4o-mini", "claude-haiku-4-5"),
            "3:38",
            "not of the provider open_ai",
            '"type": "anthropic"',
        ),
    ],
)
def test_mistakes(text: str, place: str, what: str, fix: str) -> None:
    assert findings(text, "error") == []
    (finding,) = findings(text, "mistake")
    assert str(finding.place) == f"a.yaml:{place}"
    assert what in finding.text
    assert fix in finding.fix


def test_a_key_that_stands_there_too_is_not_what_was_meant() -> None:
    text = f"{THINK}    prompt: x\n    prompts: y\n"
    assert findings(text, "mistake") == []
    assert any('"prompts" is not' in finding.text for finding in findings(text, "remark"))


def test_what_is_misspelt_is_checked_as_what_was_meant() -> None:
    text = (
        "settings:\n  speak: {provider: {type: deepgran, model: flux-kitt-en}}\n"
        "  think: {provider: {type: openai, model: gpt-4o-mnii, temperature: 3}}"
    )
    assert [str(one.place) for one in findings(text, "mistake")] == [
        "a.yaml:3:28", "a.yaml:3:43", "a.yaml:2:28", "a.yaml:2:45",
    ]  # fmt: skip
    assert [one.text for one in findings(text, "error")] == [
        "think.provider.temperature is outside 0 to 2, which Deepgram refuses.",
        'The voice "flux-kit-en" is Flux, which is version v2.',
    ]


@pytest.mark.parametrize(
    "text",
    [
        f"{FLUX}      eager_eot_threshold: 0.9\n      eot_threshold: 0.95\n      keyterms: [A]",
        (
            "settings: {listen: {provider: {type: deepgram, version: v2, model: flux-general-multi,"
            " language_hints: [en, es]}}}"
        ),
        (
            "settings: {speak: [{provider: {type: deepgram, version: v2, model: flux-kit-en,"
            " speed: 1.15, expressivity: -2}}]}"
        ),
        "settings: {speak: [{provider: {type: deepgram, model: aura-2-thalia-en, speed: 0.7}}]}",
        (
            "settings: {think: [{provider: {type: google}, endpoint: {url: 'https://x'},"
            f" prompt: {'x' * (PROMPT_LIMIT + 1)}, context_length: max}}]}}"
        ),
        (
            "settings: {think: [{provider: {type: nvidia, model: nemotron-3-nano-30B-A3B}, prompt:"
            f" {'x' * PROMPT_LIMIT}}}]}}"
        ),
        (
            "settings: {think: [{provider: {type: open_ai, model: gpt-5.5}, functions: [{name: f,"
            " parameters: {}, defer_until_eot: true, endpoint: {url: u, method: post}}]}]}"
        ),
        (
            "settings: {think: [{provider: {type: open_ai, model: my-own}, endpoint: {url: u}}],"
            " speak: [{provider: {type: deepgram, version: v2, model: flux-maria-es}}]}"
        ),
        (
            "settings: {speak: [{provider: {type: cartesia, model_id: m, voice: {mode: id, id: x},"
            " speed: slow, volume: 2}}]}"
        ),
        "settings: {speak: [{provider: {type: deepgram, version: v2, model: flux-zofia-pl}}]}",
        (
            "settings: {speak: [{provider: {type: deepgram, version: v2, model: flux-ana-pt}},"
            " {provider: {type: deepgram, model: aura-2-thalia-en, language: en-US}}]}"
        ),
        (
            "settings: {speak: [{provider: {type: eleven_labs, model_id: m, language: en},"
            " endpoint: {url: 'wss://api.elevenlabs.io/v1/text-to-speech/VOICE/multi-stream-input'}}]}"
        ),
        (
            "settings: {think: [{provider: {type: deepgram, model: think-fast,"
            " voice_prompt_opt_out: true}}]}"
        ),
    ],
)
def test_what_is_right_is_passed_over_in_silence(text: str) -> None:
    assert findings(text, "error") == []
    assert [f for f in findings(text, "remark") if "no fallback" not in f.text] == []


@pytest.mark.parametrize(
    ("part", "block", "says"),
    [
        ("think", {"provider": object()}, "holds what is no JSON"),
        ("listen", {}, "listen has no provider"),
        ("listen", {"provider": {"type": "deepgram", "model": "nova-3"}}, "has no version"),
        (
            "think",
            {"endpoint": {"url": "http://10.0.0.1/"}, "provider": {"type": "groq"}},
            "not a host of the internet",
        ),
        (
            "think",
            {"functions": [{"name": "f", "endpoint": {"url": "http://localhost/"}}]},
            "not a host of the internet",
        ),
    ],
)
def test_changes_that_are_refused(part: str, block: Any, says: str) -> None:
    found = change(part, block)[1]
    assert any(says in one.text and one.level == "error" for one in found)


def test_a_change_is_returned_as_plain_json() -> None:
    block = {"provider": {"type": "deepgram", "version": "v2", "model": "flux-general-en"}}
    assert change("listen", block) == (block, [])
