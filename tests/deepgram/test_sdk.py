"""Deepgram's own SDK as the oracle: it talks with the stand-in over a real socket.

The SDK is lenient: it builds a model even when fields are missing and gives an unknown type as a
plain dictionary. So whatever it decoded is validated again, strictly, by its own models.
"""

import asyncio
import typing
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pydantic
import pytest
from deepgram.agent.v1 import socket_client, types
from deepgram.core.api_error import ApiError
from deepgram.environment import DeepgramClientEnvironment
from tests.waiting import until

from deepgram import AsyncDeepgramClient
from offhook import audio
from offhook.clock import LoopClock
from offhook.deepgram import messages
from offhook.testing.simulator.deepgram.policy import StandInAgent
from offhook.testing.simulator.deepgram.script import Script, ScriptFunctionCall, ScriptTurn, Stage
from offhook.testing.simulator.deepgram.server import StandInServer, serve
from offhook.testing.simulator.deepgram.standin import StandIn
from offhook.testing.simulator.dialogue import agents
from offhook.testing.simulator.dialogue.words import words
from offhook.testing.simulator.speech import clips, installed

EARLY_ACCESS = {
    "UpdateThink_Live": "Think Live, by invitation; spelt so",
}
"""Types of the SDK that Offhook does not model, and why: early access is passed through
(deepgram.md §11). There are none that Offhook models and the SDK lacks."""

BY_INVITATION = {"FrustrationDetected", "ThinkLiveUpdated"}
"""Types of Think Live, which the stand-in does not have."""


def sdk_models(union: Any) -> dict[str, list[type[pydantic.BaseModel]]]:
    """The SDK's models in a union, by the `type` that they carry."""
    found: dict[str, list[type[pydantic.BaseModel]]] = {}
    for member in typing.get_args(union):
        if typing.get_args(member):
            for kind, models in sdk_models(member).items():
                found.setdefault(kind, []).extend(models)
        elif issubclass(member, pydantic.BaseModel):
            found.setdefault(member.model_fields["type"].default, []).append(member)
    return found


SERVER_MODELS = sdk_models(socket_client.V1SocketClientResponse)


def client_models() -> dict[str, type[pydantic.BaseModel]]:
    """The SDK's models of what a client sends, by `type`: the arguments of its send methods."""
    found: dict[str, type[pydantic.BaseModel]] = {}
    for name, method in vars(socket_client.AsyncV1SocketClient).items():
        if name.startswith("send_") and name not in ("send_media", "send_raw"):
            hint = typing.get_type_hints(method)["message"]
            for model in typing.get_args(hint) or (hint,):
                if model is not type(None):
                    found.setdefault(model.model_fields["type"].default, model)
    return found


def test_the_sdk_and_offhook_know_the_same_types() -> None:
    assert set(SERVER_MODELS) == messages.SERVER_TYPES
    assert set(client_models()) - messages.CLIENT_TYPES - {"Settings"} <= set(EARLY_ACCESS)
    assert set(client_models()) >= messages.CLIENT_TYPES


