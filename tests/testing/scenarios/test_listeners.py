"""Who makes words of what is heard, by what is at hand."""

import asyncio
from pathlib import Path
from unittest.mock import ANY

import pytest
from tests.testing.free_speech_extra import need_free_speech
from tests.whole_server import configured

from offhook.capture.tap import NewCall
from offhook.testing.scenarios import listeners as listening
from offhook.testing.scenarios import wire_hearing
from offhook.testing.scenarios.deepgram_hearing import DeepgramHearing
from offhook.testing.scenarios.files import Dialogues
from offhook.testing.scenarios.hearing import NoWords, Stretch
from offhook.testing.scenarios.own_server import OwnServer
from offhook.testing.scenarios.wire_hearing import WireHearing
from offhook.testing.scenarios.word_errors import word_errors
from offhook.testing.scenarios.word_matching import AgentVocabulary
from offhook.testing.simulator.dialogue import file as dialogue_file
from offhook.testing.simulator.dialogue.words import words
from offhook.testing.simulator.speech import clips, installed
from offhook.testing.virtual_clock import VirtualClock

CONFIG = configured("ws://127.0.0.1:1")
DESK = Path("examples/front-desk/dialogue.yaml")


@pytest.fixture(scope="module")
def known() -> AgentVocabulary:
    return AgentVocabulary(dialogue_file.read(DESK), [])


async def test_our_own_server_tells_it_from_its_wires(known: AgentVocabulary) -> None:
    own = OwnServer(CONFIG, 1, "token", VirtualClock())
    async with listening.listeners(own, "a-key") as listeners:
        sight, listen = await listeners.choose(known)
        made = listen("CA1")
    assert (sight.words, sight.inside) == (True, True)
    assert isinstance(made, WireHearing)
    assert own.tap(NewCall("CA2", "desk", by="webhook")) is None
    assert own.tap(NewCall("CA1", "desk", by="webhook")) is made
    assert own.tap(NewCall("CA1", "desk", by="webhook")) is None


async def test_a_call_of_which_the_server_never_hears_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wire_hearing, "SETTLE_S", 0.01)
    made = listening.inside(OwnServer(CONFIG, 1, "token", VirtualClock()), "CA1")
    async with asyncio.timeout(240):
        await made.finish()


async def test_deepgram_transcribes_what_no_dialogue_tells() -> None:
    async with listening.listeners(None, "a-key") as listeners:
        sight, listen = await listeners.choose(None)
        assert isinstance(listen("CA1"), DeepgramHearing)
    assert (sight.words, sight.inside) == (True, False)
    assert "Deepgram" in sight.how


async def test_deepgram_transcribes_where_there_is_no_recogniser(
    known: AgentVocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installed, "missing", lambda: "pocketsphinx not installed")
    async with listening.listeners(None, "a-key") as listeners:
        sight, _ = await listeners.choose(known)
    assert "Deepgram" in sight.how


async def test_else_nobody_does_and_it_is_said_why(
    known: AgentVocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installed, "missing", lambda: "pocketsphinx not installed")
    monkeypatch.setattr(installed, "missing_free_speech", lambda: "ctranslate2 not installed")
    async with listening.listeners(None, None) as listeners:
        for of, why in ((None, "there is no dialogue"), (known, "pocketsphinx not installed")):
            sight, listen = await listeners.choose(of)
            assert (sight.words, sight.inside) == (False, False)
            assert why in sight.how
            assert "DEEPGRAM_API_KEY" in sight.how
            assert "ctranslate2 not installed" in sight.how
            made = listen("CA1")
            assert isinstance(made, NoWords)
            await made.finish()


async def test_any_agents_words_are_recognised_without_dialogue_and_key(
    known: AgentVocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_free_speech()
    said = "agent-hours-week"
    async with listening.listeners(None, None) as listeners:
        sight, listen = await listeners.choose(None)
        stretches = [Stretch(0, 1, True, audio=bytearray(clips.load(said))) for _ in range(2)]
        for one in stretches:
            made = listen("CA1")
            made.over(one)
            await made.finish()
            text = made.words(one)
            assert text is not None
            assert word_errors(words(clips.text(said)), words(text)) <= 3
        monkeypatch.setattr(installed, "knows_vocabularies", lambda: False)
        assert await listeners.choose(known) == (sight, ANY), "as with Python 3.14"
    assert (sight.words, sight.inside) == (True, False)
    assert "free speech" in sight.how


def test_what_a_dialogue_tells(known: AgentVocabulary) -> None:
    assert {"book_table", "order_status"} == known.functions
    assert {"hours", "goodbye", "book"} <= known.meanings
    assert "xylophone" not in known.words
    assert "goodbye" in known.meant("thank you for calling goodbye")
    assert "book" in known.meant("can I book a table")
    assert known.meant("xylophone") == set()


def test_texts_beside_the_dialogue_can_be_heard_too() -> None:
    dialogue = dialogue_file.read(DESK)
    from offhook.testing.scenarios.scenario import Loaded, asking

    known = Dialogues(dialogue, ["Good evening at the xylophone!"]).known(Loaded(asking("x")))
    assert known is not None
    assert {"xylophone", "hear", "still"} <= known.words
