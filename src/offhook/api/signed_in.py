"""Sessions of browsers: found in memory, and looked up in the database every few seconds.

A browser's requests are believed without the database for FRESH_S, and for KEPT_S while the
database does not answer: an operator who watches a call must be able to end it then, too.
"""

import asyncio
import dataclasses
import hmac
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from offhook.api.problems import ApiError
from offhook.api.reading import Readers
from offhook.records import database
from offhook.records.database import clock_ms
from offhook.users import sessions
from offhook.users.principal import Principal

COOKIE: Final = "offhook_session"

FRESH_S: Final = 2.0
"""Seconds for which a session that was found is believed without another look."""

STREAM_FRESH_S: Final = 10.0
"""Seconds between checks of the session during a response without end."""

KEPT_S: Final = 600.0
"""Seconds for which it is believed while the database does not answer."""

LOOK_S: Final = 1.0
"""Seconds that a look may take where there is something to fall back on."""

AGAIN_S: Final = 5.0
"""Seconds until the next look after one that was not answered."""

SESSIONS_MAX: Final = 1000
"""Sessions in memory; the one that was used longest ago is forgotten first."""


@dataclass(slots=True)
class _Known:
    """A session that was found, with the time of that by the clock."""

    principal: Principal
    found_at: float
    next_look_at: float


class SignedIn:
    """The sessions that browsers have. `now` is a monotonic clock, in seconds.

    `on_end` is called with the key of each session that was in use and has ended.
    """

    def __init__(
        self,
        engine: Engine,
        readers: Readers,
        now: Callable[[], float],
        on_end: Callable[[str], None],
    ) -> None:
        self._engine = engine
        self._readers = readers
        self._now = now
        self._on_end = on_end
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def find(self, secret: str, fresh_s: float = FRESH_S) -> Principal | None:
        """Return the user of a session cookie; None if it is invalid or expired.

        Raises ApiError and SQLAlchemyError when only the database would know.
        """
        key, now = sessions.key_of(secret), self._now()
        known = self._known.get(key)
        if known is not None and (now < known.found_at + fresh_s or now < known.next_look_at):
            self._known.move_to_end(key)
            return known.principal
        if known is not None and now > known.found_at + KEPT_S:
            known = None
        try:
            async with asyncio.timeout(None if known is None else LOOK_S):
                found = await self._readers.run(lambda: self._look(key))
        except (TimeoutError, ApiError, SQLAlchemyError):
            if known is None:
                raise
            known.next_look_at = self._now() + AGAIN_S
            return known.principal
        if found is None:
            self._end(key)
            return None
        return self._keep(key, found)

    def at_once(self, secret: str) -> Principal | None:
        """Return whose session it is if it was found within STREAM_FRESH_S, without waiting.

        For sockets: the browser has just made the request that told it where to connect.
        """
        known = self._known.get(sessions.key_of(secret))
        if known is None or self._now() > known.found_at + STREAM_FRESH_S:
            return None
        return known.principal

    def unreachable(self, error: SQLAlchemyError) -> ApiError:
        """Return the answer for a session that only the database would know, which is away."""
        return ApiError(503, database.unreachable(self._engine, error), {"Retry-After": "5"})

    def forget(self, secret: str) -> None:
        """Forget a session that has ended."""
        self._end(sessions.key_of(secret))

    def forget_user(self, name: str) -> None:
        """Forget the sessions of a user who was changed or removed."""
        for key in [key for key, known in self._known.items() if known.principal.name == name]:
            self._end(key)

    def _end(self, key: str) -> None:
        self._known.pop(key, None)
        self._on_end(key)

    def _look(self, key: str) -> Principal | None:
        with self._engine.connect() as connection:
            return sessions.find(connection, key, clock_ms(connection))

    def _keep(self, key: str, found: Principal) -> Principal:
        now = self._now()
        principal = dataclasses.replace(found, session=key)
        self._known[key] = _Known(principal, now, now)
        self._known.move_to_end(key)
        if len(self._known) > SESSIONS_MAX:
            self._known.popitem(last=False)
        return principal


def cookie_of(headers: Mapping[str, str]) -> str | None:
    """Return the secret in the cookie of a request; None without one.

    Of two cookies of that name one may have been put there by a neighbour of this host's name, so
    that neither is believed.
    """
    pairs = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
    found = {value for name, _, value in pairs if name == COOKIE and value}
    return found.pop() if len(found) == 1 else None


def csrf_is_right(secret: str, given: str) -> bool:
    """Return whether a request's header has the token that goes with its session."""
    return hmac.compare_digest(sessions.csrf_of(secret).encode(), given.encode())
