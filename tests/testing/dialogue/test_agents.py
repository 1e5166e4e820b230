"""Agents made ready with what the machine has."""

import msgspec
import pytest
from tests.testing.dialogue.line import settings
from tests.testing.free_speech_extra import need_free_speech

from offhook.errors import UserError
from offhook.testing.simulator.deepgram.script import Script
from offhook.testing.simulator.deepgram.script_policy import ScriptPolicy
from offhook.testing.simulator.deepgram.settings import StandInSettings
from offhook.testing.simulator.dialogue import agents
from offhook.testing.simulator.dialogue.completions import Model
from offhook.testing.simulator.dialogue.dialogue_policy import DialogueFilePolicy
from offhook.testing.simulator.dialogue.file import front_desk
from offhook.testing.simulator.dialogue.model_policy import ModelPolicy
from offhook.testing.simulator.speech import installed
from offhook.testing.simulator.speech.free_speech import FreeSpeechToText
from offhook.testing.simulator.speech.speech_to_text import SphinxSpeechToText
from offhook.text.extras import install_command

SETTINGS = StandInSettings(msgspec.json.encode(settings()))
MISSING = f"pocketsphinx not installed. Install it: {install_command('local')}"


async def test_a_script_needs_nothing() -> None:
    async with agents.ready(Script(silence_ms=300)) as ready:
        assert isinstance(ready.agent.policy(SETTINGS), ScriptPolicy)
        assert ready.agent.conduct.silence_ms == 300
        assert ready.dialogue is None


@pytest.mark.skipif(
    installed.missing() is not None, reason="no local speech_to_text and voice here"
)
async def test_without_a_file_it_is_the_front_desk_that_understands() -> None:
    async with agents.ready() as ready:
        assert isinstance(ready.agent.policy(SETTINGS), DialogueFilePolicy)
        assert ready.dialogue is not None
        assert "book" in ready.dialogue.content.intents
        assert "understands" in ready.words


async def test_a_model_does_the_talking() -> None:
    async with agents.ready(Script(), Model("http://127.0.0.1:1/", "small")) as ready:
        assert isinstance(ready.agent.policy(SETTINGS), ModelPolicy)
        assert "small" in ready.words


async def test_a_model_hears_free_speech_and_says_what_it_lacks_for_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    need_free_speech()
    model = Model("http://127.0.0.1:1/", "small")
    async with agents.ready(None, model) as ready:
        assert isinstance(ready.agent.policy(SETTINGS), ModelPolicy)
        assert isinstance(ready.agent.speech_to_text(), FreeSpeechToText)
        assert ready.words == "The model small does the talking."
    monkeypatch.setattr(installed, "missing_free_speech", lambda: "ctranslate2 not installed")
    async with agents.ready(None, model) as ready:
        assert isinstance(ready.agent.speech_to_text(), SphinxSpeechToText)
        assert "ctranslate2 not installed" in ready.words


async def test_where_the_extra_is_missing_a_script_serves_and_a_dialogue_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(installed, "missing", lambda: MISSING)
    async with agents.ready() as ready:
        assert isinstance(ready.agent.policy(SETTINGS), ScriptPolicy)
        assert "Install it: " in ready.words
    with pytest.raises(UserError, match="E-STANDIN-02") as problem:
        async with agents.ready(front_desk()):
            pass
    assert MISSING in problem.value.what
