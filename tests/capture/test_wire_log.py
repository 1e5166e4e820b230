"""Pages of a call's wire log: all of its messages, in order, with the audio counted."""

from pathlib import Path

import pytest
from tests.calls.test_session import Rehearsal
from tests.capture.test_writer import CALL, only, read, rehearse
from tests.whole_server import ASK, GREET, HANG_UP

from offhook.capture import wire_log
from offhook.capture.tap import OnWire
from offhook.capture.wire_log import WireEntry
from offhook.capture.writer import Captures
from offhook.errors import UserError

HEADER = (
    b'{"offhook_capture":1,"offhook":"1","date":"2026-11-24T13:43:26.500+00:00",'
    b'"call_sid":"CA1","agent":"desk","webhook":true}\n'
)
BEGAN_MS = 1_795_527_806_000
"""Half a second before."""


def every(files: list[Path], limit: int, started_ms: int = 0) -> list[WireEntry]:
    found: list[WireEntry] = []
    cursor = None
    while True:
        page = wire_log.page(files, started_ms, limit, cursor)
        assert len(page.entries) <= limit
        found += page.entries
        cursor = page.next_cursor
        if cursor is None:
            return found


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Rehearsal]:
    folder = tmp_path_factory.mktemp("captures")
    with Captures(folder, ()) as captures:
        rehearsal = rehearse(captures, GREET, ASK, GREET, HANG_UP)
    return only(folder), rehearsal


@pytest.mark.parametrize("limit", [1, 7, 500])
def test_pages_have_every_message_and_count_the_audio(
    captured: tuple[Path, Rehearsal], limit: int
) -> None:
    path, _ = captured
    _, *lines = read(path)
    found = every([path], limit)
    names = [
        line["message"].get("event") or line["message"].get("type")
        for line in lines
        if "message" in line
    ]
    assert [one.name for one in found if one.what == "message"] == names
    assert (found[-1].what, found[-1].text) == ("ended", "caller_hung_up")
    for leg in ("caller", "agent"):
        for way in ("in", "out"):
            frames = [
                one
                for one in found
                if one.what == "audio" and (one.leg, one.direction) == (leg, way)
            ]
            there = [
                line
                for line in lines
                if "audio" in line and (line["leg"], line["dir"]) == (leg, way)
            ]
            assert sum(one.frames for one in frames) == len(there) > 10


def test_times_count_from_the_beginning_of_the_call(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    path.write_bytes(HEADER + b'{"at":40.2,"leg":"caller","dir":"in","opened":true}\n')
    (entry,) = every([path], 10, BEGAN_MS)
    assert (entry.at_ms, entry.what, entry.leg) == (540, "opened", "caller")


def test_a_call_that_two_processes_carried_has_both_captures(tmp_path: Path) -> None:
    for name, slug in (("1-CA1.jsonl", b"first"), ("2-CA1.jsonl", b"second")):
        (tmp_path / name).write_bytes(HEADER + b'{"at":1,"ended":"%s"}\n' % slug)
    (tmp_path / "3-CA12.jsonl").write_bytes(HEADER)
    files = wire_log.captures_of(tmp_path, "CA1")
    assert [one.text for one in every(files, 1)] == ["first", "second"]
    assert b"".join(wire_log.pieces(files, 10)).count(b"\n") == 4


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\n",
        b"\xff\xfe\n",
        HEADER[:20],
        HEADER + b'{"at":1,"leg":"caller","di',
        HEADER + b"[" * 100_000 + b"\n",
        HEADER + b'{"at":1,"message":{"event":7}}\n',
        HEADER + b'{"at":1.e.e,"leg":"caller","dir":"in","audio":"//8="}\n',
        b"a" * 3_000_000 + b"\n" + b'{"at":1,"ended":"x"}\n',
    ],
)
def test_a_damaged_capture_is_read_as_far_as_it_can_be(tmp_path: Path, damaged: bytes) -> None:
    path = tmp_path / "one.jsonl"
    path.write_bytes(damaged)
    for limit in (1, 100):
        assert all(one.what for one in every([path], limit))


def test_a_page_reads_no_more_than_its_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire_log, "SCAN_BYTES", 4000)
    line = b'{"at":1.0,"leg":"agent","dir":"in","audio":"%s"}\n' % (b"/" * 1000)
    path = tmp_path / "one.jsonl"
    path.write_bytes(HEADER + 20 * line)
    page = wire_log.page([path], 0)
    assert (len(page.entries), page.entries[0].frames) == (1, 4)
    assert page.next_cursor is not None
    assert sum(one.frames for one in every([path], 200)) == 20


def test_a_huge_message_is_cut(tmp_path: Path) -> None:
    with Captures(tmp_path, ()) as captures:
        tap = captures(CALL)
        tap.on_wire(OnWire(1, "agent", "out", "text", b'{"type":"X","a":"%s"}' % (b"a" * 50_000)))
        tap.on_ended(None)
    first, _ = every([only(tmp_path)], 10)
    assert len(first.text) == wire_log.TEXT_MAX
    assert first.size > 50_000


@pytest.mark.parametrize("cursor", ["", "1.0", "x", "0.-1", "0." + "9" * 30])
def test_a_wrong_cursor_is_told(captured: tuple[Path, Rehearsal], cursor: str) -> None:
    with pytest.raises(UserError, match="E-ASK-02"):
        wire_log.page([captured[0]], 0, 10, cursor)


@pytest.mark.parametrize("sid", ["CA9", "../../etc/passwd", "", "CA*", "\0"])
def test_no_other_file_is_ever_found(tmp_path: Path, sid: str) -> None:
    (tmp_path / "1-CA1.jsonl").write_bytes(HEADER)
    (tmp_path / "1-CA9.jsonl").symlink_to(tmp_path / "1-CA1.jsonl")
    with pytest.raises(UserError, match="E-CAP-07"):
        wire_log.captures_of(tmp_path, sid)
    with pytest.raises(UserError, match="E-CAP-07"):
        wire_log.captures_of(None, sid)
