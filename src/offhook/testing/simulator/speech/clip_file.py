"""Reading of a caller's recording from a WAV file, of any rate if the extra [local] is there."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from offhook import audio
from offhook.errors import UserError
from offhook.recordings import wav

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_SECONDS: Final = 600


def read(path: Path) -> bytes:
    """Return the mu-law audio of a WAV file, with 8000 Hz and one channel.

    Raises UserError E-WAV-01 if it is not a WAV file, E-WAV-03 if it cannot be converted here.
    """
    try:
        return wav.read_clip(path)
    except UserError as problem:
        if problem.code != "E-WAV-03":
            raise
        try:
            import soxr
        except ImportError:
            raise problem from None
        found = wav.parse(path)
        samples = _samples(found)
        if samples is None or not 1000 <= found.rate <= 400_000:
            raise
    line = soxr.resample(samples[: MAX_SECONDS * found.rate], found.rate, audio.BYTES_PER_SECOND)
    return wav.encode((line.clip(-1, 1) * 32767).astype("<i2").tobytes())


def _samples(found: wav.Wav) -> "NDArray[np.float64] | None":
    """Return the samples from -1 to 1, all channels mixed; None for an unsupported format."""
    import numpy as np

    from offhook.testing.simulator.speech import mulaw

    data = found.data
    if found.channels < 1:
        return None
    match found.format, found.bits:
        case wav.PCM, 8:
            flat = np.frombuffer(data, "u1") / 128.0 - 1.0
        case wav.PCM, 16:
            flat = np.frombuffer(data[: len(data) // 2 * 2], "<i2") / 32768.0
        case wav.PCM, 24:
            whole = np.frombuffer(data[: len(data) // 3 * 3], "u1").reshape(-1, 3)
            padded = np.zeros((len(whole), 4), "u1")
            padded[:, 1:] = whole  # the highest byte holds the sign
            flat = padded.view("<i4").ravel() / 2.0**31
        case wav.PCM, 32:
            flat = np.frombuffer(data[: len(data) // 4 * 4], "<i4") / 2.0**31
        case wav.FLOAT, 32:
            flat = np.frombuffer(data[: len(data) // 4 * 4], "<f4").astype("f8")
        case wav.MULAW, 8:
            flat = mulaw.decode(data) / 32768.0
        case _:
            return None
    frames = len(flat) // found.channels
    mixed: NDArray[np.float64] = (
        flat[: frames * found.channels].reshape(frames, found.channels).mean(axis=1)
    )
    return mixed
