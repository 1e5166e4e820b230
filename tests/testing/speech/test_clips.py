"""The recorded speech."""

import pytest

from offhook import audio
from offhook.testing.simulator.deepgram import script
from offhook.testing.simulator.speech import clips

FULL_SCALE = 32768


@pytest.mark.parametrize("name", clips.names())
def test_a_clip_is_speech_of_a_sensible_length_and_level(name: str) -> None:
    sound = clips.load(name)
    words = len(clips.text(name).split())
    assert 0.15 < len(sound) / audio.BYTES_PER_SECOND / words < 0.6
    # -3 dBFS, to the width of mu-law's steps there; a WAV header would be far off.
    loudest = max(abs(linear(sample)) for sample in sound)
    assert 0.66 * FULL_SCALE < loudest < 0.74 * FULL_SCALE
    assert all(abs(linear(sample)) < 0.05 * FULL_SCALE for sample in sound[:80])


def linear(sample: int) -> int:
    """G.711, written down a second time."""
    sample = 255 - sample
    magnitude = ((sample % 16) * 2 + 33 << sample // 16 % 8 + 2) - 132
    return -magnitude if sample > 127 else magnitude


def test_a_clip_is_found_by_what_it_says() -> None:
    assert clips.find("what are your opening hours") == "caller-opening-hours"
    assert clips.find("  Hello, how can I help you today?! ") == "agent-greeting"
    assert clips.find("Hello?") == "caller-hello"
    assert clips.find("Nobody recorded this.") is None
    assert clips.find("") is None
    for name in clips.names():
        assert clips.find(clips.text(name)) == name


def test_a_callers_clip_has_a_name_or_says_something() -> None:
    assert clips.of_caller("caller-stop") == clips.of_caller("Stop!") == "caller-stop"
    assert clips.of_caller("agent-greeting") is None
    assert clips.of_caller("Nobody recorded this.") is None


def test_names_begin_with_who_speaks() -> None:
    assert sorted(clips.names("caller-") + clips.names("agent-")) == sorted(clips.names())
    assert "caller-stop" in clips.names("caller-")


def test_a_clip_that_is_not_there_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        clips.load("agent-../speech")
    with pytest.raises(KeyError):
        clips.text("nobody")


def test_the_front_desk_speaks_in_clips_and_long_enough_to_be_interrupted() -> None:
    desk = script.front_desk()
    for turn in [*desk.turns, desk.interrupted, desk.fallback]:
        for sentence in turn.say:
            assert clips.find(sentence), sentence
    hours = [clips.load(clips.find(sentence) or "") for sentence in desk.turns[0].say]
    assert sum(map(len, hours)) > 8 * audio.BYTES_PER_SECOND


def test_the_whole_set_is_small() -> None:
    assert sum(len(clips.load(name)) for name in clips.names()) < 800_000
