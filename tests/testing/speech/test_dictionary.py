"""The recogniser's dictionary."""

import sys
from pathlib import Path

import pytest

from offhook import yamlfile
from offhook.errors import UserError
from offhook.testing.simulator.dialogue.file import Dialogue, front_desk
from offhook.testing.simulator.speech import dictionary
from offhook.testing.simulator.speech.vocabulary import Phrase, Vocabulary
from offhook.yamlfile import InvalidFileError, Place

HERE = Place(Path("dialogue.yaml"), 7, 5)
THERE = Place(Path("dialogue.yaml"), 9, 5)


def test_it_has_the_words_that_are_needed_in_every_way_to_say_them_and_no_others() -> None:
    found = list(dictionary.lines(Vocabulary((Phrase("The OPEN the"), Phrase("")))))
    assert found == ["the DH AH", "the(2) DH IY", "open OW P AH N"]


def test_unknown_words_are_told_once_each_by_their_place_with_words_that_are_near() -> None:
    vocabulary = Vocabulary(
        (
            Phrase("a talbe for two", HERE),
            Phrase("a talbe for three", THERE),
            Phrase("qqxxjjvvzz", THERE),
        )
    )
    with pytest.raises(InvalidFileError) as caught:
        list(dictionary.lines(vocabulary))
    assert caught.value.code == "E-EAR-01"
    first, second = caught.value.findings
    assert str(first) == 'dialogue.yaml:7:5 The recogniser does not know the word "talbe".'
    assert "such as talbe: HH AH L OW; or use one of: " in first.fix
    assert "tal" in first.fix.rpartition(": ")[2]
    assert second.place == THERE
    assert second.fix.endswith("such as qqxxjjvvzz: HH AH L OW.")


def test_a_dialogue_names_file_line_and_column() -> None:
    text = (
        "intents:\n  hello:\n    - hello\n    - hello frobnicate\n"
        "replies:\n  hi: Hello.\nanywhere:\n  hello: hi\n"
    )
    dialogue = Dialogue(yamlfile.parse(text, Path("bad.yaml")))
    (finding,) = dictionary.check(dialogue.vocabulary())
    assert str(finding) == 'bad.yaml:4:7 The recogniser does not know the word "frobnicate".'


def test_ones_own_pronunciation_goes_before_the_dictionarys_whatever_its_case() -> None:
    own = {"Offhook": "AO F HH UH K", "open": "AO P"}
    vocabulary = Vocabulary((Phrase("offhook open"),), own)
    assert list(dictionary.lines(vocabulary)) == ["offhook AO F HH UH K", "open AO P"]


@pytest.mark.parametrize(
    ("spoken", "what"),
    [
        ("AO FF", "has FF, which is no phone of CMU's."),
        ("ao f", "has ao, which is no phone of CMU's."),
        (" ", "has no phones."),
    ],
)
def test_a_pronunciation_in_other_phones_is_refused(spoken: str, what: str) -> None:
    (finding,) = dictionary.check(Vocabulary((Phrase("yes"),), {"offhook": spoken}))
    assert finding.text == f'The pronunciation of "offhook" {what}'
    assert "AA AE AH" in finding.fix


def test_the_front_desk_is_all_known() -> None:
    desk = front_desk()
    assert dictionary.check(desk.vocabulary()) == dictionary.check(desk.spoken_vocabulary()) == []
    assert len(list(dictionary.lines(desk.vocabulary()))) > 100


def test_without_a_recogniser_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(UserError, match="Install it: ") as caught:
        dictionary.model()
    assert caught.value.code == "E-EAR-03"
