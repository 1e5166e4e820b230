"""A Deepgram for fleets: it talks without end, and every line it says can be told from all others.

All of its sessions share one timer, so that hundreds of them cost little. A session knows its call
by the prompt, which must begin as PROMPT does.
"""

import json
import re
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

from offhook.clock import Clock
from offhook.deepgram import messages
from offhook.net import websocket
from offhook.net.first_request import FirstRequestRouter
from offhook.net.listener import Listener

PROMPT: Final = "Call {{call_sid}}."
"""Prompt that an agent file must have, so that a session tells its call."""

TONE: Final = b"\x1a\x9a\x3a\xba" * 40
"""20 ms of mu-law sound."""

FRAME_S: Final = 0.02
LINE_EVERY: Final = 25
"""Frames between two lines: of the caller and of the agent, in turn."""

PATH: Final = "/v1/agent/converse"
MAX_MESSAGE: Final = 2**20


@dataclass(frozen=True, slots=True)
class Line:
    """What the agent said that the caller had said. `sent_at` is of time.monotonic."""

    text: str
    sent_at: float


class FleetSession:
    """One session: a wire.Receiver."""

    def __init__(self, agent: "FleetAgent", number: int) -> None:
        self.number: Final = number
        self.opened_at: Final = time.monotonic()
        self.closed_at: float | None = None
        self.call_sid = ""
        self.greets = False
        """True if its Settings have a greeting."""
        self.history = ""
        """Conversation that its Settings hand on, as JSON."""
        self.lines: list[Line] = []
        self.told: list[bytes] = []
        """Messages after its Settings."""
        self.heard_at: list[float] = []
        """Times at which audio of the caller came."""
        self._agent = agent
        self._channel: websocket.Channel
        self._ticks: int | None = None

    @property
    def open(self) -> bool:
        return self.closed_at is None

    def on_open(self, socket: websocket.Channel) -> None:
        self._channel = socket
        socket.send_text(messages.write(messages.Welcome(f"request-{self.number}")))

    def on_text(self, text: bytes) -> None:
        message: dict[str, Any] = json.loads(text)
        if message.get("type") != "Settings":
            self.told.append(text)
            if message.get("type") == "InjectUserMessage":  # it is repeated to whoever sent it
                line = messages.ConversationText("user", message["content"])
                self._channel.send_text(messages.write(line))
            return
        agent = message["agent"]
        found = re.search(r"CA[0-9a-f]{32}", json.dumps(agent.get("think", {})))
        self.call_sid = found[0] if found else ""
        self.greets = "greeting" in agent
        self.history = json.dumps(agent.get("context", {}))
        self._channel.send_text(messages.write(messages.SettingsApplied()))
        self._ticks = 0

    def on_binary(self, data: bytes) -> None:
        self.heard_at.append(time.monotonic())

    def on_writable(self, writable: bool) -> None:
        pass

    def on_close(self, closed: websocket.Closed) -> None:
        self.closed_at = time.monotonic()
        self._agent.open.discard(self)

    def speak(self) -> None:
        """Send what is due of 20 ms."""
        if self._ticks is None or self._is_closing():
            return
        if self._ticks % LINE_EVERY == 0:
            role = "user" if self._ticks % (2 * LINE_EVERY) else "assistant"
            text = f"session {self.number} says line {self._ticks // LINE_EVERY}"
            self._channel.send_text(messages.write(messages.ConversationText(role, text)))
            if role == "user":  # what the agent says is a line only once it was heard
                self.lines.append(Line(text, time.monotonic()))
        self._ticks += 1
        self._channel.send_binary(TONE)

    def _is_closing(self) -> bool:
        """Return whether what is sent from now on is dropped, though the end is not told yet.

        A peer that answers no ping is sent a close frame, and cut off 100 ms later. A line of that
        time would count as said, and was never sent.
        """
        transport = cast("websocket.Socket", self._channel)._transport
        return (
            transport is None
            or transport.is_close_frame_sent
            or transport.underlying_transport.is_closing()
        )

    def close(self) -> None:
        self._channel.close()


class FleetAgent:
    """All sessions, and the limit of them. `fleet_agent` makes one."""

    def __init__(self, sock: socket.socket, clock: Clock, limit: int | None) -> None:
        self.sessions: list[FleetSession] = []
        self.open: set[FleetSession] = set()
        self.most_open = 0
        self.refused = 0
        """Sessions that were refused with 429."""
        self.limit = limit
        host, self.port = sock.getsockname()[:2]
        self.url: Final = f"ws://{host}:{self.port}{PATH}"
        self._clock = clock
        self._listener = Listener(
            sock, lambda one: FirstRequestRouter(one, self._decide, MAX_MESSAGE), files_of_stream=1
        )
        self._listener.open()
        self._due = clock.now()
        self._timer = clock.call_at(self._due, self._tick)

    def of(self, call_sid: str) -> list[FleetSession]:
        """Return the sessions of a call, in their order."""
        return [one for one in self.sessions if one.call_sid == call_sid]

    def lines(self, before: float) -> set[str]:
        """Return the texts of all lines that were sent before a time of time.monotonic."""
        return {one.text for each in self.sessions for one in each.lines if one.sent_at < before}

    def close(self) -> None:
        self._timer.cancel()
        self._listener.close()
        self._listener.cut()
        for session in list(self.open):
            session.close()

    def _decide(self, upgrade: websocket.Upgrade) -> websocket.Acceptance | websocket.Refusal:
        if self.limit is not None and len(self.open) >= self.limit:
            self.refused += 1
            return websocket.Refusal(429, '{"err_code": "TOO_MANY_REQUESTS"}')
        session = FleetSession(self, len(self.sessions) + 1)
        self.sessions.append(session)
        self.open.add(session)
        self.most_open = max(self.most_open, len(self.open))
        return websocket.Acceptance(session)

    def _tick(self) -> None:
        now = self._clock.now()
        while self._due <= now:
            self._due += FRAME_S
            for session in list(self.open):
                session.speak()
        self._timer = self._clock.call_at(self._due, self._tick)


@asynccontextmanager
async def fleet_agent(
    clock: Clock, host: str = "127.0.0.1", limit: int | None = None
) -> AsyncIterator[FleetAgent]:
    """Serve the agent on a free port of `host`; beyond `limit` open sessions it answers 429."""
    agent = FleetAgent(socket.create_server((host, 0)), clock, limit)
    try:
        yield agent
    finally:
        agent.close()
