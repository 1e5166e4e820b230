"""Replay of a captured call: the same caller, to the millisecond, whatever the agent does now.

The caller of a capture is played in open loop, as a recording: they do not wait for an answer that
comes later than in the capture. comparison.py compares the result.
"""

import asyncio
from typing import Any, Final

from offhook import audio
from offhook.call.ending import Ending
from offhook.capture import writer as capture
from offhook.capture.masking import Masks
from offhook.capture.tap import OnWire
from offhook.net.websocket import Closed, Receiver
from offhook.testing.replay.captured import (
    AgentWire,
    CallerSide,
    Captured,
    caller_side,
    to_caller,
    told,
)
from offhook.testing.simulator.twilio.call_report import LegReport
from offhook.testing.simulator.twilio.phone import place_call
from offhook.testing.simulator.twilio.stream import LineControls, SimulatedStream
from offhook.testing.virtual_clock import VirtualClock
from offhook.twilio.messages import MediaWriter

PATIENCE_MS: Final = 5000
"""Milliseconds that the caller stays longer than in the capture, if the server ended the call."""

UNKNOWN: Final = "+12025550100"
"""Telephone number used where the capture has none: a fictitious one."""

DAY_S: Final = 24 * 3600.0
"""Longest possible call, in seconds."""


class ReplayedCaller:
    """The caller of a capture (call_report.CallParty)."""

    faults: tuple[str, ...] = ()

    def __init__(self, captured: Captured) -> None:
        self._side = caller_side(captured)
        self._hangs_up_ms = _hangs_up_ms(captured, self._side)
        self._keys = list(self._side.keys)
        self._at_ms = 0

    def next_frame(self, line: LineControls, heard: bytes, now: float) -> bytes:
        """Return the captured frame, whatever is heard (stream.StreamParty)."""
        at_ms = self._at_ms
        self._at_ms += audio.FRAME_MS
        while self._keys and self._keys[0][0] <= at_ms:
            line.press(self._keys.pop(0)[1])
        if at_ms >= self._hangs_up_ms:
            line.hang_up()
        begin = at_ms * audio.BYTES_PER_MS
        frame = self._side.audio[begin : begin + audio.FRAME_BYTES]
        return frame or audio.silence(audio.FRAME_MS)

    def call_ended(self) -> None:
        """Do nothing: the end of the call needs no action here."""


def _hangs_up_ms(captured: Captured, side: CallerSide) -> int:
    if side.hung_up_ms is not None:
        return side.hung_up_ms
    end = audio.milliseconds(len(side.audio))
    if captured.ended_by != "server":
        return end
    last = max((at_ms for at_ms, _ in to_caller(captured)), default=0.0)
    return max(end, round(last)) + PATIENCE_MS


class AgentWireTap:
    """A Tap that keeps the messages of a replayed call. `over` is set when the call is over."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self._masks = Masks(())
        self._lines: list[capture.CaptureLine] = []

    def on_wire(self, message: OnWire) -> None:
        """Keep a message, unless it is audio."""
        line = capture.line_of(message, self._masks)
        if line.message is not None:
            self._lines.append(line)

    def on_ended(self, ending: Ending | None) -> None:
        """Keep the call's ending, and set `over`."""
        slug = None if ending is None else ending.how.slug
        self._lines.append(capture.CaptureLine(at=0, ended=slug))
        self.over.set()

    def told(self) -> AgentWire:
        """Return the agent's texts and function calls so far, and the ending if there is one."""
        return told(self._lines)


async def call_again(to_url: str, captured: Captured, **options: Any) -> LegReport[ReplayedCaller]:
    """Place the call of a capture between the captured numbers, with phone.place_call's options.

    The capture of a TwiML Bin's stream has no numbers: the server's default line is called then.
    """
    header = captured.header
    return await place_call(
        to_url,
        ReplayedCaller(captured),
        from_=header.from_ or UNKNOWN,
        to=header.to or UNKNOWN,
        **options,
    )


def enact(captured: Captured) -> SimulatedStream:
    """Play the server's captured messages in the simulated stream, at the times they were sent.

    A replay uses the same simulation, so both calls can be compared.
    """
    clock = VirtualClock()
    stream = SimulatedStream(
        ReplayedCaller(captured),
        clock,
        account_sid="",
        call_sid=captured.header.call_sid,
        stream_sid="captured",
    )
    writer = MediaWriter(stream.stream_sid)
    stream.on_open(_Nowhere(stream))
    for at_ms, line in to_caller(captured):
        clock.run(max(0.0, at_ms / 1000 - clock.now()))
        if line.closed is not None:
            if line.dir == "out":
                stream.on_close(Closed(1000, "", 1000))
        elif line.audio is not None:
            stream.on_text(writer.play(line.audio))
        elif isinstance(line.message, dict) and line.message.get("event") == "clear":
            stream.on_text(writer.clear)
        elif isinstance(line.message, dict) and line.message.get("event") == "mark":
            stream.on_text(writer.mark(str(line.message.get("mark", {}).get("name", ""))))
    clock.run_until(lambda: stream.ended_by is not None, DAY_S)
    return stream


class _Nowhere:
    """A Channel that discards everything sent."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver: Receiver = receiver

    def send_text(self, text: bytes) -> None:
        """Discard the message."""

    def send_binary(self, data: bytes) -> None:
        """Discard the message."""

    def close(self, code: int = 1000, reason: str = "", *, hears_out: bool = False) -> None:
        """Do nothing: no socket is open."""

    def abort(self) -> None:
        """Do nothing: no socket is open."""
