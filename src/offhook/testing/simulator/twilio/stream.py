"""Twilio's end of a media stream: the client of a voice-agent server.

Source: twilio.md §1.3 to §1.7. The stream sends the caller's audio in frames of 20 ms, plays the
server's audio to the caller at 8 bytes a millisecond, and checks the server's messages as Twilio
does. It also records what was said and heard, and when, on one timeline.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

from offhook import audio
from offhook.clock import Clock, Timer
from offhook.net.websocket import Channel, Closed
from offhook.twilio import messages

BUFFER_BYTES: Final = 10 * 60 * audio.BYTES_PER_SECOND
"""Bytes of unplayed audio that Twilio holds: ten minutes (twilio.md §1.6)."""

BROKEN: Final = 31903
SERVER_CLOSED: Final = 31921
CALLER_AUDIO_DROPPED: Final = 31930
AGENT_AUDIO_DROPPED: Final = 31931
UNDECODABLE: Final = 31950
INVALID: Final = 31951

StreamEvent: TypeAlias = Literal["stream-started", "stream-stopped", "stream-error"]
EndedBy: TypeAlias = Literal["caller", "server", "loss", "twilio"]
"""Party that ended a stream. `twilio`: Twilio redirected or ended the call (§1.7)."""

Report: TypeAlias = Callable[[StreamEvent, int | None, str], None]
"""Callback for each stream event: event, code 319xx of an error, text (§1.9, §1.10)."""


class LineControls(Protocol):
    """Actions of a caller on the line, besides speaking."""

    def press(self, key: str) -> None:
        """Press one key: 0-9, *, # or A-D."""

    def hang_up(self) -> None:
        """End the call."""


class StreamParty(Protocol):
    """Person who speaks and listens on the line."""

    def next_frame(self, line: LineControls, heard: bytes, now: float) -> bytes:
        """Return the audio of the next 20 ms (160 bytes). `heard` is the audio of the last 20 ms.

        `now` is the time between the two, in seconds of the clock.
        """


@dataclass(frozen=True, slots=True)
class Burst:
    """Agent audio that the caller heard without a gap. Times are in seconds of the clock.

    `cut_by` is the reason for which waiting audio was discarded: the server's `clear`, or the end
    of the stream. It is None when all audio was played.
    """

    began: float
    ended: float
    cut_by: Literal["clear", "end"] | None


@dataclass(frozen=True, slots=True)
class Echo:
    """Mark that was returned: time, name, and True if it was played, False if cleared."""

    at: float
    name: str
    played: bool


