"""Whether two recordings say the same, on clips, as a line and another run could change them."""

from itertools import combinations

import pytest

from offhook.testing.replay.sound_distance import ALIKE_DB, sound_alike, unlikeness
from offhook.testing.simulator.speech import clips

CLIPS = {name: clips.load(name) for name in clips.names("agent-")}


@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.parametrize("shift", [0, 13, 50, 61, 200])
def test_a_clip_sounds_like_itself_wherever_the_frames_begin(name: str, shift: int) -> None:
    clip = CLIPS[name]
    assert sound_alike(clip, b"\xff" * shift + clip)
    assert sound_alike(b"\xff" * shift + clip, clip)


@pytest.mark.parametrize("name", CLIPS)
def test_it_sounds_like_itself_when_it_was_cut_or_is_a_little_quieter(name: str) -> None:
    clip = CLIPS[name]
    assert sound_alike(clip, clip[: len(clip) * 2 // 3])
    assert sound_alike(b"\xff" * 37 + clip[: len(clip) * 2 // 3], clip)
    # Toward silence by half a step of mu-law or so: what an attenuator on the way would do.
    quieter = bytes(byte + 2 if byte & 0x7F < 0x70 else byte for byte in clip)
    assert quieter != clip
    assert sound_alike(clip, quieter)


def test_no_clip_sounds_like_another() -> None:
    pairs = list(combinations(CLIPS.values(), 2))
    assert len(pairs) > 100
    nearest = min(unlikeness(one, other) for one, other in pairs)
    assert nearest > 1.3 * ALIKE_DB


def test_silence_and_speech() -> None:
    silence, speech = b"\xff" * 8000, CLIPS["agent-greeting"]
    assert sound_alike(silence, b"\x7f" * 8000)
    assert sound_alike(b"", speech)
    assert not sound_alike(silence, speech)
    assert not sound_alike(speech, silence)
