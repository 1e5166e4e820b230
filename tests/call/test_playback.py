"""What the caller really heard: of what was sent, what Twilio's marks and the clock prove."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offhook.audio import BYTES_PER_SECOND, FRAME_BYTES, SILENCE
from offhook.call.commands import Piece
from offhook.call.playback import MARK_EVERY, Playback
from offhook.events.types import AgentSaid

SIZES = st.integers(1, 5000) | st.sampled_from([1, 159, 160, 161, 320, 1600, 1760])


def chunk(size: int, start: int = 0) -> bytes:
    """Audio of which every byte can be told from its neighbours."""
    return bytes((start + at) % 251 for at in range(size))


def joined(pieces: list[Piece]) -> bytes:
    return b"".join(audio for audio, _ in pieces)


def names(pieces: list[Piece]) -> list[str]:
    return [name for _, name in pieces if name is not None]


class TwilioSide:
    """Twilio's side: plays what it is sent at 8 bytes a millisecond, and echoes the marks."""

    def __init__(self) -> None:
        self.sent = 0
        self.heard = 0.0
        self.now = 0.0
        self.marks: list[tuple[int, str]] = []

    def pass_to(self, now: float) -> None:
        self.heard = min(self.sent, self.heard + (now - self.now) * BYTES_PER_SECOND)
        self.now = now

    def take(self, pieces: list[Piece]) -> None:
        for audio, name in pieces:
            self.sent += len(audio)
            if name is not None:
                self.marks.append((self.sent, name))

    def echoes(self) -> list[str]:
        """The marks that playback has passed, once each."""
        passed = [name for position, name in self.marks if position <= self.heard]
        self.marks = [mark for mark in self.marks if mark[0] > self.heard]
        return passed

    def clear(self) -> list[str]:
        """Everything is thrown away, and all pending marks come back."""
        flushed = [name for _, name in self.marks]
        self.marks.clear()
        self.sent = 0
        self.heard = 0.0
        return flushed


# --- what is sent --------------------------------------------------------------------------------


@given(st.lists(SIZES, min_size=1, max_size=12))
def test_every_byte_is_sent_once_in_whole_frames_but_the_last(sizes: list[int]) -> None:
    playback = Playback()
    audio = chunk(sum(sizes))
    pieces: list[Piece] = []
    at = 0
    for size in sizes:
        sent = playback.play(audio[at : at + size], 0.0)
        assert all(len(piece) % FRAME_BYTES == 0 for piece, _ in sent)
        pieces += sent
        at += size
        assert joined(pieces) == audio[: at - at % FRAME_BYTES]
    rest, _ = playback.finish(0.0)
    assert joined(pieces + rest) == audio


@given(st.lists(SIZES, min_size=1, max_size=12))
def test_marks_stand_after_20_ms_then_every_200_ms_and_after_the_last_byte(
    sizes: list[int],
) -> None:
    playback = Playback()
    pieces = [piece for size in sizes for piece in playback.play(bytes(size), 0.0)]
    pieces += playback.finish(0.0)[0]
    total, at, places = sum(sizes), 0, []
    for audio, name in pieces:
        at += len(audio)
        if name is not None:
            assert name == f"0:{at}"
            places.append(at)
    assert places == sorted({*range(FRAME_BYTES, total + 1, MARK_EVERY), total})


def test_a_second_utterance_has_its_own_first_mark() -> None:
    playback = Playback()
    playback.play(bytes(1000), 0.0)
    playback.finish(0.0)
    assert names(playback.play(bytes(160), 0.0)) == ["0:1160"]
    assert playback.first_mark() == "0:1160"


def test_an_utterance_that_was_confirmed_whole_needs_no_last_mark() -> None:
    playback = Playback()
    playback.play(bytes(160), 0.0)
    assert playback.confirm("0:160", 0.02) == []
    pieces, said = playback.finish(0.1)
    assert pieces == []
    assert said == [AgentSaid("", "", 20, interrupted=False, start_ms=0)]


def test_a_chunk_that_needs_no_cutting_is_not_copied() -> None:
    playback = Playback()
    playback.play(bytes(160), 0.0)
    whole = bytes(1600)
    assert playback.play(whole, 0.0)[0][0] is whole


# --- what was heard ------------------------------------------------------------------------------


def test_between_marks_time_counts_up_to_the_next_mark() -> None:
    playback = Playback()
    playback.play(bytes(3200), 10.0)
    assert playback.heard(10.0) == 0
    assert playback.heard(10.015625) == 125
    assert playback.heard(10.5) == 160  # its mark has not come back
    playback.confirm("0:160", 10.5)
    assert playback.heard(10.5) == 160
    assert playback.heard(10.625) == 1160
    assert playback.heard(99.0) == 1760
    playback.confirm("0:1760", 99.0)
    assert playback.heard(200.0) == 3200  # no mark is pending, and no more was sent