EVERY_SERVER_MESSAGE: list[messages.ServerMessage] = [
    messages.Welcome("0d9f"),
    messages.SettingsApplied(),
    messages.UserStartedSpeaking(),
    messages.ConversationText("user", "Hi"),
    messages.AgentThinking("Hm."),
    messages.FunctionCallRequest(
        [messages.FunctionCall("a", "f", "{}", True), messages.FunctionCall("b", "g", "", False)]
    ),
    messages.FunctionCallCancelled([messages.CancelledFunction("a", "f")]),
    messages.FunctionCallResponse("f", "ok", "a"),
    messages.AgentStartedSpeaking(0.4, 0.1, 0.2),
    messages.AgentAudioDone(),
    messages.LatencyReport(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
    messages.History(role="user", content="Hi"),
    messages.History(function_calls=[messages.FinishedFunction("a", "f", True, "{}", "ok")]),
    messages.FrustrationDetected(2, escalated=True),
    messages.ThinkLiveUpdated(),
    messages.PromptUpdated(),
    messages.SpeakUpdated(),
    messages.ThinkUpdated(),
    messages.ListenUpdated(),
    messages.InjectionRefused("The user is speaking."),
    messages.Warning("PROMPT_TOO_LONG", "The prompt was cut off."),
    messages.Error("INVALID_SETTINGS", "No."),
    messages.CustomFromThinkProvider({"a": [1]}),
]


@pytest.mark.parametrize("message", EVERY_SERVER_MESSAGE, ids=lambda m: type(m).__name__)
def test_what_offhook_writes_for_a_server_the_sdk_s_models_accept(
    message: messages.ServerMessage,
) -> None:
    validated(msgspec.json.decode(messages.write(message)))


def test_every_server_message_is_in_that_list() -> None:
    written = {msgspec.json.decode(messages.write(m))["type"] for m in EVERY_SERVER_MESSAGE}
    assert written == messages.SERVER_TYPES


def validated(message: dict[str, Any]) -> pydantic.BaseModel:
    """The message as one of the SDK's models for its type, with all that the model requires."""
    errors = []
    for model in SERVER_MODELS[message["type"]]:
        try:
            return model.model_validate(message, strict=True)
        except pydantic.ValidationError as error:
            errors.append(error)
    raise errors[0]


LISTEN = {"provider": {"type": "deepgram", "version": "v2", "model": "flux-general-en"}}
THINK = {
    "provider": {"type": "open_ai", "model": "gpt-4o-mini", "temperature": 1.0},
    "prompt": "x" * 25_001,
    "functions": [
        {"name": "book"},
        {"name": "note", "endpoint": {"url": "https://h.example", "method": "post"}},
    ],
}
SPEAK = {"provider": {"type": "deepgram", "model": "aura-2-thalia-en"}}
SETTINGS = types.AgentV1Settings.model_validate(
    {
        "type": "Settings",
        "tags": ["contract"],
        "experimental": True,
        "audio": {
            "input": {"encoding": "mulaw", "sample_rate": 8000},
            "output": {"encoding": "mulaw", "sample_rate": 8000, "container": "none"},
        },
        "agent": {"listen": LISTEN, "think": THINK, "speak": SPEAK, "greeting": "Hello?"},
    }
)

SCRIPT = Script(
    turns=[
        ScriptTurn(
            hear="Book a table.",
            thinking="A table, then.",
            function_calls=[
                ScriptFunctionCall(name="book", arguments={"people": 2}),
                ScriptFunctionCall(name="note", response="noted"),
            ],
            say=["It is booked for you."],
        ),
    ],
    interrupted=ScriptTurn(
        hear="No.", function_calls=[ScriptFunctionCall(name="book")], say=["Hello?"]
    ),
    # All that counts time here is the audio's own clock: nothing is waited for.
    silence_ms=100,
    reply_ms=0,
    speed=1000,
    late_audio_ms=0,
    welcome=Stage(after_ms=0),
    settings=Stage(after_ms=0),
)


@asynccontextmanager
async def standing_in(
    agent: StandInAgent | Script = SCRIPT,
) -> AsyncIterator[tuple[StandInServer, list[StandIn]]]:
    sessions: list[StandIn] = []
    clock = LoopClock(asyncio.get_running_loop())
    server = await serve("127.0.0.1", 0, agent, clock, sessions.append)
    try:
        yield server, sessions
    finally:
        await server.close()
        assert not server.sessions


def client(server: StandInServer, **credentials: str) -> AsyncDeepgramClient:
    origin = f"127.0.0.1:{server.port}"
    return AsyncDeepgramClient(
        **(credentials or {"api_key": "any"}),
        environment=DeepgramClientEnvironment(
            base=f"http://{origin}",
            production=f"ws://{origin}",
            agent=f"ws://{origin}",
            agent_rest=f"http://{origin}",
        ),
    )


class Talk:
    """A session of the SDK, and all that it has decoded."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.kinds: set[str] = set()

    async def until(self, kind: str) -> Any:
        """The next message of that kind. Everything on the way is validated."""
        async with asyncio.timeout(240):
            while True:
                message = await self.socket.recv()
                if isinstance(message, bytes):
                    self.kinds.add("audio")
                    continue
                assert isinstance(message, pydantic.BaseModel), message
                fields = message.model_dump(exclude_unset=True)
                assert type(validated(fields)) is type(message)
                self.kinds.add(fields["type"])
                if fields["type"] == kind:
                    return message

    async def speak(self, clip: str, then_ms: int = 200) -> None:
        """A turn of the caller, as fast as the socket takes it."""
        sound = audio.silence(200) + clips.load(clip) + audio.silence(then_ms)
        for start in range(0, len(sound), audio.FRAME_BYTES):
            await self.socket.send_media(sound[start : start + audio.FRAME_BYTES])


async def test_every_message_is_exchanged() -> None:
    async with standing_in() as (server, sessions), client(server).agent.v1.connect() as socket:
        talk = Talk(socket)
        assert (await talk.until("Welcome")).request_id == sessions[0].request_id
        await socket.send_settings(SETTINGS)
        await talk.until("SettingsApplied")
        assert (await talk.until("Warning")).code == "PROMPT_TOO_LONG"
        assert (await talk.until("ConversationText")).role == "assistant"
        assert (await talk.until("History")).content == "Hello?"
        await talk.until("AgentAudioDone")

        await talk.speak("caller-book-table")
        await talk.until("UserStartedSpeaking")
        assert (await talk.until("ConversationText")).content == "Book a table."
        await talk.until("AgentThinking")
        request = await talk.until("FunctionCallRequest")
        assert [call.client_side for call in request.functions] == [True, False]
        assert (await talk.until("FunctionCallResponse")).content == "noted"
        await socket.send_function_call_response(
            types.AgentV1SendFunctionCallResponse(
                id=request.functions[0].id, name="book", content='{"ok": true}'
            )
        )
        finished = (await talk.until("History")).function_calls
        assert {call.name: call.response for call in finished} == {
            "book": '{"ok": true}',
            "note": "noted",
        }
        await talk.until("AgentStartedSpeaking")
        await talk.until("AgentAudioDone")
        assert (await talk.until("LatencyReport")).total_latency == 0.47

        await talk.speak("caller-yes")
        request = await talk.until("FunctionCallRequest")
        await talk.speak("caller-stop")
        cancelled = await talk.until("FunctionCallCancelled")
        assert cancelled.functions[0].id == request.functions[0].id
        await talk.until("AgentAudioDone")

        await socket.send_keep_alive()
        await socket.send_update_prompt(types.AgentV1UpdatePrompt(prompt="More."))
        await talk.until("PromptUpdated")
        await socket.send_update_speak(types.AgentV1UpdateSpeak.model_validate({"speak": SPEAK}))
        await talk.until("SpeakUpdated")
        await socket.send_update_think(types.AgentV1UpdateThink.model_validate({"think": THINK}))
        await talk.until("ThinkUpdated")
        await socket.send_update_listen(
            types.AgentV1UpdateListen.model_validate({"listen": LISTEN})
        )
        await talk.until("ListenUpdated")
        await socket.send_custom_to_think_provider(
            types.AgentV1CustomToThinkProvider(content={"a": [1, None]})
        )
        assert (await talk.until("__customFromThinkProvider")).content == {"a": [1, None]}
        await socket.send_inject_user_message(types.AgentV1InjectUserMessage(content="Hi"))
        assert (await talk.until("ConversationText")).content == "Hi"
        await talk.until("AgentAudioDone")

        for behavior in ("default", "queue", "interrupt"):
            await socket.send_inject_agent_message(
                types.AgentV1InjectAgentMessage(message="Hello?", behavior=behavior)
            )
            await talk.until("AgentAudioDone")
        await socket.send_media(clips.load("caller-opening-hours"))
        await talk.until("UserStartedSpeaking")
        await socket.send_inject_agent_message(types.AgentV1InjectAgentMessage(message="No"))
        assert (await talk.until("InjectionRefused")).message == "The user is speaking."
        await socket.send_force_end_turn()
        assert (await talk.until("ConversationText")).role == "user"
        await talk.until("AgentAudioDone")

        await socket.send_raw({"type": "UpdateThink_Live", "think_live": {}})
        assert (await talk.until("Error")).code == "UNPARSABLE_CLIENT_MESSAGE"

    assert talk.kinds == (messages.SERVER_TYPES - BY_INVITATION) | {"audio"}
    received = {msgspec.json.decode(messages.write(m))["type"] for m in known(sessions[0])}
    assert received == messages.CLIENT_TYPES
    assert sessions[0].settings is not None
    assert sessions[0].settings.message["tags"] == ["contract"]


FRONT_DESK = types.AgentV1Settings.model_validate(
    {
        "type": "Settings",
        "audio": {
            "input": {"encoding": "mulaw", "sample_rate": 8000},
            "output": {"encoding": "mulaw", "sample_rate": 8000, "container": "none"},
        },
        "agent": {
            "listen": LISTEN,
            "think": {
                "provider": {"type": "open_ai", "model": "gpt-4o-mini"},
                "prompt": "You are a restaurant.",
                "functions": [{"name": "book_table"}, {"name": "order_status"}],
            },
            "greeting": "Hello! How can I help you today?",
        },
    }
)


@pytest.mark.skipif(installed.missing() is not None, reason="no local engines here")
async def test_a_spoken_conversation_with_a_function_call() -> None:
    async with (
        agents.ready() as ready,
        standing_in(ready.agent) as (server, sessions),
        client(server).agent.v1.connect() as socket,
    ):
        talk = Talk(socket)
        await talk.until("Welcome")
        await socket.send_settings(FRONT_DESK)
        await talk.until("AgentAudioDone")

        async def ask(clip: str) -> str:
            """Speak when the agent has been heard. What it understood."""
            await until(lambda: not sessions[0].audible)
            await talk.speak(clip, then_ms=800)
            heard = await talk.until("ConversationText")
            assert heard.role == "user"
            return str(heard.content)

        assert await ask("caller-table-whole") == " ".join(words(clips.text("caller-table-whole")))
        await talk.until("LatencyReport")
        assert sessions[0].lines[-1].content == "Is that right?"
        assert await ask("caller-right") == "yes that's right"
        (call,) = (await talk.until("FunctionCallRequest")).functions
        assert call.client_side
        assert msgspec.json.decode(call.arguments) == {
            "day": "friday",
            "time": "19:00",
            "people": 2,
        }
        await socket.send_function_call_response(
            types.AgentV1SendFunctionCallResponse(
                id=call.id, name=call.name, content='{"booked": true, "table": 4}'
            )
        )
        report = await talk.until("LatencyReport")
        assert 0 < report.tts_latency <= report.total_latency
        said = [line.content for line in sessions[0].lines]
        assert said[-3:-1] == ["Your table is booked.", "It is table four."]
        await ask("caller-open-sunday")
        await talk.until("LatencyReport")
        assert sessions[0].lines[-1].content == "We are closed on Sundays."
        assert sessions[0].audio_sent > 10 * audio.BYTES_PER_SECOND


def known(session: StandIn) -> list[messages.ClientMessage]:
    return [
        message
        for message in session.received
        if not isinstance(message, messages.UnknownAgentMessage)
    ]


@pytest.mark.parametrize("credentials", [{"api_key": "k"}, {"access_token": "a.b.c"}])
async def test_a_key_and_a_short_lived_token_are_let_in(credentials: dict[str, str]) -> None:
    async with (
        standing_in() as (server, _),
        client(server, **credentials).agent.v1.connect() as socket,
    ):
        await Talk(socket).until("Welcome")


async def test_a_key_presented_as_a_token_is_an_authentication_error() -> None:
    async with standing_in() as (server, sessions):
        with pytest.raises(ApiError) as refused:
            async with client(server, access_token="a-key").agent.v1.connect():
                pass
        assert refused.value.status_code == 401
        assert sessions == []
