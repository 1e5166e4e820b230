"""The user's own server, run within the rehearsal, with taps on its calls."""

import asyncio
import dataclasses
import secrets
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from offhook.capture.tap import NewCall, Tap
from offhook.clock import Clock
from offhook.concurrency.thread_job import in_thread
from offhook.config import Config, RecordsSettings, TwilioSettings
from offhook.events.types import Subscriber
from offhook.journal.keeper import EventJournal
from offhook.link.in_process import InProcessLink
from offhook.serving.call_serving import CallFiles
from offhook.serving.listen import listen
from offhook.serving.server import Server
from offhook.testing.faults.fault import Fault
from offhook.testing.faults.rig import FaultRig, fault_rig
from offhook.testing.scenarios.deadlines import CLOSE_S, OPEN_S, within
from offhook.testing.simulator.twilio.account import account
from offhook.testing.simulator.twilio.account import server as rest
from offhook.testing.simulator.twilio.account.resources import AccountNumber
from offhook.testing.simulator.twilio.calls.network import SimulatedNetwork, simulated_network
from offhook.testing.simulator.twilio.calls.people import SimulatedPerson, book
from offhook.testing.simulator.twilio.webhooks import RehearsedHost

if TYPE_CHECKING:  # SQLAlchemy and FastAPI take their time
    from offhook.serving.in_process import OperatorSide

_PUBLIC: Final = "https://voice.example.com"
"""Public URL of a server that places calls. No request goes to that host."""

_THREAD: Final = "rehearsal"
"""Name of the threads that open and close what is on disk."""


@dataclass(frozen=True, slots=True)
class OwnAccount:
    """Simulated account of a server: its numbers, and the people it can call.

    Without `people`, the server has no credentials for the account.
    """

    sid: str
    numbers: Sequence[str]
    people: Mapping[str, SimulatedPerson] | None
    places: bool = False
    """True if the server is to place calls: it then keeps records and has an API."""


class OwnServer:
    """A running server. `network` is that of its simulated account, if it has one."""

    network: SimulatedNetwork | None = None
    server: Server
    rig: FaultRig | None = None
    """Fault rig around the server, if it was asked for."""
    side: "OperatorSide | None" = None
    """The operator's side of a server that keeps records."""
    api_url: str = ""
    """URL of the operator's listener of a server that keeps records."""

    def __init__(self, config: Config, port: int, token: str, clock: Clock) -> None:
        self.config: Final = config
        self.url = f"http://127.0.0.1:{port}/twilio/voice"
        self.token = token
        self.clock = clock
        self._taps: dict[str, Tap] = {}

    def watch(self, call_sid: str, tap: Tap) -> None:
        """Attach a tap to a call that is about to be placed.

        `call_sid` is the dialled number if the server itself places the call.
        """
        self._taps[call_sid] = tap

    def tap(self, call: NewCall) -> Tap | None:
        """Return the tap of a call that begins: by its CallSid, or by the number it dials."""
        return self._taps.pop(call.to if call.outbound else call.call_sid, None)


@asynccontextmanager
async def _entered(parts: AbstractContextManager[Any], what: str) -> AsyncIterator[None]:
    """Enter and leave a context in a thread: it waits for the disk. Raises OverdueError."""
    async with within(OPEN_S, f"Opening {what}"):
        await in_thread(parts.__enter__, _THREAD)
    try:
        yield
    finally:
        async with within(CLOSE_S, f"Closing {what}"):
            await in_thread(lambda: parts.__exit__(None, None, None), _THREAD)


@asynccontextmanager
async def _temporary_folder() -> AsyncIterator[Path]:
    """Make a folder, and remove it afterwards, off the event loop."""
    temporary = TemporaryDirectory()
    try:
        yield Path(temporary.name)
    finally:
        async with within(CLOSE_S, "Removing the temporary folder"):
            await in_thread(temporary.cleanup, _THREAD)


def _with_records(config: Config, folder: Path, token: str, listen_at: str) -> Config:
    """Return the configuration with records in that folder, and an API with that token."""
    records = RecordsSettings(folder=folder, database=f"sqlite:///{folder}/offhook.db")
    listener = {"api_token": SecretStr(token), "operator_listen": listen_at}
    server = config.server.model_copy(update=listener)
    return dataclasses.replace(config, records=records, server=server)


