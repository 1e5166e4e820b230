"""The wire log and the prices of the API, of a call that a server carried and captured."""

from pathlib import Path
from typing import Any

from tests.api.desk import desk
from tests.waiting import until_it
from tests.whole_server import ASK, GREET, HANG_UP

from offhook.capture.writer import Captures


async def test_a_captured_call_has_its_wire_log(tmp_path: Path) -> None:
    folder = tmp_path / "captures"
    with Captures(folder, ()) as captures:
        async with desk(tmp_path / "data", captures=folder, make_tap=captures) as d:
            report = await d.whole.call(GREET, ASK, GREET, HANG_UP)
            await d.until_stored()
            path = f"/api/v1/calls/{report.call_sid}/wire"
            first = (await d.ask(f"{path}?limit=3")).json()
            assert [one["what"] for one in first["entries"]][:2] == ["opened", "message"]
            entries: list[dict[str, Any]] = []

            async def has_all() -> bool:
                """Read all pages: a busy machine's call is long, and its last lines come later."""
                page = first
                entries[:] = page["entries"]
                while page["next_cursor"] is not None:
                    page = (await d.ask(f"{path}?cursor={page['next_cursor']}&limit=500")).json()
                    entries.extend(page["entries"])
                return {"start", "Welcome", "stop"} <= {one["name"] for one in entries}

            await until_it(has_all)
            assert all(0 <= one["at_ms"] < 600_000 for one in entries)
            whole = await d.ask(f"{path}.jsonl")
            (file,) = folder.iterdir()
            assert whole.content == file.read_bytes()
            assert "attachment" in whole.headers["content-disposition"]


async def test_a_call_that_was_not_captured_says_so(tmp_path: Path) -> None:
    async with desk(tmp_path / "data", captures=tmp_path / "nowhere") as d:
        report = await d.whole.call(GREET, HANG_UP)
        await d.until_stored()
        for path in ("wire", "wire.jsonl"):
            answer = await d.ask(f"/api/v1/calls/{report.call_sid}/{path}")
            assert (answer.status_code, answer.json()["code"]) == (404, "E-CAP-07")
            unknown = await d.ask(f"/api/v1/calls/CA0/{path}")
            assert (unknown.status_code, unknown.json()["code"]) == (404, "E-ASK-04")


async def test_the_prices_are_those_of_the_configuration(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        assert (await d.ask("/api/v1/prices")).json() == {
            "currency": "USD",
            "twilio_minute": None,
            "stream_minute": None,
            "deepgram_minute": {},
        }
