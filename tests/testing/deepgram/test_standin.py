"""The stand-in agent, in memory: a client that speaks the protocol, and a clock that jumps."""

from typing import Any

import msgspec
import pytest
from tests.memory_sockets import connect_in_memory

from offhook import audio
from offhook.deepgram import messages
from offhook.net.websocket import Channel, Closed
from offhook.testing.simulator.deepgram.script import Script, ScriptFunctionCall, ScriptTurn, Stage
from offhook.testing.simulator.deepgram.standin import SessionPhase, StandIn
from offhook.testing.simulator.speech import clips
from offhook.testing.virtual_clock import VirtualClock

LATENCY_S = 0.001
HOURS = "We are closed on Sundays and on public holidays."


def settings(*, history: bool = False, **agent: Any) -> dict[str, Any]:
    return {
        "type": "Settings",
        "flags": {"history": history},
        "audio": {
            "input": {"encoding": "mulaw", "sample_rate": 8000},
            "output": {"encoding": "mulaw", "sample_rate": 8000, "container": "none"},
        },
        "agent": agent,
    }


FLUX = {"provider": {"type": "deepgram", "version": "v2", "model": "flux-general-en"}}


class Client:
    """The other end: sends a caller's line in 20 ms frames, keeps everything that comes."""

    def __init__(self, script: Script) -> None:
        self.clock = VirtualClock(now=1000.0)
        self.standin = StandIn(script, self.clock)
        self.log: list[
            tuple[float, messages.ServerMessage | messages.UnknownAgentMessage | bytes | str]
        ] = []
        self.closed: Closed | None = None
        self.closed_at = 0.0
        self.writable: list[bool] = []
        self.speech = b""
        self.socket: Channel
        self.near, self.far = connect_in_memory(self.clock, self, self.standin, LATENCY_S)

    # wire.Receiver
    def on_open(self, socket: Channel) -> None:
        self.socket = socket

    def on_text(self, text: bytes) -> None:
        try:
            self.log.append((self.clock.now(), messages.read(text)))
        except messages.MalformedAgentMessageError:
            self.log.append((self.clock.now(), "garbage"))

    def on_binary(self, data: bytes) -> None:
        self.log.append((self.clock.now(), data))

    def on_writable(self, writable: bool) -> None:
        self.writable.append(writable)

    def on_close(self, closed: Closed) -> None:
        self.closed = closed
        self.closed_at = self.clock.now()

    # What a test does
    def settle(self, **agent: Any) -> "Client":
        """Through the opening, and a line that carries audio from here on."""
        self.clock.run(0.1)
        self.send(settings(**agent))
        self.clock.run(0.1)
        self.frame()
        return self

    def frame(self) -> None:
        frame, self.speech = self.speech[: audio.FRAME_BYTES], self.speech[audio.FRAME_BYTES :]
        self.socket.send_binary(frame.ljust(audio.FRAME_BYTES, audio.SILENCE))
        self.clock.call_at(self.clock.now() + 0.02, self.frame)

    def send(self, message: dict[str, Any] | messages.ClientMessage | bytes) -> None:
        text = message if isinstance(message, bytes) else msgspec.json.encode(message)
        self.socket.send_text(text)

    def talk(self, clip: str, then: float = 1.2) -> None:
        """Speak, and wait `then` seconds, in which the stand-in's answer begins."""
        self.speech = clips.load(clip)
        self.clock.run(len(self.speech) / audio.BYTES_PER_SECOND + then)

    def kinds(self) -> list[str]:
        """The kinds of what came, in order; audio in a row is one."""
        kinds: list[str] = []
        for _, message in self.log:
            kind = name(message)
            if kind != "audio" or kinds[-1:] != ["audio"]:
                kinds.append(kind)
        return kinds

    def new(self) -> list[str]:
        """The kinds of what came since this was asked before."""
        kinds = self.kinds()
        self.log.clear()
        return kinds

    def of(self, kind: type[Any]) -> list[Any]:
        return [message for _, message in self.log if isinstance(message, kind)]

    def audio(self) -> bytes:
        return b"".join(self.of(bytes))

    def error(self) -> str:
        """The code of the one Error, after which the socket is closed."""
        self.clock.run(0.5)
        (error,) = self.of(messages.Error)
        assert isinstance(error, messages.Error)
        assert self.kinds()[-1] == "Error"
        assert self.closed is not None
        assert self.standin.phase is SessionPhase.OVER
        return error.code


def name(message: messages.ServerMessage | messages.UnknownAgentMessage | bytes | str) -> str:
    if isinstance(message, bytes):
        return "audio"
    if isinstance(message, str):
        return message
    if isinstance(message, messages.ConversationText):
        return message.role
    return type(message).__name__


ANSWER = ["user", "assistant", "audio", "AgentAudioDone", "LatencyReport"]


# --- The opening ---------------------------------------------------------------------------------


def test_the_opening_and_the_greeting() -> None:
    client = Client(Script())
    client.clock.run(0.1)
    assert client.new() == ["Welcome"]
    client.send(settings(greeting="Hello! How can I help you today?"))
    client.clock.run(5)
    assert client.audio() == clips.load("agent-greeting")
    assert client.of(messages.ConversationText) == [
        messages.ConversationText("assistant", "Hello! How can I help you today?")
    ]
    assert client.new() == ["SettingsApplied", "assistant", "audio", "AgentAudioDone"]


