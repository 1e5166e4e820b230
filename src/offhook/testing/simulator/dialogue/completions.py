"""Client for a streamed chat completion in OpenAI's protocol: Ollama, vLLM, llama.cpp.

The request is `POST .../chat/completions` with `stream: true`; the answer is a stream of
server-sent events, each a chunk as JSON, the last `[DONE]`. Anything else is a CompletionError.
"""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
import msgspec

CONNECT_S: Final = 5.0
READ_S: Final = 15.0
"""Seconds without a byte after which a completion fails; a model may have to be loaded first."""

TOTAL_S: Final = 60.0
"""Seconds that one completion may take."""

SLOW_S: Final = 3.0
"""Seconds without a first piece after which the completion is reported as slow."""

TEXT_MAX: Final = 8000
"""Characters that one answer may have; the rest is discarded."""

_EVENT_MAX: Final = 256 * 1024
_STREAM_MAX: Final = 4 * 1024 * 1024
_CALLS_MAX: Final = 16
_ARGUMENTS_MAX: Final = 64 * 1024


class CompletionError(Exception):
    """Failure of a completion. Its text gives the reason and no content of the conversation."""


@dataclass(frozen=True, slots=True)
class Model:
    """Model on a server, by URL and name."""

    url: str
    """Full URL of the chat completions."""
    name: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """HTTP headers, which may hold a key and so are never shown."""
    temperature: float | None = None


@dataclass(slots=True)
class ToolCall:
    """Function call that a model requests. `arguments` is its text, which may be invalid JSON."""

    id: str = ""
    name: str = ""
    arguments: str = ""


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolDelta(msgspec.Struct):
    index: int = 0
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    tool_calls: list[_ToolDelta] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    error: Any = None


_decoder: Final = msgspec.json.Decoder(_Chunk)


def completions_url(url: str) -> str:
    """Return the URL of chat completions under a base URL such as http://127.0.0.1:11434/v1."""
    whole = url.rstrip("/")
    return whole if whole.endswith("/chat/completions") else f"{whole}/chat/completions"


def is_loopback(url: str) -> bool:
    """Return True if an HTTP URL leads to this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme not in ("http", "https"):
            return False
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def complete(
    http: httpx2.AsyncClient,
    model: Model,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]],
    *,
    text: Callable[[str], None],
    slow: Callable[[], None],
) -> list[ToolCall]:
    """Request an answer of a model: pass each piece of text to `text`, and return its tool calls.

    `slow` is called if nothing has arrived within SLOW_S. Redirects are not followed. Raises
    CompletionError.
    """
    body: dict[str, Any] = {"model": model.name, "messages": list(messages), "stream": True}
    if tools:
        body["tools"] = list(tools)
    if model.temperature is not None:
        body["temperature"] = model.temperature
    headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity", **model.headers}
    patience = asyncio.get_running_loop().call_later(SLOW_S, slow)
    try:
        async with (
            asyncio.timeout(TOTAL_S),
            http.stream(
                "POST",
                model.url,
                json=body,
                headers=headers,
                follow_redirects=False,
                timeout=httpx2.Timeout(READ_S, connect=CONNECT_S),
            ) as response,
        ):
            if response.status_code != 200:
                raise CompletionError(f"it answered {response.status_code}")
            return await _read(response, text, patience.cancel)
    except TimeoutError:
        raise CompletionError(f"it took more than {TOTAL_S:.0f} s") from None
    except httpx2.TimeoutException:
        raise CompletionError("it did not answer in time") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
        raise CompletionError(f"it cannot be reached ({type(error).__name__})") from None
    except (UnicodeError, ValueError, TypeError):
        raise CompletionError("its URL or headers cannot be sent") from None
    finally:
        patience.cancel()


async def _read(
    response: httpx2.Response, text: Callable[[str], None], began: Callable[[], None]
) -> list[ToolCall]:
    calls: dict[int, ToolCall] = {}
    length = 0
    finished = False
    async for data in _events(response):
        if data == "[DONE]":
            finished = True
            break
        try:
            chunk = _decoder.decode(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise CompletionError("it sent something that is no completion") from None
        if chunk.error is not None:
            raise CompletionError("it reported an error")
        for choice in (chunk.choices or [])[:1]:
            finished = finished or choice.finish_reason is not None
            delta = choice.delta or _Delta()
            if delta.content:
                began()
                piece = delta.content[: TEXT_MAX - length]
                length += len(piece)
                text(piece)
            for call in delta.tool_calls or []:
                began()
                _add(calls, call)
        if length >= TEXT_MAX:
            finished = True
            break
    if not finished:
        raise CompletionError("its stream broke off")
    made = [calls[index] for index in sorted(calls) if calls[index].name]
    if not made and not length:
        raise CompletionError("it answered nothing")
    return made


def _add(calls: dict[int, ToolCall], delta: _ToolDelta) -> None:
    """Add a piece of a tool call: pieces have its index, and the arguments are split up."""
    if delta.index not in calls and len(calls) >= _CALLS_MAX:
        raise CompletionError("it called too many functions")
    call = calls.setdefault(delta.index, ToolCall())
    call.id = call.id or delta.id or ""
    if delta.function is not None:
        call.name = call.name or delta.function.name or ""
        call.arguments += delta.function.arguments or ""
    if len(call.arguments) > _ARGUMENTS_MAX:
        raise CompletionError("it gave a function too many arguments")


async def _events(response: httpx2.Response) -> AsyncIterator[str]:
    """Yield the data of each event."""
    total = 0
    try:
        async for event in httpx2.EventSource(response, _EVENT_MAX):
            total += len(event.data)
            if total > _STREAM_MAX:
                raise CompletionError("it sent too much")
            yield event.data
    except httpx2.SSEError:
        raise CompletionError("it sent no events, or one that is too long") from None
