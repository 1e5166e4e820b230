"""Opening agent legs, over real sockets."""

import asyncio
import logging
import shutil
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal

import pytest
from tests.net.test_websocket import Front, Recorder, accepting, serving
from tests.waiting import settled

from offhook.concurrency.server_tasks import ServerTasks
from offhook.config import DeepgramSettings
from offhook.deepgram.connection import MAX_MESSAGE, Dialler
from offhook.deepgram.session_budget import SessionBudget
from offhook.net import tls, websocket
from offhook.net.websocket import Closed, UnreachableError, UpgradeRefusedError

KEY = "CANARY-0123456789abcdef"

Failure = UpgradeRefusedError | UnreachableError


def dialler(
    urls: Sequence[str], group: asyncio.TaskGroup, at: DeepgramSettings | None = None
) -> Dialler:
    at = at or DeepgramSettings()
    budget = SessionBudget(None, time.monotonic)
    return Dialler(urls, at.headers(KEY), at.connect_timeout_s, budget, ServerTasks(group))


def a_dialler(deepgram: DeepgramSettings, group: asyncio.TaskGroup) -> Dialler:
    return dialler(deepgram.urls, group, deepgram)


class Dial:
    """One dial from a task group of its own, and what came of it."""

    def __init__(self, group: asyncio.TaskGroup, deepgram: DeepgramSettings) -> None:
        self.agent = Recorder()
        self.failure: asyncio.Future[Failure] = asyncio.get_running_loop().create_future()
        self.dialling = a_dialler(deepgram, group)(self.agent, self.failure.set_result)

    async def failed(self) -> Failure:
        async with asyncio.timeout(240):
            failure = await self.failure
        assert self.agent.socket is None, "either open or failed"
        return failure


def at(
    port: int, *, auth: Literal["token", "bearer"] = "token", timeout: float = 5
) -> DeepgramSettings:
    return DeepgramSettings(
        url=f"ws://127.0.0.1:{port}/v1/agent", auth=auth, connect_timeout_s=timeout
    )