@asynccontextmanager
async def _operator(config: Config) -> "AsyncIterator[OperatorSide]":
    from offhook.serving.in_process import OperatorSide

    side = OperatorSide(config)
    async with _entered(side, "the records"), AsyncExitStack() as running:
        await running.enter_async_context(side.run())
        try:
            yield side
        finally:
            async with within(CLOSE_S, "Stopping the operator's server"):
                await running.aclose()


async def _rigged(
    own: OwnServer, config: Config, faults: Sequence[Fault], around: AsyncExitStack
) -> Config:
    """Put a fault rig around the server. Return the configuration that leads through it."""
    port = urlsplit(own.url).port
    assert port is not None  # OwnServer has put it there
    rig = own.rig = await around.enter_async_context(
        fault_rig(faults, own.clock, agent_url=config.deepgram.url, server_port=port)
    )
    own.url = own.url.replace(f":{port}/", f":{rig.port}/")
    deepgram = config.deepgram.model_copy(update={"url": rig.agent_url, "fallback_urls": ()})
    return dataclasses.replace(config, deepgram=deepgram)


@asynccontextmanager
async def run(
    config: Config,
    clock: Clock,
    twilio: OwnAccount | None = None,
    *,
    sock: socket.socket | None = None,
    watchers: Sequence[Subscriber] = (),
    faults: Sequence[Fault] | None = None,
    operator_listen: str | None = None,
    journal: EventJournal | None = None,
) -> AsyncIterator[OwnServer]:
    """Run a server with that configuration and a random Auth Token, on loopback.

    Without `sock` the server listens on a free port. With `faults`, even none, a fault rig is
    around it. With `operator_listen`, HOST:PORT, the server has an operator's side, and keeps
    records until it ends; one that places calls has them anyway. With `journal`, which is open and
    may be that of other servers too, it keeps every event in that one, and has no operator's side.

    Raises OverdueError, in a group, for a part that does not open or close in time.
    """
    token = secrets.token_hex(16)
    sock = sock or listen("127.0.0.1", 0)
    own = OwnServer(config, sock.getsockname()[1], token, clock)
    places = twilio is not None and twilio.places
    public = _PUBLIC if places else None
    given = TwilioSettings(auth_tokens=(SecretStr(token),))
    async with AsyncExitStack() as around, asyncio.TaskGroup() as group:
        if faults is not None:
            config = await _rigged(own, config, faults, around)
        if twilio is not None and twilio.people is not None:
            network = own.network = await around.enter_async_context(
                simulated_network(
                    twilio.sid, RehearsedHost(own.url, token, public), clock, book(twilio.people)
                )
            )
            numbers = [AccountNumber(number) for number in dict.fromkeys(twilio.numbers)]
            api_url = await around.enter_async_context(
                rest.serve(account.SimulatedAccount(network, token, numbers=numbers))
            )
            if own.rig is not None:
                api_url = await around.enter_async_context(own.rig.before_account(api_url))
            given = given.model_copy(update={"account_sid": twilio.sid, "api_url": api_url})
        config = dataclasses.replace(
            config,
            server=config.server.model_copy(
                update={"public_url": public, "tls_cert": None, "tls_key": None, "unsigned": False}
            ),
            twilio=given,
        )
        files, side, link = None, None, None
        if places or operator_listen is not None:
            folder = await around.enter_async_context(_temporary_folder())
            config = _with_records(config, folder, token, operator_listen or "127.0.0.1:0")
            side = await around.enter_async_context(_operator(config))
            files = CallFiles(config)
            await around.enter_async_context(_entered(files, "the journal"))
            journal, link = files.journal, side.link
        elif journal is not None:
            link = InProcessLink()  # another server of this process may have told its socket
        server = Server(
            config,
            sock,
            [],
            own.tap,
            watchers=watchers,
            journal=journal,
            ledger=files.ledger if files is not None else None,
            dial_count=files.dial_count if files is not None else None,
            operator=link,
        )
        own.server = server
        serving = group.create_task(server.run(), name="server")
        async with within(OPEN_S, "Starting the server"):
            await server.started.wait()
        if side is not None:
            async with within(OPEN_S, "Starting the operator's server"):
                await side.until_started()
            own.side = side
            own.api_url = side.server.url
        try:
            yield own
        finally:
            server.stop()
            server.stop()
            async with within(CLOSE_S, "Stopping the server"):
                await serving
