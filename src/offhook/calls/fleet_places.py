"""Places of calls in a fleet: its directory knows who has a call; a node may take it over.

A request about a call of another process goes to that process, which knows more than its lines
say: how the call has ended, or whom its caller is to meet. Only if it does not answer is the call
claimed from it. A stream is claimed at once: its token is spent and the call taken by one
statement, and the process before is told to close its leg.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import msgspec

from offhook.calls.call_entry import CallEntry
from offhook.calls.call_limits import CallLimit
from offhook.calls.call_permit import CallPermit
from offhook.calls.forwarded import ForwardedWebhook, WebhookAnswer
from offhook.calls.live_facts import MARK, LiveFacts, decoded, encoded
from offhook.calls.places import Refusal, TakenCall
from offhook.calls.spare_sessions import SpareSessions
from offhook.concurrency.server_tasks import ServerTasks
from offhook.events.types import CallTakenOver
from offhook.fleet.parts import FleetParts
from offhook.fleet.places import (
    HELD_S,
    RESERVED_S,
    BegunCall,
    CallPlace,
    ClaimedCall,
    DirectoryAwayError,
    NoRoom,
    reservation,
)
from offhook.fleet.tokens import StreamToken, TokenRefusedError, nonce_of
from offhook.journal.entries import InheritedLine, MalformedEntryError, decode
from offhook.journal.live_files import LiveCallFile
from offhook.twilio import twiml
from offhook.twilio.call_status import FINAL

_log: Final = logging.getLogger("offhook.fleet")

LOOKS: Final = 3
"""Looks for the owner of a call that others take over meanwhile."""

CONNECT_S: Final = 1.0
"""Seconds for which a start waits for the database, if calls are there to be claimed."""
CONNECT_LOOKS: Final = 50

NEXT_STREAM_VALID_S: Final = 4 * 3600.0 + 600.0
"""Seconds for which that of a later stream is good: a transfer may last 4 h (twilio.md §2.6)."""

AGAIN_S: Final = 2
"""Seconds between two questions of Twilio's about such a call."""

WAITING_MAX: Final = 10_000
"""Callers of whom it is known since when they are held."""

AWAY: Final = "the database is away, and no process here can take the stream with this token"
BIN_AWAY: Final = "the database is away, and the stream has no token"
ELSEWHERE: Final = "another process has this call"

_TAKEN_OVER: Final = f'["{CallTakenOver.__name__}"'.encode()
"""Beginning of the line of a take-over."""


class GivenUp(NamedTuple):
    """A call that another process has given up.

    Attributes:
        file: The call's file.
        is_confirmed: True if that process has spent the token for it; False if it had answered
            otherwise or not at all, so that the call may wait for a stream with another token.
    """

    file: LiveCallFile
    is_confirmed: bool


Take = Callable[[str, str, str], Awaitable[GivenUp | None]]
"""Function that has the process of this machine with an id give up a call that waits for the stream
with a token; None: that process does not wait for it, or does not answer."""

Forward = Callable[[str, ForwardedWebhook], Awaitable[WebhookAnswer | None]]
"""Function that has a process, by its id, answer a request; None: it does not answer."""


