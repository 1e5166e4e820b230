"""Every endpoint after and during real calls, each answer held against the OpenAPI document."""

import asyncio
import io
import json
import sqlite3
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from html import unescape
from itertools import product
from pathlib import Path
from typing import Any

import httpx2
import pytest
from jsonschema import Draft202012Validator
from sqlalchemy import func, select, text, update
from tests import migrated
from tests.api.desk import TOKEN, Desk, desk
from tests.api.spec import Spec, spec_of_servers
from tests.postgres import Postgres
from tests.waiting import until, until_found
from tests.whole_server import ASK, GREET, HANG_UP

from offhook.api.auth import BODY_MAX
from offhook.api.reading import Readers
from offhook.call.ending import Slug
from offhook.events.types import CallStarted
from offhook.recordings.wav import decode, parse
from offhook.records import follower, tables
from offhook.records.database import HEAD
from offhook.testing.scenarios.scenario import ScenarioStep

RECORDED: dict[str, Any] = {"announcement": {"say": "Hi."}, "recording": True}
UNKNOWN = "CA" + "f" * 32


class Asked:
    """A desk that holds every answer against the document."""

    def __init__(self, d: Desk, spec: Spec) -> None:
        self.desk = d
        self.spec = spec

    async def __call__(self, path: str, **options: Any) -> httpx2.Response:
        answer = await self.desk.ask(path, **options)
        self.spec.check(answer)
        return answer


@asynccontextmanager
async def asked(folder: Path, **options: Any) -> AsyncIterator[Asked]:
    async with desk(folder, **options) as d:
        yield Asked(d, await spec_of_servers(d.ask))


async def until_more(count: Callable[[], Awaitable[int]], than: int) -> int:
    """Ask until there is more, which the caller sees only by asking."""
    return await until_found(count, lambda found: found > than)


async def refused(ask: Asked, path: str, status: int, code: str, **options: Any) -> httpx2.Response:
    answer = await ask(path, **options)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    return answer


