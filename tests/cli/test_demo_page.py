"""The page to which the link of a demo call leads."""

import asyncio
import io
import re
from pathlib import Path

import httpx2
import pytest
from rich.console import Console
from tests.waiting import until

from offhook import config
from offhook.cli import demo_call
from offhook.recordings import wav

SAMPLES = 800


async def test_the_link_leads_to_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "demo-abc123.wav"
    with path.open("wb") as file:
        writer = wav.StereoWriter(file)
        writer.write(b"\x00" * SAMPLES, b"\xff" * SAMPLES)
        writer.close()
    out = io.StringIO()
    cast = demo_call._Cast(config.load(None, {}), "a script", "", standin=True, understands=False)
    console = Console(file=out, width=80)
    async with asyncio.TaskGroup() as group:
        going_on = group.create_task(demo_call._go_on(console, 5000, cast, path))
        await until(lambda: "Ctrl-C" in out.getvalue())
        (link,) = re.findall(r"http://\S+", out.getvalue())
        async with httpx2.AsyncClient(trust_env=False) as http:
            page = await http.get(link)
            assert page.status_code == 200
            assert "port 5000" in page.text or ":5000/twilio/voice" in page.text
            assert path.name in page.text
            sound = await http.get(f"{link}call.wav")
            assert sound.headers["content-type"] == "audio/wav"
            assert len(sound.content) > 4 * SAMPLES
            assert (await http.get(link, headers={"Host": "evil.example"})).status_code == 400
            assert (await http.get(f"{link}../etc/passwd")).status_code == 404
        going_on.cancel()
