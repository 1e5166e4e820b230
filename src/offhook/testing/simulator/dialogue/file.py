"""A dialogue as a file. README.md beside this has one to begin with, and tells of every key.

`read(path)` gives a Dialogue, from which the rest follows: `meaning("a table for two")` for whoever
listens, `vocabulary()` for a recogniser, `spoken_vocabulary()` for one that listens to the agent.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import pydantic
from pydantic import BeforeValidator, Field

from offhook import yamlfile
from offhook.testing.simulator.dialogue import sampling, slots
from offhook.testing.simulator.dialogue.matcher import Matcher, Meaning
from offhook.testing.simulator.dialogue.words import words
from offhook.testing.simulator.speech.vocabulary import Vocabulary

START: Final = "start"
"""The state in which a conversation begins, and to which it comes back. It keeps no values."""

BUILTIN_REPLIES: Final[Mapping[str, tuple[str, ...]]] = {
    "again": ("Sorry, I did not catch that.", "Sorry, could you say that again?"),
    "failed": ("I am sorry, that did not work just now.",),
    "not_offered": ("I am sorry, I cannot do that here. I was given no function {function}.",),
    "one_moment": ("One moment, please.",),
    "what_to_change": ("What would you like to change?",),
}
"""Replies that every dialogue has, unless it has its own of that name."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _slot(value: Any) -> Any:
    """Any of the three ways to write an own slot, refused in words when it is none."""
    if isinstance(value, str) and value in slots.builtin():
        return value
    ways = value.values() if isinstance(value, dict) else []
    if isinstance(value, dict) and value and all(isinstance(way, list) for way in ways):
        said = [text for way in ways for text in way]
    else:
        said = value if isinstance(value, list) and value else [None]
    names = list(value) if isinstance(value, dict) else []
    if not all(isinstance(text, str) for text in (*said, *names)):
        raise yamlfile.refuse(
            "A slot is a list of words, a mapping of names to lists of words, or a kind of slot.",
            f"The kinds are {', '.join(slots.builtin())}.",
        )
    return value


Texts: TypeAlias = Annotated[
    list[str], BeforeValidator(_listed, json_schema_input_type=str | list[str])
]
"""What is said, text by text. A text that is one word of small letters names a reply."""

Names: TypeAlias = Annotated[
    list[str], BeforeValidator(_listed, json_schema_input_type=str | list[str])
]

OwnSlot: TypeAlias = Annotated[
    Any, BeforeValidator(_slot, json_schema_input_type=str | list[str] | dict[str, list[str]])
]


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class DialogueCase(_Part):
    """One way to answer. Of several, the first whose `when` fits and whose words can be filled."""

    when: dict[str, str | int | bool | list[str | int | bool] | None] = {}
    """Slots, or fields of a function's answer, and the value or values that they must have."""
    say: Texts = []
    to: str | None = None
    """The state to go to; without it, the conversation stays where it is."""
    forget: Names = []
    """Slots whose values are dropped, so that they are asked for again."""
    repeat: bool = False
    """Say once more what was said last."""
    end: bool = False
    """The agent closes the session once this has been heard."""


def _cases(value: Any) -> Any:
    """Put a text or a case into a list of one."""
    return [{"say": one} if isinstance(one, str) else one for one in _listed(value)]


Cases: TypeAlias = Annotated[
    list[DialogueCase],
    BeforeValidator(_cases, json_schema_input_type=str | DialogueCase | list[str | DialogueCase]),
]


class DialogueAction(DialogueCase):
    """A case that may call functions: `then` answers when all of them have been answered."""

    call: Names = []
    then: Cases = []


Actions: TypeAlias = Annotated[
    list[DialogueAction],
    BeforeValidator(
        _cases, json_schema_input_type=str | DialogueAction | list[str | DialogueAction]
    ),
]


