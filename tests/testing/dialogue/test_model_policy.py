"""A model for a policy, over real sockets: a small server of completions, and the stand-in."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from tests.testing.dialogue.line import BOOK, ORDER, settings
from tests.testing.dialogue.openai_server import HEAD, OpenAI, calls, event, openai, status, texts
from tests.testing.free_speech_extra import need_free_speech
from tests.testing.front_desk import DESK
from tests.waiting import until

from offhook import audio
from offhook.clock import LoopClock
from offhook.deepgram import messages
from offhook.net import websocket
from offhook.testing.simulator.deepgram import server as standin_server
from offhook.testing.simulator.deepgram import turn_listener
from offhook.testing.simulator.deepgram.policy import StandInAgent
from offhook.testing.simulator.deepgram.script import Conduct
from offhook.testing.simulator.deepgram.standin import StandIn
from offhook.testing.simulator.dialogue import completions
from offhook.testing.simulator.dialogue import model_policy as model_mind
from offhook.testing.simulator.dialogue.completions import Model, completions_url, is_loopback
from offhook.testing.simulator.dialogue.dialogue_policy import conversing
from offhook.testing.simulator.dialogue.model_policy import CANNOT_THINK, DID_NOT_CATCH, thinking
from offhook.testing.simulator.speech import clips
from offhook.testing.simulator.speech.clip_voice import ClipTextToSpeech
from offhook.testing.simulator.speech.engines import SpeechToText, Transcript
from offhook.testing.simulator.speech.free_speech import recognising_freely

QUICK = Conduct(silence_ms=200, reply_ms=50, speed=1000)


class GivenSpeechToText:
    """A recogniser that hears what it is told."""

    def __init__(self) -> None:
        self.words: list[Transcript] = []

    def hear(self, audio: bytes) -> None:
        pass

    def end(self, heard: Callable[[Transcript], None]) -> None:
        heard(self.words.pop(0) if self.words else Transcript("", understood=False))

    def forget(self) -> None:
        pass

    def close(self) -> None:
        pass


class Client:
    """The client's end of one session."""

    def __init__(self, speech_to_text: GivenSpeechToText) -> None:
        self.speech_to_text = speech_to_text
        self.log: list[Any] = []
        self.socket: websocket.Channel
        self.session: StandIn
        self.closed = False
        self._news = asyncio.Event()

    def on_open(self, socket: websocket.Channel) -> None:
        self.socket = socket

    def on_text(self, text: bytes) -> None:
        self.log.append(messages.read(text))
        self._news.set()

    def on_binary(self, data: bytes) -> None:
        self.log.append(data)
        self._news.set()

    def on_writable(self, writable: bool) -> None:
        pass

    def on_close(self, closed: websocket.Closed) -> None:
        self.closed = True
        self._news.set()

    def send(self, message: Any) -> None:
        self.socket.send_text(msgspec.json.encode(message))

    def of(self, kind: type[Any]) -> list[Any]:
        return [message for message in self.log if isinstance(message, kind)]

    def said(self) -> list[str]:
        return [m.content for m in self.of(messages.ConversationText) if m.role == "assistant"]

    async def until(self, done: Callable[[], object]) -> None:
        async with asyncio.timeout(240):
            while not done():
                self._news.clear()
                await self._news.wait()

    async def ask(self, words: str) -> list[str]:
        """Write as the caller, and wait for the whole answer. Its sentences."""
        before, reports = len(self.said()), len(self.of(messages.LatencyReport))
        self.send(messages.InjectUserMessage(words))
        await self.until(lambda: len(self.of(messages.LatencyReport)) > reports or self.closed)
        await until(lambda: not self.session.audible or self.closed)
        return self.said()[before:]

    def speak(self, words: str, *, understood: bool = True) -> None:
        """Speak, faster than anybody can."""
        self.speech_to_text.words.append(Transcript(words, understood))
        sound = clips.load("caller-yes") + audio.silence(400)
        for start in range(0, len(sound), audio.FRAME_BYTES):
            self.socket.send_binary(sound[start : start + audio.FRAME_BYTES])


