"""One run of `offhook dev`: its set-up, and its end, which restores everything.

What is set up last is taken back first: the number leads elsewhere before the server stops, and the
server lets its calls finish before the tunnel ends. Why it is so: docs/design/dev.md.
"""

import asyncio
import contextlib
import signal
import ssl
import sys
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from offhook.concurrency.event_loop import on_stop_signal
from offhook.concurrency.server_tasks import ServerTasks
from offhook.dev.changed_files import ChangedFiles
from offhook.dev.owned_process import OwnedProcess
from offhook.dev.tunnels import Tunnel
from offhook.errors import UserError
from offhook.numbers import telling
from offhook.numbers.account_numbers import AccountNumbers
from offhook.twilio.rest import RestNumber

LOOK_S: Final = 1.0
"""Seconds between two looks at the files."""

RELOAD_TRIES: Final = 60
"""Attempts to have a server read its files, one every LOOK_S seconds."""

RESTORE_S: Final = 30.0
"""Seconds that putting a number back may take; it can be put back later, too."""

HURRY_S: Final = 1.0
"""Seconds that a server whose tunnel has gone may take to stop, until it is told to hurry."""

REOPEN_S: Final = (0.0, 1.0, 2.0, 5.0, 15.0, 30.0)
"""Seconds before each attempt to open a tunnel again; all further ones take the last."""

ASK_S: Final = 0.1
ANSWER_S: Final = 5.0
"""Seconds that an answer may take: a stranger's program at the port may give none."""
_UP: Final = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class _StoppedError(Exception):
    """Raised in what a stop signal has interrupted."""


