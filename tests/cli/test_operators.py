"""Two operators on one call of a server of two processes, checked by what the caller hears."""

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.cli.served import Serving, serving
from tests.waiting import until, until_found
from tests.whole_server import ACCOUNT, HOURS, TOKEN, voice

from offhook.audio import FRAME_BYTES, SILENCE
from offhook.clock import LoopClock
from offhook.link.messages import OpenOperatorStream
from offhook.link.processes import CallProcesses
from offhook.net.websocket import Channel, Closed
from offhook.testing.simulator.twilio.phone import place_call
from offhook.testing.simulator.twilio.stream import LineControls
from offhook.tools.declare import ToolError

SID = "CA" + "5" * 32
GREETING = "Hello! How can I help you today?"
ANSWER = "Of course, what else?"
FRAME = b"\x2a" * FRAME_BYTES
"""A frame of an operator's that nothing else on the line resembles."""


class SilentCaller:
    """A caller who says nothing, and keeps all that they hear."""

    def __init__(self) -> None:
        self.heard = bytearray()

    def next_frame(self, line: LineControls, heard: bytes, now: float) -> bytes:
        self.heard += heard
        return SILENCE * FRAME_BYTES

    @property
    def faults(self) -> list[str]:
        return []

    def call_ended(self) -> None:
        pass

    async def until_heard(self, audio: bytes) -> None:
        """Wait until the caller has heard that from here on."""
        begin = len(self.heard)
        await until(lambda: audio in self.heard[begin:])


class Page:
    """One operator's stream: the operator's process is this test."""

    channel: Channel

    def __init__(self, by: str) -> None:
        self.by = by
        self.got: list[dict[str, Any]] = []
        self.closed: Closed | None = None

    async def join(self, processes: CallProcesses, operation: str) -> None:
        stream = await processes.stream_of(SID, OpenOperatorStream(SID, operation, self.by))
        self.channel = await stream.process.join(stream.opened.token, self)

    def on_open(self, socket: Channel) -> None:
        raise AssertionError("who joins is not told")

    def on_text(self, text: bytes) -> None:
        self.got.append(json.loads(text))

    def on_binary(self, data: bytes) -> None:
        raise AssertionError

    def on_writable(self, writable: bool) -> None:
        pass

    def on_close(self, closed: Closed) -> None:
        self.closed = closed

    def heard(self, track: str) -> bytes:
        media = [each for each in self.got if each["event"] == "media" and each["track"] == track]
        return b"".join(b64decode(each["payload"]) for each in media)

    async def until_told(self, event: str) -> dict[str, Any]:
        await until(lambda: any(each["event"] == event for each in self.got))
        return next(each for each in self.got if each["event"] == event)

    async def speak(self) -> None:
        message = {"event": "media", "payload": b64encode(FRAME).decode()}
        while True:
            self.channel.send_text(json.dumps(message).encode())
            await asyncio.sleep(0.02)  # as a microphone does


@asynccontextmanager
async def called(folder: Path) -> AsyncIterator[tuple[Serving, SilentCaller, CallProcesses]]:
    """A call that has been greeted."""
    async with serving(folder) as server, asyncio.TaskGroup() as group:
        await server.operator_url()
        who = SilentCaller()
        call = group.create_task(
            place_call(
                server.url + "/twilio/voice",
                who,
                clock=LoopClock(asyncio.get_running_loop()),
                auth_token=TOKEN,
                account_sid=ACCOUNT,
                from_="+12025550142",
                to="+12025550100",
                call_sid=SID,
            )
        )
        processes = CallProcesses(server.records / "journal")
        try:
            await until(lambda: middle(GREETING) in who.heard)
            yield server, who, processes
        finally:
            processes.close()
            call.cancel()
        await server.stop()


def middle(text: str) -> bytes:
    return voice(text)[800:-800]


@pytest.mark.limit(600)
async def test_two_operators_whisper_say_take_over_hand_back_and_hang_up(tmp_path: Path) -> None:
    async with (
        called(tmp_path) as (server, who, processes),
        httpx2.AsyncClient(trust_env=False, verify=False, timeout=240) as http,
        asyncio.TaskGroup() as group,
    ):
        ann, bob, bob_too = Page("Ann"), Page("Bob"), Page("Bob")
        await bob.join(processes, "listening")

        # Whispered: the agent answers, and the caller hears nothing else.
        told = await asyncio.gather(
            processes.perform(SID, "tell", {"text": HOURS}, "Ann"), who.until_heard(middle(ANSWER))
        )
        assert told[0].outcome == "done"
        assert middle(HOURS) not in who.heard

        said = processes.perform(SID, "say", {"text": HOURS, "behavior": "queue"}, "Bob")
        await asyncio.gather(said, who.until_heard(middle(HOURS)))
        assert middle(HOURS) in bob.heard("agent")

        await ann.join(processes, "take-over")
        microphone = group.create_task(ann.speak())
        try:
            assert await ann.until_told("taken") == {"event": "taken", "by": "Ann"}
            await until(lambda: who.heard.count(FRAME) >= 25)
            await until(lambda: bob.heard("agent").count(FRAME) >= 25)
            with pytest.raises(ToolError, match="Ann is speaking with the caller"):
                await bob_too.join(processes, "take-over")
            with pytest.raises(ToolError, match="Ann is speaking with the caller"):
                await processes.perform(SID, "say", {"text": ANSWER}, "Bob")
            note = {"note": "They pay on Monday."}
            back = await processes.perform(SID, "hand-back", note, "Bob")
            assert back.what == "the caller is with the agent again"
            assert (await ann.until_told("returned"))["why"] == "asked"
        finally:
            microphone.cancel()
        assert not ann.heard("agent")

        answer = {"text": ANSWER, "behavior": "queue"}
        said = processes.perform(SID, "say", answer, "Ann")
        await asyncio.gather(said, who.until_heard(middle(ANSWER)))
        await processes.perform(SID, "hang-up", {}, "Bob")
        await bob.until_told("end")
        await until(lambda: bob.closed is not None)

        url = await server.operator_url()

        async def record() -> dict[str, Any]:
            answer = await http.get(f"{url}/api/v1/calls/{SID}", headers=server.headers)
            made: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
            return made

        made = await until_found(record, lambda made: "hang-up" in json.dumps(made))
        happened = [each for each in made["timeline"] if each["kind"] == "event"]
        by_kind = {each["event"] for each in happened}
        assert by_kind >= {"ListeningBegan", "ListeningEnded", "OperatorTookOver"}
        (handed,) = [each for each in happened if each["event"] == "OperatorHandedBack"]
        assert handed["fields"]["note"] == "They pay on Monday."
        asked = [
            (each["fields"]["by"], each["fields"]["operation"], each["fields"]["outcome"])
            for each in happened
            if each["event"] == "OperatorActed"
        ]
        assert asked == [
            ("Ann", "tell", "done"),
            ("Bob", "say", "done"),
            ("Bob", "take-over", "refused"),
            ("Bob", "say", "refused"),
            ("Bob", "hand-back", "done"),
            ("Ann", "say", "done"),
            ("Bob", "hang-up", "done"),
        ]