def test_without_a_greeting_the_agent_waits_for_the_caller() -> None:
    client = Client(Script()).settle()
    client.clock.run(8)
    assert client.new() == ["Welcome", "SettingsApplied"]


def test_settings_that_come_before_the_welcome_are_taken_after_it() -> None:
    client = Client(Script(welcome=Stage(after_ms=500)))
    client.send(settings())
    client.clock.run(1)
    assert client.new() == ["Welcome", "SettingsApplied"]


def test_history_is_told_after_each_text_and_context_comes_back() -> None:
    context = [
        {"type": "History", "role": "user", "content": "Hi"},
        {
            "type": "History",
            "function_calls": [
                {
                    "id": "a",
                    "name": "f",
                    "client_side": True,
                    "arguments": "{}",
                    "response": "ok",
                }
            ],
        },
    ]
    client = Client(Script())
    client.settle(history=True, greeting="Hello?", context={"messages": context})
    client.clock.run(2)
    assert client.kinds() == [
        "Welcome", "SettingsApplied", "History", "History", "assistant", "History", "audio",
        "AgentAudioDone",
    ]  # fmt: skip
    first, second, third = client.of(messages.History)
    assert first == messages.History(role="user", content="Hi")
    assert second.function_calls[0].response == "ok"
    assert third == messages.History(role="assistant", content="Hello?")


def test_experimental_settings_announce_speech() -> None:
    client = Client(Script())
    client.clock.run(0.1)
    client.send({**settings(greeting="Hello?"), "experimental": True})
    client.clock.run(2)
    assert client.new() == [
        "Welcome", "SettingsApplied", "AgentStartedSpeaking", "assistant", "audio",
        "AgentAudioDone",
    ]  # fmt: skip


# --- Turns ---------------------------------------------------------------------------------------


def test_a_turn_from_the_caller_s_voice_to_the_latency_report() -> None:
    script = Script(turns=[ScriptTurn(hear="Opening hours?", say=[HOURS])])
    client = Client(script).settle()
    client.new()
    client.talk("caller-opening-hours", then=5)
    assert client.kinds() == ["UserStartedSpeaking", *ANSWER]
    texts = client.of(messages.ConversationText)
    assert [text.content for text in texts] == ["Opening hours?", HOURS]
    assert client.audio() == clips.load("agent-hours-sunday")
    assert client.of(messages.LatencyReport) == [script.latency_report()]
    assert [(line.role, line.content) for line in client.standin.lines] == [
        ("user", "Opening hours?"),
        ("assistant", HOURS),
    ]


def test_turns_are_answered_in_order_and_then_by_the_fallback() -> None:
    script = Script(
        turns=[ScriptTurn(hear="one", say=["Hello?"]), ScriptTurn(hear="two", say=["Stop."])]
    )
    client = Client(script).settle()
    for _ in range(4):
        client.talk("caller-yes", then=4)
    said = [text.content for text in client.of(messages.ConversationText)]
    assert said[:4] == ["one", "Hello?", "two", "Stop."]
    assert said[4:] == ["(unclear)", "Sorry, I did not catch that."] * 2


def test_sentences_are_sent_fast_and_released_at_the_pace_of_speech() -> None:
    first, second = "It is booked for you.", "You can collect it any time before six."
    client = Client(Script(turns=[ScriptTurn(hear="x", say=[first, second])], lead_ms=300)).settle()
    client.new()
    client.talk("caller-yes", then=6)
    assert client.kinds() == [
        "UserStartedSpeaking", "user", "assistant", "audio", "assistant", "audio",
        "AgentAudioDone", "LatencyReport",
    ]  # fmt: skip
    begun = [
        at
        for at, message in client.log
        if isinstance(message, messages.ConversationText) and message.role == "assistant"
    ]
    playing = len(clips.load("agent-table-booked")) / audio.BYTES_PER_SECOND
    assert begun[1] - begun[0] == pytest.approx(playing - 0.3, abs=0.001)
    done = next(at for at, m in client.log if isinstance(m, messages.AgentAudioDone))
    sending = len(clips.load("agent-order-collect")) / audio.BYTES_PER_SECOND / 8
    assert done - begun[1] == pytest.approx(sending, abs=0.05)
    assert {len(data) for data in client.of(bytes)} >= {960, 731, 1280}


def test_a_sentence_without_a_clip_is_a_hum_of_its_length() -> None:
    sentence = "Nobody ever recorded this."
    client = Client(Script(turns=[ScriptTurn(hear="x", say=[sentence])])).settle()
    client.talk("caller-yes", then=5)
    assert len(client.audio()) == len(sentence) * 60 * audio.BYTES_PER_MS
    assert set(client.audio()) != {0xFF}


def test_a_caller_who_goes_on_before_the_answer_has_not_finished() -> None:
    client = Client(
        Script(turns=[ScriptTurn(hear="all of it", say=["Hello?"])], reply_ms=500)
    ).settle()
    client.new()
    client.talk("caller-yes", then=0.9)
    assert client.new() == ["UserStartedSpeaking"]
    client.talk("caller-no", then=3)
    assert client.new() == ["UserStartedSpeaking", *ANSWER]


