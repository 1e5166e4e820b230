"""Every message, ours and theirs, against the schema that Deepgram publishes.

The schema is AsyncAPI 2.6, where `publish` holds the server's messages. tests/contracts holds what
is checked here of two copies of it.
"""

import functools
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from offhook.deepgram import messages, settings
from offhook.deepgram.messages import (
    CancelledFunction,
    ClientMessage,
    FinishedFunction,
    FunctionCall,
    History,
    ServerMessage,
)

CONTRACTS = Path(__file__).parents[1] / "contracts"
COPIES = ["deepgram-asyncapi.2026-07-22.json", "deepgram-asyncapi.2026-08-22.json"]

# --- What is newer than the copies: section of deepgram.md, since when --------------

NEW_MESSAGES = {
    "FrustrationDetected",  # §3.1, by invitation
    "ThinkLiveUpdated",  # §3.1, by invitation
    "ForceEndTurn",  # §2.17, August or September 2026
    "FunctionCallCancelled",  # §4.4, 2026-09-08
    "__customToThinkProvider",  # §2.18, early access
    "__customFromThinkProvider",  # §2.18, early access
}
NEW_FIELDS = [
    ("ThinkSettingsV1FunctionsItems", "defer_until_eot", "boolean"),  # §4.1, 2026-09-08
    ("AgentV1_AgentV1LatencyReport", "stt_latency", "number"),  # §3.1, 2026-07-31
    ("AgentV1_AgentV1ConversationText", "conversational_behavior", "string"),  # §3.1, early access
    ("SpeakSettingsV1Provider1", "speed", "number"),  # §2.6: Flux voices, July's name for them
    ("SpeakSettingsV1Provider1", "expressivity", "integer"),
]


