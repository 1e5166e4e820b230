"""Operators of one live call: those who listen, and the one who speaks with the caller.

Each has a stream to a page of the console (docs/protocols/console.md). What they hear is what is on
the caller's wire, taken where the recording takes it: while nobody listens, nothing here is on the
audio path, and it costs nothing.
"""

import binascii
import logging
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

import msgspec

from offhook.audio import SILENCE
from offhook.call import inputs
from offhook.call.inputs import Input
from offhook.call.operator_voice import is_frame
from offhook.call.requests import CallRequest, HandBack, TakeOver
from offhook.clock import Clock, Timer
from offhook.events.types import Event, HandBackCause, ListeningBegan, ListeningEnded
from offhook.net.websocket import Channel, Closed
from offhook.twilio.stream import Recorder

_log: Final = logging.getLogger("offhook.operators")

OPERATORS_MAX: Final = 20
"""Streams to operators of one call; further ones are refused."""

GARBAGE_MAX: Final = 20
"""Messages of an operator's that make no sense, after which the stream is closed."""

GATHER_S: Final = 0.1
"""Seconds for which audio is gathered for those who listen: a message for each frame would cost as
much as the frame. An operator who speaks with the caller gets each frame at once."""

GATHERED_MAX: Final = 8000
"""Bytes of audio in one message: the agent's may come faster than it is heard."""

POLICY_VIOLATION: Final = 1008

LEFT: Final = (1000, 1005)
"""Close codes of a page that leaves on purpose, the second for a close frame without a code. A page
that is reloaded or closed sends 1001 (RFC 6455 §7.4.1)."""


class OperatorMessage(msgspec.Struct, frozen=True):
    """A message of an operator's page; `payload` is mu-law audio, in base64 on the wire."""

    event: str
    payload: bytes = b""


_message: Final = msgspec.json.Decoder(OperatorMessage)


class OperatorsOwner(Protocol):
    """The session that has operators."""

    @property
    def taken_by(self) -> str:
        """Name of the operator who speaks with the caller; empty while the agent does."""

    def ms(self) -> int:
        """Return the length of the call so far, in milliseconds."""

    def note(self, event: Event) -> None:
        """Publish an event."""

    def receive(self, message: Input) -> None:
        """Pass an input to the call."""

    def ask(self, request: CallRequest, replied: Callable[[bool, str], None]) -> int:
        """Make a request of the call."""

    def on_operator_audio(self, audio: bytes) -> None:
        """Pass audio of the operator on to the caller."""

    def unheard(self) -> bytes:
        """Return what went to Twilio and is not played yet: what the caller hears from now on."""

    def record(self, recorder: Recorder | None) -> None:
        """Give the caller's leg what is to get its audio."""


