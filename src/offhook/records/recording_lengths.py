"""Lengths of recordings of which no process has told the end.

A process that dies, or whose call goes on at another node, notes no end. The length is in the file,
which is at the node where the recording began.
"""

import logging
from collections.abc import Collection
from typing import Final

from sqlalchemy import Engine, select, update

from offhook.errors import UserError
from offhook.recordings import reading
from offhook.recordings.files import LocalFiles
from offhook.records import tables

_log: Final = logging.getLogger("offhook.records")


def write_lengths(engine: Engine, files: LocalFiles, machine_id: str, here: Collection[str]) -> int:
    """Write the lengths of this machine's recordings whose calls are over; return their number.

    `here` are the names of the files. A file that cannot be read is left for the next time. Raises
    SQLAlchemyError.
    """
    calls = tables.calls.c
    query = select(calls.sid, calls.recording).where(
        calls.journal == machine_id,
        calls.recording.is_not(None),
        calls.recording_ms.is_(None),
        calls.duration_ms.is_not(None),
    )
    with engine.connect() as connection:
        unknown = [(sid, name) for sid, name in connection.execute(query) if name in here]
    written = 0
    for sid, name in unknown:
        try:
            length_ms = reading.find(files, name).length_ms
        except (OSError, UserError):
            _log.warning("the length of the recording %s cannot be read", name)
            continue
        same = (calls.sid == sid) & (calls.recording == name) & calls.recording_ms.is_(None)
        with engine.begin() as connection:
            change = update(tables.calls).where(same).values(recording_ms=length_ms)
            written += connection.execute(change).rowcount
    return written
