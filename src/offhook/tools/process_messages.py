"""Messages between the server and a process that runs functions: JSON with its length before it.

The server sends one FunctionRequest at a time. The process answers one byte, BEGUN or NOT_BEGUN,
and then one FunctionReply.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, Final, Literal, TypeVar

import msgspec

from offhook.events.types import Direction

BEGUN: Final = b"+"
"""The byte that is sent before a function begins."""

NOT_BEGUN: Final = b"-"
"""The byte that is sent when a function cannot begin; the reply says why."""

MESSAGE_MAX: Final = 1024 * 1024
"""Bytes of a message; a process that announces more is ended."""

_SIZE: Final = struct.Struct("<I")

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class FunctionRequest:
    """A function of a file, its arguments as JSON, and the call's data."""

    tool: str
    arguments: str
    sid: str
    agent: str
    caller: str | None
    called: str | None
    variables: Mapping[str, str]
    direction: Direction


@dataclass(frozen=True, slots=True)
class FunctionReply:
    """Outcome of a function.

    `text` is the result, or None for none; for `refused`, what a ToolError says; for `raised`, the
    kind of the exception, and `where` its file and line.
    """

    outcome: Literal["returned", "refused", "raised"]
    text: str | None
    where: str = ""


def send(pipe: BinaryIO, message: FunctionRequest | FunctionReply) -> None:
    """Write a message. Raises OSError when the other side is gone."""
    data = msgspec.json.encode(message)
    pipe.write(_SIZE.pack(len(data)) + data)
    pipe.flush()


def receive(pipe: BinaryIO, kind: type[_T]) -> _T | None:
    """Read a message. Return None when the other side is gone, or what it sends is no message."""
    head = pipe.read(_SIZE.size)
    if len(head) < _SIZE.size or (size := _SIZE.unpack(head)[0]) > MESSAGE_MAX:
        return None
    try:
        return msgspec.json.decode(pipe.read(size), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
