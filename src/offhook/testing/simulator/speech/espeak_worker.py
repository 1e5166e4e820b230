"""Process of the synthesiser eSpeak NG. Its messages: synthesis_worker.py.

    python -m offhook.testing.simulator.speech.espeak_worker

eSpeak NG runs in a process of its own because it is under the GPL and Offhook is not
(docs/licences.md). The library keeps its state in globals, so that only one thread may use it.
"""

import ctypes
import ctypes.util
import os
from collections.abc import Callable
from typing import Any, Final

from offhook.testing.simulator.speech import synthesis_worker
from offhook.testing.simulator.speech.synthesis_worker import NoLibraryError

GAIN: Final = 2.0

_BUFFER_MS: Final = 60
_SYNCHRONOUS: Final = 2
_RATE: Final = 1
_CHARACTERS: Final = 1
_UTF8: Final = 1


class Library:
    """Library of eSpeak NG, through ctypes: that of the extra [local], or the system's."""

    def __init__(self) -> None:
        path, data = _find()
        try:
            self._library = ctypes.CDLL(path)
        except OSError as error:
            raise NoLibraryError(str(error)) from None
        self._library.espeak_Synth.argtypes = [
            ctypes.c_char_p,
            ctypes.c_size_t,
            ctypes.c_uint,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.c_uint,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ]
        rate: int = self._library.espeak_Initialize(_SYNCHRONOUS, _BUFFER_MS, data, 0)
        if rate <= 0:
            raise NoLibraryError("it does not start")
        self.rate: Final = rate
        self.gain: Final = GAIN
        self._heard: Callable[[bytes], bool] = lambda samples: False
        # Kept in an attribute, because the library keeps no reference to the callback.
        self._callback = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_int16), ctypes.c_int, ctypes.c_void_p
        )(self._on_samples)
        self._library.espeak_SetSynthCallback(self._callback)

    def say(self, text: str, voice: str, speed: float, heard: Callable[[bytes], bool]) -> None:
        """Synthesise a text. `heard` gets 16-bit samples, and returns False to stop.

        An unknown `voice` leaves the previous voice in use.
        """
        self._heard = heard
        self._library.espeak_SetVoiceByName(voice.encode())
        self._library.espeak_SetParameter(_RATE, round(speed), 0)
        spoken = text.replace("\0", " ").encode()
        self._library.espeak_Synth(spoken, len(spoken) + 1, 0, _CHARACTERS, 0, _UTF8, None, None)

    def _on_samples(self, samples: Any, count: int, events: int) -> int:
        if not samples or count <= 0:
            return 0
        return 0 if self._heard(ctypes.string_at(samples, 2 * count)) else 1


def _find() -> tuple[str, bytes | None]:
    """Return the path of the library, and of its data folder if that is not the default."""
    try:
        import espeakng_loader
    except ImportError:
        path = ctypes.util.find_library("espeak-ng")
        if path is None:
            raise NoLibraryError("there is no libespeak-ng") from None
        return path, None
    data = os.path.dirname(espeakng_loader.get_data_path())  # noqa: PTH120 - a string of the loader
    return espeakng_loader.get_library_path(), data.encode()


if __name__ == "__main__":
    synthesis_worker.run(Library)