def convert(name: str, schema: Any) -> Any:
    """JSON Schema from a component, stricter and laxer than the generator left it.

    Stricter: no field but the documented ones, since Deepgram may refuse a message for one more.
    Laxer: `oneOf` members overlap (a listen provider without version is both families), lists of
    models and voices are snapshots, and latencies and expressivity are typed as text by mistake.
    """
    if isinstance(schema, list):
        return [convert("", item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    converted = {
        "anyOf" if key == "oneOf" else key: (
            {field: convert(field, inner) for field, inner in value.items()}
            if key == "properties"
            else convert("", value)
        )
        for key, value in schema.items()
    }
    if converted.get("properties"):
        converted.setdefault("additionalProperties", False)
    if name.endswith(("ProviderModel", "OneOf1Model", "ModelId", "ProviderVoice")):
        converted.pop("enum", None)
    if name.endswith("_latency"):
        converted["type"] = ["number", "string"]
    if name == "DeepgramSpeakProviderExpressivity":
        return {"type": "integer"}
    return converted


class Spec:
    """One copy of the schema."""

    def __init__(self, name: str) -> None:
        self.raw = json.loads((CONTRACTS / name).read_text(encoding="utf-8"))
        components = self.raw["components"]["schemas"]
        self.schemas = {key: convert(key, value) for key, value in components.items()}
        for component, field, kind in NEW_FIELDS:
            if component in self.schemas:
                self.schemas[component]["properties"].setdefault(field, {"type": kind})

    def components(self, side: str) -> list[str]:
        """Names of the components that one side sends as text."""
        channel = self.raw["channels"]["/v1/agent/converse"][side]["message"]["oneOf"]
        named = self.raw["components"]["messages"]
        payloads = [named[each["$ref"].split("/", 3)[3]]["payload"]["$ref"] for each in channel]
        names = [payload.rsplit("/", 1)[1] for payload in payloads]
        return [name for name in names if not name.endswith(("Audio", "Media"))]

    def validate(self, side: str, text: bytes) -> None:
        """Raises jsonschema.ValidationError unless `text` is a message of that side."""
        alternatives = [{"$ref": f"#/components/schemas/{name}"} for name in self.components(side)]
        schema = {"anyOf": alternatives, "components": {"schemas": self.schemas}}
        jsonschema.Draft202012Validator(schema).validate(json.loads(text))


spec = functools.cache(Spec)


@pytest.fixture(params=COPIES)
def published(request: pytest.FixtureRequest) -> Spec:
    return spec(request.param)


# --- Our messages --------------------------------------------------------------------------------

THINK = {"provider": {"type": "open_ai", "model": "gpt-4o-mini", "temperature": 0.5}, "prompt": "p"}
SPEAK = {"provider": {"type": "deepgram", "version": "v2", "model": "flux-kit-en"}}
LISTEN = {"type": "deepgram", "version": "v2", "model": "flux-general-en", "eot_threshold": 0.8}

CLIENT: list[ClientMessage] = [
    messages.KeepAlive(),
    messages.UpdatePrompt("p"),
    messages.UpdateSpeak(SPEAK),
    messages.UpdateSpeak([SPEAK, SPEAK]),
    messages.UpdateThink(THINK),
    messages.UpdateThink([THINK, THINK]),
    messages.UpdateListen({"provider": LISTEN}),
    messages.InjectAgentMessage("m"),
    messages.InjectAgentMessage("m", "queue"),
    messages.InjectAgentMessage("m", "interrupt"),
    messages.InjectUserMessage("c"),
    messages.FunctionCallResponse(name="f", content="{}", id="1"),
    messages.ForceEndTurn(),
    messages.CustomToThinkProvider({"any": 1}),
]

SERVER: list[ServerMessage] = [
    messages.Welcome("r"),
    messages.SettingsApplied(),
    messages.UserStartedSpeaking(),
    messages.ConversationText("user", "hi"),
    messages.ConversationText("assistant", "hi"),
    messages.AgentThinking("hm"),
    messages.FunctionCallRequest(
        [FunctionCall("1", "f", "{}", client_side=False, thought_signature="s")]
    ),
    messages.FunctionCallCancelled([CancelledFunction("1", "f")]),
    messages.FunctionCallResponse(name="f", content="{}"),
    messages.FunctionCallResponse(name="f", content="{}", id="1"),
    messages.AgentStartedSpeaking(0.1, 0.2, 0.3),
    messages.AgentAudioDone(),
    messages.LatencyReport(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
    messages.LatencyReport(),
    messages.FrustrationDetected(1, escalated=False),
    messages.ThinkLiveUpdated(),
    messages.History(role="user", content="hi"),
    messages.History(function_calls=[FinishedFunction("1", "f", True, "{}", "ok", "s")]),
    messages.PromptUpdated(),
    messages.SpeakUpdated(),
    messages.ThinkUpdated(),
    messages.ListenUpdated(),
    messages.InjectionRefused("no"),
    messages.Warning("C", "d"),
    messages.Error("C", "d"),
    messages.CustomFromThinkProvider([1]),
]

FUNCTION = {
    "name": "f",
    "description": "d",
    "parameters": {"type": "object", "properties": {"x": {"type": "string"}}},
    "defer_until_eot": True,
}
OWN = {"url": "https://llm.example/v1/chat/completions", "headers": {"authorization": "x"}}
SETTINGS: dict[str, Any] = {
    "flux": {
        "listen": {"provider": {**LISTEN, "keyterms": ["Offhook"], "eager_eot_threshold": 0.4}},
        "think": THINK,
        "speak": SPEAK,
        "greeting": "hi",
    },
    "fallbacks": {
        "think": [THINK, {"provider": {"type": "anthropic", "model": "claude-haiku-4-5"}}],
        "speak": [
            {"provider": {**SPEAK["provider"], "speed": 1.05, "expressivity": 1}},
            {"provider": {"type": "deepgram", "version": "v1", "model": "aura-2-thalia-en"}},
            {
                "provider": {"type": "eleven_labs", "model_id": "eleven_turbo_v2_5"},
                "endpoint": {"url": "wss://tts.example", "headers": {}},
            },
        ],
    },
    "functions": {"think": {**THINK, "functions": [FUNCTION, {**FUNCTION, "name": "g"}]}},
    "own model": {"think": {**THINK, "endpoint": OWN, "context_length": 4000}},
    "root": {
        "tags": ["a"],
        "flags": {"history": True},
        "mip_opt_out": True,
        "experimental": False,
        "agent": {"greeting": "hi"},
    },
    "stored": "7ab1e2c4-9d4b-4f0a-8b1e-0123456789ab",
}
CONTEXT = [
    History(role="user", content="hi"),
    History(function_calls=[FinishedFunction("1", "f", True, "{}", "ok")]),
]


def kind(message: ClientMessage | ServerMessage) -> str:
    return str(json.loads(messages.write(message))["type"])


def test_every_kind_of_message_is_tried() -> None:
    assert {kind(message) for message in CLIENT} == messages.CLIENT_TYPES
    assert {kind(message) for message in SERVER} == messages.SERVER_TYPES


@pytest.mark.parametrize("message", [m for m in CLIENT if kind(m) not in NEW_MESSAGES], ids=kind)
def test_what_we_send_is_in_the_schema(message: ClientMessage, published: Spec) -> None:
    published.validate("subscribe", messages.write(message))


@pytest.mark.parametrize("message", [m for m in SERVER if kind(m) not in NEW_MESSAGES], ids=kind)
def test_what_the_stand_in_sends_is_in_the_schema(message: ServerMessage, published: Spec) -> None:
    published.validate("publish", messages.write(message))


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_in_the_schema(name: str, published: Spec) -> None:
    accepted, _ = settings.accept(SETTINGS[name])
    published.validate("subscribe", accepted.message())
    published.validate("subscribe", accepted.message(greeting=False, context=CONTEXT))


def test_the_seeds_settings_are_in_the_schema(published: Spec) -> None:
    seed, _ = settings.tutorial()
    published.validate("subscribe", seed.message())
    published.validate("subscribe", seed.message(greeting=False, context=CONTEXT))


def test_no_message_of_the_schema_is_unknown_here(published: Spec) -> None:
    for side, known in (
        ("subscribe", messages.CLIENT_TYPES | {"Settings"}),
        ("publish", messages.SERVER_TYPES),
    ):
        types = {name.removeprefix("AgentV1_AgentV1") for name in published.components(side)}
        renamed = {
            "SendFunctionCallResponse": "FunctionCallResponse",
            "ReceiveFunctionCallResponse": "FunctionCallResponse",
        }
        assert {renamed.get(each, each) for each in types} <= known
        assert types, "the channel was found"


# --- That it can fail, and that no exception is older than it says -------------------------------


@pytest.mark.parametrize(
    ("side", "wrong"),
    [
        ("subscribe", {"type": "Settings"}),
        ("subscribe", {"type": "KeepAlive", "extra": 1}),
        ("subscribe", {"type": "UpdatePrompt"}),
        ("subscribe", {"type": "UpdatePrompt", "prompt": 5}),
        ("subscribe", {"type": "InjectAgentMessage", "message": "m", "behavior": "shout"}),
        ("subscribe", {"type": "InjectAgentMessage", "content": "m"}),
        ("subscribe", {"type": "FunctionCallResponse", "name": "f", "content": {"not": "text"}}),
        ("subscribe", {"type": "UpdateListen", "listen": {"provider": {"type": "other"}}}),
        ("subscribe", {"type": "Welcome", "request_id": "r"}),
        ("publish", {"type": "KeepAlive"}),
        ("publish", {"type": "ConversationText", "role": "narrator", "content": "x"}),
        ("publish", {"type": "LatencyReport", "total_latency": []}),
        ("publish", {"type": "History", "role": "user"}),
    ],
)
def test_a_wrong_message_is_refused(side: str, wrong: dict[str, Any], published: Spec) -> None:
    with pytest.raises(jsonschema.ValidationError):
        published.validate(side, json.dumps(wrong).encode())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("audio", "input", "encoding"), "pcm"),
        (("audio", "input", "rate"), 8000),
        (("agent", "tags"), ["a"]),
        (("agent", "listen", "provider", "keyterm"), "x"),
        (("agent", "think", "provider", "type"), "nobody"),
        (("agent", "think", "tools"), []),
        (("agent", "speak", "provider", "speed"), "fast"),
        (("agent",), 5),
    ],
)
def test_wrong_settings_are_refused(path: tuple[str, ...], value: Any, published: Spec) -> None:
    message = json.loads(settings.tutorial()[0].message())
    inner = message
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        published.validate("subscribe", json.dumps(message).encode())


def test_every_exception_is_one() -> None:
    newest = spec(COPIES[-1])
    names = newest.components("subscribe") + newest.components("publish")
    for new in NEW_MESSAGES:
        assert not any(name.endswith(new) for name in names)
    for component, field, _ in NEW_FIELDS:
        copies = [spec(copy).raw["components"]["schemas"].get(component) for copy in COPIES]
        assert any(copy and field not in copy["properties"] for copy in copies)
