"""Dialogue as a YAML file. README.md beside this file has an example and documents every key.

`read(path)` returns a Dialogue. Its `meaning("a table for two")` interprets a caller's words,
`vocabulary()` is for the recogniser of callers, `spoken_vocabulary()` for one that recognises the
agent.
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
"""State in which a conversation begins, and to which it returns. It keeps no values."""

BUILTIN_REPLIES: Final[Mapping[str, tuple[str, ...]]] = {
    "again": ("Sorry, I did not catch that.", "Sorry, could you say that again?"),
    "failed": ("I am sorry, that did not work just now.",),
    "not_offered": ("I am sorry, I cannot do that here. I was given no function {function}.",),
    "one_moment": ("One moment, please.",),
    "what_to_change": ("What would you like to change?",),
}
"""Replies that every dialogue has, unless it defines its own of that name."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _slot(value: Any) -> Any:
    """Check that a value is one of the three forms of an own slot. Return it, or refuse it."""
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
"""Texts to say, in order. A text that is one word in lower case names a reply."""

Names: TypeAlias = Annotated[
    list[str], BeforeValidator(_listed, json_schema_input_type=str | list[str])
]

OwnSlot: TypeAlias = Annotated[
    Any, BeforeValidator(_slot, json_schema_input_type=str | list[str] | dict[str, list[str]])
]


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class DialogueCase(_Part):
    """Possible answer. The first one is used whose `when` holds and whose texts can be filled."""

    when: dict[str, str | int | bool | list[str | int | bool] | None] = {}
    """Slots or fields of a function's result, with the value or values that they must have."""
    say: Texts = []
    to: str | None = None
    """State to enter; without it, the conversation stays in its state."""
    forget: Names = []
    """Slots whose values are dropped, so that they are asked for again."""
    repeat: bool = False
    """True to repeat the texts that were said last."""
    end: bool = False
    """True to close the session once the caller has heard the texts."""


def _cases(value: Any) -> Any:
    """Put a text or a case into a list of one."""
    return [{"say": one} if isinstance(one, str) else one for one in _listed(value)]


Cases: TypeAlias = Annotated[
    list[DialogueCase],
    BeforeValidator(_cases, json_schema_input_type=str | DialogueCase | list[str | DialogueCase]),
]


class DialogueAction(DialogueCase):
    """Case that may call functions. `then` has the answers to their results."""

    call: Names = []
    then: Cases = []


Actions: TypeAlias = Annotated[
    list[DialogueAction],
    BeforeValidator(
        _cases, json_schema_input_type=str | DialogueAction | list[str | DialogueAction]
    ),
]


class DialogueFunction(_Part):
    """Function that Settings offer, as this dialogue calls it."""

    arguments: dict[str, Any] | None = None
    """Arguments by name; "$day" stands for the value of that slot. Without it, the arguments are
    the slots that the state needs."""
    speculative: bool = False
    """True to call it before the caller's turn is certain to be over; it is cancelled if the caller
    goes on. Settings with `defer_until_eot` prevent this."""
    example: dict[str, Any] = {}
    """Example of a result, which defines its fields and their possible values; several values of a
    field are a list. It is also the result where Settings give the function an `endpoint`, because
    the stand-in calls no endpoints."""


class DialogueState(_Part):
    """Step of the conversation: ask for slots, confirm, call functions, answer, go on."""

    say: Texts = []
    """Texts to say on entering the state."""
    needs: dict[str, Texts] = {}
    """Slots, with the question for each that is asked while it has no value."""
    confirm: Texts = []
    """Question to ask when all slots have values; it needs the intents `yes` and `no`."""
    call: Names = []
    """Functions to call when all slots have values, after the confirmation if there is one."""
    then: Cases = []
    """Answers to the results of the functions. Without `to`, the next state is `start`."""
    on: dict[str, Actions] = {}
    """Actions of intents in this state; for others, `anywhere` applies."""


