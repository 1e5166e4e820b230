"""Repair of recordings that a crash left behind: their headers get the sizes of the files."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from offhook.recordings.files import LocalFiles
from offhook.recordings.wav import STEREO_HEADER_BYTES, stereo_header

SUFFIX: Final = ".wav"

_SIZES: Final = ((4, 8), (46, 50), (54, 58))
"""Offsets of the sizes in a header: of the whole file, in samples, in bytes."""


@dataclass(frozen=True, slots=True)
class RepairReport:
    """Recordings that were repaired, and files that are not recordings."""

    repaired: Sequence[str]
    unreadable: Sequence[str]


def repair(store: LocalFiles) -> RepairReport:
    """Give every recording the sizes that its file has. Everything else is left as it is.

    A recording that is still growing, in another process that shares the folder, takes no harm:
    its writer puts the sizes in at its end. Raises OSError when the folder cannot be read.
    """
    repaired, unreadable = [], []
    for name in store.names():
        if name.endswith(SUFFIX):
            try:
                if repair_one(store, name):
                    repaired.append(name)
            except (OSError, ValueError):
                unreadable.append(name)
    return RepairReport(repaired, unreadable)


def repair_one(store: LocalFiles, name: str) -> bool:
    """Give one recording the sizes that its file has. Return whether it had others, or none.

    A header that was written in part, or is nothing but zeros, is written anew; half a sample at
    the end is in no size. Raises OSError, and ValueError when it is not a recording.
    """
    with store.open(name) as file:
        header = file.read(STEREO_HEADER_BYTES)
    whole = stereo_header(max(0, store.size(name) - STEREO_HEADER_BYTES) // 2)
    if header == whole:
        return False
    if header.strip(b"\0") and _form(header) != _form(whole)[: len(header)]:
        raise ValueError(f"{name} is not a recording")
    with store.open(name, change=True) as file:
        file.write(whole)
    return True


def is_ours(header: bytes) -> bool:
    """Return whether a header is that of a recording, whatever sizes it gives."""
    return _form(header) == _form(stereo_header(None))


def _form(header: bytes) -> bytes:
    """Return a header without its sizes."""
    form = bytearray(header)
    for first, last in _SIZES:
        form[first:last] = bytes(len(form[first:last]))
    return bytes(form)
