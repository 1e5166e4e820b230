"""The design that Deepgram's tutorial teaches, written anew: websockets on asyncio, three tasks a
call, an unbounded queue, and caller audio gathered into 400 ms. What it prints is left out.
"""

import asyncio
import base64
import contextlib
import json

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from offhook.bench import child

BATCH = 20 * 160
MULAW = {"encoding": "mulaw", "sample_rate": 8000}
SETTINGS = {
    "type": "Settings",
    "audio": {"input": MULAW, "output": {**MULAW, "container": "none"}},
    "agent": {"greeting": "Hello! How can I help you today?"},
}


async def bridge(twilio: ServerConnection, url: str, batch: int) -> None:
    audio: asyncio.Queue[bytes] = asyncio.Queue()
    stream_sids: asyncio.Queue[str] = asyncio.Queue()
    # A proxy from the environment is none of a loopback's business.
    async with connect(url, proxy=None) as agent:

        async def send() -> None:
            while True:
                await agent.send(await audio.get())

        async def receive_from_agent() -> None:
            stream_sid = await stream_sids.get()
            async for message in agent:
                if isinstance(message, str):
                    if json.loads(message)["type"] == "UserStartedSpeaking":
                        await twilio.send(json.dumps({"event": "clear", "streamSid": stream_sid}))
                    continue
                payload = base64.b64encode(message).decode("ascii")
                media = {
                    "event": "media",
                    "streamSid": stream_sid,
                    "media": {"payload": payload},
                }
                await twilio.send(json.dumps(media))

        async def receive_from_twilio() -> None:
            gathered = bytearray()
            async for message in twilio:
                data = json.loads(message)
                if data["event"] == "start":
                    stream_sids.put_nowait(data["start"]["streamSid"])
                elif data["event"] == "media" and data["media"]["track"] == "inbound":
                    gathered.extend(base64.b64decode(data["media"]["payload"]))
                elif data["event"] == "stop":
                    break
                while len(gathered) >= batch:
                    audio.put_nowait(bytes(gathered[:batch]))
                    gathered = gathered[batch:]

        await agent.send(json.dumps(SETTINGS))
        with contextlib.suppress(ConnectionClosed):
            async with asyncio.TaskGroup() as group:
                others = [group.create_task(send()), group.create_task(receive_from_agent())]
                await receive_from_twilio()
                for task in others:
                    task.cancel()


async def main(batch: int = BATCH) -> None:
    given = child.arguments()

    async def handle(twilio: ServerConnection) -> None:
        await bridge(twilio, given.agent_url, batch)

    async with serve(handle, child.HOST, 0) as server:
        await child.answer(next(iter(server.sockets)).getsockname()[1])
        server.close(close_connections=True)


if __name__ == "__main__":
    asyncio.run(main())
