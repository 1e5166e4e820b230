"""The relay of a page's socket, with ends in a test's hands."""

from typing import Any, cast

import pytest

from offhook.api.streams import HELD_MAX, PageStreams, _NewestLines, _ProcessLines
from offhook.link.channel import LinkChannel
from offhook.net.websocket import Closed, Receiver


class PageSocket:
    """The page's end, which notes what it gets."""

    receiver: Receiver

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.closed: list[tuple[int, str]] = []

    def send_text(self, text: bytes) -> None:
        self.got.append(text)

    def send_binary(self, data: bytes) -> None:
        raise AssertionError("pages get text alone")

    def close(self, code: int = 1000, reason: str = "", *, hears_out: bool = False) -> None:
        self.closed.append((code, reason))

    def abort(self) -> None:
        raise AssertionError("the end is told")


class SlowedLink:
    """The call process's end, which notes whether it is read."""

    def __init__(self) -> None:
        self.reading: list[bool] = []

    def read(self, is_reading: bool) -> None:
        self.reading.append(is_reading)


def audio(number: int, size: int = 300) -> bytes:
    return b'{"event":"media","ms":%d,"payload":"%s"}' % (number, b"x" * size)


def newest() -> tuple[_NewestLines, PageSocket, PageStreams]:
    page, streams = PageSocket(), PageStreams()
    return _NewestLines(page, streams), page, streams


def test_a_page_that_listens_and_reads_slowly_gets_the_newest_audio_and_every_other_message() -> (
    None
):
    lines, page, streams = newest()
    lines.on_text(audio(0))
    lines.on_page_writable(False)
    sent = [audio(n) for n in range(1, 301)]
    sent.insert(10, b'{"event":"clear"}')
    sent.insert(200, b'{"event":"taken","by":"Ada"}')
    for line in sent:
        lines.on_text(line)
    assert page.got == [audio(0)], "nothing is sent while there is no room"
    lines.on_page_writable(True)
    got = page.got[1:]
    assert sum(map(len, got)) <= HELD_MAX
    assert got[-1] == audio(300)
    kept = [line for line in got if b"media" in line]
    assert kept == [audio(n) for n in range(301 - len(kept), 301)], "the newest, in their order"
    assert [line for line in got if b"media" not in line] == [
        b'{"event":"clear"}',
        b'{"event":"taken","by":"Ada"}',
    ]
    assert streams.dropped == 300 - len(kept)
    lines.on_text(audio(301))
    assert page.got[-1] == audio(301)


def test_room_that_is_gone_again_while_held_messages_are_sent_holds_the_rest() -> None:
    lines, page, _ = newest()
    lines.on_page_writable(False)
    for n in range(5):
        lines.on_text(audio(n))
    send = page.send_text

    def full_after_two(text: bytes) -> None:
        send(text)
        if len(page.got) == 2:
            lines.on_page_writable(False)

    cast("Any", page).send_text = full_after_two
    lines.on_page_writable(True)
    assert page.got == [audio(0), audio(1)]
    lines.on_page_writable(True)
    assert page.got == [audio(n) for n in range(5)]


def test_a_page_that_reads_nothing_is_closed_once_no_audio_is_left_to_drop() -> None:
    lines, page, _ = newest()
    lines.on_page_writable(False)
    for n in range(HELD_MAX // 20 + 1):
        lines.on_text(b'{"event":"clear","n":%d}' % n)
    assert page.closed[0][0] == 1008


def test_a_call_whose_page_reads_slowly_is_slowed_down() -> None:
    page, link = PageSocket(), SlowedLink()
    lines = _ProcessLines(page, PageStreams())
    lines.on_page_writable(False)  # it is not joined yet
    lines.link = cast("LinkChannel", link)
    lines.on_page_writable(False)
    lines.on_text(audio(1))
    assert page.got == [audio(1)], "what was read is passed on"
    lines.on_page_writable(True)
    assert link.reading == [False, True]


@pytest.mark.parametrize(
    ("closed", "told"),
    [
        (Closed(1008, "why", None), (1008, "why")),
        (Closed(1000, "", None), (1000, "")),
        (Closed(None, "", None), (1001, "the call process has ended")),
        (Closed(1008, "é" * 500, None), (1008, "é" * 60)),
    ],
)
def test_the_end_of_the_stream_is_that_of_the_page_with_its_reason(
    closed: Closed, told: tuple[int, str]
) -> None:
    page = PageSocket()
    _ProcessLines(page, PageStreams()).on_close(closed)
    assert page.closed == [told]
