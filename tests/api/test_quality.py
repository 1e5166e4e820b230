"""GET /api/v1/quality over a whole server, on SQLite and PostgreSQL."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.api.desk import desk
from tests.postgres import Postgres
from tests.records.test_quality import plain, rank
from tests.whole_server import ASK, GREET, HANG_UP, QUICK

from offhook.testing.scenarios.scenario import ScenarioStep

FIGURES = ("endings", "barge_ins", "false_barge_ins", "suppressed", "silence_ratio")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    if request.param == "sqlite":
        yield None
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.database(migrated=True) as of_postgres:
        yield of_postgres.render_as_string(hide_password=False)


async def test_quality_is_that_of_the_calls(tmp_path: Path, url: str | None) -> None:
    async with desk(tmp_path, url=url, script=QUICK) as d:
        assert (await d.ask("/api/v1/quality")).json()["groups"] == []
        await asyncio.gather(
            d.whole.call(GREET, ASK, GREET, HANG_UP), d.whole.call(ScenarioStep(wait=0.5), HANG_UP)
        )
        await d.until_stored(2)

        async def asked(query: str = "") -> dict[str, Any]:
            answer = await d.ask(f"/api/v1/quality{query}")
            assert answer.status_code == 200, answer.text
            found: dict[str, Any] = answer.json()
            return found

        calls: dict[str, Any] = {}
        for each in d.whole.happened:
            calls.setdefault(each.call_sid, []).append((each.at_ms, each.event))
        expected = plain([*calls.values()])
        found = await asked("?by=agent")
        total = found["total"]
        assert {name: total[name] for name in FIGURES} == {name: expected[name] for name in FIGURES}
        assert total["heard_ratio"] == pytest.approx(expected["heard_ratio"])
        for name, (turns, *ranks) in expected["latency"].items():  # type: ignore[attr-defined]
            told = total["latency"][name]
            assert [told["turns"], told["p50_ms"], told["p90_ms"], told["p99_ms"]] == [
                turns,
                *ranks,
            ]
        assert total["latency"]["first_played_ms"]["turns"] >= 1
        (group,) = found["groups"]
        assert group["figures"] == total
        day = await asked(f"?by=day&agent={group['key']}&since=24h")
        assert day["total"] == total
        assert (await asked("?agent=nobody"))["groups"] == []
        wrong = await d.ask("/api/v1/quality?since=yesterday")
        assert (wrong.status_code, wrong.json()["code"]) == (422, "E-ASK-03")
        assert (await d.ask("/api/v1/quality?by=number")).status_code == 422


def test_the_recomputation_ranks_as_it_says() -> None:
    assert [rank([3, 1, 2], 50), rank([1, 2], 50), rank([], 50)] == [2, 1, None]
