"""Offhook under test with everything written: the record on SQLite, and both sides of each call.

    .venv/bin/offhook bench --calls 50 --no-search --baselines bench/recorded

The load calls as a TwiML Bin does, whose callers heard no announcement and so are not recorded:
here they are all the same.
"""

import dataclasses
import tempfile
from pathlib import Path

from offhook.bench import bridge
from offhook.calls import intake
from offhook.capture.tap import NewCall
from offhook.config import Config, Prices
from offhook.records import database
from offhook.records.record import Record


async def serve(config: Config) -> None:
    with tempfile.TemporaryDirectory(prefix="offhook-bench-") as name:
        folder = Path(name)
        engine = database.open_engine(database.url_of(f"sqlite:///{folder}/offhook.db"))
        lines = {
            line: agent.model_copy(update={"recording": True})
            for line, agent in config.lines.items()
        }
        records = config.records.model_copy(update={"folder": folder})
        config = dataclasses.replace(config, lines=lines, records=records)
        with Record(engine, folder / "journal", Prices()) as record:
            await bridge.serve(config, record)


def told(call_sid: str, agent: str, **more: object) -> NewCall:
    return NewCall(call_sid, agent, **more | {"webhook": True})


if __name__ == "__main__":
    intake.NewCall = told
    bridge.main(serve)