def test_a_later_mark_confirms_the_earlier_ones() -> None:
    playback = Playback()
    playback.play(bytes(3360), 0.0)
    assert playback.confirm("0:3360", 0.5) == []
    assert playback.heard(0.5) == 3360
    assert not playback.unconfirmed
    assert playback.confirm("0:160", 0.6) is None
    assert playback.heard(0.6) == 3360


@pytest.mark.parametrize(
    "name",
    ["", ":", "0", "0:", ":160", "0:x", "0:-160", "0:161", "1:160", "00:160", "0:" + "9" * 99],
)
def test_a_mark_that_is_none_of_this_epochs_confirms_nothing(name: str) -> None:
    playback = Playback()
    playback.play(bytes(320), 0.0)
    assert playback.confirm(name, 0.0) is None
    assert playback.heard(0.0) == 0


def test_marks_of_an_old_epoch_confirm_nothing() -> None:
    playback = Playback()
    old = names(playback.play(bytes(3200), 0.0))
    playback.cut(0.1)
    assert playback.heard(0.1) == 0
    new = names(playback.play(bytes(3200), 0.1))
    assert not set(old) & set(new)
    for name in old:
        assert playback.confirm(name, 0.1) is None
    assert playback.heard(0.1) == 0


def test_the_end_of_playback_is_foretold_and_corrected_by_marks() -> None:
    playback = Playback()
    assert playback.ends_at == 0.0
    playback.play(bytes(8000), 10.0)
    playback.play(bytes(8000), 10.5)
    assert playback.ends_at == pytest.approx(12.0)
    playback.confirm("0:160", 10.25)
    assert playback.ends_at == pytest.approx(10.25 + (16000 - 160) / 8000)
    playback.play(bytes(800), 20.0)
    assert playback.ends_at == pytest.approx(20.1)
    playback.cut(20.05)
    assert playback.ends_at == 20.05


# --- what was said -------------------------------------------------------------------------------


def test_queued_utterances_are_over_one_by_one_as_they_are_heard() -> None:
    playback = Playback()
    for text in ("One.", "Two.", "Three."):
        playback.say(text)
        playback.play(bytes(320), 0.0)
        assert playback.finish(0.0)[1] == []
    assert playback.confirm("0:160", 0.02) == []
    one, two, three = (
        AgentSaid(text, text, 40, interrupted=False, start_ms=start_ms)
        for text, start_ms in (("One.", 0), ("Two.", 40), ("Three.", 80))
    )
    assert playback.confirm("0:320", 0.04) == [one]
    assert playback.confirm("0:960", 0.12) == [two, three]


def test_a_cut_says_of_each_utterance_what_was_heard_of_it() -> None:
    playback = Playback()
    for text in ("One two.", "Three four.", "Five six."):
        playback.say(text)
        playback.play(bytes(1600), 0.0)
        playback.finish(0.0)
    playback.confirm("0:1600", 0.2)
    playback.confirm("0:1760", 0.22)
    assert playback.cut(0.22 + 0.08) == [
        AgentSaid("Three", "Three four.", 100, interrupted=True, start_ms=200),
        AgentSaid("", "Five six.", 0, interrupted=True),
    ]
    assert playback.cut(0.3) == []


def test_text_without_audio_waits_its_turn_and_was_not_heard() -> None:
    playback = Playback()
    playback.say("Heard.")
    playback.play(bytes(160), 0.0)
    playback.finish(0.0)
    playback.say("Silent.")
    assert playback.finish(0.0) == ([], [])
    assert playback.confirm("0:160", 0.02) == [
        AgentSaid("Heard.", "Heard.", 20, interrupted=False, start_ms=0),
        AgentSaid("", "Silent.", 0, interrupted=False),
    ]


def test_the_estimate_of_an_unfinished_utterance_follows_the_agents_rate() -> None:
    """Half of its audio has not come yet, so hearing all that came is not hearing all of it."""
    slow = Playback()
    for _ in range(10):
        slow.say("one two three four")  # 15 letters in 1.9 s: half as fast as agents usually speak
        slow.play(bytes(15200), 0.0)
        slow.finish(0.0)
    slow.cut(0.0)
    for playback, said in ((Playback(), "five six seven nine"), (slow, "five six")):
        playback.say("five six seven nine ten")
        playback.play(bytes(8000), 20.0)
        position = 0
        for position in (160, 1760, 3360, 4960, 6560):
            playback.confirm(f"{1 if playback is slow else 0}:{position}", 21.0)
        assert playback.cut(30.0) == [
            AgentSaid(said, "five six seven nine ten", 1000, interrupted=True, start_ms=20_000)
        ]