class SimulatedStream:
    """Media stream from `connected` to the close: the Receiver of the client's socket.

    Frame k (from 1) holds the caller's audio of the 20 ms before `started_at` + k · 20 ms and is
    sent at that time; when the process is late, all frames due are sent at once. Messages in
    `before_start` are a fault that a server must survive: Twilio sends none of them.
    """

    def __init__(
        self,
        party: StreamParty,
        clock: Clock,
        *,
        account_sid: str,
        call_sid: str,
        stream_sid: str,
        parameters: dict[str, str] | None = None,
        before_start: Sequence[bytes] = (),
        report: Report = lambda event, code, text: None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.account_sid = account_sid
        self.call_sid = call_sid
        self.stream_sid = stream_sid
        self.parameters = parameters or {}
        self._party = party
        self._clock = clock
        self._before_start = before_start
        self._report = report
        self._on_end = on_end

        self.started_at = clock.now()  # until it opens, if it does
        self.ended_by: EndedBy | None = None
        self.closed: Closed | None = None
        self.spoken = bytearray()
        """Mu-law audio of the caller from `started_at` on, including frames that were not sent."""
        self.heard = bytearray()
        """Mu-law audio of the agent as played to the caller, with silence where nothing played."""
        self.sent_at: list[float] = []
        """Times at which `media` messages were sent, in seconds of the clock."""
        self.dropped = 0
        """Number of frames that were not sent because the server read too slowly."""
        self.bursts: list[Burst] = []
        self.cleared_at: list[float] = []
        self.echoes: list[Echo] = []

        self._channel: Channel
        self._timer: Timer | None = None
        self._mark_timer: Timer | None = None
        self._sequence = 0
        self._writable = True
        self._reported: set[int] = set()
        self._next_frame = b""
        self._frames = 0
        # Audio to be played next, the marks with the places in `heard` where they will be passed,
        # and the place where the burst that is playing began.
        self._buffer = bytearray()
        self._marks: deque[tuple[int, str]] = deque()
        self._burst_began: int | None = None

    # --- methods for the caller and for tests ---

    def press(self, key: str) -> None:
        """Send a key as `dtmf`."""
        self._send(
            messages.Dtmf(
                stream_sid=self.stream_sid,
                dtmf=messages.DtmfDetails(key),
                sequence_number=self._next_sequence(),
            )
        )

    def hang_up(self) -> None:
        """Send `stop`, then close (twilio.md §1.7). This has no effect after the end."""
        self.stop("caller")

    def stop(self, by: Literal["caller", "twilio"]) -> None:
        """Send `stop`, then close, as Twilio does unless the server ends the stream."""
        if self.ended_by is not None:
            return
        self._send(
            messages.Stop(
                stream_sid=self.stream_sid,
                stop=messages.StopDetails(self.account_sid, self.call_sid),
                sequence_number=self._next_sequence(),
            )
        )
        self._end(by)
        self._channel.close()

    def abort(self) -> None:
        """Drop the connection, without `stop` and without a close frame."""
        self._channel.abort()

    def send_start(self) -> None:
        """Send `start`; a second one is a fault that a server must survive."""
        self._send(
            messages.Start(
                stream_sid=self.stream_sid,
                start=messages.StartDetails(
                    account_sid=self.account_sid,
                    call_sid=self.call_sid,
                    stream_sid=self.stream_sid,
                    tracks=["inbound"],
                    custom_parameters=self.parameters,
                ),
                sequence_number=self._next_sequence(),
            )
        )

    def send_raw(self, message: bytes, *, binary: bool = False) -> None:
        """Send a message as it is, such as an invalid one that a server must survive."""
        if binary:
            self._channel.send_binary(message)
        else:
            self._channel.send_text(message)

    # --- callbacks of the socket ---

    def on_open(self, socket: Channel) -> None:
        """Send `connected` and `start` after the upgrade, and the first frame 20 ms later."""
        self._channel = socket
        self.started_at = self._clock.now()
        self._send(messages.Connected())
        for message in self._before_start:
            self.send_raw(message)
        self.send_start()
        self._report("stream-started", None, "")
        silence = audio.silence(audio.FRAME_MS)
        self._next_frame = self._party.next_frame(self, silence, self.started_at)
        self._arm()

    def on_text(self, text: bytes) -> None:
        """Process a message of the server: media, mark or clear. Others are ignored."""
        if self.ended_by is not None:
            return
        self._play_until_now()
        try:
            message = messages.read_ours(text)
        except messages.MalformedTwilioMessageError as bad:
            self._report_once(INVALID, f"invalid message: {bad}")
            return
        if message.stream_sid != self.stream_sid:
            self._report_once(INVALID, "invalid message: it names another stream")
        elif isinstance(message, messages.PlayMessage):
            self._take(message.media.payload)
        elif isinstance(message, messages.SetMark):
            self._marks.append((len(self.heard) + len(self._buffer), message.mark.name))
            self._echo_passed()
        else:
            self._clear()

    def on_binary(self, data: bytes) -> None:
        """Report a binary frame, which Twilio cannot decode."""
        self._report_once(UNDECODABLE, f"a binary frame of {len(data)} bytes")

    def on_writable(self, writable: bool) -> None:
        """Drop caller audio (31930) while the server reads too slowly."""
        self._writable = writable

    def on_close(self, closed: Closed) -> None:
        """End the stream, if it is not over already."""
        self.closed = closed
        if self.ended_by is None:
            if closed.received is None:
                self._report_once(BROKEN, "the connection broke")
                self._end("loss")
            else:
                self._report_once(SERVER_CLOSED, f"the server closed it: {closed.received}")
                self._end("server")
        self._on_end()

    # --- the caller's voice ---

    def _arm(self) -> None:
        due = self._due(self._frames + 1)
        self._timer = self._clock.call_at(due, self._send_due_frames)

    def _due(self, frame: int) -> float:
        return self.started_at + frame * audio.FRAME_MS / 1000

    def _send_due_frames(self) -> None:
        self._send_frame()  # due, even if the loop calls the timer slightly early
        while self.ended_by is None and self._due(self._frames + 1) <= self._clock.now():
            self._send_frame()
        if self.ended_by is None:
            self._arm()

    def _send_frame(self) -> None:
        self._frames += 1
        edge = self._frames * audio.FRAME_BYTES
        self._play(edge)
        self.spoken += self._next_frame
        if self._writable:
            self.sent_at.append(self._clock.now())
            self._send(
                messages.Media(
                    stream_sid=self.stream_sid,
                    media=messages.MediaDetails(
                        payload=self._next_frame,
                        chunk=str(len(self.sent_at)),
                        timestamp=str(self._frames * audio.FRAME_MS),
                    ),
                    sequence_number=self._next_sequence(),
                )
            )
        else:
            self.dropped += 1
            self._report_once(CALLER_AUDIO_DROPPED, "caller audio dropped: the server reads slowly")
        heard = bytes(self.heard[edge - audio.FRAME_BYTES : edge])
        self._next_frame = self._party.next_frame(self, heard, self._due(self._frames))
        assert len(self._next_frame) == audio.FRAME_BYTES  # StreamParty requires it

    # --- the agent's voice ---

    def _take(self, payload: bytes) -> None:
        room = BUFFER_BYTES - len(self._buffer)
        if len(payload) > room:
            self._report_once(AGENT_AUDIO_DROPPED, "agent audio dropped: over 10 minutes waiting")
        self._buffer += payload[:room]

    def _clear(self) -> None:
        now = self._clock.now()
        self.cleared_at.append(now)
        if self._buffer:
            self._buffer.clear()
            self._end_burst("clear")
        while self._marks:
            self._echo(self._marks.popleft()[1], played=False)
        self._echo_passed()

    def _play_until_now(self) -> None:
        self._play(round((self._clock.now() - self.started_at) * audio.BYTES_PER_SECOND))

    def _play(self, until: int) -> None:
        """Advance playback to byte `until` of the timeline, unless it is already past it."""
        size = until - len(self.heard)
        if size <= 0:
            return
        if self._buffer:
            if self._burst_began is None:
                self._burst_began = len(self.heard)
            self.heard += self._buffer[:size]
            del self._buffer[:size]
        if len(self.heard) < until:
            self._end_burst(None)
            self.heard += audio.SILENCE * (until - len(self.heard))
        self._echo_passed()

    def _end_burst(self, cut_by: Literal["clear", "end"] | None) -> None:
        if self._burst_began is not None:
            began, ended = self._time_of(self._burst_began), self._time_of(len(self.heard))
            self.bursts.append(Burst(began, ended, cut_by))
            self._burst_began = None

    def _time_of(self, place: int) -> float:
        return self.started_at + place / audio.BYTES_PER_SECOND

    def _echo_passed(self) -> None:
        """Return the marks that playback has passed, and set the timer for the next."""
        while self._marks and self._marks[0][0] <= len(self.heard):
            self._echo(self._marks.popleft()[1], played=True)
        if self._mark_timer is not None:
            self._mark_timer.cancel()
            self._mark_timer = None
        if self._marks:
            place = self._marks[0][0]
            # A loop with a clock in milliseconds may call early. Playback advances to the mark
            # anyway; otherwise the timer would be set repeatedly within the same millisecond.
            self._mark_timer = self._clock.call_at(self._time_of(place), lambda: self._play(place))

    def _echo(self, name: str, *, played: bool) -> None:
        self.echoes.append(Echo(self._clock.now(), name, played))
        self._send(
            messages.Mark(
                stream_sid=self.stream_sid,
                mark=messages.MarkName(name),
                sequence_number=self._next_sequence(),
            )
        )

    # --- both ---

    def _end(self, ended_by: EndedBy) -> None:
        self.ended_by = ended_by
        for timer in (self._timer, self._mark_timer):
            if timer is not None:
                timer.cancel()
        self._marks.clear()
        self._play_until_now()
        self._end_burst("end" if self._buffer else None)
        self._buffer.clear()
        # Both sides get the same length: up to the last whole frame, or the end of playback.
        length = max(len(self.spoken), len(self.heard))
        for side in (self.spoken, self.heard):
            side += audio.SILENCE * (length - len(side))
        self._report("stream-stopped", None, "")

    def _report_once(self, code: int, text: str) -> None:
        if code not in self._reported:
            self._reported.add(code)
            self._report("stream-error", code, text)

    def _next_sequence(self) -> str:
        self._sequence += 1
        return str(self._sequence)

    def _send(self, message: messages.FromTwilio) -> None:
        self._channel.send_text(messages.write(message))
