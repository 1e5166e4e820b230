"""The console of `offhook demo`, to which its first lines lead."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
from tests.cli.served import CLEAN, ended
from tests.cli.test_demo import without_engines
from tests.waiting import until_it


@asynccontextmanager
async def demo(folder: Path, **environ: str) -> AsyncIterator[str]:
    """Run the demo until the caller of its first call is on the line; yield what it has printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *without_engines(folder),  # which take two seconds of CPU, and have nothing to do with it
        env=CLEAN | {"PYTHONUNBUFFERED": "1"} | environ,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    printed = ""
    try:
        async with asyncio.timeout(240):
            while "the caller is on the line" not in printed:
                read = await process.stdout.read(65536)
                assert read, printed
                printed += read.decode()
        yield printed
    finally:
        await ended(process)


async def test_its_link_signs_in_once_and_leads_to_the_phone(tmp_path: Path) -> None:
    async with demo(tmp_path, SSH_CONNECTION="192.0.2.1 1 192.0.2.2 22") as printed:
        (link,) = re.findall(r"in a browser: (\S+)", printed)
        ((url, port, code),) = re.findall(
            r"^(http://127\.0\.0\.1:(\d+))/enter\?to=/phone#(\S+)$", link
        )
        assert f"ssh -L {port}:127.0.0.1:{port} " in printed
        async with httpx2.AsyncClient(trust_env=False, verify=False, base_url=url) as http:
            page = await http.get("/enter?to=/phone")
            assert (page.status_code, page.headers["content-type"][:9]) == (200, "text/html")
            assert (await http.get("/api/v1/agents")).status_code == 401
            headers = {"Origin": url}
            entered = await http.post("/api/v1/session", json={"code": code}, headers=headers)
            assert entered.status_code == 200, entered.text
            headers["X-Offhook-CSRF"] = entered.json()["csrf"]
            again = await http.post("/api/v1/session", json={"code": code}, headers=headers)
            assert again.status_code == 401
            (agent,) = (await http.get("/api/v1/agents")).json()["agents"]
            assert agent["records"]
            asked = {"agent": agent["name"], "variables": {}}
            opened = await http.post("/api/v1/phone-calls", json=asked, headers=headers)
            assert opened.status_code == 201, opened.text
            assert opened.json()["stream"].startswith("/console/streams/")

            async def are_recorded() -> bool:
                calls = (await http.get("/api/v1/calls")).json()["calls"]
                return {call["came_by"] for call in calls} == {"webhook", "browser"}

            await until_it(are_recorded)
