"""What docs/deploy-fleet.md and docs/upgrade.md have typed for three nodes, typed."""

import os
import re
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Final

import psycopg
from tests.postgres import Postgres
from tests.test_docs import DOCS

from offhook.config import load
from offhook.records import database

BIN: Final = Path(sys.executable).parent
GIVEN: Final = {
    "OFFHOOK_HOST": "voice.example.com",
    "DEEPGRAM_API_KEY": "a-key",
    "TWILIO_ACCOUNT_SID": "AC" + "a" * 32,
    "TWILIO_AUTH_TOKEN": "0" * 32,
    "DATABASE_PASSWORD": "secret",
    "DATABASE_HOST": "10.0.0.20",
    "NODE": "b",
    "NODE_IP": "10.0.0.2",
}
"""What the reader has by then, as variables of the shell."""


def blocks(page: str, section: str, language: str) -> list[str]:
    text = (DOCS / page).read_text("utf-8")
    parts = re.split(r"^#+ (.+)$", text, flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))[section]
    return re.findall(rf"^```{language}\n(.*?)^```$", found, re.MULTILINE | re.DOTALL)


def typed(script: str, **environ: str) -> str:
    done = subprocess.run(
        ["bash", "-euc", script],
        env={"PATH": f"{BIN}:{os.environ['PATH']}", **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_the_files_of_a_node_are_as_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_text("settings: {greeting: Hello}\n")
    made = blocks("deploy-fleet.md", "Configuration of a node", "sh")
    assert len(made) == 3
    said = typed("\n".join(made).replace("/etc/offhook", str(tmp_path)), **GIVEN)
    assert "good (0 errors, 0 remarks)" in said
    environ = dict(line.split("=", 1) for line in (tmp_path / "secrets.env").read_text().split())
    config = load(tmp_path / "offhook.yaml", environ)
    assert config.fleet is not None
    assert config.fleet.node == GIVEN["NODE"]
    assert config.fleet.address == "http://10.0.0.2:5002"
    assert config.fleet.routed
    assert config.deepgram.max_sessions == config.server.capacity == 45
    config.fleet.check(environ["OFFHOOK_DATABASE_URL"])
    assert config.server.api_token is not None


def test_the_database_is_made_backed_up_and_restored(postgres: Postgres, tmp_path: Path) -> None:
    name = f"offhook{secrets.token_hex(4)}"
    (made,) = blocks("deploy-fleet.md", "The database of all nodes", "sql")
    made = re.sub(r"\boffhook\b", name, made).replace("DATABASE_PASSWORD", "secret")
    (backup, restore) = blocks("upgrade.md", "Backup", "sh")
    with postgres.database() as url:
        admin = url.render_as_string(hide_password=False)
        try:
            with psycopg.connect(admin, autocommit=True) as connection:
                for statement in filter(str.strip, made.split(";")):
                    connection.execute(statement.encode())
            own = database.url_of(admin).set(username=name, password="secret", database=name)
            engine = database.open_engine(own)
            assert database.upgrade(engine) == (None, database.HEAD)
            with engine.begin() as connection:
                connection.exec_driver_sql("DELETE FROM alembic_version")
                connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('backed up')")
            plain = own.set(drivername="postgresql").render_as_string(hide_password=False)
            environ = {"OFFHOOK_DATABASE_URL": plain, "BACKUP": str(tmp_path / "backup")}
            tools = f'PATH="{postgres.programs}:$PATH"\n'
            typed(tools + backup, **environ)
            engine.dispose()
            with psycopg.connect(admin, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {name}".encode())
                connection.execute(f"CREATE DATABASE {name} OWNER {name}".encode())
            typed(tools + restore, **environ)
            with engine.connect() as connection:
                assert database.version(connection) == "backed up"
            engine.dispose()
        finally:
            with psycopg.connect(admin, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
                connection.execute(f"DROP ROLE IF EXISTS {name}".encode())
