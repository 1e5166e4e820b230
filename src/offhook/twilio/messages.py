"""Media Streams messages, in both directions.

Source: twilio.md §1.3 (from Twilio), §1.4 (to Twilio). The same classes serve the server, which
reads the first kind and writes the second, and the simulated Twilio, which does the reverse.

There is one parser, also for audio: msgspec checks the whole message and decodes its base64 in
less time than Python takes to slice the payload out (docs/design/audio-path.md).
"""

from binascii import b2a_base64
from typing import Final, TypeAlias

import msgspec

Counter: TypeAlias = str | int
"""Counter: quoted in Twilio's examples, a number in its tables (twilio.md §1.3); both are read."""


class MalformedTwilioMessageError(ValueError):
    """Error: a media-stream message breaks the protocol. Says how; never quotes the payload."""


class _Details(msgspec.Struct, rename="camel", frozen=True):
    pass


class _Exact(_Details, frozen=True, forbid_unknown_fields=True):
    # What goes to Twilio: one field too many, and it ignores the message (twilio.md §1.4).
    pass


class _FromTwilio(_Details, frozen=True, tag_field="event"):
    # Lenient: new events and fields may appear (twilio.md §1.3).
    pass


class _ToTwilio(_Exact, frozen=True, tag_field="event"):
    pass


# --- From Twilio ------------------------------------------------------------------------------


class Connected(_FromTwilio, frozen=True, tag="connected"):
    """The first message, once. It has neither a sequence number nor a stream SID."""

    protocol: str = "Call"
    version: str = "1.0.0"


class MediaFormat(_Details, frozen=True):
    """The audio format of a stream: mu-law, 8000 Hz, one channel, unless TwiML asks for another."""

    encoding: str = "audio/x-mulaw"
    sample_rate: Counter = 8000
    channels: Counter = 1

    @property
    def foreign(self) -> str | None:
        """The name of a format that nothing here transcodes (twilio.md §1.3); None: it is ours."""
        named = (self.encoding, str(self.sample_rate), str(self.channels))
        if named == ("audio/x-mulaw", "8000", "1"):
            return None
        encoding, rate, channels = (each[:40] for each in named)
        return f"{encoding}, {rate} Hz, channels: {channels}"


class StartDetails(_Details, frozen=True):
    """The call that the stream belongs to. From and To are not in it."""

    account_sid: str
    call_sid: str
    stream_sid: str = ""
    # Only what names the call must be there: a missing format or parameter ends no call.
    tracks: list[str] = msgspec.field(default_factory=list)
    custom_parameters: dict[str, str] = msgspec.field(default_factory=dict)
    media_format: MediaFormat = MediaFormat()

    def __repr__(self) -> str:
        # The parameters hold the stream's token.
        return f"StartDetails({self.call_sid!r})"


class Start(_FromTwilio, frozen=True, tag="start"):
    """The stream's identity: once, straight after `connected`."""

    stream_sid: str
    start: StartDetails
    sequence_number: Counter = "1"


class MediaDetails(_Details, frozen=True):
    """A piece of the caller's mu-law audio; `timestamp` in ms from the start of the stream.

    On the wire the payload is base64: msgspec decodes and encodes it.
    """

    payload: bytes
    track: str = "inbound"
    chunk: Counter = "0"
    timestamp: Counter = "0"


class Media(_FromTwilio, frozen=True, tag="media"):
    """Audio from the call. On a bidirectional stream the track is always `inbound`."""

    stream_sid: str
    media: MediaDetails
    sequence_number: Counter = "0"


class DtmfDetails(_Details, frozen=True):
    """A pressed key. The track is `inbound_track` here, not `inbound`."""

    digit: str
    track: str = "inbound_track"


class Dtmf(_FromTwilio, frozen=True, tag="dtmf"):
    """The caller pressed a key."""

    stream_sid: str
    dtmf: DtmfDetails
    sequence_number: Counter = "0"


class MarkName(_Details, frozen=True):
    """A mark's name, echoed exactly as it was sent."""

    name: str


class Mark(_FromTwilio, frozen=True, tag="mark"):
    """Playback reached a mark of ours, or a `clear` threw the audio before it away."""

    stream_sid: str
    mark: MarkName
    sequence_number: Counter = "0"


