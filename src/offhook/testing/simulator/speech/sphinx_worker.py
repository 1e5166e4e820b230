"""Process of the recogniser PocketSphinx, with audio on stdin and words on stdout.

    python -m offhook.testing.simulator.speech.sphinx_worker FOLDER

Decoding runs in a process of its own because it would block the event loop. FOLDER has a dictionary
and a language model, which speech_to_text.py writes. Messages (worker_process.py) carry the number
of a session: AUDIO has mu-law, END ends a turn, FORGET drops it, CLOSE drops the session. Each END
is answered by JSON: `{"text": "yes please", "prob": 0.46, "heard_s": 0.2, "ended_s": 0.05}`; the
last two are the seconds of processor time that the audio of the turn took, and its end.
"""

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO, Final

from offhook.testing.simulator.speech.worker_process import READY, answer, requests

AUDIO: Final = 0
END: Final = 1
FORGET: Final = 2
CLOSE: Final = 3

TELEPHONE_MEAN: Final = "51.5,4.9,-5.8,18.6,-3.5,-3.6,8.4,-13.3,2.6,-2.8,-0.1,7.7,-2.2"
"""Mean spectrum of speech on a telephone line, from bench/telephone_mean.py: the initial value for
a caller whose line is not known yet. With the decoder's own initial value, first sentences are
recognised wrongly."""

TURNS_MAX: Final = 16
"""Turns that are decoded at once, more than a core can decode in time (docs/local-voice.md)."""


class SphinxTurn:
    """Stretch of speech that is decoded as it arrives."""

    def __init__(self, decoder: Any) -> None:
        from offhook.testing.simulator.speech.folding import Folding

        self.decoder = decoder
        self.heard_s = 0.0
        """Seconds of processor time that the audio took."""
        self._folding = Folding()
        decoder.start_utt()

    def hear(self, mulaw: bytes) -> None:
        """Decode a piece of the turn."""
        if mulaw:  # the decoder raises an error for empty audio
            began = time.process_time()
            self.decoder.process_raw(self._folding.feed(mulaw))
            self.heard_s += time.process_time() - began

    def end(self) -> tuple[str, float]:
        """Return the words and their probability, 0 to 1."""
        self.decoder.end_utt()
        found = self.decoder.hyp()
        return (found.hypstr, found.prob) if found is not None else ("", 0.0)


class SphinxWorker:
    """Worker that decodes the turns of all sessions, each with a decoder of its own."""

    def __init__(self, folder: Path, source: BinaryIO, sink: BinaryIO) -> None:
        self._folder = folder
        self._source = source
        self._sink = sink
        self._free: list[Any] = [self._decoder()]
        self._count = 1
        self._turns: dict[int, SphinxTurn | None] = {}
        """Current turn of each session; None for one that is not decoded, as there are too many."""
        self._lines: dict[int, str] = {}
        """Mean spectrum of each caller's line, in the decoder's format, by session."""

    def run(self) -> None:
        """Decode the turns of all sessions until stdin ends."""
        answer(self._sink, 0, READY)
        for session, kind, audio in requests(self._source):
            if kind == AUDIO:
                self._hear(session, audio)
                continue
            turn = self._turns.get(session)
            began = time.process_time()
            text, prob = self._finish(session)
            if kind == END:
                found = {
                    "text": text,
                    "prob": prob,
                    "heard_s": 0.0 if turn is None else turn.heard_s,
                    "ended_s": time.process_time() - began,
                }
                answer(self._sink, session, END, json.dumps(found).encode())
            elif kind == CLOSE:
                self._lines.pop(session, None)

    def _hear(self, session: int, audio: bytes) -> None:
        if session not in self._turns:
            decoder = self._take()
            if decoder is not None:
                decoder.set_cmn(self._lines.get(session, TELEPHONE_MEAN))
            self._turns[session] = SphinxTurn(decoder) if decoder is not None else None
        turn = self._turns[session]
        if turn is not None:
            turn.hear(audio)

    def _finish(self, session: int) -> tuple[str, float]:
        turn = self._turns.pop(session, None)
        if turn is None:
            return "", 0.0
        found = turn.end()
        self._lines[session] = turn.decoder.get_cmn(False)
        self._free.append(turn.decoder)
        return found

    def _take(self) -> Any | None:
        if not self._free and self._count < TURNS_MAX:
            self._count += 1
            return self._decoder()
        return self._free.pop() if self._free else None

    def _decoder(self) -> Any:
        import pocketsphinx

        model = Path(pocketsphinx.get_model_path()) / "en-us"
        return pocketsphinx.Decoder(
            hmm=str(model / "en-us"),
            dict=str(self._folder / "words.dict"),
            lm=str(self._folder / "sentences.arpa"),
            loglevel="FATAL",
        )


def main() -> None:
    """Run the process."""
    with contextlib.suppress(BrokenPipeError):
        SphinxWorker(Path(sys.argv[1]), sys.stdin.buffer, sys.stdout.buffer).run()


if __name__ == "__main__":
    main()
