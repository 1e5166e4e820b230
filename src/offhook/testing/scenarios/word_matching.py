"""Vocabulary of the called agent, taken from its dialogue before any call."""

from collections.abc import Iterable, Mapping
from typing import Final

from offhook.testing.simulator.dialogue.file import Dialogue
from offhook.testing.simulator.dialogue.matcher import Matcher
from offhook.testing.simulator.dialogue.sampling import FIELD
from offhook.testing.simulator.dialogue.words import words
from offhook.testing.simulator.speech.vocabulary import Vocabulary


class AgentVocabulary:
    """Words that an agent can say, their meanings, and the agent's functions.

    `more` are texts that the agent may say in addition to its dialogue, such as its greeting.
    """

    def __init__(self, dialogue: Dialogue, more: Iterable[str]) -> None:
        self.vocabulary: Final[Vocabulary] = dialogue.spoken_vocabulary(more)
        self.words: Final = frozenset(
            word for phrase in self.vocabulary.phrases for word in words(phrase.text)
        )
        self.functions: Final = frozenset(dialogue.content.functions)
        replies: Mapping[str, list[str]] = {
            name: [FIELD.sub(lambda field: _slot(field[1], dialogue), text) for text in texts]
            for name, texts in dialogue.replies.items()
            if texts
        }
        self._replies: Final = Matcher(replies, dialogue.kinds)
        self._dialogue: Final = dialogue
        self.meanings: Final = replies.keys() | dialogue.content.intents.keys()
        """Names of replies and intents that the agent's words may mean."""

    def meant(self, text: str) -> set[str]:
        """Return the meanings of a text: the names of the nearest reply and of the intent."""
        found = {self._replies.meaning(text).intent, self._dialogue.meaning(text).intent}
        return {name for name in found if name is not None}


def _slot(field: str, dialogue: Dialogue) -> str:
    return f"${field}" if field in dialogue.kinds else ""