class Operators:
    """Operators of one call, whose session is `owner`. Everything is called on the event loop."""

    def __init__(self, owner: OperatorsOwner, clock: Clock) -> None:
        self._owner: OperatorsOwner | None = owner
        self._clock: Final = clock
        self._streams: list[OperatorStream] = []
        self._speaker: OperatorStream | None = None
        self._recorder: Recorder | None = None
        self._is_masked = False
        self._gathered: dict[bytes, _Gathered] = {}
        """Audio that those who listen have not been sent yet, by track."""
        self._timer: Timer | None = None

    # --- what the session tells ----------------------------------------------------------------

    def over(self, recorder: Recorder | None) -> Recorder | None:
        """Return what gets the audio of a new stream: the recorder, or both it and listeners."""
        self._recorder = recorder
        return _Overhearing(recorder, self) if self._streams else recorder

    def mask(self, is_on: bool) -> None:
        """Let nobody hear the caller while a secret is entered: keys can be heard."""
        self._is_masked = is_on

    def cut(self) -> None:
        """Tell that the agent's speech was thrown away, as the stream is left."""
        self.tell({"event": "clear"})

    def release(self, why: HandBackCause) -> None:
        """Tell the operator who spoke with the caller that they no longer do."""
        speaker, self._speaker = self._speaker, None
        if speaker is not None:
            speaker.tell({"event": "returned", "by": speaker.by, "why": why})
            self._dismiss(speaker)

    def finish(self) -> None:
        """Tell everyone that the call is over; a second time does nothing."""
        self._send_gathered()
        for stream in [*self._streams]:
            self._dismiss(stream)
        # They refer to the session: without this a collection would have to find the cycle.
        self._owner = self._speaker = self._recorder = None

    # --- streams -------------------------------------------------------------------------------

    def listening(self, by: str) -> "OperatorStream":
        """Return the receiver of a stream to an operator who listens."""
        return OperatorStream(self, by, speaks=False)

    def speaking(self, by: str) -> "OperatorStream":
        """Return the receiver of a stream to an operator who takes the call over."""
        return OperatorStream(self, by, speaks=True)

    def enter(self, stream: "OperatorStream") -> None:
        """Let a stream that is open listen, or take the call over."""
        owner = self._owner
        if owner is None:
            self._dismiss(stream)
        elif len(self._streams) >= OPERATORS_MAX:
            self._refuse(stream, f"{OPERATORS_MAX} people are with this call already")
        elif stream.speaks:
            owner.ask(TakeOver(stream.by), lambda done, what: self._on_reply(stream, done, what))
        else:
            owner.note(ListeningBegan(stream.by))
            self._add(stream)
            # Twilio has the rest of what the agent says, which does not come by again.
            for message in _messages(b"agent", owner.ms(), owner.unheard()):
                stream.play(message)

    def _on_reply(self, stream: "OperatorStream", done: bool, what: str) -> None:
        if not done:
            self._refuse(stream, what)
            return
        before, self._speaker = self._speaker, stream
        if before is not None:  # The same person, in another window.
            before.tell({"event": "returned", "by": before.by, "why": "elsewhere"})
            self._dismiss(before)
        self._add(stream)
        stream.tell({"event": "taken", "by": stream.by})

    def _refuse(self, stream: "OperatorStream", why: str) -> None:
        has_call = self._owner.taken_by if self._owner is not None else ""
        stream.tell({"event": "refused", "by": has_call, "why": why})
        stream.close()

    def _add(self, stream: "OperatorStream") -> None:
        self._send_gathered()  # It is not for the one who comes now.
        self._streams.append(stream)
        stream.began_ms = self._owner.ms() if self._owner is not None else 0
        if len(self._streams) == 1 and self._owner is not None:
            self._owner.record(_Overhearing(self._recorder, self))

    def leave(self, stream: "OperatorStream", *, is_lost: bool = True) -> None:
        """Forget a stream that is gone; the agent goes on if its operator spoke with the caller.

        At once, unless it is lost: then the operator may come back in a moment.
        """
        owner = self._owner
        if stream not in self._streams or owner is None:
            return
        self._streams.remove(stream)
        if not self._streams:
            owner.record(self._recorder)
        if stream is self._speaker:
            self._speaker = None
            if is_lost:
                owner.receive(inputs.OperatorLost())
            else:
                owner.ask(HandBack(), lambda done, what: None)
        elif not stream.speaks:
            owner.note(ListeningEnded(stream.by, owner.ms() - stream.began_ms))

    def _dismiss(self, stream: "OperatorStream") -> None:
        """Close a stream: the call is over, or the operator does not speak with the caller."""
        if stream is self._speaker:
            self._speaker = None
        self.leave(stream)
        stream.tell({"event": "end"})
        stream.close()

    # --- audio, and what else is told ----------------------------------------------------------

    def speak(self, stream: "OperatorStream", audio: bytes) -> None:
        """Pass audio on to the caller, if that operator speaks with the caller."""
        if stream is self._speaker and self._owner is not None:
            self._owner.on_operator_audio(audio)

    def hear_caller(self, audio: bytes) -> None:
        """Let everyone hear a piece of the caller's speech."""
        heard = SILENCE * len(audio) if self._is_masked else audio
        if self._speaker is not None and self._owner is not None:
            self._speaker.play(_media(b"caller", self._owner.ms(), heard))
        self._gather(b"caller", heard)

    def hear_agent(self, audio: bytes) -> None:
        """Let everyone hear what was sent to the caller, but for the one who has said it."""
        self._gather(b"agent", audio)

    def _gather(self, track: bytes, audio: bytes) -> None:
        """Have those who only listen hear audio, within GATHER_S."""
        if self._owner is None or not self._has_listeners:
            return
        gathered = self._gathered.get(track)
        if gathered is None:
            gathered = self._gathered[track] = _Gathered(self._owner.ms())
        gathered.audio += audio
        if len(gathered.audio) >= GATHERED_MAX:
            self._send_gathered()
        elif self._timer is None:
            self._timer = self._clock.call_at(self._clock.now() + GATHER_S, self._send_gathered)

    @property
    def _has_listeners(self) -> bool:
        return len(self._streams) > (self._speaker is not None)

    def _send_gathered(self) -> None:
        """Send those who listen what was gathered for them; without any do nothing."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        gathered, self._gathered = self._gathered, {}
        for track, each in gathered.items():
            for message in _messages(track, each.ms, bytes(each.audio)):
                for stream in [*self._streams]:
                    if stream is not self._speaker:
                        stream.play(message)

    def tell(self, message: dict[str, Any]) -> None:
        """Tell everyone something, behind the audio that came before."""
        self._send_gathered()
        for stream in [*self._streams]:
            stream.tell(message)


class OperatorStream:
    """The stream to one operator's page: the Receiver of its messages.

    Attributes:
        by: The operator's name.
        speaks: True if the operator takes the call over; else they only listen.
        began_ms: When the operator entered, in ms of the call.
    """

    def __init__(self, operators: Operators, by: str, *, speaks: bool) -> None:
        self.by: Final = by
        self.speaks: Final = speaks
        self.began_ms = 0
        self._operators = operators
        self._channel: Channel | None = None
        self._has_room = True
        self._garbage = 0

    def play(self, message: bytes) -> None:
        """Send audio, unless the page is so far behind that it would be late."""
        if self._has_room:
            self._send(message)

    def tell(self, message: dict[str, Any]) -> None:
        """Send anything else."""
        self._send(msgspec.json.encode(message))

    def close(self) -> None:
        """End the stream."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def _send(self, message: bytes) -> None:
        if self._channel is None:
            return
        try:
            self._channel.send_text(message)
        except Exception:  # noqa: BLE001 - it ends this stream alone, and not the call
            _log.exception("a fault in a stream to an operator")
            self._channel = None
            self._operators.leave(self)

    # --- Receiver ---

    def on_open(self, socket: Channel) -> None:
        """Listen, or take the call over."""
        self._channel = socket
        self._operators.enter(self)

    def on_text(self, text: bytes) -> None:
        """Pass on what the operator says; a listener has nothing to say."""
        try:
            message = _message.decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._count_garbage()
            return
        if message.event != "media":
            return
        if self.speaks and is_frame(message.payload):
            self._operators.speak(self, message.payload)
        else:
            self._count_garbage()

    def _count_garbage(self) -> None:
        self._garbage += 1
        if self._garbage > GARBAGE_MAX and self._channel is not None:
            self._channel.close(POLICY_VIOLATION, "messages that make no sense")

    def on_binary(self, data: bytes) -> None:
        """Count it: pages send text alone."""
        self._count_garbage()

    def on_writable(self, writable: bool) -> None:
        """Skip audio while the page is behind."""
        self._has_room = writable

    def on_close(self, closed: Closed) -> None:
        """Forget the operator, whose page is gone."""
        self._channel = None
        self._operators.leave(self, is_lost=closed.received not in LEFT)