@pytest.fixture(autouse=True)
def _no_key_in_the_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever happens, at the most talkative level, tracebacks and all."""
    caplog.set_level(logging.DEBUG)
    yield
    assert "CANARY" not in caplog.text
    assert not any("CANARY" in str(vars(record)) for record in caplog.records)


@pytest.mark.parametrize(("auth", "scheme"), [("token", "Token"), ("bearer", "Bearer")])
async def test_the_key_is_in_the_header_with_its_scheme_and_nowhere_else(
    auth: Literal["token", "bearer"], scheme: str
) -> None:
    far = Recorder()
    seen: list[websocket.Upgrade] = []

    def decide(upgrade: websocket.Upgrade) -> websocket.Acceptance:
        seen.append(upgrade)
        return websocket.Acceptance(far)

    async with serving(decide) as port:
        async with asyncio.TaskGroup() as group:
            dial = Dial(group, at(port, auth=auth))
        assert dial.agent.socket is not None, "the group is left when the dial is done"
        assert seen[0].path == "/v1/agent"
        assert seen[0].headers["Authorization"] == f"{scheme} {KEY}"
        assert "Sec-WebSocket-Protocol" not in seen[0].headers
        assert not dial.failure.done()
        dial.agent.socket.close()
        assert await far.closed == Closed(1000, "", None)


async def test_a_message_may_be_large_but_not_huge() -> None:
    far = Recorder()
    async with serving(accepting(far)) as port:
        async with asyncio.TaskGroup() as group:
            dial = Dial(group, at(port))
        assert far.socket is not None
        far.socket.send_binary(b"x" * MAX_MESSAGE)
        await dial.agent.until(1)
        far.socket.send_binary(b"x" * (MAX_MESSAGE + 1))
        assert (await dial.agent.closed).sent == websocket.MESSAGE_TOO_BIG
        assert len(dial.agent.messages) == 1


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "E-DG-02 Deepgram refused the key (401)."),
        (402, "E-DG-02 Deepgram refused the key (402): the project is out of credit."),
        (403, "E-DG-02 Deepgram refused the key (403): it lacks the permission"),
        (429, "E-DG-03 Deepgram is at its limit of sessions"),
        (500, "E-DG-05 Deepgram answered 500."),
        (503, "E-DG-05 Deepgram answered 503."),
    ],
)
@pytest.mark.parametrize("header", ["dg-request-id", "DG-Request-ID", None])
async def test_a_refusal_is_told_and_logged_with_the_request_id(
    status: int, words: str, header: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {header: "5b1d7c3e"} if header else {}
    refusing = serving(lambda _: websocket.Refusal(status, "no", headers))
    async with refusing as port, asyncio.TaskGroup() as group:
        failure = await Dial(group, at(port)).failed()
    assert isinstance(failure, UpgradeRefusedError)
    assert failure.status == status
    [told] = [r.getMessage() for r in caplog.records if r.name == "offhook.deepgram"][-1:]
    assert told.startswith(words)
    assert told.endswith(f"(request id {'5b1d7c3e' if header else 'none'})")


async def test_a_redirect_is_not_followed_with_the_key() -> None:
    elsewhere: list[websocket.Upgrade] = []

    def steal(upgrade: websocket.Upgrade) -> websocket.Refusal:
        elsewhere.append(upgrade)
        return websocket.Refusal(403, "thank you")

    async with serving(steal) as thief:
        refusal = websocket.Refusal(302, "", {"Location": f"ws://127.0.0.1:{thief}/"})
        async with serving(lambda _: refusal) as port, asyncio.TaskGroup() as group:
            assert isinstance(
                await Dial(group, at(port)).failed(), UpgradeRefusedError | UnreachableError
            )
    assert elsewhere == []


async def test_nobody_there_is_unreachable(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(accepting(Recorder())) as port:
        pass
    async with asyncio.TaskGroup() as group:
        assert isinstance(await Dial(group, at(port)).failed(), UnreachableError)
    [told] = [r.getMessage() for r in caplog.records if r.name == "offhook.deepgram"]
    assert told.startswith(
        f"E-DG-04 Deepgram cannot be reached at ws://127.0.0.1:{port}/v1/agent: "
    )


async def test_calls_leave_the_region_of_their_address_only_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    eu, world = "wss://api.eu.deepgram.com", "wss://agent.deepgram.com"
    async with asyncio.TaskGroup() as group:
        dialler([eu, eu], group)
        assert "fallback_urls" not in caplog.text
        dialler([eu, world], group)
    assert "calls may go to any of agent.deepgram.com, api.eu.deepgram.com" in caplog.text


class Mute:
    """A server that takes connections and says nothing."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.left = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked.set()
        with suppress(ConnectionError):  # cut instead of closed: gone all the same
            await reader.read()
        self.left.set()
        writer.close()


@asynccontextmanager
async def muted() -> AsyncIterator[tuple[Mute, int]]:
    mute = Mute()
    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    async with server:
        yield mute, server.sockets[0].getsockname()[1]
        server.close()


async def test_each_address_has_its_turn_and_the_first_one_follows_the_last() -> None:
    asked: list[str] = []

    def refusing(name: str) -> websocket.Decide:
        def decide(_: websocket.Upgrade) -> websocket.Refusal:
            asked.append(name)
            return websocket.Refusal(503, "")

        return decide

    async with serving(refusing("first")) as first, serving(refusing("second")) as second:
        urls = [at(port).url for port in (first, second)]
        for place in range(3):
            async with asyncio.TaskGroup() as group:
                dialler(urls, group)(Recorder(), lambda _: None, place)
    assert asked == ["first", "second", "first"]


async def test_silence_is_unreachable_in_time(caplog: pytest.LogCaptureFixture) -> None:
    async with muted() as (mute, port), asyncio.timeout(240):
        async with asyncio.TaskGroup() as group:
            failure = await Dial(group, at(port, timeout=0.1)).failed()
        assert str(failure) == "no answer within 0.1 s"
        await mute.left.wait()


async def test_a_dial_called_off_leaves_nothing_and_tells_nothing() -> None:
    """The connection itself goes when Deepgram answers, or else with the time-out."""
    async with muted() as (mute, port), asyncio.timeout(240):
        async with asyncio.TaskGroup() as group:
            dial = Dial(group, at(port, timeout=0.3))
            await mute.asked.wait()
            dial.dialling.cancel()
        await mute.left.wait()
        assert dial.agent.socket is None
        assert not dial.failure.done()
        dial.dialling.cancel()


