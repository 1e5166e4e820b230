"""What was heard, transcribed: by Deepgram's listen API, here a server on loopback."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx2
import pytest

from offhook.errors import UserError
from offhook.testing.scenarios.deepgram_hearing import DeepgramHearing, Listen
from offhook.testing.scenarios.hearing import Stretch

AUDIO = b"\x10" * 4000


@dataclass
class Deepgram:
    """Answers every request with the next of its answers."""

    url: str = ""
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
        self.requests.append((head[0], headers, body))
        status, answer = self.answers.pop(0)
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(answer)))
        writer.write(answer)
        writer.close()
        await writer.wait_closed()


@pytest.fixture
async def deepgram() -> AsyncIterator[Deepgram]:
    made = Deepgram()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/listen"
    async with server:
        yield made


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(trust_env=False, verify=False) as client:
        yield client


def transcript(text: str) -> tuple[int, bytes]:
    alternative = {"transcript": text, "confidence": 0.9, "words": []}
    results = {"channels": [{"alternatives": [alternative]}]}
    return 200, json.dumps({"metadata": {"request_id": "1"}, "results": results}).encode()


async def test_a_stretch_is_one_request(deepgram: Deepgram, http: httpx2.AsyncClient) -> None:
    deepgram.answers.append(transcript("we are open"))
    stretch = Stretch(1.0, 1.5, True, audio=bytearray(AUDIO))
    async with asyncio.TaskGroup() as group:
        heard = DeepgramHearing(Listen("a-key", http, deepgram.url), group)
        assert heard.words(stretch) is None
        heard.over(stretch)
        assert heard.words(stretch) is None
        await heard.finish()
        assert heard.words(stretch) == "we are open"
        assert heard.functions() == ()
    ((line, headers, body),) = deepgram.requests
    assert line == "POST /v1/listen?model=nova-3&encoding=mulaw&sample_rate=8000 HTTP/1.1"
    assert headers["authorization"] == "token a-key"
    assert body == AUDIO


@pytest.mark.parametrize(
    ("status", "answer", "says"),
    [
        (401, b"{}", "it answered 401"),
        (200, b"{", "no transcript"),
        (200, b'{"results": {"channels": []}}', "no transcript"),
        (200, b'{"results": {"channels": [{"alternatives": [{}]}]}}', "no transcript"),
    ],
)
async def test_an_answer_that_is_none(
    deepgram: Deepgram, http: httpx2.AsyncClient, status: int, answer: bytes, says: str
) -> None:
    deepgram.answers += [(status, answer), transcript("hello")]
    async with asyncio.TaskGroup() as group:
        heard = DeepgramHearing(Listen("a-key", http, deepgram.url), group)
        first, second = (Stretch(t, t + 1, True, audio=bytearray(AUDIO)) for t in (0, 2))
        heard.over(first)
        with pytest.raises(UserError, match=says) as problem:
            await heard.finish()
        assert problem.value.code == "E-SCENARIO-04"
        heard.over(second)
        with pytest.raises(UserError, match=says):
            await heard.finish()
    assert (heard.words(first), heard.words(second)) == (None, "hello")


async def test_nobody_to_transcribe(http: httpx2.AsyncClient) -> None:
    with pytest.raises(UserError, match="E-SCENARIO-04"):
        await Listen("a-key", http, "http://127.0.0.1:9/v1/listen")(AUDIO)
