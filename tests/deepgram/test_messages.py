"""Voice Agent messages: both directions, and whatever else may arrive."""

import contextlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.forms import sized

from offhook.deepgram import messages
from offhook.deepgram.messages import (
    MalformedAgentMessageError,
    UnknownAgentMessage,
    read,
    read_ours,
    write,
)

FROM_DEEPGRAM: list[messages.ServerMessage] = [
    messages.Welcome("0d9f3a52"),
    messages.SettingsApplied(),
    messages.UserStartedSpeaking(),
    messages.ConversationText("user", 'Grüße, "7" \\ \u2028 🙂'),
    messages.AgentThinking("Hm."),
    messages.FunctionCallRequest(
        [
            messages.FunctionCall("a", "book", '{"people":2}', True, "c2ln"),
            messages.FunctionCall("b", "note", "", False),
        ]
    ),
    messages.FunctionCallCancelled([messages.CancelledFunction("a", "book")]),
    messages.FunctionCallResponse("note", "ok"),
    messages.AgentStartedSpeaking(0.4, 0.1, 0.2),
    messages.AgentAudioDone(),
    messages.LatencyReport(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
    messages.FrustrationDetected(3, escalated=True),
    messages.ThinkLiveUpdated(),
    messages.History(role="assistant", content="Hello"),
    messages.History(function_calls=[messages.FinishedFunction("a", "f", True, "{}", "ok", "s")]),
    messages.PromptUpdated(),
    messages.SpeakUpdated(),
    messages.ThinkUpdated(),
    messages.ListenUpdated(),
    messages.InjectionRefused("The user is speaking."),
    messages.InjectionRefused(),
    messages.Warning("PROMPT_TOO_LONG", "The prompt was cut off."),
    messages.Error("INVALID_SETTINGS", "Flux needs version v2."),
    messages.CustomFromThinkProvider({"any": [1, None, {"thing": 2.5}]}),
]

FROM_CLIENT: list[messages.ClientMessage] = [
    messages.KeepAlive(),
    messages.UpdatePrompt("Be brief."),
    messages.UpdateSpeak({"provider": {"type": "deepgram", "model": "aura-2-thalia-en"}}),
    messages.UpdateSpeak([{"provider": {"type": "deepgram"}}, {"provider": {"type": "open_ai"}}]),
    messages.UpdateThink({"provider": {"type": "open_ai"}, "functions": []}),
    messages.UpdateListen({"provider": {"type": "deepgram", "keyterms": ["Offhook"]}}),
    messages.InjectAgentMessage("Hello"),
    messages.InjectAgentMessage("Hello", "queue"),
    messages.InjectAgentMessage("Hello", "interrupt"),
    messages.InjectUserMessage("Hi"),
    messages.FunctionCallResponse("book", '{"ok":true}', "a"),
    messages.ForceEndTurn(),
    messages.CustomToThinkProvider([None]),
]

TEXTS = [write(message) for message in [*FROM_DEEPGRAM, *FROM_CLIENT]]


@pytest.mark.parametrize("message", FROM_DEEPGRAM, ids=lambda m: type(m).__name__)
def test_a_server_message_survives_the_wire(message: messages.ServerMessage) -> None:
    assert read(write(message)) == message


@pytest.mark.parametrize("message", FROM_CLIENT, ids=lambda m: type(m).__name__)
def test_a_client_message_survives_the_wire(message: messages.ClientMessage) -> None:
    assert read_ours(write(message)) == message


def test_every_type_is_in_these_lists() -> None:
    assert {type_of(message) for message in FROM_DEEPGRAM} == messages.SERVER_TYPES
    assert {type_of(message) for message in FROM_CLIENT} == messages.CLIENT_TYPES


def type_of(message: Any) -> str:
    kind: str = msgspec.json.decode(write(message))["type"]
    return kind


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (
            messages.ConversationText("", ""),
            {"role": "", "content": "", "conversational_behavior": "default"},
        ),
        (messages.FunctionCallRequest([]), {"functions": []}),
        (
            messages.FunctionCallRequest([messages.FunctionCall("a", "f", "", True)]),
            {"functions": [{"id": "a", "name": "f", "arguments": "", "client_side": True}]},
        ),
        (
            messages.FunctionCallResponse("f", "", "a"),
            {"id": "a", "name": "f", "content": ""},
        ),
        (messages.InjectAgentMessage("x"), {"message": "x"}),
        (messages.LatencyReport(tts_latency=0.0), {"tts_latency": 0.0}),
        (messages.History(role="user", content=""), {"role": "user", "content": ""}),
    ],
)
def test_what_the_protocol_requires_is_written_and_what_is_absent_is_not(
    message: Any, fields: dict[str, Any]
) -> None:
    written = msgspec.json.decode(write(message))
    assert written.pop("type") == type(message).__name__
    assert written == fields


def test_an_unknown_type_is_no_fault_and_an_unknown_field_is_ignored() -> None:
    assert read(b'{"type":"Daydream","level":3}') == UnknownAgentMessage("Daydream")
    assert read_ours(b'{"type":"UpdateThink_Live"}') == UnknownAgentMessage("UpdateThink_Live")
    told = b'{"type":"ConversationText","role":"user","content":"Hi","languages":["en"]}'
    assert read(told) == messages.ConversationText("user", "Hi")
    # Neither side's messages are known to the other.
    assert read(b'{"type":"KeepAlive"}') == UnknownAgentMessage("KeepAlive")
    assert read_ours(b'{"type":"Welcome"}') == UnknownAgentMessage("Welcome")
    assert read_ours(b'{"type":"Settings","agent":{}}') == UnknownAgentMessage("Settings")