async def test_a_socket_that_opens_although_the_dial_was_called_off_is_cut() -> None:
    far = Recorder()

    def decide(upgrade: websocket.Upgrade) -> websocket.Acceptance:
        dial.dialling.cancel()
        return websocket.Acceptance(far)

    async with serving(decide) as port, asyncio.timeout(240):
        async with asyncio.TaskGroup() as group:
            dial = Dial(group, at(port))
        assert (await far.closed).received is None
        assert dial.agent.socket is None
        assert not dial.failure.done()


async def test_a_fault_in_one_call_harms_neither_the_group_nor_its_other_dials(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(failure: Failure) -> None:
        raise RuntimeError("a fault in the call that dialled")

    far = Recorder()
    async with (
        serving(accepting(far)) as port,
        serving(lambda _: websocket.Refusal(429, "")) as full,
    ):
        async with asyncio.TaskGroup() as group:
            a_dialler(at(full), group)(Recorder(), broken)
            well = Dial(group, at(port))
        assert well.agent.socket is not None
        well.agent.socket.close()
        await far.closed
    assert "a fault in the call that dialled" in caplog.text


async def test_a_spare_without_room_is_refused_as_deepgram_would_and_none_is_dialled() -> None:
    far, full = Recorder(), SessionBudget(1, time.monotonic)
    async with serving(accepting(far)) as port, asyncio.TaskGroup() as group:
        settings = at(port)

        def dial_spare(
            budget: SessionBudget, has_room: Callable[[str], Awaitable[bool]] | None = None
        ) -> asyncio.Future[Failure]:
            failure: asyncio.Future[Failure] = asyncio.get_running_loop().create_future()
            dials = Dialler(
                settings.urls,
                settings.headers(KEY),
                5,
                budget,
                ServerTasks(group),
                has_room=has_room,
            )
            dials.spare(Recorder(), failure.set_result)
            return failure

        async def no_room(call_sid: str) -> bool:
            return False

        present = full.counted(Recorder())
        for failure in (
            dial_spare(full),
            dial_spare(SessionBudget(9, time.monotonic), no_room),
        ):
            refused = await asyncio.wait_for(failure, 240)
            assert isinstance(refused, UpgradeRefusedError)
            assert refused.status == 429
        assert full.dialled == 1
        assert full.limit == 1, "Deepgram itself has refused nothing"
        present.release()
    assert far.socket is None


# --- TLS -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost that nobody has signed but itself, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl command to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        " -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    subprocess.run(
        [openssl, *command.split(), "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )
    return cert, key


@asynccontextmanager
async def serving_tls(
    certificate: tuple[Path, Path], decide: websocket.Decide
) -> AsyncIterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Front(decide, 65536), "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await settled()


def over_tls(host: str, port: int) -> DeepgramSettings:
    return DeepgramSettings(url=f"wss://{host}:{port}", connect_timeout_s=5)


def never(upgrade: websocket.Upgrade) -> websocket.Refusal:
    raise AssertionError("the key was sent to a stranger")


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    certificate: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    async with serving_tls(certificate, never) as port, asyncio.TaskGroup() as group:
        failure = await Dial(group, over_tls("localhost", port)).failed()
    assert isinstance(failure, UnreachableError)
    assert "CERTIFICATE_VERIFY_FAILED" in str(failure)
    assert "E-DG-04" in caplog.text


async def test_a_certificate_of_an_authority_that_is_known_is_taken_for_its_own_host_alone(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    far = Recorder()
    async with serving_tls(certificate, accepting(far)) as port:
        async with asyncio.TaskGroup() as group:
            dial = Dial(group, over_tls("localhost", port))
        assert dial.agent.socket is not None
        dial.agent.socket.close()
        await far.closed
    async with serving_tls(certificate, never) as port, asyncio.TaskGroup() as group:
        failure = await Dial(group, over_tls("127.0.0.1", port)).failed()
    assert "CERTIFICATE_VERIFY_FAILED" in str(failure)


async def test_authorities_that_cannot_be_read_fail_the_dial(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> ssl.SSLContext:
        raise FileNotFoundError(2, "No such file")

    monkeypatch.setattr(tls, "verifying", broken)
    async with asyncio.TaskGroup() as group:
        failure = await Dial(group, over_tls("127.0.0.1", 9)).failed()
    assert isinstance(failure, UnreachableError)
    assert "E-DG-04" in caplog.text
