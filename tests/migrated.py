"""Databases with the present schema, copied from one that was migrated: migrating takes longer."""

import shutil
import tempfile
from functools import cache
from pathlib import Path

from offhook.records import database


@cache
def _template() -> Path:
    path = Path(tempfile.mkdtemp(prefix="migrated-"), "offhook.db")
    engine = database.open_engine(database.url_of(f"sqlite:///{path}"))
    database.upgrade(engine)
    engine.dispose()
    return path


def put(path: Path) -> None:
    """Put a SQLite database where a server will look for it, unless one is there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copy(_template(), path)  # with its mode: only the owner may read it
