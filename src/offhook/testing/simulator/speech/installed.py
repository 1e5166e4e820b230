"""Check for the packages that recognise and synthesise speech on this machine."""

from ctypes.util import find_library
from importlib.util import find_spec

_NEEDED = ("numpy", "pocketsphinx", "soxr")


def missing() -> str | None:
    """Return the missing packages and the command that installs them; None if none is."""
    absent = [name for name in _NEEDED if find_spec(name) is None]
    if find_spec("espeakng_loader") is None and find_library("espeak-ng") is None:
        absent.append("espeakng-loader")
    if not absent:
        return None
    return f"{', '.join(absent)} not installed. Install it: pip install 'offhook[local]'"
