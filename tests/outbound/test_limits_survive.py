"""The hourly limit of a real `offhook serve` that is killed and started again, in a loop."""

import asyncio
import contextlib
from pathlib import Path

import httpx2
from starlette.responses import Response
from tests.cli.served import killed
from tests.outbound.test_killed import AGENT, SECRETS, World
from tests.outbound.twilio_api import PUBLIC, US, Form, twilio_api

LIMIT = 4
LIVES = 3

CONFIG = """
server: {{public_url: {public}, port: {port}}}
twilio: {{api_url: "{api}"}}
lines: {{default: agent.yaml}}
outbound: {{caller_id: "{us}", calls_per_second: 100, concurrent: 50}}
dialling: {{calls_per_hour: {limit}}}
"""


async def test_a_crash_loop_dials_no_more_than_an_hour_may(tmp_path: Path, free_port: int) -> None:
    async with twilio_api() as api, httpx2.AsyncClient(trust_env=False, verify=False) as http:
        asked: list[str] = []
        made = World(tmp_path, api, free_port)

        async def before(form: Form) -> Response | None:
            asked.append(form["To"][0])
            if len(asked) == 1:  # the server dies while Twilio is being asked
                assert made.server is not None
                killed(made.server)
            return None

        api.before = before
        config = CONFIG.format(public=PUBLIC, port=free_port, api=api.url, us=US, limit=LIMIT)
        (tmp_path / "offhook.yaml").write_text(config)
        (tmp_path / "agent.yaml").write_text(AGENT)
        codes: list[str | None] = []
        for life in range(LIVES):
            await made.serve()
            try:
                numbers = (f"+120255502{life}{n}" for n in range(3))
                codes += await asyncio.gather(*(_ask(http, made.operator, to) for to in numbers))
            finally:
                with contextlib.suppress(ProcessLookupError):
                    await made.kill_server()
        assert 1 <= len(asked) <= LIMIT
        assert codes[-3:] == ["E-OUT-17"] * 3


async def _ask(http: httpx2.AsyncClient, url: str, to: str) -> str | None:
    """Have somebody called; the code of a refusal, if one came."""
    try:
        answer = await http.post(
            f"{url}/api/v1/calls",
            json={"to": to, "agent": "agent"},
            headers={"Authorization": f"Bearer {SECRETS['OFFHOOK_API_TOKEN']}"},
            timeout=60,
        )
    except httpx2.TransportError:  # it was killed
        return None
    code = answer.json().get("code")
    return code if isinstance(code, str) else None