@asynccontextmanager
async def session(
    *functions: dict[str, Any],
    model: Model | None = None,
    think: dict[str, Any] | list[dict[str, Any]] | None = None,
    conduct: Conduct = QUICK,
    hearing: SpeechToText | None = None,
    asks_named: bool = True,
    **agent: Any,
) -> AsyncIterator[Client]:
    speech_to_text = GivenSpeechToText()
    sessions: list[StandIn] = []
    desk: StandInAgent = conversing(
        DESK, lambda: hearing or speech_to_text, ClipTextToSpeech(), conduct
    )
    async with thinking(desk, model, asks_named=asks_named) as agent_:
        clock = LoopClock(asyncio.get_running_loop())
        server = await standin_server.serve("127.0.0.1", 0, agent_, clock, sessions.append)
        client = Client(speech_to_text)
        headers = {"Authorization": "Token k"}
        await websocket.connect(server.url, client, headers=headers, timeout=5, max_size=2**20)
        client.session = sessions[0]
        client.send(settings(*functions, think=think, **agent))
        await client.until(lambda: client.of(messages.SettingsApplied))
        try:
            yield client
        finally:
            await server.close()


@asynccontextmanager
async def thought(
    *plans: list[Any], functions: tuple[dict[str, Any], ...] = (BOOK, ORDER), **options: Any
) -> AsyncIterator[tuple[Client, OpenAI]]:
    async with openai() as server:
        server.plans = list(plans)
        options.setdefault("model", Model(server.url, "small", {"Authorization": "Bearer key"}))
        async with session(*functions, **options) as client:
            yield client, server


def block(url: str, **more: Any) -> dict[str, Any]:
    provider = {"type": "open_ai", "model": "tiny", "temperature": 0.2}
    return {"provider": provider, "endpoint": {"url": url, "headers": {"x-key": "7"}}, **more}


# --- Talk ----------------------------------------------------------------------------------------


async def test_sentences_are_spoken_as_they_come() -> None:
    more = asyncio.Event()
    plan: list[Any] = [*texts("We are **open", "** today. And", " tomorrow.\n- All", " day")]
    plan.insert(4, more.wait)
    async with thought(plan) as (client, server):
        client.send(messages.InjectUserMessage("When are you open?"))
        await client.until(lambda: client.said())
        assert client.said() == ["We are open today."]
        await client.until(lambda: client.of(bytes))
        more.set()
        await client.until(lambda: client.of(messages.LatencyReport))
        assert client.said() == ["We are open today.", "And tomorrow.", "All day"]
        assert len(client.of(messages.AgentAudioDone)) == 1
        (report,) = client.of(messages.LatencyReport)
        assert 0 <= report.ttt_token_latency <= report.ttt_text_latency <= report.total_latency
        (request,) = server.requests
        assert request["stream"] is True
        assert request["model"] == "small"
        assert request["messages"] == [
            {"role": "system", "content": "You are a restaurant."},
            {"role": "user", "content": "When are you open?"},
        ]
        assert [tool["function"]["name"] for tool in request["tools"]] == [
            "book_table",
            "order_status",
        ]
        assert b"Bearer key" in server.headers[0]


async def test_with_the_extra_ears_it_is_asked_anything_that_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    need_free_speech()
    monkeypatch.setattr(turn_listener, "RECOGNISED_S", 240)
    conduct = Conduct(silence_ms=600, reply_ms=50, speed=1000)
    async with (
        recognising_freely(at_once=True) as recogniser,
        thought(texts("Bad luck."), conduct=conduct, hearing=recogniser.speech_to_text()) as (
            client,
            server,
        ),
    ):
        sound = clips.load("caller-weather") + audio.silence(1000)
        for start in range(0, len(sound), audio.FRAME_BYTES):
            client.socket.send_binary(sound[start : start + audio.FRAME_BYTES])
        await client.until(client.said)
    (request,) = server.requests
    assert "rain in paris" in request["messages"][-1]["content"].lower()
    assert client.said() == ["Bad luck."]