class _ServerEndedError(Exception):
    """Raised when the server has ended by itself."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class DevPlan:
    """Task of one run of `offhook dev`.

    Attributes:
        public_url: The https origin of a host of one's own; None: `tunnel` has one.
        tunnel: The tunnel; None with a `public_url`.
        serve: Returns the command that serves at a public URL.
        environ: Environment of that command.
        address: Host and port at which it listens.
        has_tls: True if it ends TLS itself.
        number: The number to point here; None: the only one, or that of `lines`.
        lines: Numbers that the configuration answers.
        force: True to take the number from whatever answers it.
        files: Files that make the agents; None: no files.
        reload: Has the server read them again, and returns what to tell of it. Raises UserError
            for a server that cannot be asked.
    """

    public_url: str | None
    tunnel: Tunnel | None
    serve: Callable[[str], Sequence[str]]
    environ: Mapping[str, str] = field(repr=False)
    address: tuple[str, int]
    has_tls: bool
    number: str | None
    lines: Collection[str]
    force: bool
    files: ChangedFiles | None
    reload: Callable[[], Awaitable[str]]


class DevSession:
    """One run of `offhook dev`.

    `make_plan` is called once the numbers of an earlier run have been put back: whatever it finds
    missing keeps no number from that.
    """

    def __init__(
        self, numbers: AccountNumbers, make_plan: Callable[[], DevPlan], say: Callable[[str], None]
    ) -> None:
        self._make_plan = make_plan
        self._plan: DevPlan
        self._numbers = numbers
        self._say = say
        self._server: OwnedProcess | None = None
        self._task: asyncio.Task[object] | None = None
        self._stops = 0
        self._may_be_cancelled = False
        self._is_whole = True

    async def run(self) -> int:
        """Serve until told to stop, and take everything back; return the exit code.

        Raises UserError for what cannot be done; everything is taken back then, too.
        """
        self._task = asyncio.current_task()
        on_stop_signal(self._on_stop)
        if sys.platform != "win32":  # the terminal is closed
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._on_stop)
        code = 0
        with self._numbers.kept.alone(), contextlib.suppress(_StoppedError):
            await self._put_back("The last offhook dev could not put its number back.")
            self._plan = self._make_plan()
            try:
                await self._serve()
            except _ServerEndedError as ended:
                code = ended.code or 1
        return code if self._is_whole else code or 1

    def _on_stop(self) -> None:
        self._stops += 1
        if self._may_be_cancelled and self._task is not None:
            self._may_be_cancelled = False
            self._task.cancel()
        elif self._stops > 1 and self._server is not None:
            self._server.stop()  # live calls end now

    @contextlib.contextmanager
    def _until_stopped(self) -> Iterator[None]:
        """Raise _StoppedError in the block at a stop signal. Nothing else is interrupted."""
        self._stop_if_told()
        self._may_be_cancelled = True
        try:
            yield
        except asyncio.CancelledError:
            if self._stops:
                assert self._task is not None  # it was cancelled
                self._task.uncancel()
            self._stop_if_told()
            raise
        finally:
            self._may_be_cancelled = False

    @contextlib.contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """Raise _StoppedError only at the end of the block, within `_until_stopped`."""
        self._may_be_cancelled = False
        yield
        self._stop_if_told()
        self._may_be_cancelled = True

    def _stop_if_told(self) -> None:
        if self._stops:
            raise _StoppedError from None

    # --- the number ----------------------------------------------------------------------------

    async def _put_back(self, because: str = "") -> None:
        """Put back every number that offhook dev has changed, and say so."""
        for kept in self._numbers.kept.all():
            if kept.holder != "dev":
                continue
            if because:
                self._say(because)
            try:
                async with asyncio.timeout(RESTORE_S):
                    done = await self._numbers.restore(kept)
            except (UserError, TimeoutError) as error:
                self._is_whole = False
                why = error.for_terminal() if isinstance(error, UserError) else "It took too long."
                self._say(
                    f"{kept.phone_number} was not put back; {self._numbers.kept.folder} has what it"
                    f" had before.\n{why}\n  → offhook numbers restore"
                )
            else:
                self._say(telling.restored(done))

    async def _serve(self) -> None:
        plan = self._plan
        with self._until_stopped():
            number = await self._numbers.choose(plan.number, plan.lines)
            if not plan.force:
                self._numbers.require_free(number, plan.public_url)
        async with contextlib.AsyncExitStack() as stack:
            public_url = plan.public_url
            if plan.tunnel is not None:
                stack.push_async_callback(plan.tunnel.close)
                self._say(f"Opening a tunnel with {plan.tunnel.program.name} …")
                with self._until_stopped():
                    public_url = await plan.tunnel.open()
            assert public_url is not None  # the plan has one of the two
            stack.push_async_callback(self._stop_server)
            with self._until_stopped():
                await self._start_server(public_url)
            stack.push_async_callback(self._put_back)
            await self._point(number, public_url, force=plan.force)
            with self._until_stopped():
                await self._watch(number, public_url)

    async def _point(self, number: RestNumber, public_url: str, *, force: bool = False) -> None:
        before = await self._numbers.point(number.sid, public_url, "dev", force=force)
        self._say(
            f"{number.phone_number} leads to {public_url}/twilio/voice until Ctrl-C"
            f" (before: {telling.was(before)}).\n"
            f"Call {number.phone_number} now."
        )

    # --- while it runs -------------------------------------------------------------------------

    async def _watch(self, number: RestNumber, public_url: str) -> None:
        """Keep tunnel and agents current, until the server ends or a signal comes."""
        over: Exception | None = None
        async with asyncio.TaskGroup() as group:
            reloading = ServerTasks(group).keep("agent files", self._keep_agents)
            try:
                while over is None:
                    try:
                        public_url = await self._follow_tunnel(group, number, public_url)
                    except (_ServerEndedError, _StoppedError) as error:
                        over = error
            finally:
                reloading.cancel()
        assert over is not None  # the loop has ended
        raise over

    async def _follow_tunnel(
        self, group: asyncio.TaskGroup, number: RestNumber, public_url: str
    ) -> str:
        """Wait for the end of the tunnel, open it again, and return its new public URL.

        Raises _ServerEndedError when the server has ended before.
        """
        server, tunnel = self._server, self._plan.tunnel
        assert server is not None  # it was started
        ends = [group.create_task(server.ended(), name="end of the server")]
        if tunnel is not None:
            ends.append(
                group.create_task(_returning_zero(tunnel.ended()), name="end of the tunnel")
            )
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if ends[0].done() or tunnel is None:
                raise _ServerEndedError(await ends[0])
        finally:
            for each in ends:
                each.cancel()
        self._say(
            f"E-DEV-04 The tunnel of {tunnel.program.name} has ended, and the calls that came"
            " through it with it. It is opened again."
        )
        reopened = await self._reopened(tunnel)
        if reopened != public_url:
            await self._restart_server(reopened)
        await self._numbers_follow(number, reopened)
        return reopened

    async def _reopened(self, tunnel: Tunnel) -> str:
        """Open a tunnel again, as often as it takes, and say each time why it was not."""
        attempt = 0
        while True:
            await asyncio.sleep(REOPEN_S[min(attempt, len(REOPEN_S) - 1)])
            attempt += 1
            try:
                return await tunnel.open()
            except UserError as problem:
                self._say(problem.for_terminal())

    async def _numbers_follow(self, number: RestNumber, public_url: str) -> None:
        """Point the number at a new public URL, unless somebody else has changed it."""
        with self._undisturbed():
            try:
                await self._point(number, public_url)
            except UserError as problem:
                self._say(problem.for_terminal())

    async def _keep_agents(self) -> None:
        """Have the server read its files again whenever one of them has changed."""
        files, tries = self._plan.files, 0
        while files is not None:
            await asyncio.sleep(LOOK_S)
            if await asyncio.to_thread(files.have_changed):
                tries = RELOAD_TRIES
            if tries:
                try:
                    self._say(await self._plan.reload())
                    tries = 0
                except UserError as problem:
                    # The operator process, which is asked, starts after the call process.
                    tries -= 1
                    if not tries:
                        self._say(problem.for_terminal())

    # --- the server ----------------------------------------------------------------------------

    async def _start_server(self, public_url: str) -> None:
        """Start the server, and wait until it answers. Raises _ServerEndedError."""
        server = await OwnedProcess.start(
            self._plan.serve(public_url), self._plan.environ, reads=False
        )
        self._server = server
        while server.is_running:
            if await self._is_up():
                return
            await asyncio.sleep(ASK_S)
        raise _ServerEndedError(await server.ended())

    async def _is_up(self) -> bool:
        """Return whether the server answers a request, whatever it answers."""
        context = None
        if self._plan.has_tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        host, port = self._plan.address
        with contextlib.suppress(OSError):  # so is a TimeoutError
            async with asyncio.timeout(ANSWER_S):
                reader, writer = await asyncio.open_connection(host, port, ssl=context)
                with contextlib.closing(writer):
                    writer.write(_UP)
                    return bool(await reader.read(1))
        return False

    async def _stop_server(self) -> None:
        """Let the server's calls finish, and wait for its end."""
        server = self._server
        if server is not None:
            server.stop()
            await server.ended()
            await server.end()

    async def _restart_server(self, public_url: str) -> None:
        """Serve at another public URL. No call is left: the tunnel was the way to all of them."""
        server = self._server
        assert server is not None  # it was started
        server.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HURRY_S):
                await server.ended()
        server.stop()
        await server.ended()
        await server.end()
        await self._start_server(public_url)


async def _returning_zero(work: Awaitable[None]) -> int:
    await work
    return 0