class StopDetails(_Details, frozen=True):
    """The call that the stream belonged to. No reason is given."""

    account_sid: str = ""
    call_sid: str = ""


class Stop(_FromTwilio, frozen=True, tag="stop"):
    """The stream stopped or the call ended."""

    stream_sid: str
    stop: StopDetails = StopDetails()
    sequence_number: Counter = "0"


class UnknownTwilioMessage(msgspec.Struct, frozen=True):
    """A message with an unknown event: never a fault."""

    event: str


FromTwilio: TypeAlias = Connected | Start | Media | Dtmf | Mark | Stop
_KNOWN: Final = frozenset({"connected", "start", "media", "dtmf", "mark", "stop"})
_from_twilio: Final = msgspec.json.Decoder[FromTwilio](FromTwilio)
_envelope: Final = msgspec.json.Decoder(UnknownTwilioMessage)
_encode: Final = msgspec.json.Encoder().encode

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Exceptions of decoding JSON; the last is raised when it is nested too deeply."""


def read(text: bytes) -> FromTwilio | UnknownTwilioMessage:
    """Return a message from Twilio. Raises MalformedTwilioMessageError for any other text."""
    try:
        message: FromTwilio = _from_twilio.decode(text)
        return message
    except _UNREADABLE as error:
        fault = str(error)
    try:
        unknown = _envelope.decode(text)
    except _UNREADABLE as error:
        raise MalformedTwilioMessageError(f"not a media-stream message: {error}") from None
    # An unknown event is ignored (twilio.md §1.3), a known one that cannot be read is not.
    if unknown.event in _KNOWN:
        if fault.startswith("Invalid value"):  # the one fault in which msgspec quotes content
            fault = "another `event` before it"
        raise MalformedTwilioMessageError(f"malformed {unknown.event!r} message: {fault}")
    return unknown


def write(message: FromTwilio) -> bytes:
    """Return a message as Twilio would send it: the simulated Twilio's side of `read`."""
    return _encode(message)


# --- To Twilio: three kinds, with these fields and no others (31951 otherwise) -----------------


class PlayDetails(_Exact, frozen=True):
    """Mu-law bytes, of any length; base64 on the wire."""

    payload: bytes


class PlayMessage(_ToTwilio, frozen=True, tag="media"):
    """Append audio to what Twilio plays to the caller."""

    stream_sid: str
    media: PlayDetails


class SetMarkDetails(_Exact, frozen=True):
    """A mark's name; short ASCII (twilio.md §1.4)."""

    name: str


class SetMark(_ToTwilio, frozen=True, tag="mark"):
    """Ask for an echo when playback reaches this point."""

    stream_sid: str
    mark: SetMarkDetails


class Clear(_ToTwilio, frozen=True, tag="clear"):
    """Throw away everything that is buffered; pending marks come back."""

    stream_sid: str


ToTwilio: TypeAlias = PlayMessage | SetMark | Clear
_to_twilio: Final = msgspec.json.Decoder[ToTwilio](ToTwilio)


def read_ours(text: bytes) -> ToTwilio:
    """Return a message to Twilio, read as strictly as Twilio reads it.

    Raises MalformedTwilioMessageError (error 31951).
    """
    try:
        message: ToTwilio = _to_twilio.decode(text)
        return message
    except _UNREADABLE as error:
        raise MalformedTwilioMessageError(str(error)) from None


class MediaWriter:
    """Writes our three kinds of message for one stream, from parts made once."""

    __slots__ = ("_audio_prefix", "_mark_prefix", "clear")

    def __init__(self, stream_sid: str) -> None:
        # Fifty messages a second and call: all but the audio is encoded once (audio-path.md).
        sid = _encode(stream_sid)
        self._audio_prefix = b'{"event":"media","streamSid":' + sid + b',"media":{"payload":"'
        self._mark_prefix = b'{"event":"mark","streamSid":' + sid + b',"mark":{"name":'
        self.clear: Final = b'{"event":"clear","streamSid":' + sid + b"}"

    def play(self, audio: bytes) -> bytes:
        """Return a `media` message that appends `audio` to what the caller hears."""
        return b"".join((self._audio_prefix, b2a_base64(audio, newline=False), b'"}}'))

    def mark(self, name: str) -> bytes:
        """Return a `mark` message."""
        return b"".join((self._mark_prefix, _encode(name), b"}}"))
