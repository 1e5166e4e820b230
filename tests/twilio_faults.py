"""Failures of Twilio's side of a call, at a whole server over real sockets.

`make soak` measures with them how long a session of Deepgram's outlives Twilio's side
(bench/races.py).
"""

import asyncio
import re
import time
from typing import Final, Literal, TypeAlias, cast

from tests.waiting import until
from tests.whole_server import RawStream, WholeServer, fresh_sid

from offhook.events.types import AudioDropped
from offhook.net.websocket import Channel, Socket
from offhook.testing.simulator.deepgram.standin import StandIn
from offhook.twilio import messages

TwilioFault: TypeAlias = Literal["drops", "goes silent", "reads nothing", "reads slowly"]
"""`goes silent` is half-open: the connection stands, and nothing comes. A side that `reads …` sends
the caller's audio all the same; one that reads slowly catches up, and then hangs up."""

ENDINGS: Final[dict[TwilioFault, str]] = {
    "drops": "caller_leg_lost",
    "goes silent": "caller_leg_lost",
    "reads nothing": "caller_leg_stuck",
    "reads slowly": "caller_hung_up",
}
"""Slug of the ending after each fault."""

FLOOD: Final = b"\x10" * 8000
"""A second of speech."""

FLOOD_S: Final = 60
"""Seconds of speech that the agent sends at once to a side that does not read."""


class FailingCall:
    """One call by the webhook whose Twilio side fails."""

    def __init__(self, whole: WholeServer) -> None:
        self.whole = whole
        self.sid = fresh_sid()
        self.stream: RawStream
        self.session: StandIn

    async def begin(self) -> None:
        """Begin the call, and wait until the agent speaks. No other call may begin meanwhile."""
        whole = self.whole
        before = len(whole.sessions)
        answer = await whole.post("/twilio/voice", CallSid=self.sid)
        found = re.search(r'name="token" value="([^"]+)"', answer.text)
        assert found is not None, answer.text
        self.stream = await whole.stream()
        self.stream.start(self.sid, found[1])
        self.stream.speak()
        await until(lambda: len(whole.sessions) > before and self.stream.received)
        self.session = whole.sessions[before]

    async def fail(self, fault: TwilioFault) -> float:
        """Let Twilio's side fail. Return the seconds until Deepgram's session was closed."""
        channel: Channel = self.stream.channel
        began = time.monotonic()
        if fault == "drops":
            channel.abort()
        else:
            _read(channel, is_reading=False)
        if fault.startswith("reads"):
            for _ in range(FLOOD_S):
                self._agent_says(FLOOD)
            dropped = (AudioDropped,)
            await until(lambda: any(isinstance(e, dropped) for e in self.whole.events(self.sid)))
        if fault == "reads slowly":
            _read(channel, is_reading=True)
            details = messages.StopDetails(call_sid=self.sid)
            self.stream.send(messages.Stop(stream_sid="MZ" + "b" * 32, stop=details))
        while not self.session.closed:
            if fault == "reads nothing":
                self.stream.speak()
            await asyncio.sleep(0.02)
        took_s = time.monotonic() - began
        await until(lambda: self.whole.endings(self.sid))
        _read(channel, is_reading=True)
        channel.abort()
        await self.stream.closed
        return took_s

    def _agent_says(self, audio: bytes) -> None:
        channel = self.session._channel
        assert channel is not None
        channel.send_binary(audio)


def _read(channel: Channel, *, is_reading: bool) -> None:
    """Stop to read a socket, or go on."""
    transport = cast("Socket", channel)._transport
    if transport is not None:
        below = transport.underlying_transport
        below.resume_reading() if is_reading else below.pause_reading()
