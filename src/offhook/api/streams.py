"""Sockets of the console's pages, relayed to the streams of call processes.

A route has a call process offer a stream (link/streams.py), and gives the page the path of a
socket, which is good for one upgrade by the same user. Neither side understands the messages that
pass here: a line of the link is a text message of the page.
"""

import logging
from collections import deque
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

from offhook.clock import Clock
from offhook.concurrency.server_tasks import ServerTasks
from offhook.errors import UserError
from offhook.link.channel import LinkChannel
from offhook.link.processes import ProcessStream
from offhook.net.websocket import Acceptance, Channel, Closed, Refusal, Upgrade
from offhook.users.principal import Principal

_log: Final = logging.getLogger("offhook.console")

PREFIX: Final = "/console/streams/"

WAITING_MAX: Final = 100
"""Streams whose page has not opened its socket yet; for one more the oldest is forgotten."""

EARLY_MAX: Final = 16
"""Messages of a page that are held until the call process is joined: two announce a stream, and
50 a second are audio, which is dropped beyond."""

WINDOW_S: Final = 5.0
MESSAGES_MAX: Final = 500
"""Messages of a page within WINDOW_S. Its microphone makes 50 a second."""
BYTES_MAX: Final = 512 * 1024
"""Bytes of a page's messages within WINDOW_S. Its microphone makes some 15 kB a second."""

HELD_MAX: Final = 16 * 1024
"""Bytes of audio that are held for a page which listens and reads too slowly: about 0.5 s."""

REASON_MAX: Final = 120
"""Bytes of a reason: a close frame has room for 123 (RFC 6455 §5.5)."""

GOING_AWAY: Final = 1001
POLICY_VIOLATION: Final = 1008
TRY_AGAIN_LATER: Final = 1013
UNSUPPORTED: Final = 1003

Full: TypeAlias = Literal["wait", "drop"]
"""Policy for a page that reads too slowly. `wait`: the call process is slowed
down, as by a slow Twilio; `drop`: the oldest audio is dropped, so that the rest is of now."""

Admit: TypeAlias = Callable[[Upgrade], Principal | Refusal]
"""Function that returns who opens a socket, or why it is refused."""

_MEDIA: Final = b'{"event":"media"'
"""Beginning of the messages, of either side, that may be dropped."""


class PageStreams:
    """Streams of one operator's server, which gives them its clock and its tasks.

    Attributes:
        dropped: Messages with audio that were dropped for pages that read too slowly.
        clock: The clock of the server's event loop.
        tasks: Owner of the work that joins streams.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self.clock: Clock
        self.tasks: ServerTasks
        self._waiting: dict[str, _WaitingStream] = {}
        """Streams that pages may open, by their tokens, oldest first."""
        self._open: set[StreamRelay] = set()

    def path(self, stream: ProcessStream, user: str, *, full: Full) -> str:
        """Return the path on which that user's page can open a stream, once and in time."""
        self._expire()
        while len(self._waiting) >= WAITING_MAX:
            del self._waiting[next(iter(self._waiting))]
        token = stream.opened.token
        until = self.clock.now() + stream.opened.due_s
        self._waiting[token] = _WaitingStream(stream, user, full, until)
        return PREFIX + token

    def decide(self, upgrade: Upgrade, admit: Admit) -> Acceptance | Refusal:
        """Route a WebSocket request of the operator's listener; `admit` knows who opens it."""
        if not upgrade.path.startswith(PREFIX):
            return Refusal(404, "Not found.\n")
        principal = admit(upgrade)
        if isinstance(principal, Refusal):
            return principal
        self._expire()
        token = upgrade.path.removeprefix(PREFIX)
        waiting = self._waiting.get(token)
        if waiting is None:
            return Refusal(404, "This stream has expired, was opened before, or is unknown.\n")
        if waiting.user != principal.name:
            return Refusal(403, "This stream is another user's.\n")
        del self._waiting[token]
        return Acceptance(StreamRelay(waiting.stream, waiting.full, self, principal.session))

    def close(self) -> None:
        """End every open stream, as the server stops."""
        for relay in [*self._open]:
            relay.end(GOING_AWAY, "the operator's server stops")

    def end_session(self, key: str) -> None:
        """End the streams of a session that has ended."""
        for relay in [*self._open]:
            if relay.session == key:
                relay.end(POLICY_VIOLATION, "the session has ended")

    def entered(self, relay: "StreamRelay") -> None:
        """Keep a relay until its page is gone."""
        self._open.add(relay)

    def left(self, relay: "StreamRelay") -> None:
        """Forget a relay whose page is gone."""
        self._open.discard(relay)

    def _expire(self) -> None:
        now = self.clock.now()
        for token in [token for token, each in self._waiting.items() if each.until <= now]:
            del self._waiting[token]


class _WaitingStream:
    """A stream that a page may open until a time, in seconds of the clock."""

    __slots__ = ("full", "stream", "until", "user")

    def __init__(self, stream: ProcessStream, user: str, full: Full, until: float) -> None:
        self.stream: Final = stream
        self.user: Final = user
        self.full: Final = full
        self.until: Final = until