@pytest.mark.parametrize(
    ("before", "after", "heard"),
    [
        ("Just a short little one. The second has more words, and is spoken faster.", "", 5),
        ("Just a short little one.", "The second has more words, and is spoken faster.", 6),
    ],
)
def test_a_text_that_comes_where_its_audio_begins_holds_the_two_together(
    before: str, after: str, heard: int
) -> None:
    """Nothing tells in the first case that no pause is made between the sentences."""
    playback = Playback()
    playback.say(before)
    playback.play(bytes(8000), 0.0)
    if after:
        playback.say(after)
    playback.play(bytes(15200), 0.0)
    playback.finish(0.0)
    playback.confirm("0:8160", 1.02)
    (said,) = playback.cut(1.08)
    assert said.heard_ms == 1080
    assert len(said.text.split()) == heard


def test_finishing_between_utterances_does_nothing() -> None:
    playback = Playback()
    assert playback.finish(0.0) == ([], [])
    playback.play(bytes(100), 0.0)
    playback.finish(0.0)
    assert playback.finish(0.0) == ([], [])


@settings(max_examples=150)
@given(st.data())
def test_no_more_is_claimed_than_an_ear_heard(data: st.DataObject) -> None:
    """A whole conversation against what a caller hears, its echoes late and sometimes lost."""
    playback, twilio = Playback(), TwilioSide()
    now, claimed, told, sent = 0.0, 0, 0, 0
    epoch = b""  # What was sent since the last cut.
    on_the_way: list[tuple[float, str]] = []

    def send(pieces: list[Piece]) -> None:
        nonlocal sent, epoch
        twilio.take(pieces)
        sent += len(joined(pieces))
        epoch += joined(pieces)

    def echo(marks: list[str]) -> None:
        for name in marks:
            if data.draw(st.integers(0, 9)):
                on_the_way.append((now + delay, name))

    delay = data.draw(st.sampled_from([0.0, 0.05, 0.3]))
    for _ in range(data.draw(st.integers(1, 30))):
        now += data.draw(st.sampled_from([0.0, 0.01, 0.05, 0.2, 1.0]))
        twilio.pass_to(now)
        echo(twilio.echoes())
        due = [name for at, name in on_the_way if at <= now]
        on_the_way = [mark for mark in on_the_way if mark[0] > now]
        for name in due:
            said = playback.confirm(name, now)
            told += sum(utterance.heard_ms for utterance in said or [])
        heard = playback.heard(now)
        assert claimed <= heard <= twilio.heard + 1e-3
        assert playback.unheard(now) == epoch[heard:]
        claimed = heard
        match data.draw(st.sampled_from(["play", "play", "play", "say", "finish", "cut"])):
            case "play":
                send(playback.play(chunk(data.draw(SIZES), sent), now))
            case "say":
                playback.say("some words")
            case "finish":
                pieces, said = playback.finish(now)
                send(pieces)
                told += sum(utterance.heard_ms for utterance in said)
            case _:
                told += sum(utterance.heard_ms for utterance in playback.cut(now))
                echo(twilio.clear())
                claimed, epoch = 0, b""
        assert playback.heard(now) >= claimed
    told += sum(utterance.heard_ms for utterance in playback.cut(now))
    assert told * 8 <= sent


def test_of_more_than_a_minute_that_waits_the_last_is_kept() -> None:
    playback = Playback()
    minutes = bytes(at % 251 for at in range(90 * BYTES_PER_SECOND))
    for at in range(0, len(minutes), FRAME_BYTES):
        playback.play(minutes[at : at + FRAME_BYTES], 0.0)
    unheard = playback.unheard(0.0)
    assert len(unheard) == len(minutes)
    kept = unheard.lstrip(SILENCE)
    assert minutes.endswith(kept)
    assert 60 <= len(kept) / BYTES_PER_SECOND < 60.5


@given(st.lists(st.tuples(SIZES, st.booleans()), min_size=1, max_size=10), st.randoms())
def test_marks_in_any_order_prove_the_furthest_of_them(
    chunks: list[tuple[int, bool]], draw: random.Random
) -> None:
    playback, marks = Playback(), []
    for size, last in chunks:
        pieces = playback.play(bytes(size), 0.0)
        if last:
            pieces += playback.finish(0.0)[0]
        marks += names(pieces)
    draw.shuffle(marks)
    positions = [int(name.partition(":")[2]) for name in marks]
    proved = [0]
    for name, position in zip(marks, positions, strict=True):
        confirmed = playback.confirm(name, 0.0) is not None
        assert confirmed == (position > proved[-1])
        proved.append(playback.heard(0.0))
        assert proved[-1] == max(proved[-2], position)
    assert all(before <= after for before, after in pairwise(proved))
