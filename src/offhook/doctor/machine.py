"""Checks of this machine: versions, open files, disk, and the clock."""

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from offhook import __version__
from offhook.config import AppConfig
from offhook.doctor.check import Check, bad, good, remark
from offhook.net.listener import (
    CONNECTIONS_MAX,
    FILES_ELSEWHERE,
    FILES_OF_CALL,
    FILES_OF_RECORDED_CALL,
    streams_of,
)

VERSIONS: Final = "versions"
FILES: Final = "open files"
DISK: Final = "disk"
CLOCK: Final = "clock"

PINNED: Final = "picows"
"""The dependency of which one release alone is known to work (net/websocket.py)."""

TRIED: Final = ((3, 11), (3, 14))
"""The first and the last version of Python on which Offhook is tried."""

START_BYTES: Final = 12_000_000
"""Bytes that the journal takes when the server starts (docs/records.md)."""

LITTLE_BYTES: Final = 200_000_000
"""Free bytes below which a busy day fills the disk."""

SKEW_REMARK_S: Final = 5.0
SKEW_BAD_S: Final = 60.0
"""Seconds by which the clock may be off: Twilio's and our webhooks' receivers allow minutes, but
times of calls and calling hours are wrong by as much."""

_MB: Final = 1_000_000


def check_versions(
    pinned: str | None, wanted: str | None, python: tuple[int, int] = sys.version_info[:2]
) -> Check:
    """Return whether Python and the pinned dependency are of versions that were tried."""
    said = f"Python {platform.python_version()}, Offhook {__version__}, {PINNED} {pinned}"
    if pinned is None or (wanted is not None and pinned != wanted):
        found = "is not installed" if pinned is None else f"is {pinned}"
        reason = f"{PINNED} {found}, and Offhook {__version__} needs {wanted}"
        return bad(VERSIONS, reason, f"{sys.executable} -m pip install {PINNED}=={wanted}")
    first, last = TRIED
    if not first <= python <= last:
        reason = f"{said}: this Python was not tried"
        return remark(VERSIONS, reason, f"Use Python {last[0]}.{last[1]}.")
    return good(VERSIONS, said)


def installed_versions() -> tuple[str | None, str | None]:
    """Return the version of the pinned dependency, and the one that Offhook declares."""
    try:
        pinned = importlib.metadata.version(PINNED)
    except importlib.metadata.PackageNotFoundError:
        pinned = None
    try:
        needs = importlib.metadata.requires("offhook") or ()
    except importlib.metadata.PackageNotFoundError:  # it runs from its source
        needs = ()
    exact = [need.partition("==")[2] for need in needs if need.startswith(f"{PINNED}==")]
    return pinned, exact[0].partition(";")[0].strip() if exact else None


def check_files(capacity: int, files: int, *, is_recording: bool) -> Check:
    """Return whether a process that may open `files` files can carry `capacity` calls."""
    of_call = FILES_OF_RECORDED_CALL if is_recording else FILES_OF_CALL
    carried = streams_of(files, of_call)
    if carried >= capacity:
        return good(FILES, f"{files} may be open, enough for {carried} calls")
    needed = of_call * capacity + FILES_ELSEWHERE + CONNECTIONS_MAX
    reason = f"{files} may be open: {carried} calls, and server.capacity is {capacity}"
    return bad(FILES, reason, f"Raise the limit where the server starts: ulimit -n {needed}")


def check_disk(config: AppConfig) -> Check:
    """Return whether the folder of records can be written, and has room. Blocks for some ms."""
    folder, limit = config.records.folder, config.records.journal_limit
    existing = _existing(folder)
    fix = "Let this user write there, or set records.folder in offhook.yaml."
    try:
        with tempfile.NamedTemporaryFile(dir=existing, prefix=".offhook-doctor-"):
            free = shutil.disk_usage(existing).free
    except OSError as error:
        reason = f"{folder} cannot be written: {os.strerror(error.errno or 0)}"
        return bad(DISK, reason, fix)
    return check_room(folder, free, limit)


def check_room(folder: Path, free: int, limit: int) -> Check:
    """Return whether `free` bytes are enough for a journal of `limit` bytes."""
    said = f"{free // _MB} MB are free for {folder}"
    fix = f"Make room there, or set records.folder to another disk: du -sh {folder}"
    if free < START_BYTES:
        return bad(DISK, f"{said}, and the server needs {START_BYTES // _MB} to start", fix)
    if free < LITTLE_BYTES:
        return bad(DISK, f"{said}: a full disk loses the records of calls", fix)
    if free < limit:
        return remark(DISK, f"{said}, less than records.journal_limit ({limit // _MB} MB)", fix)
    return good(DISK, said)


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists, in which it would be made."""
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def check_clock(off_s: float, whose: str) -> Check:
    """Return whether this machine's clock is right; it is `off_s` seconds ahead of `whose`."""
    way = "ahead of" if off_s > 0 else "behind"
    said = f"{abs(off_s):.0f} s {way} {whose}"
    fix = "Let it be set from the network: timedatectl set-ntp true"
    if abs(off_s) > SKEW_BAD_S:
        return bad(CLOCK, f"{said}: signed links, after-call webhooks and calling hours fail", fix)
    if abs(off_s) > SKEW_REMARK_S:
        return remark(CLOCK, said, fix)
    return good(CLOCK, f"within {SKEW_REMARK_S:g} s of {whose}")
