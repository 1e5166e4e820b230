"""What it costs to start: the commands' CPU, `offhook serve` until it answers, memory at rest.

    .venv/bin/python -m bench.start [--rounds 5] [--config offhook.yaml]

Each figure is the median of some rounds. Python's bytecode is there, as after an installation: it
is kept in a folder of the run, and each command and server runs once unmeasured. A start is
measured from the beginning of the command until a signed upgrade to a WebSocket was answered; the
server keeps its record, and dials no agent. Memory is resident (RSS), ten seconds after that; on
Linux with how much of it are files, such as shared libraries, which processes share. Last comes
what imports of the call process add to the memory of an interpreter, one after another.
Times are those of an idle machine only if the load average that is printed is near 0.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from offhook.bench import commands, serve, usage
from offhook.records import database

REST_S = 10.0
"""Seconds after which a server counts as being at rest."""
NO_AGENT = "ws://127.0.0.1:9"
MB = 1024 * 1024
IMPORTS = (
    "asyncio",
    "ssl",
    "uvloop",
    "picows",
    "msgspec",
    "pydantic",
    "offhook.config",
    "uvicorn",
    "starlette.applications",
    "httpx2",
    "offhook.serving.call_process",
)
"""Modules that the call process imports, each after those that it needs itself."""

ADDED = """
import importlib, sys
whole = 0
for name in ["sys", *sys.argv[1:]]:
    importlib.import_module(name)
    with open("/proc/self/statm") as told:
        before, whole = whole, int(told.read().split()[1])
    print(name, whole - before)
"""
"""Code that prints for each module how many pages of memory its import adds; first Python's own."""


async def start(config: Path | None, environ: Mapping[str, str], rest_s: float) -> dict[str, float]:
    """Start a server, and stop it; return what it took and what its processes use, by name."""
    with tempfile.TemporaryDirectory(prefix="offhook-bench-") as name:
        setup = serve.set_up(Path(name), config, 50, recorded=False)
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *serve.command(setup, sys.executable, NO_AGENT),
            cwd=setup.folder,
            env=setup.environ(environ),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            answered = await setup.until_answered(lambda: process.returncode is not None)
            cpu_ns = usage.cpu_ns(setup.roles(process.pid).call)
            await setup.until_complete(process.pid)
            await asyncio.sleep(rest_s)
            roles = setup.roles(process.pid)
            found = {
                "start to the first answered upgrade, s": answered - began,
                "CPU of the call process until then, s": cpu_ns / 1e9,
                "memory of the call process, MB": usage.rss(roles.call) / MB,
                **of_files(roles.call),
            }
            for pid in roles.beside:
                name = "supervisor" if pid == process.pid else "operator process"
                found[f"memory of the {name}, MB"] = usage.rss(pid) / MB
            return found
        finally:
            process.terminate()
            await process.wait()


def of_files(pid: int) -> dict[str, float]:
    """Return how much of a process's memory are files, in MB; nothing but on Linux."""
    status = Path(f"/proc/{pid}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    kb = next((int(line.split()[1]) for line in lines if line.startswith("RssFile:")), None)
    return {} if kb is None else {"  of it files, MB": kb / 1024}


def imports_memory(environ: Mapping[str, str]) -> dict[str, float]:
    """Return what each of IMPORTS adds to the memory of a process, in MB; nothing but on Linux."""
    if not sys.platform.startswith("linux"):
        return {}
    command = [sys.executable, "-c", ADDED, *IMPORTS]
    told = subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout
    pages = (line.split() for line in told.splitlines())
    size = os.sysconf("SC_PAGE_SIZE")
    return {
        f"memory of {'Python' if name == 'sys' else name}, MB": int(count) * size / MB
        for name, count in pages
    }


def command_costs(environ: Mapping[str, str], rounds: int) -> dict[str, float]:
    """Return the CPU seconds of commands, beside an empty record of calls."""
    with tempfile.TemporaryDirectory(prefix="offhook-bench-") as name:
        path = Path(name) / serve.DATABASE
        engine = database.open_engine(database.url_of(f"sqlite:///{path}"))
        database.upgrade(engine)
        engine.dispose()
        commands.costs(path, environ)
        runs = [commands.costs(path, environ) for _ in range(rounds)]
        return {
            f"CPU of offhook {cost.command}, s": median(run[index].cpu_s for run in runs)
            for index, cost in enumerate(runs[0])
        }


async def main(given: Any) -> None:
    """Measure, and print a table."""
    with tempfile.TemporaryDirectory(prefix="offhook-bench-") as bytecode:
        environ = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        found = await asyncio.to_thread(command_costs, environ, given.rounds)
        await start(given.config, environ, 0)
        runs = [await start(given.config, environ, REST_S) for _ in range(given.rounds)]
        added = await asyncio.to_thread(imports_memory, environ)  # its bytecode is there by now
    found |= {what: median(run[what] for run in runs) for what in runs[0]}
    found |= added
    print(f"median of {given.rounds}; load average {os.getloadavg()[0]:.2f}\n")
    for what, value in found.items():
        print(f"{what:42}{value:8.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--config", type=Path)
    asyncio.run(main(parser.parse_args()))