async def test_the_conversation_is_kept() -> None:
    async with thought(texts("Nine."), texts("Six."), greeting="Hello?") as (client, server):
        await client.until(lambda: client.of(messages.AgentAudioDone))
        assert await client.ask("When do you open?") == ["Nine."]
        assert await client.ask("And close?") == ["Six."]
        assert [m["content"] for m in server.requests[1]["messages"][1:]] == [
            "Hello?",
            "When do you open?",
            "Nine.",
            "And close?",
        ]


async def test_a_spoken_turn_and_one_that_nobody_understood() -> None:
    async with thought(texts("Hello.")) as (client, server):
        client.speak("", understood=False)
        await client.until(lambda: client.of(messages.LatencyReport))
        assert client.said() == [DID_NOT_CATCH]
        assert server.requests == []
        client.speak("good morning")
        await client.until(lambda: len(client.of(messages.LatencyReport)) == 2)
        assert client.said()[1:] == ["Hello."]


async def test_a_barge_in_cancels_the_request_and_what_was_heard_is_kept() -> None:
    never = asyncio.Event()
    first = [HEAD, event({"content": "It is a long story. It"}), never.wait]
    async with thought(first, texts("Sorry."), conduct=QUICK.model_copy(update={"speed": 8.0})) as (
        client,
        server,
    ):
        client.send(messages.InjectUserMessage("Tell me."))
        await client.until(lambda: client.of(bytes))
        client.speak("stop")
        await client.until(lambda: "Sorry." in client.said())
        assert server.cut == 1
        kept = [m["content"] for m in server.requests[1]["messages"][1:]]
        assert kept[0] == "Tell me."
        assert kept[-1] == "stop"
        assert all(content != "It is a long story. It" for content in kept)


async def test_a_turn_that_goes_on_is_asked_about_anew() -> None:
    never = asyncio.Event()
    slow = Conduct(silence_ms=200, reply_ms=2000, speed=1000)
    async with thought([HEAD, never.wait], texts("Yes."), conduct=slow) as (client, server):
        client.speak("a table")
        await client.until(lambda: len(client.of(messages.UserStartedSpeaking)) == 1)
        await until(lambda: bool(server.requests))
        client.speak("for two")
        await client.until(lambda: client.said())
        assert [m["content"] for m in server.requests[1]["messages"][1:]] == ["a table for two"]
        assert server.cut == 1


# --- Functions -----------------------------------------------------------------------------------


async def test_a_function_is_called_and_its_answer_told() -> None:
    plans = [calls(("c1", "book_table", '{"people": 2}'), text="One moment. "), texts("Done.")]
    async with thought(*plans) as (client, server):
        client.send(messages.InjectUserMessage("Book a table for two."))
        await client.until(lambda: client.of(messages.FunctionCallRequest))
        (call,) = client.of(messages.FunctionCallRequest)[0].functions
        assert (call.id, call.name, call.arguments) == ("c1", "book_table", '{"people": 2}')
        client.send(messages.FunctionCallResponse("book_table", '{"ok": true}', "c1"))
        await client.until(lambda: client.of(messages.LatencyReport))
        assert client.said() == ["One moment.", "Done."]
        (report,) = client.of(messages.LatencyReport)
        assert report.ttt_tool_latency > 0
        *_, user, called, answered = server.requests[1]["messages"]
        assert user["content"] == "Book a table for two."
        assert called["tool_calls"][0]["function"]["arguments"] == '{"people": 2}'
        assert answered == {"role": "tool", "tool_call_id": "c1", "content": '{"ok": true}'}


