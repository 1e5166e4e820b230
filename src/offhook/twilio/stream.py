"""The caller's leg: Twilio's media stream, once it has identified its call."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from offhook.net.websocket import INTERNAL_ERROR, MESSAGE_TOO_BIG, Channel, Closed
from offhook.twilio import messages
from offhook.twilio.messages import Counter

OUTBOX_BYTES: Final = 208 * 1024
"""Bytes of messages that wait while Twilio's socket is full; beyond, new audio is dropped.

With the socket's own buffer (websocket.WRITE_HIGH) that is less than 256 KiB.
"""


class CallerLegOwner(Protocol):
    """The session that owns a caller's leg and is notified of its events."""

    def on_caller_audio(self, audio: bytes) -> None:
        """Take a piece of the caller's speech, in practice 20 ms."""

    def on_caller_message(
        self, message: messages.FromTwilio | messages.UnknownTwilioMessage
    ) -> None:
        """Take any other message of Twilio's."""

    def on_caller_garbage(self, what: str) -> None:
        """Take note of a message that breaks the protocol; `what` quotes nothing of it."""

    def on_caller_writable(self, writable: bool) -> None:
        """Stop (False) or resume (True) sending: the socket is full, or takes data again."""

    def on_caller_lost(self, why: str, *, oversized: bool, ours: bool) -> None:
        """Take note that the socket is lost. `ours`: because of a fault in our own program."""

    def on_caller_dropped(self, size: int) -> None:
        """Count `size` bytes of agent audio that found no room."""


class Recorder(Protocol):
    """The recording of a call, from the audio that is on the wire."""

    def heard(self, timestamp: Counter, audio: bytes) -> None:
        """Record a piece of the caller's speech at Twilio's time of it, in ms."""

    def played(self, audio: bytes) -> None:
        """Record audio that went to Twilio, without audio that is dropped or in the outbox."""

    def cut(self) -> None:
        """Take note that Twilio was told to throw away what it has not played."""


