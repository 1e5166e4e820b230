"""The node whose disk has the recording of a call."""

from sqlalchemy import Connection, select

from offhook.errors import UserError
from offhook.records.queries import columns_of
from offhook.records.tables import calls, ownerships


def node_of_recording(connection: Connection, sid: str, machine: str) -> str | None:
    """Return the name of the node that has a call's recording; None: this one, or nobody knows.

    `machine` is the id of this node's data folder. The name is empty if the record does not tell
    it: the row of a call that has moved has the name of its last node, and the recording is at the
    first one. Raises UserError E-ASK-04 for an unknown CallSid.
    """
    journal: str = columns_of(connection, sid, calls.c.journal).journal
    if not machine or journal in ("", machine):
        return None
    named = (
        select(calls.c.node)
        .where(calls.c.journal == journal, calls.c.node != "")
        .where(calls.c.sid.not_in(select(ownerships.c.call_sid)))
        .order_by(calls.c.started_ms.desc())
        .limit(1)
    )
    return connection.execute(named).scalar() or ""


def elsewhere(name: str, node: str) -> UserError:
    """Return the error for a recording that another node has, whose name may be unknown."""
    where = f"the node {node}" if node else "another machine"
    return UserError(
        "E-AUD-06",
        f"The recording {name} is on the disk of {where}.",
        'Ask there: the API of that node, or "offhook calls play" on its machine.',
    )