def test_a_cough_before_the_answer_is_not_heard() -> None:
    client = Client(Script(turns=[ScriptTurn(hear="x", say=["Hello?"])], reply_ms=500)).settle()
    client.new()
    client.talk("caller-yes", then=0.9)
    client.speech = clips.load("caller-opening-hours")[800:1600]
    client.clock.run(3)
    assert client.new() == ["UserStartedSpeaking", *ANSWER]


def test_a_burst_of_less_than_150_ms_is_neither_announced_nor_answered() -> None:
    client = Client(Script()).settle()
    client.new()
    client.speech = clips.load("caller-opening-hours")[800:1600]
    client.clock.run(5)
    assert client.new() == []


def test_an_answer_may_end_the_call_once_it_has_played() -> None:
    client = Client(Script(turns=[ScriptTurn(hear="Bye", say=["Hello?"], end=True)])).settle()
    client.talk("caller-goodbye", then=3)
    assert client.closed == Closed(1000, "", None)
    playing = len(clips.load("caller-hello")) / audio.BYTES_PER_SECOND
    assert client.closed_at - client.standin.lines[-1].at == pytest.approx(playing, abs=0.005)


def test_thinking_is_told_before_the_answer() -> None:
    client = Client(Script(turns=[ScriptTurn(hear="x", thinking="Hm.", say=["Hello?"])])).settle()
    client.new()
    client.talk("caller-yes", then=3)
    assert client.new() == ["UserStartedSpeaking", "user", "AgentThinking", *ANSWER[1:]]


# --- Barge-in ------------------------------------------------------------------------------------

LONG = [
    "We are open from Monday to Friday, from nine in the morning until six in the evening.",
    "On Saturdays we open at ten, and we close at four in the afternoon.",
]


@pytest.mark.parametrize("clip", clips.names("caller-"))
def test_barge_in_is_told_at_once_and_the_cut_turn_is_done_after_late_audio(clip: str) -> None:
    script = Script(turns=[ScriptTurn(hear="x", say=LONG)], speed=1.0, late_audio_ms=100)
    client = Client(script).settle()
    client.talk("caller-yes", then=3)
    client.new()
    began = client.clock.now()
    client.talk(clip, then=0)
    client.clock.run(0.3)
    told = next(at for at, m in client.log if isinstance(m, messages.UserStartedSpeaking))
    assert 0.04 <= told - began <= 0.2
    assert client.standin.onsets[-1] == pytest.approx(told - LATENCY_S)
    done = next(at for at, m in client.log if isinstance(m, messages.AgentAudioDone))
    # A chunk of 1280 bytes plays for 160 ms, which is how late the next look at the clock may be.
    assert 0.1 <= done - told <= 0.1 + 0.16 + 0.001
    late = [at for at, message in client.log if isinstance(message, bytes) and at > told]
    assert all(at - told <= 0.1 + LATENCY_S for at in late)
    assert client.of(messages.ConversationText) == []


def test_a_cut_answer_is_followed_by_the_reply_to_interruptions() -> None:
    script = Script(turns=[ScriptTurn(hear="x", say=LONG), ScriptTurn(hear="y", say=["Hello?"])])
    client = Client(script).settle()
    client.talk("caller-opening-hours", then=3)
    client.talk("caller-one-more-thing", then=4)
    client.talk("caller-yes", then=4)
    said = [text.content for text in client.of(messages.ConversationText)]
    expected = ["x", LONG[0], "Sorry, one more thing.", "Of course, what else?", "y", "Hello?"]
    assert said == expected


def test_a_reply_does_not_wait_for_late_audio_and_is_not_lost() -> None:
    script = Script(turns=[ScriptTurn(hear="x", say=LONG)], speed=1.0, late_audio_ms=3000)
    client = Client(script).settle()
    client.talk("caller-opening-hours", then=1.5)
    client.new()
    client.talk("caller-stop", then=3)
    assert client.new() == [
        "audio", "UserStartedSpeaking", "audio", "user", "AgentAudioDone", "LatencyReport",
        "assistant", "audio", "AgentAudioDone", "LatencyReport",
    ]  # fmt: skip


def test_an_answer_that_is_sent_but_not_played_is_interrupted_too() -> None:
    script = Script(turns=[ScriptTurn(hear="x", say=LONG[:1])], speed=1000)
    client = Client(script).settle()
    client.talk("caller-opening-hours", then=1.5)
    assert client.new()[-2:] == ["AgentAudioDone", "LatencyReport"]
    client.talk("caller-one-more-thing", then=3)
    said = [text.content for text in client.of(messages.ConversationText)]
    assert said == ["Sorry, one more thing.", "Of course, what else?"]
    assert client.new() == ["UserStartedSpeaking", *ANSWER]


def test_a_question_into_the_greeting_is_a_turn_of_its_own() -> None:
    client = Client(Script(turns=[ScriptTurn(hear="x", say=["Hello?"])]))
    client.settle(greeting=" ".join(LONG))
    client.clock.run(1)
    client.talk("caller-opening-hours", then=3)
    said = [text.content for text in client.of(messages.ConversationText)]
    assert said == [LONG[0], "x", "Hello?"]


def test_audio_waits_for_a_client_that_reads_too_slowly() -> None:
    client = Client(Script(turns=[ScriptTurn(hear="x", say=LONG)])).settle()
    client.talk("caller-yes", then=1.0)
    client.new()
    client.standin.on_writable(False)
    client.clock.run(3)
    assert "audio" not in client.new()
    client.standin.on_writable(True)
    client.clock.run(9)
    assert client.new() == ["audio", "assistant", "audio", "AgentAudioDone", "LatencyReport"]


