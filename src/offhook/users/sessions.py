"""Signing in: sessions of browsers, and links that sign in once. Plain functions on a connection.

The database has hashes alone: a reader of it can take over no session. A session's secret is in
its browser's cookie, a link's code in the address that was printed.
"""

import hashlib
import hmac
import secrets
from typing import Final

from sqlalchemy import Connection, delete, insert, select

from offhook.records import tables
from offhook.users.principal import SIGN_IN_LINK, Principal, Role

SESSION_MS: Final = 7 * 24 * 3_600_000
"""Milliseconds that a session lasts."""

LINK_MS: Final = 15 * 60_000
"""Milliseconds within which a link must be used."""

_sessions: Final = tables.sessions.c
_links: Final = tables.sign_in_links.c


def key_of(secret: str) -> str:
    """Return the hash by which the database knows a secret of 256 bits, which needs no salt."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def csrf_of(secret: str) -> str:
    """Return the token that a page sends along to show that it can read what it is answered."""
    return hmac.new(secret.encode(), b"offhook csrf 1", hashlib.sha256).hexdigest()


def begin(connection: Connection, user_name: str | None, now_ms: int) -> str:
    """Begin a session of a user, or of a link (None), and return its secret.

    What has expired is removed by the way.
    """
    connection.execute(delete(tables.sessions).where(_sessions.expires_ms <= now_ms))
    secret = secrets.token_urlsafe(32)
    values = {
        "key": key_of(secret),
        "user_name": user_name,
        "expires_ms": now_ms + SESSION_MS,
    }
    connection.execute(insert(tables.sessions).values(values))
    return secret


def find(connection: Connection, key: str, now_ms: int) -> Principal | None:
    """Return the user of the session with that key; None for no session, or it has expired."""
    joined = tables.sessions.outerjoin(tables.users)
    asked = (
        select(_sessions.user_name, tables.users.c.role)
        .select_from(joined)
        .where(_sessions.key == key, _sessions.expires_ms > now_ms)
    )
    row = connection.execute(asked).one_or_none()
    if row is None:
        return None
    return SIGN_IN_LINK if row.user_name is None else Principal(row.user_name, Role(row.role))


def end(connection: Connection, key: str) -> None:
    """End a session, if there is one."""
    connection.execute(delete(tables.sessions).where(_sessions.key == key))


def make_link(connection: Connection, now_ms: int) -> str:
    """Make a link that signs in as an admin, and return its code."""
    connection.execute(delete(tables.sign_in_links).where(_links.expires_ms <= now_ms))
    code = secrets.token_urlsafe(32)
    values = {"key": key_of(code), "expires_ms": now_ms + LINK_MS}
    connection.execute(insert(tables.sign_in_links).values(values))
    return code


def link_at(url: str, code: str) -> str:
    """Return the link of a code, whose fragment no browser sends to a server or a proxy."""
    return f"{url.rstrip('/')}/enter#{code}"


def use_link(connection: Connection, code: str, now_ms: int) -> bool:
    """Return whether a code is good, which it is once."""
    used = (
        delete(tables.sign_in_links).where(_links.key == key_of(code)).returning(_links.expires_ms)
    )
    expires_ms = connection.scalar(used)
    return expires_ms is not None and expires_ms > now_ms