async def test_everything_about_a_call_that_is_over(tmp_path: Path) -> None:
    async with asked(tmp_path, **RECORDED) as ask:
        report = await ask.desk.whole.call(GREET, ASK, GREET, HANG_UP)
        await ask.desk.until_stored()
        sid = report.call_sid
        page = (await ask("/api/v1/calls")).json()
        assert [call["sid"] for call in page["calls"]] == [sid]
        assert page["next_cursor"] is None
        shown = (await ask(f"/api/v1/calls/{sid}")).json()
        assert shown["call"] == page["calls"][0]
        assert shown["call"]["slug"] == Slug.CALLER_HUNG_UP.slug
        said = [(e["who"], e["text"]) for e in shown["timeline"] if e["kind"] == "utterance"]
        assert said == [
            ("agent", "Hello! How can I help you today?"),
            ("caller", "What are your opening hours?"),
            ("agent", "Of course, what else?"),
        ]
        assert (await ask("/api/v1/totals")).json()["calls"] == 1
        assert [s["key"] for s in (await ask("/api/v1/totals?by=agent")).json()] == ["seed"]
        day = shown["call"]["started"][:10]
        assert [s["key"] for s in (await ask("/api/v1/totals?by=day")).json()] == [day]
        whole = await ask(f"/api/v1/calls/{sid}/audio")
        (tmp_path / "whole.wav").write_bytes(whole.content)
        wav = parse(tmp_path / "whole.wav")
        assert (wav.format, wav.channels, wav.rate) == (7, 2, 8000)
        peaks = (await ask(f"/api/v1/calls/{sid}/peaks")).json()
        assert peaks["length_ms"] == len(wav.data) // 16
        assert len(peaks["caller"]) == len(peaks["agent"]) == -(-len(wav.data) // 1600)
        assert max(peaks["caller"]) > 20
        assert max(peaks["agent"]) > 20


async def test_the_pages_of_a_list_hold_each_call_once(tmp_path: Path) -> None:
    async with asked(tmp_path) as ask:
        async with asyncio.TaskGroup() as group:
            for n in range(5):
                group.create_task(
                    ask.desk.whole.call(GREET, HANG_UP, from_=f"+1202555014{n}", to="+12025550100")
                )
        await ask.desk.until_stored(5)
        found: list[str] = []
        cursor = ""
        while True:
            page = (await ask(f"/api/v1/calls?limit=2{cursor}")).json()
            assert len(page["calls"]) <= 2
            found += [call["from_number"] for call in page["calls"]]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert sorted(found) == [f"+1202555014{n}" for n in range(5)]
        for query, count in (
            ("number=%2B12025550143", 1),
            ("number=%2B12025550100", 5),
            ("number=%2B12025550199", 0),
            ("text=how%20can%20i%20help", 5),
            ("text=hippopotamus", 0),
            ("agent=seed&slug=caller_hung_up&fault=nobody&direction=inbound&live=false", 5),
            ("live=true", 0),
            ("since=1h", 5),
            ("until=1h", 0),
            ("since=2001-01-01&until=2001-01-02T00:00:00Z", 0),
            ("min_ms=3600000", 0),
            ("figure=silence_ratio", 5),
            ("figure=refused_dials", 0),
        ):
            assert len((await ask(f"/api/v1/calls?{query}")).json()["calls"]) == count, query
            assert (await ask(f"/api/v1/totals?{query}")).json()["calls"] == count, query


async def test_audio_in_parts(tmp_path: Path) -> None:
    async with asked(tmp_path, **RECORDED) as ask:
        report = await ask.desk.whole.call(GREET, HANG_UP)
        await ask.desk.until_stored()
        base = f"/api/v1/calls/{report.call_sid}/audio"
        for path in (base, base + "?format=pcm16"):
            whole = await ask(path)
            assert whole.headers["accept-ranges"] == "bytes"
            data = whole.content
            size = len(data)
            assert whole.headers["content-length"] == str(size)
            for asked_for, first, last in (
                ("bytes=0-", 0, size - 1),
                ("bytes=0-0", 0, 0),
                ("bytes=10-99", 10, 99),
                ("bytes=57-58", 57, 58),
                ("bytes=1001-5001", 1001, 5001),
                (f"bytes={size - 1}-", size - 1, size - 1),
                ("bytes=-7", size - 7, size - 1),
                (f"bytes=-{size + 5}", 0, size - 1),
                (f"bytes=100-{size + 5}", 100, size - 1),
            ):
                part = await ask(path, headers={"Range": asked_for})
                assert part.status_code == 206, asked_for
                assert part.headers["content-range"] == f"bytes {first}-{last}/{size}"
                assert part.content == data[first : last + 1], asked_for
            for bad in (f"bytes={size}-", "bytes=5-4", "bytes=-0", "bytes=-", "bytes=a-b",
                        f"bytes={'9' * 40}-", "bytes=0x1-2", "bytes=--5"):  # fmt: skip
                answer = await refused(ask, path, 416, "E-API-10", headers={"Range": bad})
                assert answer.headers["content-range"] == f"bytes */{size}"
            for ignored in ("bytes=0-1,5-6", "samples=0-5", "nonsense"):
                assert (await ask(path, headers={"Range": ignored})).content == data
            etag = whole.headers["etag"]
            same = await ask(path, headers={"If-None-Match": etag})
            assert same.status_code == 304
            for held, status in ((etag, 206), ('"another"', 200)):
                headers = {"Range": "bytes=0-9", "If-Range": held}
                assert (await ask(path, headers=headers)).status_code == status
            head = await ask.desk.ask(path, method="HEAD")
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-length"] == str(size)
        mulaw, pcm = (await ask(base)).content, (await ask(base + "?format=pcm16")).content
        with wave.open(io.BytesIO(pcm)) as found:
            assert (found.getnchannels(), found.getsampwidth(), found.getframerate()) == (
                2,
                2,
                8000,
            )
            assert found.readframes(found.getnframes()) == decode(mulaw[58:])
        await refused(ask, base + "?format=mp3", 422, "E-API-08")


async def test_a_live_recording_is_heard_paused_and_resumed(tmp_path: Path) -> None:
    async with asked(tmp_path, **RECORDED) as ask, asyncio.TaskGroup() as group:
        whole = ask.desk.whole
        talking = ScenarioStep.model_validate({"say": "What are your opening hours?"})
        call = group.create_task(whole.call(*[step for _ in range(3) for step in (GREET, talking)],
                                            GREET, HANG_UP))  # fmt: skip
        await until(lambda: any(isinstance(e, CallStarted) for e in whole.events()))
        sid = whole.happened[0].call_sid
        path = f"/api/v1/calls/{sid}/audio"

        async def size() -> int:
            answer = await ask.desk.ask(path, method="HEAD")
            return int(answer.headers["content-length"]) if answer.status_code == 200 else 0

        first = await until_more(size, 8000)
        await until_more(size, first)
        answer = await ask(path)
        (tmp_path / "live.wav").write_bytes(answer.content)
        assert len(parse(tmp_path / "live.wav").data) == len(answer.content) - 58
        for state in ("paused", "paused", "recording"):
            answer = await ask(
                f"/api/v1/calls/{sid}/recording", method="POST", body={"state": state}
            )
            what = "the recording is paused" if state == "paused" else "what is said is recorded"
            is_so = {"done": True, "what": what, "call_sid": sid, "state": state}
            assert answer.json() == is_so
        assert (await ask("/api/v1/calls?live=true")).json()["calls"][0]["sid"] == sid
        await refused(ask, f"/api/v1/calls/{sid}", 409, "E-API-16", method="DELETE")
        assert (await call).faults == []
        await ask.desk.until_stored()
        names = [type(e).__name__ for e in whole.events()]
        assert names.count("RecordingPaused") == names.count("RecordingResumed") == 1
        body = {"state": "paused"}
        await refused(
            ask, f"/api/v1/calls/{sid}/recording", 409, "E-API-13", method="POST", body=body
        )


async def test_a_link_needs_no_token_and_opens_that_file_alone(tmp_path: Path) -> None:
    async with asked(tmp_path, **RECORDED) as ask:
        sids = [(await ask.desk.whole.call(GREET, HANG_UP)).call_sid for _ in range(2)]
        await ask.desk.until_stored(2)
        made = await ask(f"/api/v1/calls/{sids[0]}/links", method="POST", body={"lasts_s": 60})
        assert made.status_code == 201
        url = made.json()["url"]
        whole = await ask(url, token=None)
        assert whole.status_code == 200
        assert whole.headers["cache-control"] == "no-store"
        assert whole.headers["referrer-policy"] == "no-referrer"
        part = await ask(url + "&format=pcm16", token=None, headers={"Range": "bytes=0-3"})
        assert (part.status_code, part.content) == (206, b"RIFF")
        assert (await ask.desk.ask(url, token=None, method="HEAD")).status_code == 200
        assert (await ask.desk.ask(url, token=None, host="voice.example.com")).status_code == 404
        headers = {"Origin": "https://evil.example"}
        assert (await ask.desk.ask(url, token=None, headers=headers)).status_code == 403
        for forged in (
            url.replace(sids[0], sids[1]),
            url.replace("/audio", "/peaks"),
            url[:-1],
            url.replace("expires=", "expires=9"),
        ):
            answer = await ask.desk.ask(forged, token=None)
            assert answer.status_code == 403
            assert answer.json()["code"] == "E-API-11"
        for bad in ({"lasts_s": 0}, {"lasts_s": 10**9}, {"lasts_s": "long"}, {"for": 5}):
            await refused(
                ask, f"/api/v1/calls/{sids[0]}/links", 422, "E-API-08", method="POST", body=bad
            )


async def test_what_cannot_be_asked_is_refused_and_said(tmp_path: Path) -> None:
    async with asked(tmp_path) as ask:
        await ask.desk.whole.call(GREET, HANG_UP)
        await ask.desk.until_stored()
        sid = ask.desk.whole.happened[0].call_sid
        for query, code in (
            ("limit=0", "E-ASK-01"),
            ("limit=501", "E-ASK-01"),
            (f"limit={'9' * 400}", "E-ASK-01"),
            ("limit=ten", "E-API-08"),
            ("cursor=nonsense", "E-ASK-02"),
            ("cursor=%00", "E-ASK-02"),
            ("since=yesterday", "E-ASK-03"),
            ("since=2026-13-45", "E-ASK-03"),
            ("since=1d&until=2d", "E-ASK-01"),
            ("number=12025550142", "E-ASK-01"),
            ("direction=sideways", "E-ASK-01"),
            ("fault=mine", "E-ASK-01"),
            ("slug=%27%3B--", "E-ASK-01"),
            ("text=", "E-ASK-01"),
            ("text=%00", "E-ASK-01"),
            (f"text={'x' * 201}", "E-ASK-01"),
            ("min_ms=-1", "E-ASK-01"),
            ("min_ms=1.5", "E-API-08"),
            ("live=perhaps", "E-API-08"),
            ("agnet=seed", "E-API-08"),
        ):
            await refused(ask, f"/api/v1/calls?{query}", 422, code)
        await refused(ask, "/api/v1/totals?by=moon", 422, "E-API-08")
        for path in ("", "/audio", "/peaks"):
            await refused(ask, f"/api/v1/calls/{UNKNOWN}{path}", 404, "E-ASK-04")
            for strange in ("%00", "x" * 5000, "%27%20OR%201=1", "..%5C..%5Cetc", "%F0%9F%98%80"):
                await refused(ask, f"/api/v1/calls/{strange}{path}", 404, "E-ASK-04")
        for method, path, body in (
            ("POST", "/links", {"lasts_s": 5}),
            ("POST", "/recording", {"state": "paused"}),
            ("DELETE", "", None),
        ):
            full = f"/api/v1/calls/{UNKNOWN}{path}"
            answer = await ask(full, method=method, body=body)
            assert answer.status_code == 404, full
        for path in ("/audio", "/peaks"):
            await refused(ask, f"/api/v1/calls/{sid}{path}", 404, "E-API-12")
        await refused(
            ask, f"/api/v1/calls/{sid}/links", 404, "E-API-12", method="POST", body={"lasts_s": 5}
        )
        bodies: list[Any] = [None, {}, {"state": "off"}, [], {"state": "paused", "more": 1}]
        for bad in bodies:
            await refused(
                ask, f"/api/v1/calls/{sid}/recording", 422, "E-API-08", method="POST", body=bad
            )


async def test_an_erased_call_is_gone(tmp_path: Path) -> None:
    async with asked(tmp_path, **RECORDED) as ask:
        sids = [(await ask.desk.whole.call(GREET, HANG_UP)).call_sid for _ in range(2)]
        await ask.desk.until_stored(2)
        paths = [f"/api/v1/calls/{sids[0]}{path}" for path in ("", "/audio", "/peaks")]
        for path in paths:
            assert (await ask(path)).status_code == 200
        removed = (await ask(paths[0], method="DELETE")).json()["removed"]
        assert (removed["calls"], removed["recordings"]) == (1, 1)
        assert removed["utterances"] >= 1
        for path in paths:
            await refused(ask, path, 404, "E-ASK-04")
        await refused(ask, paths[0], 404, "E-ASK-04", method="DELETE")
        (left,) = {path.stem for path in (tmp_path / "recordings").iterdir()}
        assert sids[1] in left
        assert (await ask("/api/v1/totals")).json()["calls"] == 1
        # Nor can it be had from what is kept for those who follow.
        live = ask.desk.api.live
        kept, _ = live.after(live.first - 1, None)
        assert sids[0].encode() not in kept
        assert sids[1].encode() in kept


async def test_a_recording_that_cannot_be_deleted_is_said(tmp_path: Path) -> None:
    async with asked(tmp_path, **RECORDED) as ask:
        sid = (await ask.desk.whole.call(GREET, HANG_UP)).call_sid
        await ask.desk.until_stored()
        [recording] = (tmp_path / "recordings").glob("*.wav")
        recording.unlink()
        recording.mkdir()  # which root cannot unlink either
        path = f"/api/v1/calls/{sid}"
        page = await refused(ask, path, 500, "E-ERA-03", method="DELETE")
        assert recording.name in page.json()["detail"]
        await refused(ask, path, 404, "E-ASK-04")


async def test_a_call_is_delivered_again(tmp_path: Path) -> None:
    async with asked(tmp_path) as ask:
        sid = (await ask.desk.whole.call(GREET, HANG_UP)).call_sid
        await ask.desk.until_stored()
        path = f"/api/v1/calls/{sid}/resend"
        await refused(ask, path, 409, "E-API-17", method="POST")
    async with asked(tmp_path, webhook="https://hook.example") as ask:
        for _ in range(2):
            assert (await ask(path, method="POST")).status_code == 202
        with ask.desk.engine.connect() as connection:
            due = connection.execute(select(tables.jobs.c.call_sid, tables.jobs.c.due_ms)).all()
        assert [row.call_sid for row in due] == [sid]
        assert due[0].due_ms is not None
        await refused(ask, f"/api/v1/calls/{UNKNOWN}/resend", 404, "E-ASK-04", method="POST")


async def test_a_body_without_end_is_not_read(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        url = f"{d.url}/api/v1/calls/CA1/recording"

        async def endless() -> AsyncIterator[bytes]:
            for _ in range(20):
                yield b" " * 1000

        answer = await d.whole.http.post(url, content=b" " * (BODY_MAX + 1), headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (413, "E-API-06")
        # One in chunks gets no further than the head of the connection.
        assert (await d.whole.http.post(url, content=endless(), headers=headers)).status_code == 413


NOT_THERE = (
    ("GET", "/api", 404),
    ("GET", "/api/", 404),
    ("GET", "/api/v1/nothing", 404),
    ("GET", "/api/v1/calls/", 404),
    ("GET", "/api/v1/calls/CA1/audio/more", 404),
    ("GET", "/api/v1/calls/..%2F..%2Fetc/audio", 404),
    ("PUT", "/api/v1/calls", 405),
    ("DELETE", "/api/v1/calls", 405),
    ("POST", "/api/v1/live", 405),
    ("TRACE", "/api/v1/calls", 405),
    ("POST", "/openapi.json", 405),
    ("GET", "/api/v1/calls/CA1/links", 405),
)


async def test_paths_and_methods_that_are_not_there(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        for method, path, status in NOT_THERE:
            answer = await d.ask(path, method=method)
            assert (answer.status_code, answer.json()["code"]) == (status, "E-API-07"), path
            assert answer.headers["content-type"] == "application/problem+json"
            assert set(answer.json()) == {"type", "title", "status", "detail", "code", "fix"}
            assert ("allow" in answer.headers) == (status == 405)


async def test_a_path_of_before_is_told_the_present_one(tmp_path: Path) -> None:
    paths = ("calls", "calls/CA1/hang-up", "totals", "live")
    async with desk(tmp_path) as d:
        for path, method in product(paths, ("GET", "POST")):
            answer = await d.ask(f"/api/{path}", method=method)
            assert (answer.status_code, answer.json()["code"]) == (404, "E-API-21")
            assert answer.json()["fix"] == f"Request /api/v1/{path}."


async def test_a_recording_that_is_none_or_lies_elsewhere_is_said(tmp_path: Path) -> None:
    (tmp_path / "secret.wav").write_bytes(b"RIFF, but nobody's business")
    async with asked(tmp_path, **RECORDED) as ask:
        sid = (await ask.desk.whole.call(GREET, HANG_UP)).call_sid
        await ask.desk.until_stored()

        def say(name: str) -> None:
            with ask.desk.engine.begin() as connection:
                connection.execute(update(tables.calls).values(recording=name))

        for name in ("../secret.wav", str(tmp_path / "secret.wav"), "..", "a/../../secret.wav"):
            say(name)
            for path in ("/audio", "/peaks"):
                answer = await ask.desk.ask(f"/api/v1/calls/{sid}{path}")
                assert (answer.status_code, answer.json()["code"]) == (500, "E-AUD-03")
                assert b"business" not in answer.content
        say("gone.wav")
        await refused(ask, f"/api/v1/calls/{sid}/audio", 404, "E-AUD-04")
        for node, where in (("", "another machine"), ("b", "the node b")):
            with ask.desk.engine.begin() as connection:
                elsewhere = update(tables.calls).values(journal="0" * 32, node=node)
                connection.execute(elsewhere)
            for path in ("/audio", "/peaks"):
                answer = await ask.desk.ask(f"/api/v1/calls/{sid}{path}")
                assert (answer.status_code, answer.json()["code"]) == (404, "E-AUD-06")
                assert f"is on the disk of {where}." in answer.json()["detail"]
        (tmp_path / "recordings" / "garbage.wav").write_bytes(b"RIFF" + bytes(100))
        say("garbage.wav")
        for path in ("/audio", "/peaks"):
            answer = await ask.desk.ask(f"/api/v1/calls/{sid}{path}")
            assert (answer.status_code, answer.json()["code"]) == (500, "E-AUD-05")


async def test_a_database_that_hangs_is_said_and_calls_go_on(
    tmp_path: Path, postgres: Postgres
) -> None:
    with postgres.database(migrated=True) as url:
        text = url.render_as_string(hide_password=False)
        async with asked(tmp_path, url=text, readers=Readers(patience_s=0.3)) as ask:
            assert (await ask("/api/v1/calls")).status_code == 200
            with ask.desk.engine.connect() as holding:
                holding.exec_driver_sql("LOCK TABLE calls IN ACCESS EXCLUSIVE MODE")
                answers = await asyncio.gather(*(ask("/api/v1/calls") for _ in range(60)))
                assert {a.status_code for a in answers} == {503}
                assert {a.json()["code"] for a in answers} == {"E-API-09"}
                assert all(a.headers["retry-after"] for a in answers)
                report = await ask.desk.whole.call(GREET, ASK, GREET, HANG_UP)
                assert report.faults == []
                assert (await ask.desk.ask("/healthz")).status_code == 200
            await ask.desk.until_stored()

            async def stored() -> int:
                answer = await ask("/api/v1/calls")
                return len(answer.json()["calls"]) if answer.status_code == 200 else 0

            assert await until_more(stored, 0) == 1


async def test_a_database_of_a_newer_offhook_is_said_and_calls_go_on_and_are_stored_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(follower, "RETRY_S", (0.05,))
    migrated.put(tmp_path / "offhook.db")
    with closing(sqlite3.connect(tmp_path / "offhook.db")) as newer, newer:
        newer.execute("UPDATE alembic_version SET version_num = '9999'")
    async with desk(tmp_path) as d:
        assert "E-REC-04 The database has schema 9999" in caplog.text
        report = await d.whole.call(GREET, ASK, GREET, HANG_UP)
        assert report.faults == []
        assert (await d.ask("/readyz")).status_code == 200
        await d.whole.until_ended()
        assert d.files.journal.waiting
        with d.engine.begin() as connection:
            assert connection.scalar(select(func.count()).select_from(tables.calls)) == 0
            connection.execute(
                text("UPDATE alembic_version SET version_num = :head"), {"head": HEAD}
            )
        await d.until_stored()
        listed = (await d.ask("/api/v1/calls")).json()["calls"]
    assert [call["sid"] for call in listed] == [report.call_sid]


async def test_the_document_is_whole(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        document = (await d.ask("/openapi.json")).json()
        spec = Spec(document)
        for name, schema in document["components"]["schemas"].items():
            Draft202012Validator.check_schema(schema)
            assert schema.get("description"), name
        operations = list(spec.operations())
        names = [operation["operationId"] for _, _, operation in operations]
        assert len(names) == len(set(names)) >= 10
        for _, path, operation in operations:
            assert operation["tags"], path
            assert operation["summary"], path
            assert operation["description"], path
            is_open = operation["operationId"] == "signIn"
            ways: list[dict[str, list[str]]] = [] if is_open else [{"token": []}, {"session": []}]
            assert operation.get("security", []) == ways
            for status, answer in operation["responses"].items():
                assert answer["description"], (path, status)
                if int(status) >= 400:
                    shape = answer["content"]["application/problem+json"]["schema"]
                    assert shape == {"$ref": "#/components/schemas/ProblemResponse"}
        for reference in {line for line in json.dumps(document).split('"') if line[:2] == "#/"}:
            part: Any = document
            for step in reference[2:].split("/"):
                part = part[step]


async def test_the_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        answer = await d.ask("/docs")
        assert answer.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        for _, path, operation in Spec((await d.ask("/openapi.json")).json()).operations():
            assert path in answer.text
            assert operation["summary"] in unescape(answer.text)
        for foreign in ("<script", "http://", "https://", "//cdn", "url("):
            assert foreign not in answer.text