# --- Functions -----------------------------------------------------------------------------------

BOOK = ScriptTurn(
    hear="Book.",
    function_calls=[
        ScriptFunctionCall(name="book", arguments={"people": 2}),
        ScriptFunctionCall(name="note", arguments={}, response="noted"),
    ],
    say=["It is booked for you."],
)


def test_functions_are_asked_for_and_their_answers_awaited() -> None:
    client = Client(Script(turns=[BOOK])).settle(history=True)
    client.new()
    client.talk("caller-book-table", then=3)
    (request,) = client.of(messages.FunctionCallRequest)
    assert client.new() == ["UserStartedSpeaking", "user", "History", "FunctionCallRequest"]
    book, note = request.functions
    assert (book.name, book.arguments, book.client_side) == ("book", '{"people":2}', True)
    client.send(messages.FunctionCallResponse("note", "n", note.id))
    client.clock.run(1)
    assert client.new() == []
    client.send(messages.FunctionCallResponse("book", "done", book.id))
    client.clock.run(3)
    history = client.of(messages.History)[0]
    assert [call.response for call in history.function_calls] == ["n", "done"]
    assert client.new()[:3] == ["History", "assistant", "History"]


def test_a_function_with_an_endpoint_is_run_by_the_agent() -> None:
    client = Client(Script(turns=[BOOK]))
    think = {
        "provider": {"type": "open_ai", "model": "gpt-4o-mini"},
        "functions": [
            {"name": "book"},
            {"name": "note", "endpoint": {"url": "https://h.example/", "method": "post"}},
        ],
    }
    client.settle(think=think)
    client.new()
    client.talk("caller-book-table", then=2)
    (request,) = client.of(messages.FunctionCallRequest)
    assert [call.client_side for call in request.functions] == [True, False]
    (response,) = client.of(messages.FunctionCallResponse)
    assert (response.name, response.content) == ("note", "noted")
    client.send(messages.FunctionCallResponse("book", "done", request.functions[0].id))
    client.clock.run(3)
    assert client.kinds()[-4:] == ["assistant", "audio", "AgentAudioDone", "LatencyReport"]


def test_a_caller_who_speaks_calls_functions_off_and_late_answers_are_dropped() -> None:
    client = Client(Script(turns=[BOOK, ScriptTurn(hear="Wait.", say=["Hello?"])])).settle()
    client.talk("caller-book-table", then=1.5)
    (request,) = client.of(messages.FunctionCallRequest)
    client.new()
    client.talk("caller-stop", then=0.1)
    (cancelled,) = client.of(messages.FunctionCallCancelled)
    assert [call.id for call in cancelled.functions] == [call.id for call in request.functions]
    for call in request.functions:
        client.send(messages.FunctionCallResponse(call.name, "late", call.id))
    client.clock.run(3)
    assert client.new() == ["UserStartedSpeaking", "FunctionCallCancelled", *ANSWER]


# --- Client messages -----------------------------------------------------------------------------


def test_updates_are_acknowledged() -> None:
    client = Client(Script()).settle(listen=FLUX)
    client.new()
    client.send(messages.KeepAlive())
    client.send(messages.UpdatePrompt("More."))
    client.send(messages.UpdateSpeak({"provider": {"type": "deepgram"}}))
    client.send(messages.UpdateThink([{"provider": {"type": "open_ai"}}]))
    client.send(messages.UpdateListen({"provider": {"keyterms": ["Offhook"]}}))
    client.send(messages.CustomToThinkProvider({"a": [1]}))
    client.clock.run(0.1)
    assert client.of(messages.CustomFromThinkProvider)[0].content == {"a": [1]}
    assert client.new() == [
        "PromptUpdated", "SpeakUpdated", "ThinkUpdated", "ListenUpdated", "CustomFromThinkProvider",
    ]  # fmt: skip
    assert client.standin.settings is not None
    assert client.standin.settings.listen["keyterms"] == ["Offhook"]
    assert client.standin.settings.listen["model"] == "flux-general-en"


@pytest.mark.parametrize(
    "provider",
    [
        {"type": "deepgram", "model": "flux-general-en", "version": "v1"},
        {"type": "someone_else"},
        {"type": "deepgram", "version": "v1", "model": "nova-3", "keyterms": ["a"]},
    ],
)
def test_a_listener_that_cannot_be_changed_so_stays_as_it_was(provider: dict[str, Any]) -> None:
    client = Client(Script()).settle(listen=FLUX)
    client.new()
    client.send(messages.UpdateListen({"provider": provider}))
    client.clock.run(0.1)
    (warning,) = client.of(messages.Warning)
    assert warning.code == "UPDATE_LISTEN_UNSUPPORTED_FIELDS_CHANGED"
    assert client.standin.settings is not None
    assert client.standin.settings.listen == FLUX["provider"]


def test_a_change_may_be_made_and_not_acknowledged() -> None:
    client = Client(Script(unacknowledged=["UpdateThink"])).settle(listen=FLUX)
    client.new()
    client.send(messages.UpdateThink({"provider": {"type": "open_ai"}, "prompt": "Be brief."}))
    client.send(messages.UpdatePrompt("Speak of cats."))
    client.clock.run(0.1)
    assert client.new() == ["PromptUpdated"]
    assert client.standin.settings is not None
    assert client.standin.settings.prompt == "Be brief.\n\nSpeak of cats."


