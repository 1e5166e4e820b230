"""Calls from the browser through `offhook serve`, whose processes are killed and stopped."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from tests.cli.served import Serving, serving
from tests.page import ConsolePage, PhoneCall
from tests.waiting import GIVEN_UP_AFTER_S, until, until_found
from tests.whole_server import ASK, GREET, HANG_UP

from offhook.testing.scenarios.scenario import ScenarioStep

STAYS = (GREET, ScenarioStep(wait=600))
pytestmark = pytest.mark.limit(600)


@asynccontextmanager
async def page_of(made: Serving) -> AsyncIterator[ConsolePage]:
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=GIVEN_UP_AFTER_S) as http:
        yield ConsolePage(await made.operator_url(), http, made.headers)


async def over(call: PhoneCall) -> None:
    async with asyncio.timeout(GIVEN_UP_AFTER_S):
        await call.ended.wait()


async def ending(page: ConsolePage, call_sid: str) -> str:
    """Wait until the record has the ending of a call; return its slug."""

    async def slug() -> str | None:
        answer = await page.http.get(f"{page.url}/api/v1/calls/{call_sid}", headers=page.headers)
        return answer.json().get("call", {}).get("slug") if answer.status_code == 200 else None

    return str(await until_found(slug, lambda found: found is not None))


async def until_it_speaks(call: PhoneCall) -> None:
    await until(lambda: len(call.stream.heard) > 8000 and bool(call.stream.bursts))


async def test_the_death_of_either_process_ends_the_call_and_calls_can_be_made_again(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as made:
        async with page_of(made) as page:
            call = await page.dial(await page.open_phone(), *STAYS)
            await until_it_speaks(call)
            operator = await made.until_started("operator")
            (made.records / "operator.json").unlink()
            os.kill(operator, signal.SIGKILL)
            await over(call)
            assert call.stream.ended_by == "loss"
        await made.until_started("operator", other_than=operator)
        async with page_of(made) as page:
            assert await ending(page, call.call_sid) == "caller_leg_lost"
            call = await page.dial(await page.open_phone(), *STAYS)
            await until_it_speaks(call)
            process = await made.until_started("call")
            os.kill(process, signal.SIGKILL)
            await over(call)
            assert call.stream.closed is not None
            assert call.stream.closed.received == 1001
            assert call.stream.closed.reason == "the call process has ended"
            assert await ending(page, call.call_sid) == "server_died"
            await made.until_started("call", other_than=process)
            await made.until_said("twice ends them.", 2)
            again = await page.call(GREET, ASK, GREET, HANG_UP)
            assert await ending(page, again.call_sid) == "caller_hung_up"


async def test_a_server_that_is_told_to_stop_lets_the_call_finish(tmp_path: Path) -> None:
    async with serving(tmp_path) as made, page_of(made) as page:
        call = await page.dial(await page.open_phone(), GREET, ScenarioStep(wait=600))
        await until_it_speaks(call)
        made.process.send_signal(signal.SIGTERM)
        await made.until_said("draining: 1 calls are live")
        answer = await page.post("/api/v1/phone-calls", {})
        assert (answer.status_code, answer.json()["code"]) == (429, "E-PHONE-03")
        heard = len(call.stream.heard)
        await until(lambda: len(call.stream.heard) > heard + 1600)
        call.stream.hang_up()
        await over(call)
        assert call.stream.ended_by == "caller"
        assert await made.end() == 0
        assert '"slug": "caller_hung_up"' in made.said or "caller_hung_up" in made.said