class StreamRelay:
    """The relay of one page's socket: the Receiver of the page's messages."""

    def __init__(
        self,
        stream: ProcessStream,
        full: Full,
        streams: PageStreams,
        session: str | None = None,
    ) -> None:
        self.session: Final = session
        """Key of the session of the page's user, if a browser has one."""
        self._stream = stream
        self._full = full
        self._streams = streams
        self._page: Channel
        self._lines: _ProcessLines
        self._link: LinkChannel | None = None
        self._early: list[bytes] = []
        self._is_over = False
        self._now = streams.clock.now
        self._since = self._now()
        self._messages = 0
        self._bytes = 0

    def end(self, code: int, reason: str) -> None:
        """Close both sides."""
        self._is_over = True
        if self._link is not None:
            self._link.close(code, reason)
        self._page.close(code, reason)

    def on_open(self, socket: Channel) -> None:
        """Join the stream of the call process."""
        self._page = socket
        lines = _ProcessLines if self._full == "wait" else _NewestLines
        self._lines = lines(socket, self._streams)
        self._streams.entered(self)
        _ = self._streams.tasks.start("join a stream", self._join())

    def on_text(self, text: bytes) -> None:
        """Pass a message of the page on, 50 times a second."""
        if self._is_flood(len(text)):
            self.end(POLICY_VIOLATION, "too many messages")
            return
        if b"\n" in text:  # It would be two lines; in JSON it is a blank.
            text = text.replace(b"\n", b" ")
        if self._link is not None:
            if self._lines.process_reads:  # else it hangs: what it is sent now would come late
                self._link.send_text(text)
        elif len(self._early) < EARLY_MAX:
            self._early.append(text)
        elif not text.startswith(_MEDIA):
            self.end(POLICY_VIOLATION, "too many messages before the stream was joined")

    def on_binary(self, data: bytes) -> None:
        """End the stream: pages send text alone."""
        self.end(UNSUPPORTED, "a binary message")

    def on_writable(self, writable: bool) -> None:
        """Take note that the page reads too slowly, or has caught up."""
        self._lines.on_page_writable(writable)

    def on_close(self, closed: Closed) -> None:
        """End the stream of the call process, too."""
        self._is_over = True
        self._streams.left(self)
        if self._link is not None:
            self._link.close(closed.received or GOING_AWAY, "the page is gone")

    def _is_flood(self, size: int) -> bool:
        now = self._now()
        if now - self._since > WINDOW_S:
            self._since, self._messages, self._bytes = now, 0, 0
        self._messages += 1
        self._bytes += size
        return self._messages > MESSAGES_MAX or self._bytes > BYTES_MAX

    async def _join(self) -> None:
        try:
            link = await self._stream.process.join(self._stream.opened.token, self._lines)
        except UserError as lost:
            _log.warning("a page's stream was not joined: %s %s", lost.code, lost.what)
            self.end(TRY_AGAIN_LATER, "the call process does not answer")
            return
        except Exception:
            self.end(TRY_AGAIN_LATER, "a fault of the server")  # no page waits for ever
            raise
        if self._is_over:
            link.close(GOING_AWAY, "the page is gone")
            return
        self._link = self._lines.link = link
        early, self._early = self._early, []
        for text in early:
            link.send_text(text)


class _ProcessLines:
    """The Receiver of a call process's messages for a page, whose slowness that process sees.

    Attributes:
        link: The stream of the call process, once it is joined.
        process_reads: False while the call process reads too slowly.
    """

    def __init__(self, page: Channel, streams: PageStreams) -> None:
        self.link: LinkChannel | None = None
        self.process_reads = True
        self._page = page
        self._streams = streams

    def on_open(self, socket: Channel) -> None:
        """Do nothing: the first to join the stream has it."""

    def on_text(self, text: bytes) -> None:
        """Pass a message on to the page."""
        self._page.send_text(text)

    def on_binary(self, data: bytes) -> None:
        """Do nothing: a stream has no binary messages."""

    def on_writable(self, writable: bool) -> None:
        """Take note whether the call process reads."""
        self.process_reads = writable

    def on_page_writable(self, writable: bool) -> None:
        """Read from the call process only while the page reads."""
        if self.link is not None:
            self.link.read(writable)

    def on_close(self, closed: Closed) -> None:
        """Close the page's socket with the reason of the call process, which may have died."""
        if closed.sent is None and closed.received is None:
            self._page.close(GOING_AWAY, "the call process has ended")
        else:
            reason = closed.reason.encode()[:REASON_MAX].decode(errors="ignore")
            self._page.close(closed.received or 1000, reason)


class _NewestLines(_ProcessLines):
    """Messages for a page that is to be behind as little as can be: the oldest audio is dropped."""

    def __init__(self, page: Channel, streams: PageStreams) -> None:
        super().__init__(page, streams)
        self._has_room = True
        self._held: deque[bytes] = deque()
        self._held_size = 0

    def on_text(self, text: bytes) -> None:
        """Pass a message on to the page, or hold it and drop the oldest audio."""
        if self._has_room:
            self._page.send_text(text)
            return
        self._held.append(text)
        self._held_size += len(text)
        if self._held_size > HELD_MAX:
            self._drop()

    def on_page_writable(self, writable: bool) -> None:
        """Hold messages back, or send what was held back until the socket is full again."""
        self._has_room = writable
        while self._held and self._has_room:
            text = self._held.popleft()
            self._held_size -= len(text)
            self._page.send_text(text)

    def _drop(self) -> None:
        """Drop the oldest audio until there is room; everything else is kept, in its order."""
        kept: list[bytes] = []
        while self._held and self._held_size > HELD_MAX:
            text = self._held.popleft()
            if text.startswith(_MEDIA):
                self._held_size -= len(text)
                self._streams.dropped += 1
            else:
                kept.append(text)
        self._held.extendleft(reversed(kept))
        if self._held_size > HELD_MAX:  # even without any audio
            self._page.close(POLICY_VIOLATION, "this page reads too slowly")