async def test_several_functions_at_once_and_one_after_the_other() -> None:
    plans = [
        calls(("c1", "book_table", "{}"), ("c1", "order_status", "nonsense")),
        calls(("", "order_status", "{}")),
        texts("Done."),
    ]
    async with thought(*plans) as (client, server):
        client.send(messages.InjectUserMessage("Do it all."))
        for round_ in (1, 2):
            await client.until(
                lambda round_=round_: len(client.of(messages.FunctionCallRequest)) == round_  # type: ignore[misc]
            )
            request = client.of(messages.FunctionCallRequest)[-1]
            assert len({call.id for call in request.functions}) == len(request.functions)
            for call in reversed(request.functions):
                content = f"answer of {call.name}"
                client.send(messages.FunctionCallResponse(call.name, content, call.id))
        await client.until(lambda: client.of(messages.LatencyReport))
        tools = [m["content"] for m in server.requests[2]["messages"] if m["role"] == "tool"]
        assert tools == [
            "answer of book_table",
            "answer of order_status",
            "answer of order_status",
        ]


async def test_a_function_that_nobody_offers_is_not_called() -> None:
    async with thought(calls(("c", "fly", "{}")), texts("I cannot.")) as (client, server):
        assert await client.ask("Fly.") == ["I cannot."]
        assert client.of(messages.FunctionCallRequest) == []
        assert "no such function" in server.requests[1]["messages"][-1]["content"]


async def test_a_function_with_an_endpoint_is_not_called_by_the_stand_in() -> None:
    far = {**BOOK, "endpoint": {"url": "https://h.example", "method": "post"}}
    plans = [calls(("c", "book_table", "{}")), texts("Sorry.")]
    async with thought(*plans, functions=(far,)) as (client, server):
        assert await client.ask("Book.") == ["Sorry."]
        assert client.of(messages.Warning)[0].code == "FUNCTION_CALL_FAILED"
        assert "calls no endpoints" in server.requests[1]["messages"][-1]["content"]


async def test_a_caller_who_speaks_up_calls_functions_off_and_the_model_is_told() -> None:
    async with thought(calls(("c", "book_table", "{}")), texts("All right.")) as (client, server):
        client.send(messages.InjectUserMessage("Book."))
        await client.until(lambda: client.of(messages.FunctionCallRequest))
        client.speak("stop")
        await client.until(lambda: client.of(messages.LatencyReport))
        assert client.of(messages.FunctionCallCancelled)
        assert client.said() == ["All right."]
        called, answered, user = server.requests[1]["messages"][2:]
        assert called["tool_calls"][0]["id"] == answered["tool_call_id"] == "c"
        assert "called off" in answered["content"]
        assert user["content"] == "stop"


async def test_functions_without_end_are_given_up() -> None:
    plans = [calls((f"c{n}", "fly", "{}")) for n in range(20)]
    async with thought(*plans) as (client, server):
        assert await client.ask("Fly.") == [CANNOT_THINK]
        assert len(server.requests) == model_mind.ROUNDS_MAX


# --- Settings ------------------------------------------------------------------------------------


async def test_a_model_on_this_machine_that_settings_name_does_the_talking() -> None:
    async with openai() as server, openai() as spare:
        server.plans = [status(503)]
        spare.plans = [texts("I am here.")]
        think = [block(server.url, prompt="P."), block(spare.url, prompt="Q.")]
        async with session(model=None) as client:
            client.send(messages.UpdateThink(think))
            # An endpoint that comes later finds a dialogue, which goes on.
            assert await client.ask("What are your opening hours?")
            assert server.requests == []
        async with session(think=think) as client:
            assert await client.ask("Hello?") == ["I am here."]
            assert client.of(messages.Warning)[0].code == "THINK_REQUEST_FAILED"
            assert server.requests[0]["temperature"] == 0.2
            assert b"x-key: 7" in server.headers[0].lower()
            assert spare.requests[0]["messages"][0]["content"] == "P."


