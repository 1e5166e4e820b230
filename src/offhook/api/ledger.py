"""Ledger of placed calls in the record's database, used through the API's threads."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from offhook.api.problems import ApiError
from offhook.api.reading import Readers
from offhook.outbound.ledger import Placement
from offhook.records import database, dnc, placements

_T = TypeVar("_T")


class DatabaseLedger:
    """Ledger in the record's database: an outbound.ledger.Ledger."""

    def __init__(self, engine: Engine, readers: Readers) -> None:
        self._engine = engine
        self._readers = readers

    async def claim(self, placement: Placement) -> Placement | None:
        """Claim a key for a placement, as Ledger.claim."""
        return await self._do(lambda connection: placements.claim(connection, placement))

    async def retake(self, old: Placement, new: Placement) -> bool:
        """Retake a claim, as Ledger.retake."""
        return await self._do(lambda connection: placements.retake(connection, old, new))

    async def name(self, placement_id: str, sid: str) -> None:
        """Note the CallSid of a placement, as Ledger.name."""
        await self._do(lambda connection: placements.name(connection, placement_id, sid))

    async def release(self, placement: Placement) -> None:
        """Give a claim back, as Ledger.release."""
        await self._do(lambda connection: placements.release(connection, placement))

    async def is_barred(self, number: str) -> bool:
        """Return whether a number is on the do-not-call list, as Ledger.is_barred."""
        return await self._do(lambda connection: dnc.is_barred(connection, number))

    async def named(self, sids: Sequence[str]) -> frozenset[str]:
        """Return the CallSids that the ledger knows, as Ledger.named."""
        return await self._do(lambda connection: placements.named(connection, sids))

    async def _do(self, work: Callable[[Connection], _T]) -> _T:
        def committed() -> _T:
            with self._engine.begin() as connection:
                return work(connection)

        try:
            return await self._readers.run(committed)
        except SQLAlchemyError as error:
            raise database.unreachable(self._engine, error) from None
        except ApiError as refused:
            raise refused.problem from None
