"""Reading captures: what is in them, and what is none."""

import json
from pathlib import Path
from typing import Any

import pytest

from offhook.capture.writer import VERSION
from offhook.errors import UserError
from offhook.testing.replay import captured
from offhook.testing.replay.captured import Captured, caller_side, told

HEADER = {
    "offhook_capture": VERSION,
    "offhook": "1.0",
    "date": "2026-11-24T12:00:00.000+00:00",
    "call_sid": "CA1",
    "agent": "front-desk",
    "webhook": True,
    "from": "+12025550142",
    "to": "+12025550100",
}
FRAME = "EBAQ" * 53 + "EA=="
"""160 bytes of 0x10, base64."""


def from_twilio(at: float, **message: Any) -> dict[str, Any]:
    return {"at": at, "leg": "caller", "dir": "in", "message": message}


def media(at: float, ms: int | None = None, audio: str = FRAME) -> dict[str, Any]:
    line = {"at": at, "leg": "caller", "dir": "in", "audio": audio}
    return line if ms is None else line | {"ms": ms}


def from_agent(at: float, **message: Any) -> dict[str, Any]:
    return {"at": at, "leg": "agent", "dir": "in", "message": message}


START = from_twilio(1000, event="start")
STOP = from_twilio(9000, event="stop")


def write(folder: Path, *lines: Any, header: Any = HEADER, tail: str = "") -> Path:
    path = folder / "call.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in (header, *lines)) + tail)
    return path


def read(folder: Path, *lines: Any, **options: Any) -> Captured:
    return captured.read(write(folder, *lines, **options))


def problem(path: Path) -> UserError:
    with pytest.raises(UserError) as raised:
        captured.read(path)
    return raised.value


# --- the caller's side ---------------------------------------------------------------------------


def test_audio_stands_at_the_times_that_twilio_gave_it(tmp_path: Path) -> None:
    one = read(tmp_path, START, media(1020, 20), media(1500, 40), media(1501, 100), STOP)
    side = caller_side(one)
    frame, silence = b"\x10" * 160, b"\xff" * 160
    assert side.audio == frame + frame + 2 * silence + frame
    assert side.hung_up_ms == 100


def test_audio_without_times_or_with_wrong_ones_is_joined(tmp_path: Path) -> None:
    times = (None, None, 20, 20, 10, 10_000_000)
    one = read(tmp_path, START, *(media(1020, ms) for ms in times))
    assert caller_side(one).audio == b"\x10" * 160 * len(times)


def test_a_caller_whose_audio_begins_late_begins_late(tmp_path: Path) -> None:
    assert caller_side(read(tmp_path, START, media(1120, 120))).audio[:800] == b"\xff" * 800


def test_pieces_of_any_length_become_whole_frames(tmp_path: Path) -> None:
    side = caller_side(read(tmp_path, START, media(1020, 20, audio="EBAQ")))
    assert side.audio == b"\x10" * 3 + b"\xff" * 157


def test_nothing_counts_before_the_start_or_after_the_stop(tmp_path: Path) -> None:
    early, late = media(900, 5), media(9001, 9000)
    one = read(tmp_path, early, START, media(1020, 20), STOP, late)
    assert len(caller_side(one).audio) == 160


@pytest.mark.parametrize(
    ("last", "ended_by"),
    [
        (STOP, "caller"),
        ({"at": 9000, "leg": "caller", "dir": "out", "closed": "1000"}, "server"),
        ({"at": 9000, "leg": "caller", "dir": "in", "closed": "cut off"}, "loss"),
        (media(1040, 40), None),
    ],
)
def test_who_ended_the_stream(tmp_path: Path, last: Any, ended_by: str | None) -> None:
    assert read(tmp_path, START, media(1020, 20), last).ended_by == ended_by


# --- the agent's wire ----------------------------------------------------------------------------


def test_functions_that_were_taken_back_were_not_called(tmp_path: Path) -> None:
    calls = [
        {"id": "1", "name": "look_up", "arguments": '{"b": 1, "a": [2]}'},
        {"id": "2", "name": "guess", "arguments": "{}"},
        {"id": "3", "name": "broken", "arguments": "{no JSON"},
    ]
    one = read(
        tmp_path,
        START,
        media(1020, 20),
        from_agent(1500, type="FunctionCallRequest", functions=calls),
        from_agent(1600, type="FunctionCallCancelled", functions=[{"id": "2", "name": "guess"}]),
        from_agent(1700, type="ConversationText", role="user", content="Hello"),
        {"at": 9000, "ended": "caller_hung_up"},
    )
    now = told(one.lines)
    assert [(f.at_ms, f.name, f.arguments) for f in now.functions] == [
        (500, "look_up", {"a": [2], "b": 1}),
        (500, "broken", "{no JSON"),
    ]
    assert [(t.at_ms, t.role, t.content) for t in now.texts] == [(700, "user", "Hello")]
    assert now.ending == "caller_hung_up"
    assert one.whole


# --- bad input -----------------------------------------------------------------------------------


def test_a_last_line_that_was_cut_is_left_out(tmp_path: Path) -> None:
    one = read(tmp_path, START, media(1020, 20), tail='{"at": 1040, "le')
    assert one.cut
    assert not one.whole
    assert len(one.lines) == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "steps:\n- hang_up\n",
        "{}\n",
        "[]\n",
        "7\n",
        '{"offhook_capture": "one"}\n',
        '{"offhook_capture": 1}\n',
        "\x00\xff",
    ],
)
def test_what_is_no_capture(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(text, encoding="latin-1")
    found = problem(path)
    assert found.code == "E-CAP-03"
    assert "is not a capture" in found.what


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert problem(tmp_path / "none.jsonl").code == "E-CAP-03"
    assert problem(tmp_path).code == "E-CAP-03"


@pytest.mark.parametrize("line", ["{}", "nonsense", '{"at": "soon"}', '{"at": 1, "leg": "third"}'])
def test_a_line_in_the_middle_that_is_none_is_named(tmp_path: Path, line: str) -> None:
    path = write(tmp_path, START, media(1020, 20), tail=f"{line}\n" + json.dumps(STOP) + "\n")
    found = problem(path)
    assert found.code == "E-CAP-03"
    assert "call.jsonl:4 " in found.what


def test_a_later_version(tmp_path: Path) -> None:
    path = write(tmp_path, {"who": "knows"}, header={"offhook_capture": VERSION + 1})
    found = problem(path)
    assert found.code == "E-CAP-04"
    assert f"version {VERSION + 1}" in found.what


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (START,),
        (START, STOP),
        (media(1020, 20),),
        (START, from_twilio(1020, event="dtmf", dtmf={"digit": "1"}), STOP),
        ({"at": 0, "ended": "stream_never_came"},),
    ],
)
def test_a_call_of_which_nothing_can_be_played_again(tmp_path: Path, lines: Any) -> None:
    assert problem(write(tmp_path, *lines)).code == "E-CAP-05"


def test_a_field_of_a_later_version_is_no_fault(tmp_path: Path) -> None:
    one = read(tmp_path, START | {"new": 1}, media(1020, 20), header=HEADER | {"new": 1})
    assert one.header.to == "+12025550100"