class CallerLeg:
    """A media stream: reads Twilio's messages and writes ours (a websocket.Receiver)."""

    def __init__(
        self,
        channel: Channel,
        stream_sid: str,
        owner: CallerLegOwner,
        recorder: Recorder | None = None,
    ) -> None:
        self._channel = channel
        self._stream_sid = stream_sid
        self._owner = owner
        self._recorder = recorder
        self._writer = messages.MediaWriter(stream_sid)
        self._writable = True
        self._outbox: list[bytes] = []
        self._outbox_size = 0
        self._ends_with_mark = False
        """True if the last message of the outbox is a mark."""

    def record(self, recorder: Recorder | None) -> None:
        """Give the audio of both sides to another recorder from now on, or to none."""
        self._recorder = recorder

    @property
    def is_recorded(self) -> bool:
        """True if a recorder gets the audio of both sides."""
        return self._recorder is not None

    @property
    def held_back(self) -> int:
        """Bytes of audio that wait in this process, as Twilio's socket is full."""
        sent = [messages.read_ours(message) for message in self._outbox]
        return sum(len(m.media.payload) for m in sent if isinstance(m, messages.PlayMessage))

    # --- to Twilio ---

    def play(self, pieces: Sequence[tuple[bytes, str | None]]) -> None:
        """Append audio, each piece followed by its mark, to what the caller hears."""
        for audio, mark in pieces:
            if audio:
                message = self._writer.play(audio)
                if self._writable:
                    self._channel.send_text(message)
                    if self._recorder is not None:
                        self._recorder.played(audio)
                elif self._outbox_size + len(message) <= OUTBOX_BYTES:
                    self._queue(message)
                else:
                    self._owner.on_caller_dropped(len(audio))
            # The echo of a mark tells what was played (twilio.md §1.6), so marks are not dropped.
            if mark is not None:
                message = self._writer.mark(mark)
                if self._writable:
                    self._channel.send_text(message)
                else:
                    self._queue_mark(message)

    def clear(self) -> None:
        """Drop all audio that was not played, here and at Twilio."""
        # `clear` goes out even while the socket is full. Twilio answers it with the marks of what
        # it threw away (twilio.md §1.6); those of the outbox never reached it.
        self._outbox.clear()
        self._outbox_size = 0
        self._channel.send_text(self._writer.clear)
        if self._recorder is not None:
            self._recorder.cut()

    def close(self) -> None:
        """End the stream: Twilio goes on with the TwiML after `<Connect>` (twilio.md §1.7)."""
        self._channel.close()

    def leave(self) -> Callable[[], None]:
        """Stop listening to a stream that is left on purpose. Return what closes it."""
        self._channel.receiver = _Left()
        return self._channel.close

    def _queue(self, message: bytes) -> None:
        self._outbox.append(message)
        self._outbox_size += len(message)
        self._ends_with_mark = False

    def _queue_mark(self, message: bytes) -> None:
        if self._outbox and self._ends_with_mark:
            # Their audio was dropped, so both would come back at once, and the later one tells all.
            self._outbox_size -= len(self._outbox.pop())
        self._queue(message)
        self._ends_with_mark = True

    # --- from Twilio ---

    def on_open(self, socket: Channel) -> None:
        """Do nothing: an UnverifiedStream got this call before this leg replaced it."""

    def on_text(self, text: bytes) -> None:
        """Pass one message on, 50 times a second: nearly always audio (twilio.md §1.3)."""
        try:
            message = messages.read(text)
        except messages.MalformedTwilioMessageError as bad:
            self._owner.on_caller_garbage(str(bad))
            return
        if type(message) is messages.Media:
            if message.stream_sid != self._stream_sid:
                # A call has one stream (twilio.md §1.8): this is not the caller's voice.
                self._owner.on_caller_garbage("media of a foreign stream")
            elif message.media.track == "inbound":  # the caller's side (twilio.md §1.3)
                self._owner.on_caller_audio(message.media.payload)
                if self._recorder is not None:
                    self._recorder.heard(message.media.timestamp, message.media.payload)
        elif isinstance(message, messages.Connected | messages.UnknownTwilioMessage):
            self._owner.on_caller_message(message)
        # A second `start` has another StreamSid; the call itself refuses it.
        elif message.stream_sid != self._stream_sid and not isinstance(message, messages.Start):
            self._owner.on_caller_garbage("a message of a foreign stream")
        else:
            self._owner.on_caller_message(message)

    def on_binary(self, data: bytes) -> None:
        """Report a fault: all of Twilio's messages are texts (twilio.md §1.3)."""
        self._owner.on_caller_garbage("a binary message")

    def on_writable(self, writable: bool) -> None:
        """Hold messages back, or send what was held back until the socket is full again."""
        self._writable = writable
        while self._outbox and self._writable:
            message = self._outbox.pop(0)
            self._outbox_size -= len(message)
            self._channel.send_text(message)
            if self._recorder is not None:
                sent = messages.read_ours(message)
                if isinstance(sent, messages.PlayMessage):
                    self._recorder.played(sent.media.payload)
        if self._writable == writable:  # else it filled up again, which has been told already
            self._owner.on_caller_writable(writable)

    def on_close(self, closed: Closed) -> None:
        """Tell the session that the socket is lost, unless we closed it."""
        why = closed.reason or (f"close code {closed.received}" if closed.received else "cut off")
        self._owner.on_caller_lost(
            why,
            oversized=closed.sent == MESSAGE_TOO_BIG,
            ours=closed.sent == INTERNAL_ERROR,
        )


class _Left:
    """The receiver of a stream that was left: it ignores what still comes."""

    def on_open(self, socket: Channel) -> None:
        """Do nothing: the socket was open before."""

    def on_text(self, text: bytes) -> None:
        """Ignore audio of the last moment, and the `stop` behind it (twilio.md §1.7)."""

    def on_binary(self, data: bytes) -> None:
        """Ignore it."""

    def on_writable(self, writable: bool) -> None:
        """Do nothing: nothing is written."""

    def on_close(self, closed: Closed) -> None:
        """Do nothing: the end was awaited."""