def test_a_user_message_is_answered_like_a_turn_and_stops_the_agent() -> None:
    script = Script(
        turns=[ScriptTurn(hear="unheard", say=LONG), ScriptTurn(hear="x", say=["Hello?"])]
    )
    client = Client(script).settle()
    client.new()
    client.send(messages.InjectUserMessage("My number is 7."))
    client.clock.run(1)
    assert client.of(messages.ConversationText)[0].content == "My number is 7."
    client.send(messages.InjectUserMessage("Stop."))
    client.clock.run(3)
    assert client.new() == [
        "user", "assistant", "audio", "AgentAudioDone", "LatencyReport",
        "user", "assistant", "audio", "AgentAudioDone", "LatencyReport",
    ]  # fmt: skip


def test_a_turn_is_forced_to_end_with_flux_and_warned_about_without() -> None:
    client = Client(Script(turns=[ScriptTurn(hear="x", say=["Hello?"])])).settle(listen=FLUX)
    client.new()
    client.send(messages.ForceEndTurn())
    client.clock.run(1)
    assert client.new() == []
    client.speech = clips.load("caller-opening-hours")[:8000]
    client.clock.run(1)
    client.send(messages.ForceEndTurn())
    client.clock.run(0.01)
    assert client.kinds()[:3] == ["UserStartedSpeaking", "user", "assistant"]

    client = Client(Script()).settle()
    client.send(messages.ForceEndTurn())
    client.clock.run(0.1)
    assert client.of(messages.Warning)[0].code == "FORCE_END_TURN_UNSUPPORTED"


class TestInjection:
    """The matrix of deepgram.md §2.14."""

    MESSAGE = "Are you still there?"

    def client(self, **script: Any) -> Client:
        client = Client(Script(turns=[ScriptTurn(hear="x", say=LONG)], **script)).settle()
        client.new()
        return client

    def agent_mid_turn(self) -> Client:
        client = self.client()
        client.talk("caller-yes", then=1.2)
        assert client.new()[-1] == "audio"
        return client

    def user_mid_turn(self, **script: Any) -> Client:
        client = self.client(**script)
        client.speech = clips.load("caller-opening-hours")
        client.clock.run(0.5)
        assert client.new() == ["UserStartedSpeaking"]
        return client

    def inject(self, client: Client, behavior: Any, seconds: float = 5) -> list[str]:
        client.send(messages.InjectAgentMessage(self.MESSAGE, behavior))
        client.clock.run(seconds)
        return client.kinds()

    @pytest.mark.parametrize("behavior", ["default", "queue", "interrupt"])
    def test_nobody_speaks(self, behavior: str) -> None:
        client = self.client()
        assert self.inject(client, behavior) == ["assistant", "audio", "AgentAudioDone"]
        assert client.audio() == clips.load("agent-still-there")

    @pytest.mark.parametrize("behavior", ["default", "queue"])
    def test_the_user_speaks(self, behavior: str) -> None:
        client = self.user_mid_turn()
        assert self.inject(client, behavior, 0.1) == ["InjectionRefused"]

    def test_the_user_speaks_and_is_interrupted_and_interrupts(self) -> None:
        client = self.user_mid_turn()
        assert self.inject(client, "interrupt", 0.03) == ["assistant", "audio"]
        client.clock.run(1.2)
        kinds = client.kinds()
        assert kinds[:2] == ["assistant", "audio"]
        assert kinds.count("UserStartedSpeaking") == kinds.count("AgentAudioDone") == 1

    def test_the_agent_speaks(self) -> None:
        client = self.agent_mid_turn()
        assert "InjectionRefused" in self.inject(client, "default", 0.1)

    def test_the_agent_speaks_and_it_is_queued(self) -> None:
        client = self.agent_mid_turn()
        kinds = self.inject(client, "queue", 12)
        assert kinds.count("AgentAudioDone") == 1
        assert [text.content for text in client.of(messages.ConversationText)] == [
            LONG[1],
            self.MESSAGE,
        ]

    def test_the_agent_speaks_and_is_replaced(self) -> None:
        client = self.agent_mid_turn()
        kinds = self.inject(client, "interrupt")
        assert kinds[kinds.index("AgentAudioDone") :] == [
            "AgentAudioDone", "LatencyReport", "assistant", "audio", "AgentAudioDone",
        ]  # fmt: skip
        assert [text.content for text in client.of(messages.ConversationText)] == [self.MESSAGE]

    def test_an_answer_is_due(self) -> None:
        client = self.client(reply_ms=3000)
        client.talk("caller-yes", then=1)
        client.new()
        assert self.inject(client, "default", 0.1) == ["InjectionRefused"]
        client.new()
        assert self.inject(client, "queue", 6)[:3] == ["assistant", "audio", "AgentAudioDone"]
        assert [text.role for text in client.of(messages.ConversationText)][:2] == [
            "assistant",
            "user",
        ]

    def test_a_filler_while_a_function_runs_and_then_the_answer(self) -> None:
        client = Client(Script(turns=[BOOK])).settle()
        client.talk("caller-book-table", then=1.5)
        (request,) = client.of(messages.FunctionCallRequest)
        client.new()
        client.send(messages.InjectAgentMessage("Are you still there?", "queue"))
        for call in request.functions:
            client.send(messages.FunctionCallResponse(call.name, "ok", call.id))
        client.clock.run(5)
        assert client.new() == [
            "assistant", "audio", "assistant", "audio", "AgentAudioDone", "LatencyReport",
        ]  # fmt: skip

    @pytest.mark.parametrize("refuse_with", ["InjectionRefused", "Warning"])
    def test_a_refusal_comes_in_either_form(self, refuse_with: str) -> None:
        client = self.user_mid_turn(refuse_with=refuse_with)
        assert self.inject(client, "default", 0.1) == [refuse_with]
        if refuse_with == "Warning":
            code = client.of(messages.Warning)[0].code
            assert code == "INJECT_AGENT_MESSAGE_DURING_USER_SPEECH"


