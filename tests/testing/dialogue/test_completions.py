"""Streams of completions, whole and in pieces, good and bad."""

import asyncio
import itertools
from collections.abc import AsyncIterator

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


class Response:
    """The body of an answer, in these pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


def read(*pieces: bytes) -> tuple[str, list[ToolCall]]:
    said: list[str] = []
    made = asyncio.run(_read(Response(list(pieces)), said.append, lambda: None))  # type: ignore[arg-type]
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


@pytest.mark.parametrize("end", [b"data: [DONE]", b"data:[DONE]\r\n\r\n", event(finish="length")])
def test_any_end_will_do(end: bytes) -> None:
    assert read(event({"content": "Hi"}), b": comment\r\nid: 7\n", end) == ("Hi", [])


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
