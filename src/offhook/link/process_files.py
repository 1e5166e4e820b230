"""The call processes of a data folder that other processes can reach."""

import contextlib
from pathlib import Path

from offhook.journal.folders import ProcessInfo, is_alive, read_process_info


def live_processes(journal: Path) -> dict[str, ProcessInfo]:
    """Return what the processes that live tell of themselves, the newest first, by their ids.

    Folders without a file, and files that cannot be read, are left out.
    """
    found = {}
    with contextlib.suppress(OSError):
        for folder in journal.iterdir():
            info = read_process_info(folder)
            if info is not None and is_alive(folder):
                found[folder.name] = info
    return dict(sorted(found.items(), key=lambda each: each[1].started_ms, reverse=True))


def siblings(journal: Path, process_id: str, supervisor: int) -> list[str]:
    """Return the ids of the other processes that live and have that supervisor, newest first."""
    return [
        other
        for other, info in live_processes(journal).items()
        if other != process_id and info.supervisor == supervisor
    ]