class DialogueFunction(_Part):
    """A function that the Settings offer, as this dialogue calls it."""

    arguments: dict[str, Any] | None = None
    """By name; "$day" stands for the value of that slot. Without it, the slots that the state
    needs."""
    speculative: bool = False
    """Call it before the caller's turn is certain to be over; it is cancelled if the caller goes
    on. Not where Settings say `defer_until_eot`."""
    example: dict[str, Any] = {}
    """An answer to it. Tells which fields there are and how they sound; several values of one are
    a list. It is also the answer where Settings give the function an `endpoint`: the stand-in
    calls none."""


class DialogueState(_Part):
    """A step of the conversation: asks for what it needs, confirms, calls, goes on."""

    say: Texts = []
    """Said on coming here."""
    needs: dict[str, Texts] = {}
    """Slots, and how each is asked for while it has no value."""
    confirm: Texts = []
    """Asked when all of them have one; needs the intents `yes` and `no`."""
    call: Names = []
    """Functions called then."""
    then: Cases = []
    """What is answered to their results. Without a `to` it goes on in `start`."""
    on: dict[str, Actions] = {}
    """What intents do here; others do as under `anywhere`."""


class DialogueContent(_Part):
    """The whole file."""

    intents: dict[str, Annotated[list[str], Field(min_length=1)]]
    """By name, the phrases with which callers mean it. `$day`, `$time`, `$people`, `$digits` and
    own slots stand for values."""
    slots: dict[str, OwnSlot] = {}
    """Own slots: words, names with the words that mean them, or another name for a kind."""
    day_begins: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = "08:00"
    """A time without morning or evening is the first from here on: from 12:00, seven is 19:00."""
    replies: dict[str, Texts] = {}
    """Texts by name; of several, the first is said first. `{day}` is filled in."""
    functions: dict[str, DialogueFunction] = {}
    states: dict[str, DialogueState] = {}
    anywhere: dict[str, Actions] = {}
    """What intents do in every state that says nothing else."""
    misunderstood: Actions = [DialogueAction(say=["again"])] * 3
    """Answers to the first, second ... turn in a row that meant nothing; after those, silence."""
    off_topic: Texts = []
    """Said instead of the first of them when the words were clear and meant nothing here."""
    silent: Actions = []
    """Likewise, for callers who say nothing for `silent_after` seconds."""
    silent_after: Annotated[float, Field(ge=1, le=600)] = 10.0
    caller: list[str] = []
    """What a simulated caller can say."""
    pronunciations: dict[str, str] = {}
    """Of words that the recogniser does not know, in the phones of CMU's dictionary."""


