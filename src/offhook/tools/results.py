"""Results of functions, as the one short text that an agent is given."""

from typing import Any, Final

import pydantic_core

RESULT_MAX: Final = 8 * 1024
"""Bytes of UTF-8 of a result for the agent; the rest is cut off, visibly."""


def as_text(result: Any) -> str:
    """Return the text for the agent: text as it is, anything else as JSON."""
    text = result
    if not isinstance(text, str):
        text = pydantic_core.to_json(text, fallback=str).decode()
    data = text.encode("utf-8", "replace")
    if len(data) <= RESULT_MAX:
        return data.decode()
    note = f" … (cut: {len(data)} bytes are more than {RESULT_MAX})"
    return data[: RESULT_MAX - len(note.encode())].decode("utf-8", "ignore") + note
