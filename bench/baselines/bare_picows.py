"""Bare forwarding on Offhook's engine: no call, no playback, no marks. What stands above the engine
is Offhook's share of the cost.
"""

import asyncio
from binascii import a2b_base64, b2a_base64

from offhook.bench import child
from offhook.net import websocket

SETTINGS = b'{"type":"Settings","audio":{},"agent":{}}'
STARTED = b'{"type":"UserStartedSpeaking"'
MAX_MESSAGE = 1024 * 1024


class Caller:
    def __init__(self, bridge: "Bridge") -> None:
        self.bridge = bridge
        self.agent = Agent(self)
        self.socket: websocket.Channel
        self.prefix = self.clear = b""

    def on_open(self, socket: websocket.Channel) -> None:
        self.socket = socket
        self.bridge.dial(self.agent)

    def on_text(self, text: bytes) -> None:
        begin = text.find(b'"payload":"') + 11
        if begin > 10:
            if self.agent.socket is not None:
                audio = a2b_base64(text[begin : text.index(b'"', begin)])
                self.agent.socket.send_binary(audio)
        elif text.startswith(b'{"event":"start"'):
            begin = text.index(b'"streamSid":"') + 13
            sid = text[begin : text.index(b'"', begin)]
            self.prefix = b'{"event":"media","streamSid":"' + sid + b'","media":{"payload":"'
            self.clear = b'{"event":"clear","streamSid":"' + sid + b'"}'

    def on_binary(self, data: bytes) -> None: ...

    def on_writable(self, writable: bool) -> None: ...

    def on_close(self, closed: websocket.Closed) -> None:
        if self.agent.socket is not None:
            self.agent.socket.close()


class Agent:
    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.socket: websocket.Channel | None = None

    def on_open(self, socket: websocket.Channel) -> None:
        self.socket = socket
        socket.send_text(SETTINGS)

    def on_text(self, text: bytes) -> None:
        if text.startswith(STARTED):
            self.caller.socket.send_text(self.caller.clear)

    def on_binary(self, data: bytes) -> None:
        caller = self.caller
        payload = b2a_base64(data, newline=False)
        caller.socket.send_text(b"".join((caller.prefix, payload, b'"}}')))

    def on_writable(self, writable: bool) -> None: ...

    def on_close(self, closed: websocket.Closed) -> None:
        self.socket = None
        self.caller.socket.close()


class Bridge:
    def __init__(self, url: str, group: asyncio.TaskGroup) -> None:
        self.url = url
        self.group = group
        self.tls = child.verifying() if url.startswith("wss:") else None

    def decide(self, upgrade: websocket.Upgrade) -> websocket.Acceptance:
        return websocket.Acceptance(Caller(self))

    def dial(self, agent: Agent) -> None:
        self.group.create_task(self.connect(agent))

    async def connect(self, agent: Agent) -> None:
        try:
            await websocket.connect(
                self.url, agent, headers={}, timeout=5, max_size=MAX_MESSAGE, tls=self.tls
            )
        except (websocket.UnreachableError, websocket.UpgradeRefusedError):
            agent.caller.socket.close()


async def main() -> None:
    given = child.arguments()
    listener = child.shared_listener(0)
    async with asyncio.TaskGroup() as group:
        bridge = Bridge(given.agent_url, group)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: child.Upgrading(bridge.decide, MAX_MESSAGE), sock=listener
        )
        await child.answer(listener.getsockname()[1])
        server.close()


if __name__ == "__main__":
    child.run(main())
