"""A client of the stand-in, in memory, whose recogniser is told what the caller says."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from tests.memory_sockets import connect_in_memory

from offhook import audio
from offhook.deepgram import messages
from offhook.net.websocket import Channel, Closed
from offhook.testing.simulator.deepgram.policy import StandInAgent
from offhook.testing.simulator.deepgram.standin import StandIn
from offhook.testing.simulator.speech import clips
from offhook.testing.simulator.speech.clip_voice import ClipTextToSpeech
from offhook.testing.simulator.speech.engines import (
    SpeechHandle,
    SpeechToText,
    TextToSpeech,
    Transcript,
)
from offhook.testing.virtual_clock import VirtualClock

SPEECH = clips.load("caller-opening-hours")
"""What a caller who is typed sounds like."""


class TypedSpeechToText:
    """A recogniser that hears what `words` says, `after` seconds later; the audio is kept."""

    def __init__(self, clock: VirtualClock, after: float = 0.05) -> None:
        self.clock = clock
        self.after = after
        self.words: list[Transcript] = []
        self.audio: list[bytes] = []
        """Of each stretch of speech."""
        self.forgotten = 0
        self.closed = False
        self._now = b""

    def hear(self, audio: bytes) -> None:
        self._now += audio

    def end(self, heard: Callable[[Transcript], None]) -> None:
        self.audio.append(self._now)
        self._now = b""
        said = self.words.pop(0) if self.words else Transcript("", understood=False)
        if self.after < 0:
            return
        if self.after == 0:
            heard(said)
        else:
            self.clock.call_at(self.clock.now() + self.after, lambda: heard(said))

    def forget(self) -> None:
        self._now = b""
        self.forgotten += 1

    def close(self) -> None:
        self.closed = True


class SlowVoice:
    """A voice that makes a sentence in pieces, 20 ms apart, and counts what it is asked."""

    def __init__(self, clock: VirtualClock, pieces: int = 10, piece_ms: int = 100) -> None:
        self.clock = clock
        self.pieces = pieces
        self.piece_ms = piece_ms
        self.said: list[str] = []
        self.cancelled: list[str] = []
        self.made = 0

    def speak(
        self, sentence: str, audio: Callable[[bytes], None], done: Callable[[], None]
    ) -> SpeechHandle:
        return _Making(self, sentence, audio, done)


class _Making:
    def __init__(
        self,
        voice: SlowVoice,
        sentence: str,
        audio: Callable[[bytes], None],
        done: Callable[[], None],
    ) -> None:
        self.voice, self.sentence, self.audio, self.done = voice, sentence, audio, done
        self.left = voice.pieces
        self.over = False
        voice.said.append(sentence)
        voice.clock.call_at(voice.clock.now() + 0.02, self.make)

    def make(self) -> None:
        if self.over:
            return
        if self.left == 0:
            self.over = True
            self.done()
            return
        self.left -= 1
        self.voice.made += 1
        self.voice.clock.call_at(self.voice.clock.now() + 0.02, self.make)
        self.audio(b"\x50" * (self.voice.piece_ms * audio.BYTES_PER_MS))

    def cancel(self) -> None:
        if not self.over:
            self.over = True
            self.voice.cancelled.append(self.sentence)


def settings(
    *functions: Mapping[str, Any],
    think: Mapping[str, Any] | list[dict[str, Any]] | None = None,
    history: bool = False,
    **agent: Any,
) -> dict[str, Any]:
    """Settings; `think` is one block's own part, or the whole array."""
    block: Any = think
    if not isinstance(think, list):
        block = {
            "provider": {"type": "open_ai", "model": "gpt-4o-mini"},
            "prompt": "You are a restaurant.",
            "functions": list(functions),
            **(think or {}),
        }
    return {
        "type": "Settings",
        "flags": {"history": history},
        "audio": {
            "input": {"encoding": "mulaw", "sample_rate": 8000},
            "output": {"encoding": "mulaw", "sample_rate": 8000, "container": "none"},
        },
        "agent": {"think": block, **agent},
    }


