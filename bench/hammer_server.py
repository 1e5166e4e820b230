"""The server of bench/hammer.py: Offhook as plain_server.py runs it, which tells what is left.

Each line on its input is a command. Look is answered with what runs in the process; Release ends
what hangs, and is answered likewise.
"""

import asyncio
import json
import re
import threading
from collections import Counter

import plain_server

from offhook.bench import child
from offhook.config import Config
from offhook.events.types import CallEnded, CallEvent, InterpreterHeld
from offhook.observability.call_log import CallLog
from offhook.serving.listen import listen
from offhook.serving.server import Server

HELD = re.compile(r'^offhook_interpreter_held_seconds_total{function="(.+)"} (.+)$', re.MULTILINE)


async def serve(config: Config) -> None:
    held: list[dict[str, object]] = []
    endings = Counter[str]()

    def watch(call_event: CallEvent) -> None:
        event = call_event.event
        if isinstance(event, InterpreterHeld):
            held.append({"tool": event.tool, "where": event.where, "ms": event.held_ms})
        elif isinstance(event, CallEnded):
            endings[event.slug] += 1

    server = Server(config, listen(child.HOST, 0), [CallLog(texts=False), watch])
    async with asyncio.TaskGroup() as group:
        group.create_task(server.run(), name="server")
        await server.started.wait()
        child.tell({"port": server.port})
        async for line in child.told():
            if json.loads(line)["type"] == "Release":
                agent = config.lines["default"]
                agent.tool_files.current["hang"].__wrapped__.__globals__["GATE"].set()
            text = (await server.metrics.text()).decode()
            child.tell(
                {
                    "tasks": dict(Counter(task.get_name() for task in asyncio.all_tasks())),
                    "threads": dict(Counter(thread.name for thread in threading.enumerate())),
                    "gauges": {
                        name: float(line.split()[1])
                        for line in text.splitlines()
                        if (name := line.split(" ")[0]).startswith("offhook_tool_threads")
                    },
                    "held": held,
                    "held_s": {name: float(seconds) for name, seconds in HELD.findall(text)},
                    "endings": dict(endings),
                }
            )
        server.stop()
        server.stop()


if __name__ == "__main__":
    plain_server.main(serve)