# --- Refusals ------------------------------------------------------------------------------------


def test_audio_before_the_settings_were_applied() -> None:
    client = Client(Script())
    client.clock.run(0.1)
    client.send(settings())
    client.clock.run(0.01)
    client.socket.send_binary(audio.silence(20))
    assert client.error() == "BINARY_MESSAGE_BEFORE_SETTINGS"


@pytest.mark.parametrize("message", [messages.KeepAlive(), messages.InjectUserMessage("x")])
def test_a_message_before_settings(message: messages.ClientMessage) -> None:
    client = Client(Script())
    client.clock.run(0.1)
    client.send(message)
    assert client.error() == "NON_SETTINGS_MESSAGE_BEFORE_SETTINGS"


def test_a_keep_alive_while_settings_are_being_applied_is_harmless() -> None:
    client = Client(Script())
    client.clock.run(0.1)
    client.send(settings())
    client.send(messages.KeepAlive())
    client.clock.run(0.5)
    assert client.kinds() == ["Welcome", "SettingsApplied"]


@pytest.mark.parametrize("wait", [0.0, 0.1, 1.0])
def test_settings_twice(wait: float) -> None:
    client = Client(Script())
    client.clock.run(wait)
    client.send(settings())
    client.clock.run(wait)
    client.send(settings())
    assert client.error() == "SETTINGS_ALREADY_APPLIED"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (b"not JSON", ""),
        (b"[]", ""),
        (b'{"type":"Nonsense"}', "type"),
        (b'{"type":"UpdatePrompt"}', "prompt"),
        (b'{"type":"InjectAgentMessage","message":"a","behavior":"rude"}', "behavior"),
        (b'{"type":"FunctionCallResponse","name":"f","content":{}}', "content"),
        (b'{"type":"FunctionCallResponse","name":"f","content":""}', "id"),
        (b'{"type":"InjectAgentMessage","is_dynamic":true}', "message"),
        (b'\xff\xfe{"type":"KeepAlive"}', ""),
    ],
)
def test_a_message_that_does_not_match_its_schema(text: bytes, field: str) -> None:
    client = Client(Script()).settle()
    client.send(text)
    assert client.error() == "UNPARSABLE_CLIENT_MESSAGE"
    assert field in client.of(messages.Error)[0].description


def changed(path: str, value: Any) -> dict[str, Any]:
    """The seed's kind of Settings, with one value changed."""
    message = settings(listen={"provider": {"type": "deepgram", "model": "nova-3"}})
    *way, last = path.split(".")
    here = message
    for step in way:
        here = here.setdefault(step, {})
    here[last] = value
    return message


