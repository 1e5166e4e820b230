"""offhook calls follow: a client of server-sent events, against servers on real sockets."""

import asyncio
import contextlib
import http.server
import itertools
import json
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from httpx2 import ServerSentEvent
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.in_process import offhook

from offhook.cli.api_client import ApiClient, token_of
from offhook.cli.calls.event_printer import EventPrinter
from offhook.cli.calls.event_stream import EVENT_MAX, EventStream
from offhook.config import load
from offhook.errors import UserError

TOKEN = "a-token-of-the-api"


class Connection:
    """What one connection is answered: a status, and what is then sent."""

    def __init__(self, body: str, status: int = 200) -> None:
        self.body = body
        self.status = status


@contextmanager
def serving(answers: Sequence[Connection]) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A server that answers one connection after the other so; the headers that it got."""
    asked: list[dict[str, str]] = []
    left = iter(answers)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            body = self.rfile.read(length).decode()
            headers = {k.lower(): v for k, v in self.headers.items()}
            asked.append({"path": self.path, "body": body, **headers})
            answer = next(left)
            self.send_response(answer.status)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(answer.body.encode())

        do_POST = do_GET  # noqa: N815 - its name in http.server

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


class EnoughError(Exception):
    """A test has seen what it wanted."""


class Seen:
    """A Listener."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def event(self, event: ServerSentEvent) -> None:
        self.said.append(f"{event.event} {event.data}")

    def lost(self, why: str) -> None:
        self.said.append(f"lost: {why}")

    def connected(self, url: str) -> None:
        self.said.append("connected")


def followed(url: str, connections: int) -> tuple[list[str], list[float]]:
    """What is seen of so many connections, and how long was waited between them."""
    seen, waited = Seen(), []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == connections:
            raise EnoughError

    with contextlib.suppress(EnoughError):
        asyncio.run(EventStream(ApiClient(url + "/", TOKEN), sleep).follow(seen))
    return seen.said, waited


def test_it_goes_on_behind_the_last_event() -> None:
    answers = [
        Connection("retry: 50\nid: r-0\n\nid: r-1\nevent: A\ndata: 1\n\nid: r-2\nevent: B\nda"),
        Connection("busy", 503),
        Connection(": still here\n\nid: r-2\nevent: B\ndata: 2\n\n"),
    ]
    with serving(answers) as (url, asked):
        said, waited = followed(url, 3)
    ended = "lost: it ended the connection"
    assert said == ["connected", "A 1", ended, "lost: HTTP 503", "connected", "B 2", ended]
    assert waited == [0.05] * 3
    assert [one.get("last-event-id") for one in asked] == [None, "r-1", "r-1"]
    assert {one["path"] for one in asked} == {"/api/v1/live"}
    assert {one["authorization"] for one in asked} == {f"Bearer {TOKEN}"}


def test_a_server_that_refuses_is_not_asked_again() -> None:
    body = json.dumps({"code": "E-API-02", "detail": "The token is wrong.", "fix": "Give another."})
    with serving([Connection(body, 401)]) as (url, asked), pytest.raises(UserError) as refused:
        followed(url, 9)
    assert refused.value.code == "E-ASK-12"
    assert refused.value.what.endswith("HTTP 401, The token is wrong.")
    assert TOKEN not in str(refused.value)
    assert len(asked) == 1


def test_a_server_that_is_not_there_is_said() -> None:
    with serving([]) as (url, _):
        pass
    with pytest.raises(UserError, match="E-ASK-13"):
        followed(url, 9)


def test_the_token_is_the_variables_or_the_files(tmp_path: Path) -> None:
    file = tmp_path / "offhook.yaml"
    file.write_text("records:\n  folder: .\n")
    with pytest.raises(UserError, match="E-ASK-11"):
        token_of(load(file, {}))
    assert list(tmp_path.iterdir()) == [file], "who follows makes no token"
    written = tmp_path / "api-token"
    written.touch(mode=0o600)
    with pytest.raises(UserError, match="E-API-01"):
        token_of(load(file, {}))
    written.write_text("that-of-the-file\n")
    assert token_of(load(file, {})) == "that-of-the-file"
    assert token_of(load(file, {"OFFHOOK_API_TOKEN": TOKEN})) == TOKEN


# --- The format ----------------------------------------------------------------------------------

