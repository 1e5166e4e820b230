"""When each word of a text is spoken, by eSpeak NG: a list of texts on stdin, times on stdout.

    echo '["Hello. How are you?"]' | python -m bench.word_times

Both are JSON. For each text, for each of its words (as `split` has them): from when to when it is
heard, in seconds. What is silent between a word and the next, such as a pause, belongs to neither.
A process of its own, for the reasons that `offhook.testing.simulator.speech.espeak_worker` has.
"""

import array
import ctypes
import json
import re
import sys
from itertools import pairwise
from typing import Any

from offhook.testing.simulator.speech.espeak_worker import Library
from offhook.testing.simulator.speech.text_to_speech import SPEED, VOICE

WORD = 1
"""espeakEVENT_WORD, of speak_lib.h."""
LOUD = 200
"""Of 32768: what is nowhere louder is a pause."""


class Event(ctypes.Structure):
    """espeak_EVENT, of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


class Timed(Library):
    """eSpeak NG, which also tells where words begin."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[tuple[int, int]] = []
        """The character, from 0, and the sample at which each begins."""

    def _on_samples(self, samples: Any, count: int, events: int) -> int:
        listed = ctypes.cast(events, ctypes.POINTER(Event))
        at = 0
        while listed[at].type:
            if listed[at].type == WORD:
                self.words.append((listed[at].text_position - 1, listed[at].sample))
            at += 1
        return super()._on_samples(samples, count, events)


def times(library: Timed, text: str) -> list[tuple[float, float]]:
    """From when to when each word of the text is heard."""
    library.words.clear()
    spoken = array.array("h")

    def heard(samples: bytes) -> bool:
        spoken.frombytes(samples)
        return True

    library.say(text, VOICE, SPEED, heard)
    words = [(match.start(), match.end()) for match in re.finditer(r"\S+", text)]
    # A number is spoken as several words; "of the" and the like as one, which is shared out.
    groups: list[tuple[int, list[int]]] = []
    for first, end in words:
        begin = next((at for place, at in library.words if first <= place < end), None)
        if begin is not None:
            groups.append((begin, []))
        groups[-1][1].append(end - first)
    found: list[tuple[float, float]] = []
    for (begin, lengths), (end, _) in pairwise([*groups, (len(spoken), [])]):
        while end > begin + 1 and abs(spoken[end - 1]) < LOUD:
            end -= 1
        shares = [sum(lengths[:number]) / sum(lengths) for number in range(len(lengths) + 1)]
        edges = [(begin + share * (end - begin)) / library.rate for share in shares]
        found += pairwise(edges)
    return found


def main() -> None:
    library = Timed()
    json.dump([times(library, text) for text in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main()