async def test_a_model_anywhere_else_is_never_asked() -> None:
    think = block("http://models.example/v1/chat/completions")
    async with session(think=think) as client:
        assert "until six in the evening." in (await client.ask("When are you open?"))[0]


async def test_no_model_that_settings_name_is_asked_for_clients_of_other_machines() -> None:
    """`offhook standin --host 0.0.0.0`: they would have any port of this machine asked."""
    async with openai() as server, session(think=block(server.url), asks_named=False) as client:
        assert "until six in the evening." in (await client.ask("When are you open?"))[0]
        assert server.requests == []


async def test_updates_count_from_the_next_request_on_and_history_comes_first() -> None:
    finished = {"id": "a", "name": "f", "client_side": True, "arguments": "{}", "response": "r"}
    context = [
        {"type": "History", "role": "user", "content": "Hi"},
        {"type": "History", "function_calls": [finished]},
        {"type": "History", "role": "assistant", "content": "Hello"},
    ]
    plans = [texts("One."), texts("Two.")]
    async with thought(*plans, context={"messages": context}) as (client, server):
        await client.ask("Go on.")
        roles = [message["role"] for message in server.requests[0]["messages"]]
        assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]
        client.send(messages.UpdatePrompt("Be brief."))
        await client.ask("Again.")
        assert server.requests[1]["messages"][0]["content"].endswith("\n\nBe brief.")
        assert client.said() == ["One.", "Two."]


async def test_only_the_end_of_a_long_conversation_is_told() -> None:
    plans = [texts("A" * 50), texts("B" * 50)]
    think = {"context_length": 60}
    async with thought(*plans, think=think) as (client, server):
        await client.ask("first")
        await client.ask("second")
        assert [m["content"] for m in server.requests[1]["messages"][1:]] == ["A" * 50, "second"]


# --- Bad servers ---------------------------------------------------------------------------------

BAD = {
    "down": [],
    "500": status(500),
    "404": status(404),
    "401": status(401),
    "redirect": status(302, "Location: http://127.0.0.1:9/"),
    "no stream": [b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"choices":1}'],
    "nonsense": [HEAD, b"data: {]\n\n"],
    "another shape": [HEAD, b'data: {"choices": [{"delta": {"content": 7}}]}\n\n'],
    "an error": [HEAD, b'data: {"error": {"message": "overloaded"}}\n\n'],
    "nothing": texts(),
    "broken off": [HEAD, event({"content": "We are"})],
    "broken off at once": [HEAD],
    "no HTTP": [b"hello\r\n\r\n"],
    "too long a line": [HEAD, b"data: " + b"x" * 300_000],
    "too many calls": [
        HEAD,
        *(event({"tool_calls": [{"index": n, "id": f"{n}"}]}) for n in range(40)),
    ],
    "too many arguments": [
        HEAD,
        *(
            event({"tool_calls": [{"index": 0, "function": {"arguments": "x" * 30_000}}]})
            for _ in range(4)
        ),
    ],
    "cut": [HEAD[:-20]],
    "nested": [HEAD, b"data: " + b"[" * 10_000 + b"\n\n"],
}


@pytest.mark.parametrize("plan", BAD.values(), ids=BAD.keys())
async def test_a_bad_server_is_warned_about_and_apologised_for(plan: list[bytes]) -> None:
    async with thought(plan, texts("Better now.")) as (client, server):
        assert await client.ask("Hello?") == [CANNOT_THINK]
        (warning,) = client.of(messages.Warning)
        assert warning.code == "THINK_REQUEST_FAILED"
        assert "Hello?" not in warning.description
        assert client.of(messages.Error) == []
        assert await client.ask("Hello?") == ["Better now."]
        assert len(server.requests) == 2, "redirects are not followed"