class Dialogue:
    """A file whose every name leads somewhere. Made by `read`; the same for all sessions."""

    def __init__(self, document: yamlfile.Document) -> None:
        """Read a dialogue. Raises InvalidFileError with every mistake: E-YAML-03, E-DIALOGUE-01."""
        # The checks look at a Dialogue, so they are not imported above.
        from offhook.testing.simulator.dialogue import checks

        self.content: Final = yamlfile.validate(DialogueContent, document)
        self.kinds: Final[dict[str, slots.SlotKind]] = slots.builtin(self.content.day_begins)
        for name, own in self.content.slots.items():
            if isinstance(own, str):
                self.kinds[name] = self.kinds[own]
            else:
                ways = own if isinstance(own, dict) else {word: [] for word in own}
                self.kinds[name] = slots.ChoiceSlot(ways)
        self.replies: Final[dict[str, list[str]]] = {
            **{name: list(texts) for name, texts in BUILTIN_REPLIES.items()},
            **self.content.replies,
        }
        self.states: Final = {START: DialogueState(), **self.content.states}
        self.matcher: Final = Matcher(self.content.intents, self._kinds_in_phrases())
        self._document = document
        checks.check(self, document)

    @property
    def caller_lines(self) -> list[str]:
        """What a simulated caller can say."""
        return self.content.caller

    def meaning(self, text: str, expected: Collection[str] = ()) -> Meaning:
        """Return what a caller who says `text` means; see Matcher."""
        return self.matcher.meaning(text, expected)

    def vocabulary(self) -> Vocabulary:
        """All that callers may say: every phrase, with values, and every line of `caller`."""
        phrases = [
            phrase
            for intent, texts in self.content.intents.items()
            for index, text in enumerate(texts)
            for phrase in sampling.caller_phrases(
                text, self.kinds, self._document.place(("intents", intent, index))
            )
        ]
        phrases += [
            sampling.whole(line, self._document.place(("caller", index)))
            for index, line in enumerate(self.content.caller)
        ]
        return Vocabulary(tuple(phrases), self.content.pronunciations)

    def spoken_vocabulary(self, more: Iterable[str] = ()) -> Vocabulary:
        """All that the agent may say, and `more`: its greeting, and what is injected."""
        examples: dict[str, list[Any]] = {}
        for function in self.content.functions.values():
            for name, value in function.example.items():
                values = value if isinstance(value, list) else [value]
                examples.setdefault(name, []).extend(values)
        phrases = [
            phrase
            for loc, text in self.texts()
            for phrase in sampling.agent_phrases(
                text, self.kinds, examples, self.content.functions, self._document.place(loc)
            )
        ]
        phrases += [
            phrase
            for text in more
            for phrase in sampling.agent_phrases(text, self.kinds, examples, (), None)
        ]
        return Vocabulary(tuple(phrases), self.content.pronunciations)

    def variants(self, text: str) -> tuple[str | None, list[str]]:
        """Return the reply that a text under `say` names, and its variants; or the text alone."""
        if _NAME.fullmatch(text):
            return text, self.replies.get(text, [])
        return None, [text]

    def texts(self) -> Iterable[tuple[yamlfile.Loc, str]]:
        """Every text that may be spoken, and where it is written."""
        for name, variants in self.replies.items():
            for index, text in enumerate(variants):
                yield ("replies", name, index), text
        for loc, texts in self.said():
            for index, text in enumerate(texts):
                if not _NAME.fullmatch(text):
                    yield (*loc, index), text

    def said(self) -> Iterable[tuple[yamlfile.Loc, list[str]]]:
        """Every place where something is said."""
        for name, state in self.content.states.items():
            here = ("states", name)
            yield (*here, "say"), state.say
            yield (*here, "confirm"), state.confirm
            for slot, question in state.needs.items():
                yield (*here, "needs", slot), question
        for loc, case in self.cases():
            yield (*loc, "say"), case.say
        yield ("off_topic",), self.content.off_topic

    def cases(self) -> Iterable[tuple[yamlfile.Loc, DialogueCase]]:
        """Every case, and where it is written."""
        for name, state in self.content.states.items():
            for index, case in enumerate(state.then):
                yield ("states", name, "then", index), case
        for loc, actions in self.actions():
            for index, action in enumerate(actions):
                yield (*loc, index), action
                for then, case in enumerate(action.then):
                    yield (*loc, index, "then", then), case

    def actions(self) -> Iterable[tuple[yamlfile.Loc, list[DialogueAction]]]:
        """Every list of actions, and where it is written."""
        for name, state in self.content.states.items():
            for intent, actions in state.on.items():
                yield ("states", name, "on", intent), actions
        for intent, actions in self.content.anywhere.items():
            yield ("anywhere", intent), actions
        yield ("misunderstood",), self.content.misunderstood
        yield ("silent",), self.content.silent

    def _kinds_in_phrases(self) -> dict[str, slots.SlotKind]:
        """Return the kinds that some phrase has: no word is taken for a value of another."""
        used = {
            word[1:]
            for phrases in self.content.intents.values()
            for phrase in phrases
            for word in words(phrase)
            if word.startswith("$")
        }
        return {name: kind for name, kind in self.kinds.items() if name in used}


def read(path: Path) -> Dialogue:
    """Read a dialogue from a file. Raises UserError with the place of every mistake."""
    return Dialogue(yamlfile.read(path))


def front_desk() -> Dialogue:
    """Return the front desk that Offhook comes with (examples/front-desk/dialogue.yaml)."""
    text = (resources.files("offhook.testing") / "front_desk/dialogue.yaml").read_text("utf-8")
    return Dialogue(yamlfile.parse(text, Path("front_desk/dialogue.yaml")))
