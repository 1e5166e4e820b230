"""Live calls and capacity of all nodes, from the directory that they share."""

from datetime import timedelta
from typing import Final, NamedTuple

from sqlalchemy import Connection, and_, distinct, func, not_, select

from offhook.fleet.places import LEASE_S
from offhook.records.tables import fleet_calls, fleet_processes

_LEASE: Final = timedelta(seconds=LEASE_S)


class FleetLoad(NamedTuple):
    """Live calls of all nodes, the capacity of those that take calls, and their number."""

    live: int
    capacity: int
    nodes: int


def fleet_load(connection: Connection) -> FleetLoad:
    """Return the load of a fleet. A node counts while its lease runs and it does not drain."""
    takes_calls = and_(
        fleet_processes.c.beat_at > func.clock_timestamp() - _LEASE,
        not_(fleet_processes.c.is_draining),
    )
    capacity, nodes = connection.execute(
        select(
            func.coalesce(func.sum(fleet_processes.c.capacity), 0),
            func.count(distinct(fleet_processes.c.node)),
        ).where(takes_calls)
    ).one()
    live = connection.scalar(
        select(func.count()).select_from(fleet_calls).where(fleet_calls.c.ended_at.is_(None))
    )
    return FleetLoad(live or 0, int(capacity), nodes)