TEXT = (
    ": a comment\r\nid: 1\r\nevent: A\r\ndata: one\r\ndata:two\r\n\r\n"
    "data: no name\r\rid\nevent: only a name\n\nid: 2\n\ndata: 3\nunknown: x\n\ndata: cut off"
)
EVENTS = [("A", "one\ntwo"), ("message", "no name"), ("message", "3")]


def read(stream: EventStream, pieces: Iterable[str]) -> list[tuple[str, str]]:
    """The events in a response that arrives in these pieces."""

    async def content() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece.encode()

    async def events() -> list[tuple[str, str]]:
        response = httpx2.Response(
            200,
            headers={"Content-Type": "text/event-stream; charset=utf-8"},
            content=content(),
            request=httpx2.Request("GET", "http://127.0.0.1/"),
        )
        return [(event.event, event.data) async for event in stream.events(response)]

    return asyncio.run(events())


@given(st.lists(st.integers(0, len(TEXT)), max_size=20))
def test_events_are_the_same_wherever_the_text_is_cut(cuts: list[int]) -> None:
    ends = sorted({0, *cuts, len(TEXT)})
    stream = EventStream(ApiClient("http://127.0.0.1", TOKEN))
    assert read(stream, [TEXT[a:b] for a, b in itertools.pairwise(ends)]) == EVENTS
    assert stream.last_id == "2"


@pytest.mark.parametrize(
    ("value", "seconds"), [("50", 0.05), ("9999999", 30.0), ("x", 1.0), ("-5", 0.0)]
)
def test_the_time_between_attempts_has_a_bound(value: str, seconds: float) -> None:
    stream = EventStream(ApiClient("http://127.0.0.1", TOKEN))
    assert read(stream, [f"retry: {value}\n\n"]) == []
    assert stream.retry_s == seconds


def test_a_line_without_end_is_not_kept() -> None:
    sent = 0

    def endless() -> Iterable[str]:
        nonlocal sent
        while True:
            sent += 100_000
            yield "x" * 100_000

    with pytest.raises(httpx2.TransportError, match="limit"):
        read(EventStream(ApiClient("http://127.0.0.1", TOKEN)), endless())
    assert sent < EVENT_MAX + 200_000


# --- What is printed -----------------------------------------------------------------------------


def happened(name: str, **fields: object) -> ServerSentEvent:
    data = {"call_sid": "CA" + "0" * 24 + "1234abcd", "at_ms": 5230, "event": fields}
    return ServerSentEvent(name, json.dumps(data))


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            happened("CallerSaid", text="Is it \x1b[31mred?", start_ms=None),
            "5230 1234abcd CallerSaid Is it [31mred?",
        ),
        (happened("KeyPressed", digit="5"), "5230 1234abcd KeyPressed key 5"),
        (happened("OfTomorrow", what="new"), "5230 1234abcd OfTomorrow what new"),
    ],
)
def test_one_line_for_each_event(
    capsys: pytest.CaptureFixture[str], event: ServerSentEvent, line: str
) -> None:
    EventPrinter(as_json=False).event(event)
    assert " ".join(capsys.readouterr().out.split()) == line


def test_a_gap_is_told_aside(capsys: pytest.CaptureFixture[str]) -> None:
    EventPrinter(as_json=True).event(ServerSentEvent("gap", '{"lost": 3}'))
    out, err = capsys.readouterr()
    assert (out, err) == ("", 'gap {"lost": 3}\n')


def test_the_command_follows_until_the_server_refuses(tmp_path: Path) -> None:
    """The server that is restarted with another token ends it."""
    event = happened("KeyPressed", digit="5")
    body = f"retry: 1\nid: 1\nevent: {event.event}\ndata: {event.data}\n\n"
    with serving([Connection(body), Connection("", 401)]) as (url, _):
        words = ("calls", "follow", "--json", "--url", url)
        ended = offhook(tmp_path, *words, OFFHOOK_API_TOKEN=TOKEN)
    assert ended.returncode == 1
    [line] = ended.stdout.splitlines()
    assert json.loads(line) == {
        "call_sid": "CA" + "0" * 24 + "1234abcd",
        "at_ms": 5230,
        "name": "KeyPressed",
        "event": {"digit": "5"},
    }
    assert "E-ASK-12" in ended.stderr