@pytest.mark.parametrize(
    ("told", "behavior"),
    [
        ("", "default"),
        (',"conversational_behavior":"default"', "default"),
        (',"conversational_behavior":"backchannel"', "backchannel"),
        (',"conversational_behavior":"novelty"', "novelty"),
        (',"conversational_behavior":null', "default"),
        (',"conversational_behavior":{"a":[1]}', "default"),
        (f',"conversational_behavior":"{"x" * 1000}"', "x" * messages.BEHAVIOR_MAX),
    ],
)
def test_a_behavior_of_any_kind_is_taken_and_depended_on_by_nothing(
    told: str, behavior: str
) -> None:
    text = read(f'{{"type":"ConversationText","role":"user","content":"Hi"{told}}}'.encode())
    assert isinstance(text, messages.ConversationText)
    assert (text.content, text.behavior) == ("Hi", behavior)


def test_latencies_come_as_numbers_or_as_text() -> None:
    text = b'{"type":"LatencyReport","stt_latency":"0.25","tts_latency":1,"total_latency":null}'
    report = read(text)
    assert report == messages.LatencyReport(stt_latency=0.25, tts_latency=1.0)


def test_what_may_be_missing_has_a_default() -> None:
    assert read(b'{"type":"Welcome"}') == messages.Welcome("")
    assert read(b'{"type":"InjectionRefused"}') == messages.InjectionRefused("")
    assert read(b'{"type":"Error"}') == messages.Error("", "")
    request = read(b'{"type":"FunctionCallRequest","functions":[{"id":"a","name":"f"}]}')
    assert request == messages.FunctionCallRequest([messages.FunctionCall("a", "f", "", True)])


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"hello",
        b"null",
        b"[]",
        b'"Welcome"',
        b"{}",
        b'{"type":7}',
        b'{"type":null}',
        b'{"Type":"Welcome"}',
        b'{"type":"Welcome"',
        b'{"type":"Welcome"} trailing',
        b'{"type":"Welcome","request_id":7}',
        b'{"type":"ConversationText","role":"user"}',
        b'{"type":"FunctionCallRequest","functions":{}}',
        b'{"type":"FunctionCallRequest","functions":[{"name":"f"}]}',
        b'{"type":"LatencyReport","total_latency":"soon"}',
        b'{"type":"ConversationText","role":"user","content":"\xff"}',
        b'\xef\xbb\xbf{"type":"Welcome"}',
        b'{"type":"Unheard","content":' + b"[" * 100_000,
        b'{"type":"__customFromThinkProvider","content":' + b'{"a":' * 100_000,
    ],
)
def test_what_is_no_message_from_deepgram_is_a_bad_message(text: bytes) -> None:
    with pytest.raises(MalformedAgentMessageError):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        b"hello",
        b"{}",
        b'{"type":"UpdatePrompt"}',
        b'{"type":"UpdateSpeak","speak":"thalia"}',
        b'{"type":"InjectAgentMessage","message":"x","behavior":"politely"}',
        b'{"type":"InjectAgentMessage","is_dynamic":true}',
        b'{"type":"FunctionCallResponse","id":"a","name":"f","content":{"ok":true}}',
        b'{"type":"__customToThinkProvider","content":' + b"[" * 100_000,
    ],
)
def test_what_is_no_message_from_a_client_is_a_bad_message(text: bytes) -> None:
    with pytest.raises(MalformedAgentMessageError):
        read_ours(text)


def test_a_bad_message_never_quotes_what_was_said() -> None:
    for text in (
        b'{"type":"ConversationText","role":"user","content":["my card is 4111"]}',
        b'{"type":"ConversationText","role":"user","content":"my card is 4111',
    ):
        with pytest.raises(MalformedAgentMessageError) as bad:
            read(text)
        assert "4111" not in str(bad.value)


# --- Fuzz: truncated and mutated truth -----------------------------------------------------------

PIECES = [*b'{}[]",:\\0-.e \x00\x80\xff', *TEXTS, b"null", b"1e999", b'"type":', b"\\ud800"]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A real message with a few bytes cut out, overwritten or put in; often cut off as well."""
    text = bytearray(draw(st.sampled_from(TEXTS)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(text)))
        gone = draw(st.integers(0, 8))
        piece = draw(st.sampled_from(PIECES) | st.binary(max_size=4))
        text[at : at + gone] = bytes([piece]) if isinstance(piece, int) else piece
    end = draw(st.none() | st.integers(0, len(text)))
    return bytes(text[:end])


def fuzz(reader: Callable[[bytes], Any]) -> None:
    """Read some hundred of them; `make soak` has ten thousand read."""

    @settings(
        max_examples=sized(300, 10_000),
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(damaged())
    def is_read_or_bad(text: bytes) -> None:
        with contextlib.suppress(MalformedAgentMessageError):
            reader(text)

    is_read_or_bad()


def test_damaged_messages_from_deepgram_are_read_or_bad() -> None:
    fuzz(read)


def test_damaged_messages_from_a_client_are_read_or_bad() -> None:
    fuzz(read_ours)


@pytest.mark.parametrize(
    "message",
    [
        messages.ConversationText("user", "x" * 900_000),
        messages.Warning("X", "x" * 900_000),
        messages.Error("X", "x" * 900_000),
        messages.InjectionRefused("x" * 900_000),
        messages.Welcome("x" * 900_000),
    ],
)
def test_a_huge_text_is_cut_visibly(message: messages.ServerMessage) -> None:
    read = messages.read(messages.write(message))
    assert type(read) is type(message)
    text = messages.write(read).decode()
    assert " …" in text
    assert len(text) < messages.TEXT_MAX + 100
