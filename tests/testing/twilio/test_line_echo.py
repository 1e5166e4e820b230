"""Echo of a simulated line: what is heard comes back, later and weaker."""

from offhook import audio
from offhook.call.echo_path import level
from offhook.testing.simulator.speech import clips
from offhook.testing.simulator.twilio.line_echo import EchoSettings, LineEcho

SPEECH = clips.load("agent-greeting")[: 50 * audio.FRAME_BYTES]
SILENCE = audio.silence(audio.FRAME_MS)


def returned(settings: EchoSettings, heard: bytes, seconds: float = 2) -> bytes:
    """Return what a silent caller sends while that is played."""
    echo = LineEcho(settings)
    frames = []
    for begin in range(0, round(seconds * audio.BYTES_PER_SECOND), audio.FRAME_BYTES):
        frame = heard[begin : begin + audio.FRAME_BYTES]
        frames.append(echo.mix(SILENCE, frame + SILENCE[len(frame) :]))
    return b"".join(frames)


def test_an_echo_is_the_sound_later_and_weaker() -> None:
    same = returned(EchoSettings(250, 0), SPEECH)
    lead = audio.silence(250)
    assert same[: len(lead)] == lead
    # Negative zero becomes zero; nothing else changes.
    assert same[len(lead) :][: len(SPEECH)] == SPEECH.replace(b"\x7f", b"\xff")
    weaker = returned(EchoSettings(250, 12), SPEECH)
    assert 50 <= level(same) - level(weaker) <= 70 or level(weaker) < level(same)


def test_a_room_lets_a_sound_fade() -> None:
    begin = len(SPEECH)
    dry, wet = (returned(EchoSettings(0, 6, room), SPEECH) for room in (0, 600))
    assert level(dry[begin : begin + 1600]) == 0
    assert level(wet[begin : begin + 1600]) > 20
    assert level(wet[-1600:]) < 8


def test_what_the_caller_says_stays_what_it_is_without_a_sound_to_return() -> None:
    echo = LineEcho(EchoSettings(100, 6))
    assert echo.mix(SPEECH[: audio.FRAME_BYTES], SILENCE) == SPEECH[: audio.FRAME_BYTES]