class FleetPlaces:
    """Places of the calls of a fleet, as one of its processes uses them.

    Args:
        fleet: The parts of this process in its fleet.
        forward: Has another process answer a request.
        tell: Tells another process that a call of its has that epoch here.
        take: Takes a call from another process of this machine.
        keep: Keeps a line in the file of a live call.
        inherit: Puts the lines of the processes that had a call before into this one's journal.
        tasks: Owner of what nobody awaits.
        now: The clock, in seconds.
        webhook_path: Path of Twilio's requests to this node.
    """

    def __init__(
        self,
        fleet: FleetParts,
        forward: Forward,
        tell: Callable[[str, str, int], None],
        take: Take,
        keep: Callable[[str, bytes], None],
        inherit: Callable[[Sequence[InheritedLine]], None],
        tasks: ServerTasks,
        now: Callable[[], float],
        webhook_path: str,
    ) -> None:
        self._directory = fleet.directory
        self._tokens = fleet.tokens
        self._lines = fleet.lines
        self._forward = forward
        self._tell = tell
        self._take_from = take
        self._keep = keep
        self._inherit = inherit
        self._tasks = tasks
        self._now = now
        self._webhook_path = webhook_path
        self._waiting: dict[str, float] = {}
        """Since when callers are held whose call nobody can find, by CallSid."""
        self._heartbeat = fleet.heartbeat
        self.pulse: Final = fleet.pulse
        """Tells of pauses of this process."""
        self.dials_ahead: Final = fleet.settings.routed
        """True if the streams of this process's calls come to this node."""
        self._untold: dict[str, str] = {}
        """Nonces of next streams that the directory is not told of yet, by CallSid."""
        self.permit: Final = CallPermit(fleet.pulse, now)
        """Permission of this process to act on its calls."""
        self.spares: Final = SpareSessions(fleet.directory.add_leg, self._return_leg)
        """Places of second sessions in the budget that the nodes share."""
        self.settle: Callable[[], None] = _settle_nothing
        """Has subscribers told of the events that are still being redacted."""

    def listen(
        self,
        *,
        fenced: Callable[[str], None],
        reaped: Callable[[TakenCall, bool], None],
        beside: Callable[[], int] = lambda: 0,
    ) -> None:
        """Have `fenced` called with calls that others have, `reaped` with those of the dead.

        The latter also gets whether the call's stream is awaited, so that Twilio need not be asked.
        `beside` returns the number of live calls of this node's other processes.
        """
        self._directory.held.fenced = fenced
        self._directory.held.beside = beside
        self._heartbeat.reaped = lambda claimed: reaped(
            self.taken(claimed), claimed.nonce is not None
        )

    # --- calls that this process begins --------------------------------------------------------

    def first_token(self, call_sid: str) -> str:
        """Return the token of the first stream of a call; of any call without a CallSid."""
        token, _ = self._tokens.issue(call_sid, 1, valid_s=RESERVED_S)
        return token

    def next_token(self, call_sid: str) -> str:
        """Return the token of the next stream of a call that is here."""
        epoch = self.epoch_of(call_sid)
        token, self._untold[call_sid] = self._tokens.issue(
            call_sid, epoch, valid_s=NEXT_STREAM_VALID_S
        )
        return token

    async def begin(self, call_sid: str, facts: LiveFacts) -> Refusal | None:
        """Enter a new call with its token; return why not: a CallLimit, or somebody has it.

        While the database is away a call is taken within this node's share of the sessions, unless
        it has no token and is not from a browser: its stream may have been admitted elsewhere.
        """
        nonce, line = _nonce(facts.token), encoded(facts)
        try:
            begun = await self._directory.begin(call_sid, line, nonce=nonce)
        except DirectoryAwayError:
            if nonce is None and facts.by != "browser":
                return BIN_AWAY
            begun = self._directory.held.begin_away(call_sid, line, nonce=nonce)
        match begun:
            case BegunCall():
                return None
            case NoRoom():
                return CallLimit.SESSIONS
            case _:
                return ELSEWHERE

    async def reserve(self, facts: LiveFacts) -> Refusal | None:
        """Enter a call that is to be placed, and take its session; return why it must not be."""
        return await self.begin(reservation(nonce_of(facts.token or "")), facts)

    def unreserve(self, token: str) -> None:
        """Return the session of a call that was not placed."""
        self._directory.held.end(reservation(nonce_of(token)))

    async def name(self, call_sid: str, facts: LiveFacts) -> bool:
        """Tell the CallSid of a call that was placed; return False if another process has it."""
        nonce = nonce_of(facts.token or "")  # A repeated request may come long afterwards.
        return await self._directory.reservations.name(call_sid, encoded(facts), nonce)

    async def store(self, entry: CallEntry) -> None:
        """Store what the next stream's claimer must know, before Twilio gets its token."""
        nonce = self._untold.pop(entry.call_sid, None)
        self.settle()
        with contextlib.suppress(DirectoryAwayError):
            if nonce is not None:
                await self._directory.renew(entry.call_sid, nonce)
            await self._lines.flush()

    def end(self, call_sid: str) -> None:
        """Note that a call is over, or another process's."""
        self._untold.pop(call_sid, None)
        self._directory.held.end(call_sid)

    async def give_up(self, call_sid: str) -> None:
        """Give a released call up, with all its lines, to the process that claims it."""
        self.permit.lose(call_sid)
        self._untold.pop(call_sid, None)
        try:
            await self._lines.flush()
            await self._directory.release(call_sid)
        except DirectoryAwayError:
            sid = {"call_sid": call_sid}
            _log.warning("the database is away: a call is given up without its help", extra=sid)

    def epoch_of(self, call_sid: str) -> int:
        """Return the epoch of a call that is here; 0 for others."""
        return self._directory.epoch_of(call_sid) or 0

    def _return_leg(self, call_sid: str) -> None:
        # If it fails, a session too many is counted until the call's end.
        work = self._directory.return_leg(call_sid)
        _ = self._tasks.start("return a session", work, call_sid=call_sid, ends_call=False)

    # --- calls that others have ----------------------------------------------------------------

    async def confirm(self, call_sid: str) -> None:
        """Find out whether another process has a call that is here: then `fenced` is called.

        The one that took it tells at once, but may be too new to be known, or not get through.
        """
        with contextlib.suppress(DirectoryAwayError):
            await self._directory.read_epochs((call_sid,))

    async def resolve(self, webhook: ForwardedWebhook) -> WebhookAnswer | TakenCall | None:
        """Have a call's owner answer a request; take the call if the owner is gone."""
        call_sid = webhook.form["CallSid"]
        try:
            for _ in range(LOOKS):
                place = await self._directory.find(call_sid)
                if place is None or place.is_mine:
                    return None
                answer = await self._ask(place, webhook)
                if answer is not None:
                    return answer
                if place.is_over:
                    return WebhookAnswer(200, twiml.hang_up(), "text/xml")
                claimed = await self._directory.claim(call_sid, place.epoch)
                if claimed is not None:
                    return self.taken(claimed)
        except DirectoryAwayError:
            if webhook.name == "voice":
                return None  # A new call is anybody's: others would begin it, too.
            return await self._ask_all(webhook) or self._held(webhook)
        return None

    async def _ask(self, place: CallPlace, webhook: ForwardedWebhook) -> WebhookAnswer | None:
        """Ask the owner of a call, unless it is known to be dead."""
        if not place.process_id or not place.is_alive:
            return None
        return await self._forward(place.process_id, webhook)

    async def _ask_all(self, webhook: ForwardedWebhook) -> WebhookAnswer | None:
        """Ask every other process, as the directory cannot say who has the call."""
        others = [
            process_id
            for process_id, process in self._directory.processes.items()
            if not process.is_mine
        ]
        answers = await asyncio.gather(*(self._forward(other, webhook) for other in others))
        return next((answer for answer in answers if answer is not None), None)

    def _held(self, webhook: ForwardedWebhook) -> WebhookAnswer | None:
        """Have Twilio ask again in a moment, for a minute, as nobody can say who has the call.

        None: the call is over, or the question is about what is said after its end.
        """
        form, now = webhook.form, self._now()
        if form.get("CallStatus") in FINAL or "last" in form or "DialCallStatus" in form:
            return None
        call_sid = form["CallSid"]
        since = self._waiting.setdefault(call_sid, now)
        if now >= since + HELD_S:
            return None
        while len(self._waiting) > WAITING_MAX:
            del self._waiting[next(iter(self._waiting))]
        number = f"?stream={form['stream']}" if form.get("stream") else ""
        url = f"{webhook.origin}{self._webhook_path}/after{number}"
        return WebhookAnswer(200, twiml.ask_again(url, AGAIN_S), "text/xml")

    def stream(
        self, call_sid: str, token: str | None, *, is_here: bool
    ) -> Coroutine[Any, Any, TakenCall | Refusal | None] | None:
        """Spend the token of a stream, and take its call if another process has it."""
        if token is None:
            return None  # `begin` decides
        return self._take_stream(call_sid, token, is_here=is_here)

    async def _take_stream(
        self, call_sid: str, text: str, *, is_here: bool
    ) -> TakenCall | Refusal | None:
        try:
            token = self._tokens.read(text)
        except TokenRefusedError as refused:
            return f"a token that is {refused}"
        if token.call_sid not in ("", call_sid):
            return "a token of another call"
        try:
            if is_here:
                spent = await self._directory.spend(call_sid, token.nonce)
                return None if spent else "a used token"
            found = await self._claim_stream(call_sid, token)
            return replace(found, token=text) if isinstance(found, TakenCall) else found
        except DirectoryAwayError:
            if is_here:
                spent = self._directory.held.spend_away(call_sid, token.nonce)
                return None if spent else AWAY
            return await self._take_away(call_sid, text, token) or AWAY

    async def _take_away(self, call_sid: str, text: str, token: StreamToken) -> TakenCall | None:
        """Take a call from the process of this node that waits for its stream, if one does.

        That process drains, and this one has the socket. Whether the token is spent it knows. Of a
        call that it has not confirmed the file's own token counts: admission compares the two.
        """
        if token.node != self._directory.node or token.process_id == self._directory.process_id:
            return None
        given = await self._take_from(token.process_id, call_sid, text)
        if given is None:
            return None
        taken = self._hold_away(given.file, token.process_id)
        awaited = text if given.is_confirmed else _token_in(given.file.lines)
        held = self._directory.held.find(call_sid)
        if held is not None and awaited != text:
            held.nonce = _nonce(awaited)  # its stream is yet to come
        return replace(taken, token=awaited)

    async def _claim_stream(self, call_sid: str, token: StreamToken) -> TakenCall | Refusal:
        why = "an unknown token"
        for _ in range(LOOKS):
            place = await self._directory.find(call_sid)
            if place is None:
                if token.call_sid:
                    return why
                placed = await self._directory.reservations.claim(call_sid, token.nonce)
                if placed is not None:
                    return replace(self.taken(placed), has_begun=False)
                continue  # A call that is being placed may have got its CallSid meanwhile.
            why = "a used token"
            if place.is_over:
                return "the call is over"
            if not place.awaits_stream:
                return "a used token"
            claimed = await self._directory.claim(call_sid, place.epoch, nonce=token.nonce)
            if claimed is not None:
                return self.taken(claimed)
        return why

    def taken(self, claimed: ClaimedCall) -> TakenCall:
        """Return a claimed call, and tell the process that had it to drop it without a sound."""
        call_sid = claimed.call_sid
        if claimed.from_process:
            self._tell(claimed.from_process, call_sid, claimed.epoch)
        for line in claimed.lines:  # for the next process of this machine
            self._keep(call_sid, line)
        return self._taken(claimed)

    def _taken(self, claimed: ClaimedCall) -> TakenCall:
        self.permit.regain(claimed.call_sid)
        self._inherit(claimed.inherited)
        node, ago_s = self._directory.node, claimed.began_ago_s
        return TakenCall(claimed.call_sid, claimed.lines, claimed.epoch, node, ago_s)

    # --- calls of dead processes ---------------------------------------------------------------

    async def claim_files(self, files: Sequence[LiveCallFile]) -> list[TakenCall]:
        """Claim calls of which a dead process of this machine left the files.

        Of the file and the directory the one that knows more counts: the file has the last half
        second, and the directory what was said at other nodes. While the database is away they go
        on here, and are claimed when it is back. Those that others have by now are left out.
        """
        for _ in range(CONNECT_LOOKS):
            if not files or not self._directory.is_away:
                break
            await asyncio.sleep(CONNECT_S / CONNECT_LOOKS)
        found = await asyncio.gather(*(self._claim_file(file) for file in files))
        return [taken for taken in found if taken is not None]

    async def _claim_file(self, file: LiveCallFile) -> TakenCall | None:
        call_sid = file.call_sid
        try:
            place = await self._directory.find(call_sid)
            if place is not None and (place.is_over or place.process_id != file.process_id):
                return None
            if place is not None:
                claimed = await self._directory.claim(call_sid, place.epoch)
                if claimed is None:
                    return None
                lines = max(file.lines, claimed.lines, key=len)
                return replace(self._taken(claimed), lines=lines)
        except DirectoryAwayError:
            pass
        return self._hold_away(file, file.process_id)

    def _hold_away(self, file: LiveCallFile, before: str) -> TakenCall:
        """Go on with the call of a file, which was the process `before`'s, until it is claimed."""
        self.permit.regain(file.call_sid)
        facts = next(_facts_in(file.lines), b"")
        epoch = _epoch_in(file.lines) + 1
        self._directory.held.claim_away(file.call_sid, before, epoch, facts, nonce=None)
        return TakenCall(file.call_sid, file.lines, epoch, self._directory.node)


def _epoch_in(lines: Sequence[bytes]) -> int:
    """Return the last epoch that lines of a call tell of."""
    for line in reversed(lines):
        if line.startswith(_TAKEN_OVER):
            with contextlib.suppress(MalformedEntryError):
                event = decode(0, line).event
                if isinstance(event, CallTakenOver) and event.epoch:
                    return event.epoch
    return 1


def _token_in(lines: Sequence[bytes]) -> str | None:
    """Return the token in the last facts among the lines of a call."""
    for line in _facts_in(lines):
        with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return decoded(line).token
    return None


def _facts_in(lines: Sequence[bytes]) -> Iterator[bytes]:
    """Yield the facts among the lines of a call, the last first."""
    return (line for line in reversed(lines) if line.startswith(MARK))


def _nonce(token: str | None) -> str | None:
    return None if token is None else nonce_of(token)


def first_token(fleet: FleetPlaces | None, call_sid: str) -> str:
    """Return the token of a call's first stream; of a call to be placed, without a CallSid."""
    return secrets.token_urlsafe(24) if fleet is None else fleet.first_token(call_sid)


def _settle_nothing() -> None:
    """Do nothing: nothing is redacted."""