class _Gathered:
    """Audio of one track, from a time in ms of the call on."""

    __slots__ = ("audio", "ms")

    def __init__(self, ms: int) -> None:
        self.ms: Final = ms
        self.audio = bytearray()


def _messages(track: bytes, ms: int, audio: bytes) -> Iterator[bytes]:
    """Return audio in messages of at most GATHERED_MAX bytes of it."""
    for at in range(0, len(audio), GATHERED_MAX):
        yield _media(track, ms, audio[at : at + GATHERED_MAX])


def _media(track: bytes, ms: int, audio: bytes) -> bytes:
    """Return a message of audio."""
    payload = binascii.b2a_base64(audio, newline=False)
    return b'{"event":"media","track":"%s","ms":%d,"payload":"%s"}' % (track, ms, payload)


class _Overhearing:
    """Receivers of the audio of a caller's leg: the recorder, and operators who listen."""

    def __init__(self, recorder: Recorder | None, operators: Operators) -> None:
        self._recorder = recorder
        self._operators = operators

    def heard(self, timestamp: Any, audio: bytes) -> None:
        """Take a piece of the caller's speech."""
        if self._recorder is not None:
            self._recorder.heard(timestamp, audio)
        self._operators.hear_caller(audio)

    def played(self, audio: bytes) -> None:
        """Take audio that went to Twilio."""
        if self._recorder is not None:
            self._recorder.played(audio)
        self._operators.hear_agent(audio)

    def cut(self) -> None:
        """Take note that Twilio was told to throw away what it has not played."""
        if self._recorder is not None:
            self._recorder.cut()
        self._operators.cut()