DEEPGRAM_VOICE = {"type": "deepgram", "model": "aura-2-thalia-en"}


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("audio", 7, "UNPARSABLE_CLIENT_MESSAGE"),
        ("audio.input.sample_rate", "8000", "UNPARSABLE_CLIENT_MESSAGE"),
        ("agent.greeting", 7, "UNPARSABLE_CLIENT_MESSAGE"),
        ("agent.mip_opt_out", True, "UNPARSABLE_CLIENT_MESSAGE"),
        ("agent.tags", [], "UNPARSABLE_CLIENT_MESSAGE"),
        ("agent.flags", {}, "UNPARSABLE_CLIENT_MESSAGE"),
        ("greeting", "Hello", "UNPARSABLE_CLIENT_MESSAGE"),
        ("agent.context", {"messages": [{"type": "Talk"}]}, "UNPARSABLE_CLIENT_MESSAGE"),
        ("agent.listen", {}, "UNPARSABLE_CLIENT_MESSAGE"),
        ("agent.listen.provider.model", "flux-general-en", "INVALID_SETTINGS"),
        ("agent.listen.provider.version", "v2", "INVALID_SETTINGS"),
        ("agent.listen.provider.type", "whisper", "INVALID_SETTINGS"),
        ("agent.listen.provider.eot_threshold", 0.3, "INVALID_SETTINGS"),
        ("agent.listen.provider.eager_eot_threshold", 0.8, "INVALID_SETTINGS"),
        ("agent.listen.provider.eot_timeout_ms", 100, "INVALID_SETTINGS"),
        ("agent.listen", {"provider": {**FLUX["provider"], "smart_format": True}},
         "INVALID_SETTINGS"),
        ("agent.speak", {"provider": {**DEEPGRAM_VOICE, "version": "v2"}}, "INVALID_SETTINGS"),
        ("agent.speak", [{"provider": {"type": "deepgram", "model": "flux-kit-en"}}],
         "INVALID_SETTINGS"),
        ("agent.speak", {"provider": {"type": "eleven_labs", "model_id": "m"},
                         "endpoint": {"url": "wss://x.example/v?model_id=m"}}, "INVALID_SETTINGS"),
        ("agent.think", {"provider": {"type": "deepgram", "model": "think-fast"},
                         "functions": [{"name": "f", "initial_agent_filler": True}]},
         "INVALID_SETTINGS"),
        ("audio.input.encoding", "linear16", "INVALID_SETTINGS"),
        ("audio.output.sample_rate", 24000, "INVALID_SETTINGS"),
        ("audio.output.container", "wav", "INVALID_SETTINGS"),
        ("agent", "front desk", "INVALID_AGENT_ID"),
    ],
)  # fmt: skip
def test_settings_that_deepgram_refuses(path: str, value: Any, code: str) -> None:
    client = Client(Script())
    client.clock.run(0.1)
    client.send(changed(path, value))
    assert client.error() == code
    if code == "UNPARSABLE_CLIENT_MESSAGE":
        assert path in client.of(messages.Error)[0].description


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("agent.language", "en"),
        ("agent.listen", FLUX),
        ("agent", "0d9f3a52-8a5c-4c39-9f0f-2d3a5f1f9c11"),
        ("agent.greeting", None),
        ("agent.something_new", 1),
        (
            "agent.think",
            {"provider": {"type": "deepgram", "model": "think-fast", "voice_prompt_opt_out": True}},
        ),
        (
            "agent.speak",
            {"provider": {"type": "deepgram", "version": "v2", "model": "flux-zofia-pl"}},
        ),
        ("agent.speak", [{"provider": {**DEEPGRAM_VOICE, "speed": 1.2}}]),
    ],
)
def test_settings_that_deepgram_takes(path: str, value: Any) -> None:
    client = Client(Script())
    client.clock.run(0.1)
    client.send(changed(path, value))
    client.clock.run(0.1)
    assert client.new() == ["Welcome", "SettingsApplied"]


@pytest.mark.parametrize(
    "provider",
    [
        {**DEEPGRAM_VOICE, "speed": 0.5},
        {"type": "deepgram", "version": "v2", "model": "flux-kit-en", "speed": 1.03},
    ],
)
def test_a_speed_that_the_voice_does_not_have_ends_the_session_when_it_speaks(
    provider: dict[str, Any],
) -> None:
    client = Client(Script()).settle(speak={"provider": provider}, greeting="Hello?")
    assert client.error() == "FAILED_TO_SPEAK"


def test_a_prompt_that_is_too_long_is_warned_about() -> None:
    think = {"provider": {"type": "open_ai", "model": "gpt-4o-mini"}, "prompt": "x" * 25_001}
    client = Client(Script()).settle(think=think)
    assert client.of(messages.Warning)[0].code == "PROMPT_TOO_LONG"


def test_a_client_that_sends_nothing_for_ten_seconds() -> None:
    client = Client(Script())
    client.clock.run(0.1)
    client.send(settings())
    client.clock.run(9.8)
    client.send(messages.KeepAlive())
    client.clock.run(9.8)
    assert client.of(messages.Error) == []
    assert client.error() == "CLIENT_MESSAGE_TIMEOUT"


def test_a_session_may_be_shorter_so_that_its_end_can_be_tried() -> None:
    client = Client(Script(session_s=8))
    client.clock.run(0.1)
    client.send(settings())
    client.clock.run(3.8)
    assert not client.of(messages.Warning)
    client.clock.run(0.2)
    assert client.of(messages.Warning)[0].code == "MAXIMUM_SESSION_LENGTH_APPROACHING"
    client.send(messages.KeepAlive())
    client.clock.run(4)
    assert client.error() == "MAXIMUM_SESSION_LENGTH_REACHED"


CALL_BEFORE = {"id": "1", "name": "f", "client_side": True, "arguments": "{}", "response": "ok"}
TALK_BEFORE = {"type": "History", "role": "user", "content": "Hello."}


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (TALK_BEFORE, None),
        ({"type": "History", "function_calls": [CALL_BEFORE]}, None),
        ({"type": "History", "function_calls": [{**CALL_BEFORE, "thought_signature": "s"}]}, None),
        ({**TALK_BEFORE, "conversational_behavior": "x"}, "UNPARSABLE_CLIENT_MESSAGE"),
        ({**TALK_BEFORE, "function_calls": [CALL_BEFORE]}, "UNPARSABLE_CLIENT_MESSAGE"),
        ({**TALK_BEFORE, "role": "system"}, "INVALID_SETTINGS"),
        ({"type": "History", "role": "user"}, "UNPARSABLE_CLIENT_MESSAGE"),
        (
            {"type": "History", "function_calls": [{**CALL_BEFORE, "at": 1}]},
            "UNPARSABLE_CLIENT_MESSAGE",
        ),
    ],
)
def test_an_earlier_conversation_has_the_documented_fields_and_no_others(
    message: dict[str, Any], code: str | None
) -> None:
    client = Client(Script())
    client.settle(context={"messages": [message]})
    client.clock.run(0.5)
    assert [error.code for error in client.of(messages.Error)] == ([code] if code else [])


