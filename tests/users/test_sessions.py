"""What the database keeps of sessions, links and the audit log."""

from typing import Any

from sqlalchemy import Connection, Engine, insert, select

from offhook.records import tables
from offhook.users import audit, sessions


def test_what_has_expired_is_removed_and_hashes_alone_are_kept(engine: Engine) -> None:
    with engine.begin() as connection:
        assert _rows(connection, "sessions") == []
        first = sessions.begin(connection, None, 1_000)
        code = sessions.make_link(connection, 1_000)
        kept = str(_rows(connection, "sessions") + _rows(connection, "sign_in_links"))
        assert first not in kept
        assert code not in kept
        later = 1_000 + sessions.SESSION_MS
        second = sessions.begin(connection, None, later)
        sessions.make_link(connection, later)
        assert len(_rows(connection, "sessions")) == len(_rows(connection, "sign_in_links")) == 1
        assert sessions.find(connection, sessions.key_of(first), later) is None
        assert sessions.find(connection, sessions.key_of(second), later) is not None
        for at_ms in (0, audit.KEPT_MS):
            connection.execute(
                insert(tables.audit).values(at_ms=at_ms, who="", what="", about="", status=200)
            )
        audit.prune(connection, audit.KEPT_MS + 1)
        assert len(audit.entries(connection, 10)) == 1


def _rows(connection: Connection, name: str) -> list[Any]:
    return list(connection.execute(select(tables.metadata.tables[name])))
