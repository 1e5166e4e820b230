"""The live events: resuming without loss or doubles, gaps that are told, slow and many clients."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.api.desk import TOKEN, Desk, desk
from tests.waiting import until
from tests.whole_server import ASK, GREET, HANG_UP, fresh_sid

from offhook.api import live as module
from offhook.api.live import KEPT_BYTES, LISTENERS_MAX, LiveEvents, LiveListener
from offhook.api.problems import ApiError
from offhook.events.types import AgentSaid, CallerSaid, CallEvent, KeyPressed
from offhook.journal.reader import JournalReader


class Told(NamedTuple):
    """One event as a client has it."""

    id: str
    name: str
    data: Any


def parse(text: str) -> list[Told]:
    """Events by the WHATWG's rules, as far as they concern us."""
    found = []
    last_id = ""
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        last_id = fields.get("id", last_id)
        if "data" in fields:
            found.append(Told(last_id, fields["event"], json.loads(fields["data"])))
    return found


def pressed(digit: object, call_sid: str = "CA1") -> CallEvent:
    return CallEvent(call_sid, 7, KeyPressed(str(digit)))


async def take(listener: LiveListener, count: int) -> list[Told]:
    """The next events of a stream, `count` at least."""
    text = ""
    async with asyncio.timeout(240):
        while len(parse(text)) < count:
            text += (await anext(listener)).decode()
    return parse(text)


def digits(told: list[Told]) -> list[str]:
    return [each.data["event"]["digit"] for each in told if each.name == "KeyPressed"]


async def test_what_a_listener_gets() -> None:
    live = LiveEvents(run="r")
    live(pressed(0))
    with live.listen(None, None) as listener:
        live(CallEvent("CA2", 5230, CallerSaid("Wie\ngeht's?", 4310)))
        assert await take(listener, 1) == [
            Told(
                "r-2",
                "CallerSaid",
                {
                    "call_sid": "CA2",
                    "at_ms": 5230,
                    "event": {"text": "Wie\ngeht's?", "start_ms": 4310, "behavior": "default"},
                    "words": "the caller spoke",
                },
            )
        ]


async def test_a_listener_that_comes_back_misses_nothing_and_hears_nothing_twice() -> None:
    live = LiveEvents()
    heard: list[str] = []
    last: str | None = None
    for start in range(0, 100, 10):
        with live.listen(last, None) as listener:
            opening = (await anext(listener)).decode()
            assert opening.startswith("retry: ")
            for digit in range(start, start + 5):
                live(pressed(digit))
            told = await take(listener, 5)
            heard += digits(told)
            last = told[-1].id
        for digit in range(start + 5, start + 10):
            live(pressed(digit))
        with live.listen(last, None) as listener:
            told = await take(listener, 5)
            heard += digits(told)
            last = told[-1].id
    assert heard == [str(digit) for digit in range(100)]


async def test_cut_off_before_the_first_event_the_opening_id_is_enough() -> None:
    live = LiveEvents(run="r")
    live(pressed(1))
    with live.listen(None, None) as listener:
        assert b"id: r-1\n" in await anext(listener)
    live(pressed(2))
    with live.listen("r-1", None) as listener:
        assert digits(await take(listener, 1)) == ["2"]


async def test_one_call_alone() -> None:
    live = LiveEvents()
    with live.listen(None, "CA2") as listener:
        for n in range(10):
            live(pressed(n, f"CA{n % 3}"))
        assert digits(await take(listener, 3)) == ["2", "5", "8"]


async def test_what_is_not_kept_any_more_is_a_gap() -> None:
    live = LiveEvents(run="r", kept_max=3)
    for n in range(1, 11):
        live(pressed(n))
    with live.listen("r-2", None) as listener:
        told = await take(listener, 4)
        assert told[0] == Told("r-7", "gap", {"lost": 5})
        assert digits(told) == ["8", "9", "10"]


@pytest.mark.parametrize(
    "last_id", ["other-2", "r-11", "r-", "r-x", "2", "", "r--1", "r-²", "r-" + "9" * 400, "\x00"]
)
async def test_an_id_of_another_run_or_of_nobody_is_a_gap(last_id: str) -> None:
    live = LiveEvents(run="r")
    for n in range(1, 11):
        live(pressed(n))
    with live.listen(last_id, None) as listener:
        told = await take(listener, 11)
        assert told[0] == Told("r-0", "gap", {"lost": None})
        assert digits(told) == [str(n) for n in range(1, 11)]


async def test_a_slow_listener_gets_a_gap_and_goes_on() -> None:
    live = LiveEvents(kept_max=100)
    with live.listen(None, None) as listener:
        live(pressed("first"))
        assert digits(await take(listener, 1)) == ["first"]
        for n in range(250):
            live(pressed(n))
        told = await take(listener, 101)
        assert [each.name for each in told].count("gap") == 1
        assert told[0].data == {"lost": 150}
        assert digits(told) == [str(n) for n in range(150, 250)]
        live(pressed("last"))
        assert digits(await take(listener, 1)) == ["last"]


async def test_what_is_kept_has_a_bound_in_bytes() -> None:
    live = LiveEvents()
    long = "x" * 100_000
    for _ in range(100):
        live(CallEvent("CA1", 0, AgentSaid(long, long, 1, interrupted=False)))
    assert live.last - live.first + 1 == KEPT_BYTES // 200_200
    live(CallEvent("CA1", 0, CallerSaid("x" * (KEPT_BYTES + 1))))
    assert live.first == live.last + 1
    live(pressed(1))
    assert (live.first, live.last) == (102, 102)