class DialogueContent(_Part):
    """Content of a dialogue's file."""

    intents: dict[str, Annotated[list[str], Field(min_length=1)]]
    """Phrases of callers for each intent, by name. `$day`, `$time`, `$people`, `$digits` and own
    slots stand for values."""
    keywords: dict[str, list[str]] = {}
    """Words by which sentences that no phrase is like mean an intent: each entry is one or more
    words or slots that must all be said, in any order. The entry with the most words counts, then
    the first."""
    slots: dict[str, OwnSlot] = {}
    """Own slots: a list of words, names with the words that mean them, or a kind of slot."""
    day_begins: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = "08:00"
    """Start (HH:MM) of the 12 hours in which a bare "seven" lies: from 12:00, it is 19:00."""
    replies: dict[str, Texts] = {}
    """Texts by name; several texts of a name are said in turn. `{day}` is filled in."""
    functions: dict[str, DialogueFunction] = {}
    states: dict[str, DialogueState] = {}
    anywhere: dict[str, Actions] = {}
    """Actions of intents in every state that has none of its own for them."""
    misunderstood: Actions = [DialogueAction(say=["again"])] * 3
    """Answers to the first, second, … turn in a row that meant nothing; later ones get none."""
    off_topic: Texts = []
    """Texts in place of the first such answer, if the words were clear but meant nothing; `{heard}`
    is those words."""
    silent: Actions = []
    """Answers to the first, second, … silence of `silent_after` seconds; later ones get none."""
    silent_after: Annotated[float, Field(ge=1, le=600)] = 10.0
    caller: list[str] = []
    """Lines that a simulated caller can say."""
    pronunciations: dict[str, str] = {}
    """Pronunciations of words that the recogniser lacks, in phones of CMU's dictionary."""


class Dialogue:
    """Dialogue that has passed all checks. `read` makes one, which all sessions share."""

    def __init__(self, document: yamlfile.Document) -> None:
        """Read a dialogue. Raises InvalidFileError (E-YAML-03, E-DIALOGUE-01) with all mistakes."""
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
        self.matcher: Final = Matcher(
            self.content.intents, self._kinds_in_phrases(), self.content.keywords
        )
        self._document = document
        checks.check(self, document)

    @property
    def caller_lines(self) -> list[str]:
        """Lines that a simulated caller can say."""
        return self.content.caller

    def meaning(self, text: str, expected: Collection[str] = ()) -> Meaning:
        """Return the meaning of a caller's `text`; see Matcher."""
        return self.matcher.meaning(text, expected)

    def vocabulary(self) -> Vocabulary:
        """Return all that callers may say: phrases with values, and the lines of `caller`."""
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
        """Return all that the agent may say, and `more`, such as its greeting and injections."""
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
        """Return the name and variants of the reply that `text` names; else None and the text."""
        if _NAME.fullmatch(text):
            return text, self.replies.get(text, [])
        return None, [text]

    def texts(self) -> Iterable[tuple[yamlfile.Loc, str]]:
        """Yield every text that may be spoken, with its place."""
        for name, variants in self.replies.items():
            for index, text in enumerate(variants):
                yield ("replies", name, index), text
        for loc, texts in self.said():
            for index, text in enumerate(texts):
                if not _NAME.fullmatch(text):
                    yield (*loc, index), text

    def said(self) -> Iterable[tuple[yamlfile.Loc, list[str]]]:
        """Yield every list of texts to say, with its place."""
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
        """Yield every case, with its place."""
        for name, state in self.content.states.items():
            for index, case in enumerate(state.then):
                yield ("states", name, "then", index), case
        for loc, actions in self.actions():
            for index, action in enumerate(actions):
                yield (*loc, index), action
                for then, case in enumerate(action.then):
                    yield (*loc, index, "then", then), case

    def actions(self) -> Iterable[tuple[yamlfile.Loc, list[DialogueAction]]]:
        """Yield every list of actions, with its place."""
        for name, state in self.content.states.items():
            for intent, actions in state.on.items():
                yield ("states", name, "on", intent), actions
        for intent, actions in self.content.anywhere.items():
            yield ("anywhere", intent), actions
        yield ("misunderstood",), self.content.misunderstood
        yield ("silent",), self.content.silent

    def _kinds_in_phrases(self) -> dict[str, slots.SlotKind]:
        """Return the kinds of slot in phrases: words are parsed as values of these only."""
        used = {
            word[1:]
            for phrases in self.content.intents.values()
            for phrase in phrases
            for word in words(phrase)
            if word.startswith("$")
        }
        return {name: kind for name, kind in self.kinds.items() if name in used}


def read(path: Path) -> Dialogue:
    """Read a dialogue from a file. Raises UserError with the place of each mistake."""
    return Dialogue(yamlfile.read(path))


def front_desk() -> Dialogue:
    """Return the front desk that Offhook comes with (examples/front-desk/dialogue.yaml)."""
    text = (resources.files("offhook.testing") / "front_desk/dialogue.yaml").read_text("utf-8")
    return Dialogue(yamlfile.parse(text, Path("front_desk/dialogue.yaml")))
