"""Canaries: secrets and private words that go through everything, and where they must not come out.

One real server with all of it switched on, one real call, and then every door and every file.
"""

import asyncio
import json
import subprocess
from pathlib import Path

import httpx2
from tests.cli.test_serve import CLEAN, COMMAND, SECRETS
from tests.cli.test_serve_log import SAID, piped
from tests.house import TOKEN
from tests.target import answer, target

API_TOKEN = "canary-of-the-api-0123456789abcdef"
WEBHOOK_SECRET = "canary-of-the-webhook-0123456789abcdef"
SECRET = (API_TOKEN, WEBHOOK_SECRET, TOKEN, *(v for v in SECRETS.values() if len(v) >= 8))
PRIVATE = ("12025550142", "opening hours", "How can I help")
assert set(PRIVATE[1:]) & set(SAID), "what is looked for is said"

AGENT = """
announcement: This call is recorded.
recording: true
settings:
  listen: {provider: {type: deepgram, model: nova-3}}
  think: {provider: {type: open_ai, model: gpt-4o-mini}}
  speak: {provider: {type: deepgram, model: aura-2-thalia-en}}
  greeting: Hello! How can I help you today?
"""


def found(content: str | bytes, canaries: tuple[str, ...]) -> list[str]:
    text = content if isinstance(content, str) else content.decode("latin-1")
    return [canary for canary in canaries if canary in text]


def written(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_no_canary_comes_out_where_it_must_not(tmp_path: Path) -> None:
    with target(answer(204)) as hook:
        (tmp_path / ".env").write_text(
            f"OFFHOOK_API_TOKEN={API_TOKEN}\nOFFHOOK_WEBHOOK_SECRET={WEBHOOK_SECRET}\n"
        )
        (tmp_path / "agent.yaml").write_text(AGENT)
        (tmp_path / "offhook.yaml").write_text(
            f"lines: {{default: agent.yaml}}\nrecords: {{webhook: {{url: '{hook.url}'}}}}\n"
        )
        pages: dict[str, str] = {}
        questions: dict[str, str] = {}
        async with piped(tmp_path, "--capture", "captures") as server, httpx2.AsyncClient() as http:
            await server.call()
            (delivered,) = await asyncio.to_thread(hook.until, 1)
            bearer = {"Authorization": f"Bearer {API_TOKEN}"}
            for name, path, headers in (
                ("healthz", "/healthz", {}),
                ("readyz", "/readyz", {}),
                ("404", f"/calls/{PRIVATE[0]}", {}),
                ("401", "/api/calls", {"Authorization": f"Bearer {WEBHOOK_SECRET}"}),
                ("metrics", "/metrics", bearer),
                ("422", "/api/calls?limit=many", bearer),
            ):
                pages[name] = (await http.get(server.url + path, headers=headers)).text
            voice = f"{server.url}/twilio/voice"
            pages["403"] = (await http.post(voice, content=f"CallSid={TOKEN}")).text
            pages["413"] = (await http.post(voice, content=TOKEN * 10_000)).text
            # Its examples are the numbers and tokens of these tests.
            questions["openapi"] = (await http.get(server.url + "/docs", headers=bearer)).text
            questions["api"] = (await http.get(server.url + "/api/calls", headers=bearer)).text
            assert await server.stop() == 0
            await asyncio.to_thread(server.read_to_the_end)
    export = [*COMMAND[:-1], "calls", "export"]
    questions["export"] = await asyncio.to_thread(
        subprocess.check_output, export, cwd=tmp_path, env=CLEAN | SECRETS, text=True
    )
    questions["webhook"] = json.dumps(delivered.headers) + delivered.body.decode()
    captures = written(tmp_path / "captures")
    journal = written(tmp_path / "offhook-data" / "journal")
    files = [*captures, *journal, *written(tmp_path)]

    # What is looked for went through all of it.
    assert found(questions["export"], PRIVATE) == list(PRIVATE)
    assert found(questions["webhook"], PRIVATE) == list(PRIVATE)
    assert found(b"".join(captures.values()), PRIVATE) == list(PRIVATE)
    assert pages["metrics"].count("\n") > 50

    leaks = {
        "the log": found(server.said, (*SECRET, *PRIVATE)),
        "names of files": found("\n".join(files), (*SECRET, *PRIVATE)),
        "the journal": found(b"".join(journal.values()), (*SECRET, *PRIVATE)),
        "captures": found(b"".join(captures.values()), SECRET),
        **{f"the page {name}": found(page, (*SECRET, *PRIVATE)) for name, page in pages.items()},
        **{name: found(told, (API_TOKEN, WEBHOOK_SECRET)) for name, told in questions.items()},
        "what is asked": found(questions["api"] + questions["export"], SECRET),
    }
    assert {where: what for where, what in leaks.items() if what} == {}