def test_an_event_is_joined_once_for_all_pages_and_not_after_it_was_erased() -> None:
    live = LiveEvents(run="r")
    for each in "123":
        live(pressed(each))
    first, second = live.after(0, None), live.after(0, None)
    assert first[0] is second[0]
    assert live.after(0, "CA2") == (b"", 3)
    live.forget("CA1")
    assert live.after(0, None) == (b"", 3)


async def test_an_erased_call_is_forgotten() -> None:
    live = LiveEvents(run="r")
    for n in range(6):
        live(pressed(n, f"CA{n % 2}"))
    live.forget("CA1")
    with live.listen("r-0", None) as listener:
        assert digits(await take(listener, 3)) == ["0", "2", "4"]
        live(pressed(6))
        assert (await take(listener, 1))[0].id == "r-7"


async def test_a_silent_line_shows_that_it_is_alive() -> None:
    live = LiveEvents(run="r")
    with live.listen(None, "CA1", heartbeat_s=0.01) as listener:
        await anext(listener)
        for n in range(3):
            live(pressed(n, "CA2"))
            # With its place, so that who comes back after it is told of no gap.
            assert await anext(listener) == b": still here\nid: r-%d\n\n" % (n + 1)


async def test_listeners_have_a_bound() -> None:
    live = LiveEvents()
    listeners = [live.listen(None, None) for _ in range(LISTENERS_MAX)]
    with pytest.raises(ApiError) as refused:
        live.listen(None, None)
    assert refused.value.status == 503
    assert refused.value.problem.code == "E-API-14"
    live.leave(listeners[0])
    live.leave(live.listen(None, None))


async def test_at_the_end_a_listener_gets_what_there_is_and_the_end() -> None:
    live = LiveEvents()
    with live.listen(None, None) as listener, live.listen(None, None) as other:
        for n in range(5):
            live(pressed(n))
        live.close()
        assert digits(parse("".join([chunk.decode() async for chunk in listener]))) == list("01234")
        assert digits(parse("".join([chunk.decode() async for chunk in other]))) == list("01234")


# --- over real sockets ---------------------------------------------------------------------------


@asynccontextmanager
async def following(d: Desk, last_id: str | None = None, query: str = "") -> AsyncIterator[Any]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    if last_id is not None:
        headers["Last-Event-ID"] = last_id
    url = f"{d.url}/api/v1/live{query}"
    async with d.whole.http.stream("GET", url, headers=headers, timeout=20) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        yield response


async def test_a_call_is_followed_across_broken_connections(tmp_path: Path) -> None:
    async with desk(tmp_path) as d, asyncio.TaskGroup() as group:
        told: list[Told] = []
        last: str | None = None
        calling = None
        while not told or told[-1].name != "CallEnded":
            async with following(d, last) as response:
                if calling is None:
                    calling = group.create_task(d.whole.call(GREET, ASK, GREET, HANG_UP))
                text = ""
                # Cut off after every other event.
                async with asyncio.timeout(240):
                    async for chunk in response.aiter_text():
                        text += chunk
                        if len(parse(text)) >= 2 or "CallEnded" in text:
                            break
                whole = text[: text.rindex("\n\n") + 2]
                told += parse(whole)
                last = told[-1].id
        expected = [(h.call_sid, h.at_ms, type(h.event).__name__) for h in d.whole.happened]
        got = [(t.data["call_sid"], t.data["at_ms"], t.name) for t in told]
        assert got == expected[: len(got)]
        assert "CallEnded" in {name for _, _, name in got}
        assert "gap" not in {t.name for t in told}


async def test_a_client_that_reads_nothing_slows_no_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT_BYTES", 64 * 1024)
    async with desk(tmp_path) as d:
        stuck = socket.socket()
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect(("127.0.0.1", d.port))
        request = (
            f"GET /api/v1/live HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        )
        stuck.sendall(request.encode())
        listeners = d.api.live._listeners
        await until(lambda: len(listeners) == 1)
        # Far more than the sockets between us hold.
        for _ in range(200):
            d.api.live(CallEvent(fresh_sid(), 0, CallerSaid("x" * 50_000)))
            await asyncio.sleep(0)
        report = await d.whole.call(GREET, ASK, GREET, HANG_UP)
        assert report.faults == []
        assert d.whole.endings() == ["caller_hung_up"]
        # Nothing more waits for it than what the ring keeps anyway.
        assert d.api.live._bytes <= 64 * 1024
        d.whole.server.stop()
        async with asyncio.timeout(240):
            await d.whole.until_stopped()
        d.side.server.stop()
        await until(lambda: not listeners)
        stuck.close()


async def test_a_client_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        async with following(d):
            assert len(d.api.live._listeners) == 1
        await until(lambda: not d.api.live._listeners)


async def test_draining_goes_on_with_clients_connected(tmp_path: Path) -> None:
    async with desk(tmp_path) as d, asyncio.TaskGroup() as group:

        async def stop_operator() -> None:
            """As a supervisor does: once the call side has ended, with its journal written."""
            await d.whole.until_stopped()
            await until(lambda: not d.files.journal.waiting or ending_is_written())
            d.side.server.stop()

        def ending_is_written() -> bool:
            with closing(JournalReader(d.files.journal.folder)) as reader:
                return any(b'"CallEnded"' in line for _, line in reader.read(1000))

        call = group.create_task(d.whole.call(GREET, ASK, GREET, HANG_UP))
        async with following(d) as response:
            await until(lambda: d.whole.server.calls.registry.live_count > 0)
            d.whole.server.stop()
            group.create_task(stop_operator())
            async with asyncio.timeout(240):
                text = "".join([chunk async for chunk in response.aiter_text()])
        assert (await call).faults == []
        # It was told of everything up to the end, which comes with the last call.
        assert [t.name for t in parse(text)].count("CallEnded") == 1
        async with asyncio.timeout(240):
            await d.whole.until_stopped()
