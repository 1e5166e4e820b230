"""Streams of completions, whole and in pieces, good and bad."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.testing.dialogue.openai_server import calls, event, texts

from offhook.testing.simulator.dialogue.completions import (
    TEXT_MAX,
    CompletionError,
    ToolCall,
    _read,
)


def response(pieces: Iterable[bytes], content_type: str = "text/event-stream") -> httpx2.Response:
    """An answer whose body comes in these pieces."""

    async def content() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    headers = {"Content-Type": content_type}
    request = httpx2.Request("POST", "http://127.0.0.1/")
    return httpx2.Response(200, headers=headers, content=content(), request=request)


def read(*pieces: bytes) -> tuple[str, list[ToolCall]]:
    said: list[str] = []

    async def reading() -> list[ToolCall]:
        return await _read(response(pieces), said.append, lambda: None)

    made = asyncio.run(reading())
    return "".join(said), made


GOOD = b"".join(texts("Gr\u00fc\u00df ", "Gott.", "")[1:])
CALLS = b"".join(calls(("a", "f", '{"x": 1}'), ("b", "g", ""), text="Well. ")[1:])


@given(st.lists(st.integers(0, len(GOOD)), max_size=8))
def test_an_answer_is_the_same_however_it_is_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(GOOD)]
    pieces = [GOOD[a:b] for a, b in itertools.pairwise(edges)]
    assert read(*pieces) == ("Gr\u00fc\u00df Gott.", [])


def test_functions_are_put_together() -> None:
    text, made = read(CALLS)
    assert text == "Well. "
    assert [(call.id, call.name, call.arguments) for call in made] == [
        ("a", "f", '{"x": 1}'),
        ("b", "g", ""),
    ]


@pytest.mark.parametrize(
    "end", [b"data: [DONE]\n\n", b"data:[DONE]\r\n\r\n", event(finish="length")]
)
def test_any_end_will_do(end: bytes) -> None:
    assert read(event({"content": "Hi"}), b": comment\r\nid: 7\n", end) == ("Hi", [])


def test_what_is_not_utf_8_is_replaced() -> None:
    """As the standard of server-sent events has it."""
    broken = event({"content": "Gr?n"}).replace(b"?", b"\xfc")
    assert read(broken, b"data: [DONE]\n\n") == ("Gr\ufffdn", [])


@pytest.mark.parametrize(
    ("pieces", "content_type", "words"),
    [
        ([GOOD], "application/json", "no events"),
        ([b"data: " + b"x" * 300_000], "text/event-stream", "too long"),
        ([event({"unknown": "x" * 200_000})] * 30, "text/event-stream", "too much"),
    ],
    ids=["no events", "one that is too long", "too many"],
)
async def test_no_stream_of_events_and_too_much_of_one_fail(
    pieces: list[bytes], content_type: str, words: str
) -> None:
    with pytest.raises(CompletionError, match=words):
        await _read(response(pieces, content_type), lambda _: None, lambda: None)


PIECES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([
        GOOD, CALLS, GOOD[:50], b"data: ", b"\n\n", b"data: {}", b"data: [DONE]\n\n",
        b'data: {"choices": [{}]}\n\n', b'data: {"choices": null}\n\n',
        event({"content": None, "tool_calls": None}), event({"tool_calls": [{}]}),
        event({"tool_calls": [{"index": -5, "function": {"name": "f"}}]}),
        event({"content": "x" * 9000}), event({"unknown": [1]}),
    ]),
)  # fmt: skip


@given(st.lists(PIECES, max_size=10))
def test_anything_else_is_read_or_failed(pieces: list[bytes]) -> None:
    try:
        text, made = read(*pieces)
    except CompletionError:
        return
    assert len(text) <= TEXT_MAX
    assert text or made
    assert all(call.name for call in made)