def test_an_earlier_conversation_need_not_come_back() -> None:
    client = Client(Script(replays_context=False))
    client.settle(history=True, context={"messages": [TALK_BEFORE]})
    assert not client.of(messages.History)


def test_two_hours_are_the_end() -> None:
    client = Client(Script())
    client.clock.run(0.1)
    client.send(settings())
    for _ in range(115 * 12):
        client.clock.run(5)
        client.send(messages.KeepAlive())
    client.clock.run(0.1)
    assert client.of(messages.Warning)[0].code == "MAXIMUM_SESSION_LENGTH_APPROACHING"
    for _ in range(5 * 12):
        client.clock.run(5)
        client.send(messages.KeepAlive())
    assert client.error() == "MAXIMUM_SESSION_LENGTH_REACHED"


# --- Faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "kinds", "closed"),
    [
        ({"welcome": Stage(fault="close")}, [], True),
        ({"welcome": Stage(fault="cut")}, [], True),
        ({"welcome": Stage(fault="stall")}, [], False),
        ({"welcome": Stage(error="SERVER_GOING_AWAY")}, ["Error"], True),
        ({"welcome": Stage(fault="garbage")}, ["garbage", "Welcome", "SettingsApplied"], False),
        ({"settings": Stage(fault="close")}, ["Welcome"], True),
        ({"settings": Stage(fault="stall")}, ["Welcome"], False),
        ({"settings": Stage(error="INVALID_SETTINGS")}, ["Welcome", "Error"], True),
        (
            {"settings": Stage(fault="unknown")},
            ["Welcome", "UnknownAgentMessage", "SettingsApplied"],
            False,
        ),
    ],
)
def test_a_fault_in_the_opening(stage: dict[str, Any], kinds: list[str], closed: bool) -> None:
    client = Client(Script(**stage))
    client.clock.run(0.1)
    client.send(settings())
    client.clock.run(1)
    assert client.new() == kinds
    assert (client.closed is not None) is closed
    if not closed and kinds[-1:] != ["SettingsApplied"]:
        client.clock.run(60)
        assert client.closed is None


@pytest.mark.parametrize(
    ("fault", "kinds"),
    [
        ({"fault": "close"}, ["user", "assistant", "audio"]),
        ({"fault": "cut"}, ["user", "assistant", "audio"]),
        ({"fault": "stall"}, ["user", "assistant", "audio"]),
        ({"error": "FAILED_TO_THINK"}, ["user", "assistant", "audio", "Error"]),
        ({"fault": "garbage"}, ["user", "garbage", *ANSWER[1:]]),
        ({"fault": "unknown"}, ["user", "UnknownAgentMessage", *ANSWER[1:]]),
        ({"fault": "text_only"}, ["user", "assistant", "LatencyReport"]),
        ({"fault": "never_done"}, ["user", "assistant", "audio", "LatencyReport"]),
    ],
)
def test_a_fault_in_a_turn(fault: dict[str, Any], kinds: list[str]) -> None:
    client = Client(Script(turns=[ScriptTurn(hear="x", say=["Hello?"], **fault)])).settle()
    client.new()
    client.talk("caller-yes", then=3)
    assert client.kinds() == ["UserStartedSpeaking", *kinds]
    ends = fault.get("fault") in ("close", "cut") or "error" in fault
    assert (client.closed is not None) is ends
    if ends or fault.get("fault") == "stall":
        assert len(client.of(bytes)) == 1
    if fault.get("fault") == "cut":
        assert client.closed is not None
        assert client.closed.received is None


def test_a_fault_in_place_of_an_answer() -> None:
    client = Client(Script(turns=[ScriptTurn(hear="x", error="FAILED_TO_THINK")])).settle()
    client.new()
    client.talk("caller-yes", then=3)
    assert client.error() == "FAILED_TO_THINK"
    assert client.new() == ["UserStartedSpeaking", "user", "Error"]


# --- What is kept --------------------------------------------------------------------------------


def test_arrivals_say_when_each_frame_was_whole() -> None:
    client = Client(Script())
    client.clock.run(0.1)
    client.send(settings())
    client.clock.run(0.1)
    for size in (100, 60, 400, 80):
        client.socket.send_binary(audio.SILENCE * size)
        client.clock.run(0.01)
    first = client.clock.now() - 0.04 + LATENCY_S
    arrivals = client.standin.arrivals
    assert arrivals.total == 640
    assert list(arrivals.sizes) == [100, 60, 400, 80]
    expected = [first + 0.01, first + 0.02, first + 0.02, first + 0.03]
    assert arrivals.frame_times() == pytest.approx(expected)


def test_what_a_session_keeps_is_bounded_and_a_closed_one_leaves_no_timer() -> None:
    client = Client(Script()).settle()
    for _ in range(1500):
        client.send(messages.KeepAlive())
    client.clock.run(0.1)
    assert len(client.standin.received) == 1000
    client.socket.close()
    client.clock.run(1)
    assert client.standin.closed == Closed(1000, "", None)
    client.log.clear()
    client.clock.run(3 * 3600)
    assert client.log == []


def test_many_injections_do_not_grow_without_bound() -> None:
    client = Client(Script()).settle()
    for _ in range(1000):
        client.send(messages.InjectAgentMessage("Stop.", "queue"))
    client.clock.run(300)
    assert len(client.of(messages.ConversationText)) == 101
