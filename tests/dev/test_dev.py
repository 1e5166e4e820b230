"""offhook dev on what offhook init has written, as a process with all of its children.

Calls come through the tunnel's host.
"""

import asyncio
import re
import signal
import socket
from pathlib import Path

import psutil
import pytest
from tests.dev.developing import DEMO, desk
from tests.waiting import until
from tests.whole_server import ASK, GREET, HANG_UP

from offhook.testing.scenarios.scenario import ScenarioStep

READY = "Call +12025550100 now."


@pytest.mark.long
async def test_a_number_is_answered_here_and_is_put_back(tmp_path: Path) -> None:
    async with desk(tmp_path) as it, it.develop() as dev:
        await dev.until_said(READY)
        assert f"{dev.tunnel.origin}/twilio/status" == dev.number.settings["StatusCallback"]
        first = await dev.call()
        assert (first.faults, first.ending) == ([], "caller_hung_up")
        await dev.until_said("opening_hours, ")
        assert re.search(r"tool +opening_hours, \d+ ms: closed\n", dev.said), "of its tools.py"

        # A changed agent file is used for new calls, and one with a mistake is told.
        agent = tmp_path / "agent.yaml"
        text = agent.read_text()
        agent.write_text(text + "colour: red\n")
        await dev.until_said("E-YAML-03")
        agent.write_text(text + "name: second\n")
        await dev.until_said("New calls get: second.")

        # A second one beside it changes nothing.
        code, said = await it.run()
        assert (code, "E-NUM-08" in said) == (1, True)
        assert dev.number.settings["VoiceUrl"].startswith(dev.tunnel.origin)

        # The tunnel dies in mid-call, and the number follows the new one.
        gone = dev.tunnel
        async with asyncio.TaskGroup() as group:
            call = group.create_task(dev.call(GREET, ASK, ScenarioStep(wait=600)))
            await until(lambda: any(leg.status == "in-progress" for leg in it.legs))
            psutil.Process(gone.pid).kill()
            await dev.until_said("E-DEV-04")
            await dev.until_said(READY, times=2)
            assert (await call).ending != "given_up"
        assert dev.tunnel != gone
        assert (await dev.call(GREET, HANG_UP)).faults == []

        assert await dev.end() == 0
    assert (it.settings["VoiceUrl"], it.settings["StatusCallback"], it.kept) == (DEMO, "", [])
    assert dev.survivors == [], dev.said


@pytest.mark.long
async def test_after_a_kill_the_next_start_puts_the_number_back(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with desk(tmp_path) as it:
        async with it.develop("--port", str(port)) as dev:
            await dev.until_said(READY)
            assert (await dev.call(GREET, ASK, GREET, HANG_UP)).faults == []
            await dev.until_said("opening_hours, ")
            assert f'answers at http://127.0.0.1:{port}"' in dev.said
            dev.process.kill()
            # No child outlives it: neither the tunnel nor the server.
            await until(lambda: not dev.survivors)
        assert it.settings["VoiceUrl"].endswith(".trycloudflare.com/twilio/voice")
        async with it.develop() as dev:
            await dev.until_said("+12025550100 is as it was: Twilio's demo answers its calls.")
            await dev.until_said(READY)
            assert (await dev.call(GREET, HANG_UP)).faults == []
            assert await dev.end(signal.SIGTERM) == 0
    assert (it.settings["VoiceUrl"], it.kept) == (DEMO, [])
