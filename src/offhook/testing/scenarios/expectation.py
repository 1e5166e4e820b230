"""Expectations of a scenario: for the agent's turns, and for the whole call.

    steps:
      - say: Can I book a table?
      - expect: For what day                   # words that are heard
      - say: For two on Friday at seven.
      - expect: {says: is that right, within_ms: 2500}
      - say: Yes please.
      - expect: {called: {function: book_table, arguments: {people: 2}}, absent: sorry}
      - hang_up
    expect: {ending: caller_hung_up, dead_air_ms: 4000}

A step `expect` applies to the agent's turn since the caller's last one; the caller waits until it
is met and the agent is quiet. `expect` beside `steps` applies to the whole call.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from offhook import yamlfile
from offhook.call.ending import Fault, Slug
from offhook.testing.simulator.dialogue.words import words
from offhook.testing.simulator.twilio.ending import Ending

_T = TypeVar("_T")

SLUGS: Final = frozenset(slug.slug for slug in Slug)
"""Slugs of endings that the server reports."""

SEEN_BY_TWILIO: Final = frozenset(get_args(Ending))
"""Slugs of endings that Twilio reports."""


def contains(heard: Sequence[str], phrase: Sequence[str], start: int = 0) -> bool:
    """Return True if the words `phrase` are in `heard`, one after another, from `start` on."""
    return find(heard, phrase, start) is not None


def find(heard: Sequence[str], phrase: Sequence[str], start: int = 0) -> int | None:
    """Return the index of the words `phrase` in `heard` from `start` on, or None."""
    length = len(phrase)
    for index in range(start, len(heard) - length + 1):
        if list(heard[index : index + length]) == list(phrase):
            return index
    return None


class ScenarioPart(BaseModel):
    """A mapping in a scenario file: unknown keys are mistakes."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True
    )
    short: ClassVar[Mapping[str, Any]] = {}
    """JSON Schema of a short form that may stand for the mapping; empty without a short form."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core_schema)
        inner = handler.resolve_ref_schema(schema)
        if cls.short:
            mapping = dict(inner)
            inner.clear()
            inner["description"] = mapping.pop("description")
            inner["anyOf"] = [dict(cls.short), mapping]
        return schema


def _as_list(value: Any) -> Any:
    """Return a single value as a list of one."""
    return value if isinstance(value, list | tuple) else [value]


def _phrase(text: str) -> str:
    if not words(text):
        raise yamlfile.refuse("This is no phrase: there is no word in it.", "Write words.")
    return text


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise yamlfile.refuse(
            f"This is no regular expression: {error}.", "Correct it, or use says for plain words."
        ) from None
    return text


def _positive(value: float) -> float:
    if value <= 0:
        raise yamlfile.refuse(
            "Nothing takes no time: this can never be met.", "Give the longest time that is good."
        )
    return value


OneOrMore: TypeAlias = Annotated[tuple[_T, ...], BeforeValidator(_as_list), Field(min_length=1)]
Phrase: TypeAlias = Annotated[str, AfterValidator(_phrase)]
Pattern: TypeAlias = Annotated[str, AfterValidator(_pattern)]
Limit: TypeAlias = Annotated[int, AfterValidator(_positive)]
"""Upper limit in milliseconds, greater than 0."""


class ExpectedFunction(ScenarioPart):
    """A function that the agent calls. A name alone means any arguments."""

    function: str
    arguments: dict[str, Any] | None = None
    """Arguments that the call must have; it may have others."""
    exactly: dict[str, Any] | None = None
    """Arguments that the call must have, and no others."""

    short: ClassVar[Mapping[str, Any]] = {"type": "string"}

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        return {"function": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one(self) -> "ExpectedFunction":
        if self.arguments is not None and self.exactly is not None:
            raise yamlfile.refuse("Both arguments and exactly stand here.", "Keep one of them.")
        return self


class Expected(ScenarioPart):
    """Expectations that apply to a turn or to a whole call."""

    says: OneOrMore[Phrase] = ()
    """Phrases that must be heard, in this order. Case and punctuation do not count."""
    matches: OneOrMore[Pattern] = ()
    """Regular expressions that must match the words heard, in any case."""
    means: OneOrMore[str] = ()
    """Meanings that the words heard must have: names of intents or replies in the dialogue."""
    absent: OneOrMore[Phrase] = ()
    """Phrases that must not be heard."""
    called: OneOrMore[ExpectedFunction] = ()
    """Functions that the agent must call, in this order."""
    not_called: OneOrMore[str] = ()
    """Functions that the agent must not call."""

    @model_validator(mode="after")
    def _consistent(self) -> "Expected":
        if not self.model_fields_set:
            raise yamlfile.refuse("Nothing is expected here.", 'Write what is to be heard: "says".')
        said = {" ".join(words(phrase)) for phrase in self.says}
        for phrase in self.absent:
            if " ".join(words(phrase)) in said:
                raise yamlfile.refuse(
                    f'"{phrase}" is expected to be heard and to be absent.', "Remove one of them."
                )
        for name in {called.function for called in self.called} & set(self.not_called):
            raise yamlfile.refuse(
                f"{name} is expected to be called and not to be.", "Remove one of them."
            )
        return self

    @property
    def wants_words(self) -> bool:
        """True if judging needs the words that were heard."""
        return bool(self.says or self.matches or self.means or self.absent)

    @property
    def wants_functions(self) -> bool:
        """True if judging needs the function calls of the agent."""
        return bool(self.called or self.not_called)


class ExpectTurn(Expected):
    """Expectations for the agent's turn since the caller's last one. Text alone means `says`."""

    within_ms: Limit | None = None
    """Longest time in ms from the end of the caller's speech to the start of the expected words."""
    interrupted_within_ms: Limit | None = None
    """Longest time in ms from the caller's first sound, in a barge_in, to the agent's silence."""
    quiet_ms: Annotated[int, Field(ge=0)] = 600
    """Milliseconds of silence after which the agent's turn is over."""
    timeout: Annotated[float, Field(gt=0)] = 10.0
    """Seconds that the caller waits for the expectation to be met."""

    short: ClassVar[Mapping[str, Any]] = {
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
    }

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        return {"says": value} if isinstance(value, str | list) else value

    @model_validator(mode="after")
    def _expects(self) -> "ExpectTurn":
        if not self.model_fields_set - {"quiet_ms", "timeout"}:
            raise yamlfile.refuse(
                "Nothing is expected here.", "Write wait_for_agent if any words are good."
            )
        return self