async def test_a_stream_that_breaks_off_later_leaves_what_was_whole() -> None:
    plan = [HEAD, event({"content": "We are open. Until"})]
    async with thought(plan) as (client, _):
        assert await client.ask("Hello?") == ["We are open."]
        assert client.of(messages.Warning)[0].code == "THINK_REQUEST_FAILED"


async def test_a_server_that_stays_bad_ends_the_session() -> None:
    async with thought(*[status(500)] * 3) as (client, _):
        assert await client.ask("One") == [CANNOT_THINK]
        assert await client.ask("Two") == [CANNOT_THINK]
        await client.ask("Three")
        assert [error.code for error in client.of(messages.Error)] == ["FAILED_TO_THINK"]
        await client.until(lambda: client.closed)


async def test_nobody_listens_there() -> None:
    async with session(model=Model("http://127.0.0.1:1/v1/chat/completions", "m")) as client:
        assert await client.ask("Hello?") == [CANNOT_THINK]


@pytest.mark.parametrize(
    "model",
    [
        Model("http://", "m"),
        Model("nonsense", "m"),
        Model("http://127.0.0.1:1/", "m", {"x": "a\nb"}),
        Model("http://127.0.0.1:1/", "m", {"x": "\u20ac"}),
        Model("http://[::1", "m"),
    ],
)
async def test_an_endpoint_that_is_none(model: Model) -> None:
    async with session(model=model) as client:
        assert await client.ask("Hello?") == [CANNOT_THINK]


async def test_a_slow_server_is_reported_and_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completions, "SLOW_S", 0.05)
    monkeypatch.setattr(completions, "READ_S", 0.3)
    never = asyncio.Event()
    async with thought([never.wait], [HEAD, never.wait]) as (client, _):
        for _ in range(2):
            client.log.clear()
            assert await client.ask("Hello?") == [CANNOT_THINK]
            codes = [warning.code for warning in client.of(messages.Warning)]
            assert codes == ["SLOW_THINK_REQUEST", "THINK_REQUEST_FAILED"]


async def test_a_server_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completions, "TOTAL_S", 0.3)

    async def drip() -> None:
        await asyncio.sleep(0.02)  # the pace at which it drips

    plan = [HEAD, *[step for _ in range(200) for step in (b": wait\n", drip)]]
    async with thought(plan) as (client, _):
        assert await client.ask("Hello?") == [CANNOT_THINK]


async def test_an_endless_answer_is_cut() -> None:
    words = "word " * 400
    plan = [HEAD, *[event({"content": words}) for _ in range(50)]]
    async with thought(plan) as (client, _):
        said = await client.ask("Talk.")
        assert sum(map(len, said)) <= completions.TEXT_MAX
        assert max(map(len, said)) <= 300


async def test_a_session_that_ends_ends_its_request() -> None:
    never = asyncio.Event()
    async with thought([HEAD, never.wait]) as (client, server):
        client.send(messages.InjectUserMessage("Hello?"))
        await until(lambda: bool(server.requests))
        client.socket.close()
        await client.until(lambda: client.closed)
        await until(lambda: server.cut == 1)


# --- Names ---------------------------------------------------------------------------------------


def test_a_base_url_is_completed() -> None:
    whole = "http://127.0.0.1:11434/v1/chat/completions"
    assert completions_url("http://127.0.0.1:11434/v1") == whole
    assert completions_url("http://127.0.0.1:11434/v1/") == whole
    assert completions_url(whole) == whole


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:8080/v1", True),
        ("http://localhost/v1", True),
        ("https://[::1]/x", True),
        ("http://127.0.0.1.example.com/", False),
        ("http://10.0.0.1/", False),
        ("http://user@localhost@h.example/", False),
        ("ws://127.0.0.1/", False),
        ("file:///etc/passwd", False),
        ("http://[::1", False),
        ("", False),
    ],
)
def test_what_is_on_this_machine(url: str, here: bool) -> None:
    assert is_loopback(url) is here
