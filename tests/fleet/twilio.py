"""Twilio in front of a fleet: every request that it makes is noted, and each attempt balanced."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import httpx2
from tests.whole_server import TOKEN

from offhook import audio
from offhook.testing.simulator.twilio.stream import LineControls
from offhook.testing.simulator.twilio.webhooks import RehearsedHost, Request, WebhookError

PUBLIC: Final = "https://voice.example.com"

RECENT_BYTES: Final = 10 * audio.FRAME_BYTES

PickNode = Callable[[str], str]
"""Function from the path of a connection to the host and port of the node that gets it."""


@dataclass(slots=True)
class AskedRequest:
    """A request of Twilio's, with all of its attempts. Times are of time.monotonic."""

    path: str
    call_sid: str
    asked_at: float
    answered_at: float | None = None
    status: int | None = None
    """Status of the answer that counts; None if there was none."""
    failures: list[str] = field(default_factory=list)
    """Attempts that were repeated."""


class FleetHost(RehearsedHost):
    """The fleet's host. Without a balancer, `pick` chooses the node of each connection.

    `before` is awaited before each request.
    """

    def __init__(self, netloc: str, pick: PickNode | None = None) -> None:
        super().__init__(f"http://{netloc}/twilio/voice", TOKEN, PUBLIC)
        self.asked: list[AskedRequest] = []
        self.pick = pick
        self.before: Callable[[AskedRequest], Awaitable[None]] = _at_once

    def dialled(self, url: str) -> str | None:
        """Return the URL to request in place of `url`, at the node that is picked for it."""
        dialled = super().dialled(url)
        if dialled is None or self.pick is None:
            return dialled
        parts = urlsplit(dialled)
        return parts._replace(netloc=self.pick(parts.path)).geturl()

    async def send(
        self,
        http: httpx2.AsyncClient,
        request: Request,
        on_retry: Callable[[str], None] = lambda text: None,
    ) -> httpx2.Response:
        """Send a request as RehearsedHost does, and note it."""
        path = urlsplit(request.url).path
        sid = request.parameters.get("CallSid", "")
        asked = AskedRequest(path, sid, time.monotonic())
        self.asked.append(asked)
        await self.before(asked)

        def failed(text: str) -> None:
            asked.failures.append(text)
            on_retry(text)

        try:
            response = await super().send(http, request, failed)
        except WebhookError as error:
            asked.failures.append(str(error))
            raise
        asked.answered_at, asked.status = time.monotonic(), response.status_code
        return response

    def wrong(self) -> list[AskedRequest]:
        """Return the requests that got a 5xx or nothing, in any of their attempts."""
        return [one for one in self.asked if one.failures or (one.status or 0) >= 500]


class FleetCaller:
    """A caller who is silent, and notes what is heard: a CallParty. Times are of time.monotonic."""

    faults: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.frames = 0
        """Frames of sound that were heard."""
        self.backs: list[float] = []
        """Time of the first sound in each stream in which there was any."""
        self.longest_silence_s = 0.0
        """Longest time without a sound since `listen`, within streams and between them."""
        self.last_at: float | None = None
        self.over = False
        self.recent = b""
        """What was heard at last, RECENT_BYTES at most."""
        self._stream: LineControls | None = None
        self._hangs_up = False

    def listen(self) -> None:
        """Begin to measure silence anew."""
        self.longest_silence_s = 0.0

    def hang_up(self) -> None:
        """Hang up with the next frame."""
        self._hangs_up = True

    def next_frame(self, line: LineControls, heard: bytes, now: float) -> bytes:
        if self._hangs_up:
            line.hang_up()
        self.recent = (self.recent + heard)[-RECENT_BYTES:]
        if heard.count(audio.SILENCE) < len(heard) // 2:
            self._hear(line)
        return audio.SILENCE * audio.FRAME_BYTES

    def _hear(self, line: LineControls) -> None:
        at = time.monotonic()
        if self.last_at is not None:
            self.longest_silence_s = max(self.longest_silence_s, at - self.last_at)
        self.last_at = at
        self.frames += 1
        if line is not self._stream:
            self._stream = line
            self.backs.append(at)

    def call_ended(self) -> None:
        self.over = True


async def _at_once(asked: AskedRequest) -> None:
    """Wait for nothing before a request."""