class Bounds(ScenarioPart):
    """Lower and upper bound; a number alone means both."""

    at_least: Annotated[float, Field(ge=0)] = 0
    at_most: Annotated[float, Field(ge=0)] | None = None

    short: ClassVar[Mapping[str, Any]] = {"type": "number"}

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return {"at_least": value, "at_most": value} if number else value

    @model_validator(mode="after")
    def _can_be_met(self) -> "Bounds":
        if self.at_most is not None and self.at_most < self.at_least:
            raise yamlfile.refuse(
                f"Nothing is at least {self.at_least:g} and at most {self.at_most:g}.",
                "Exchange them.",
            )
        return self

    def hold(self, value: float) -> bool:
        """Return True if the value is within the bounds."""
        return value >= self.at_least and (self.at_most is None or value <= self.at_most)

    def __str__(self) -> str:
        if self.at_most is None:
            return f"at least {self.at_least:g}"
        if self.at_least == self.at_most:
            return f"{self.at_least:g}"
        if self.at_least:
            return f"{self.at_least:g} to {self.at_most:g}"
        return f"at most {self.at_most:g}"


class Ended(ScenarioPart):
    """Ending of a call. A slug alone means the ending by either side."""

    slug: str
    """Slug of an ending in docs/errors.md, or of one that Twilio reports (ending.py)."""
    doing: Fault | None = None
    """Side that caused the ending; only the server knows it."""

    short: ClassVar[Mapping[str, Any]] = {"enum": sorted(SLUGS | SEEN_BY_TWILIO)}

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        return {"slug": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _known(self) -> "Ended":
        if self.slug not in SLUGS | SEEN_BY_TWILIO:
            close = yamlfile.nearest(self.slug, SLUGS | SEEN_BY_TWILIO)
            known = ", ".join(sorted(SLUGS | SEEN_BY_TWILIO))
            raise yamlfile.refuse(
                f'No call ends as "{self.slug}".',
                f'Did you mean "{close}"?' if close else f"Write one of: {known}.",
            )
        if self.doing is not None and self.slug not in SLUGS:
            raise yamlfile.refuse(
                f"{self.slug} is what Twilio sees, which does not know whose doing it was.",
                "Remove doing, or write one of Offhook's own endings.",
            )
        return self

    @property
    def wants_server(self) -> bool:
        """True if only the server knows this ending; Twilio's side sees only who hung up."""
        return self.slug not in SEEN_BY_TWILIO or self.doing is not None


class ExpectCall(Expected):
    """Expectations for the whole call."""

    called_off: OneOrMore[str] = ()
    """Functions that the agent must cancel after the call, and that must not be answered."""
    hung_up_by: Literal["rest", "twiml"] | None = None
    """Means by which the server must end the call, once: a request to Twilio, or <Hangup>."""
    rung: tuple[str, ...] | None = None
    """Numbers of the telephones that must ring, in this order, and no others."""

    ending: Ended | None = None
    duration_s: Bounds | None = None
    """Seconds from the answer to the end of the call."""
    dead_air_ms: Limit | None = None
    """Longest time in ms in which nothing is heard, not counting the caller's own wait and
    stay_silent; ringing, music and the person to whom the call is transferred are heard."""
    turns: Bounds | None = None
    """Number of the agent's turns: all speech between two turns of the caller is one."""