BOOK = {"name": "book_table", "description": "Books.", "parameters": {"type": "object"}}
ORDER = {"name": "order_status", "description": "Asks.", "parameters": {"type": "object"}}

Answers = Callable[[messages.FunctionCall], str | None]


class Line:
    """One session with a caller who is typed, and with functions that answer at once."""

    def __init__(
        self,
        agent: Callable[[Callable[[], SpeechToText], TextToSpeech], StandInAgent],
        *,
        voice: Callable[[VirtualClock], TextToSpeech] = lambda clock: ClipTextToSpeech(),
        recognised_s: float = 0.05,
    ) -> None:
        self.clock = VirtualClock(now=1000.0)
        self.speech_to_text = TypedSpeechToText(self.clock, recognised_s)
        self.voice = voice(self.clock)
        self.standin = StandIn(agent(lambda: self.speech_to_text, self.voice), self.clock)
        self.log: list[messages.ServerMessage | messages.UnknownAgentMessage | bytes] = []
        self.closed: Closed | None = None
        self.answers: Answers = lambda call: None
        self.speech = b""
        self.socket: Channel
        connect_in_memory(self.clock, self, self.standin, 0.001)

    # wire.Receiver
    def on_open(self, socket: Channel) -> None:
        self.socket = socket

    def on_text(self, text: bytes) -> None:
        message = messages.read(text)
        self.log.append(message)
        if isinstance(message, messages.FunctionCallRequest):
            for call in message.functions:
                content = self.answers(call) if call.client_side else None
                if content is not None:
                    self.send(messages.FunctionCallResponse(call.name, content, call.id))

    def on_binary(self, data: bytes) -> None:
        self.log.append(data)

    def on_writable(self, writable: bool) -> None:
        pass

    def on_close(self, closed: Closed) -> None:
        self.closed = closed

    # What a test does
    def settle(self, message: dict[str, Any] | None = None) -> "Line":
        self.clock.run(0.1)
        self.send(message or settings(BOOK, ORDER))
        self.clock.run(0.1)
        self.frame()
        return self

    def frame(self) -> None:
        frame, self.speech = self.speech[: audio.FRAME_BYTES], self.speech[audio.FRAME_BYTES :]
        if self.closed is None:
            self.socket.send_binary(frame.ljust(audio.FRAME_BYTES, audio.SILENCE))
            self.clock.call_at(self.clock.now() + 0.02, self.frame)

    def send(self, message: dict[str, Any] | messages.ClientMessage) -> None:
        self.socket.send_text(msgspec.json.encode(message))

    def speak(self, text: str, *, understood: bool = True, then: float = 0.0) -> None:
        """Speak until the end, and `then` seconds longer."""
        self.speech_to_text.words.append(Transcript(text, understood))
        self.speech = SPEECH
        self.clock.run(len(SPEECH) / audio.BYTES_PER_SECOND + then)

    def say(self, text: str, *, understood: bool = True) -> list[str]:
        """Speak, and wait until the agent has been heard. What it said."""
        before = len(self.said())
        self.speak(text, understood=understood, then=1.2)
        self.wait()
        return self.said()[before:]

    def wait(self, limit: float = 40.0) -> None:
        """Until the agent has nothing more to say."""
        quiet_at = self.clock.now() + limit
        while self.clock.now() < quiet_at:
            before = self.standin.audio_sent
            self.clock.run(1.0)
            if self.standin.audio_sent == before and not self.standin.audible:
                return

    def said(self, role: str = "assistant") -> list[str]:
        return [line.content for line in self.standin.lines if line.role == role]

    def of(self, kind: type[Any]) -> list[Any]:
        return [message for message in self.log if isinstance(message, kind)]

    def kinds(self) -> list[str]:
        kinds: list[str] = []
        for message in self.log:
            if isinstance(message, bytes):
                kind = "audio"
            elif isinstance(message, messages.ConversationText):
                kind = message.role
            else:
                kind = type(message).__name__
            if kind != "audio" or kinds[-1:] != ["audio"]:
                kinds.append(kind)
        self.log.clear()
        return kinds
