"""Process of the recogniser Whisper, with audio on stdin and words on stdout.

    python -m offhook.testing.simulator.speech.whisper_worker THREADS

Messages (worker_process.py) carry the number of a turn. TURN has the whole turn as mu-law, and is
answered by RESULT with JSON: `{"text": "Yes, please.", "log_prob": -0.2, "no_speech": 0.01,
"cpu_s": 0.45}`, the last of which are the seconds of processor time that it took.
"""

import contextlib
import json
import sys
import time
from dataclasses import asdict
from typing import BinaryIO, Final

from offhook.testing.simulator.speech.worker_process import READY, answer, requests

TURN: Final = 0
RESULT: Final = 1


def serve(threads: int, source: BinaryIO, sink: BinaryIO) -> None:
    """Recognise one turn after another until stdin ends."""
    from offhook.testing.simulator.speech import whisper_model

    model = whisper_model.WhisperModel(whisper_model.folder(), threads)
    answer(sink, 0, READY)
    for number, _, audio in requests(source):
        began = time.process_time()
        found = asdict(model.transcribe(audio))
        found["cpu_s"] = time.process_time() - began
        answer(sink, number, RESULT, json.dumps(found).encode())


def main() -> None:
    """Run the process."""
    with contextlib.suppress(BrokenPipeError):
        serve(int(sys.argv[1]), sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
