"""What calls of this process hold for each side while an agent or Twilio misbehaves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from offhook.calls.session import Session
from offhook.testing.scenarios.own_server import OwnServer

LOOK_S = 0.002


@dataclass(slots=True)
class Peaks:
    """Most bytes that one call held for each side."""

    to_twilio: int = 0
    to_deepgram: int = 0


def _unsent(leg: Any) -> int:
    """Return the bytes that a leg holds, in its outbox and in its socket's buffer."""
    channel = None if leg is None else leg._channel
    channel = getattr(channel, "channel", channel)  # behind a tap
    transport = getattr(channel, "_transport", None)
    if transport is None:
        return 0
    waiting: int = transport.underlying_transport.get_write_buffer_size()
    return waiting + int(leg._outbox_size)


def _note(peaks: Peaks, session: Session) -> None:
    link = session._call.link
    to_twilio = _unsent(session._stream.leg) + link._held_speech_bytes
    to_deepgram = _unsent(session._agent) + link.held_caller_bytes
    peaks.to_twilio = max(peaks.to_twilio, to_twilio)
    peaks.to_deepgram = max(peaks.to_deepgram, to_deepgram)


@asynccontextmanager
async def watched(own: OwnServer) -> AsyncIterator[Peaks]:
    """Look at every live call, hundreds of times a second, within the context."""
    peaks = Peaks()

    async def look() -> None:
        while True:
            for entry in list(own.server.calls.registry.live.values()):
                if entry.session is not None:
                    _note(peaks, entry.session)
            await asyncio.sleep(LOOK_S)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(look())
        try:
            yield peaks
        finally:
            task.cancel()
