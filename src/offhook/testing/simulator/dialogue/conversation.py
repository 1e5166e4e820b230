"""One conversation along a dialogue: what is said to what was heard. No sockets, no clock.

    talk = Talk(dialogue)
    talk.hear("a table for two on friday").say      # ("Of course.", "At what time?")

Everything that it remembers is in `memory`, which is never changed but replaced: whoever keeps an
old one can take back what has happened since (a turn that was not over, after all).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

import msgspec

from offhook.testing.simulator.dialogue.file import (
    START,
    Dialogue,
    DialogueAction,
    DialogueCase,
    DialogueState,
)
from offhook.testing.simulator.dialogue.matcher import Meaning
from offhook.testing.simulator.dialogue.sampling import FIELD
from offhook.testing.simulator.dialogue.slots import Value, spoken

_Row: TypeAlias = Literal["misunderstood", "silent"]

_RESULT_MAX: Final = 64 * 1024
"""Characters of a function's answer that are read."""


@dataclass(frozen=True, slots=True)
class ConversationCall:
    """A function that is wanted."""

    name: str
    arguments: Mapping[str, Any]
    speculative: bool
    """Wanted now, though the turn may not be over."""
    example: str
    """An answer to it, as JSON: for whoever runs it where nobody does."""


@dataclass(frozen=True, slots=True)
class Move:
    """What the agent does next."""

    say: tuple[str, ...] = ()
    calls: tuple[ConversationCall, ...] = ()
    """Functions to call. `functions_answered` is due when all of them were."""
    end: bool = False
    """End the session when that has been heard."""
    meaning: Meaning = field(default_factory=lambda: Meaning(None))
    """What the caller was taken to mean."""


@dataclass(frozen=True, slots=True)
class _Calling:
    """Functions that have not been answered, and what is to be done then."""

    then: tuple[DialogueCase, ...]
    known: Mapping[str, Any]
    """What could be filled in when they were called."""
    confirmed: bool
    """Whether they were called because the caller had confirmed."""
    home: str | None
    """Where the conversation goes on, unless `then` says; None: where it is."""


@dataclass(frozen=True, slots=True)
class Memory:
    """All that a conversation knows."""

    state: str = START
    slots: Mapping[str, Value] = field(default_factory=dict)
    confirming: bool = False
    """The caller was asked whether all is right."""
    calling: _Calling | None = None
    last: tuple[str, ...] = ()
    """What was said last."""
    misunderstood: int = 0
    silent: int = 0
    """How many turns in a row meant nothing; how often in a row nobody spoke."""
    said: Mapping[str, int] = field(default_factory=dict)
    """How often each reply was said, by name: its variants take turns."""


class DialogueConversation:
    """One conversation. `offered` are the functions that the Settings offer; None: any."""

    def __init__(self, dialogue: Dialogue, offered: frozenset[str] | None = None) -> None:
        self._dialogue: Final = dialogue
        self.offered = offered
        self.memory = Memory()

    @property
    def missing(self) -> frozenset[str]:
        """Functions that the dialogue calls and nobody offers."""
        if self.offered is None:
            return frozenset()
        return frozenset(self._dialogue.content.functions) - self.offered

    # --- What happens ---

    def hear(self, text: str, understood: bool = True) -> Move:
        """Answer a turn: what was recognised, and whether the recogniser trusts it."""
        self._remember(silent=0, calling=None)
        state = self._state
        missing = [slot for slot in state.needs if slot not in self.memory.slots]
        meaning = Meaning(None)
        if understood and text:
            meaning = self._dialogue.meaning(text, missing[:1] or list(state.needs))
        given = {slot: value for slot, value in meaning.slots.items() if slot in state.needs}
        move = self._answer(meaning, given)
        if move is None:
            off_topic = bool(understood and text) and meaning.intent is None
            move = self._again("misunderstood", off_topic=off_topic)
        else:
            self._remember(misunderstood=0)
        return self._moved(dataclasses.replace(move, meaning=meaning))

    def functions_answered(self, contents: Sequence[str]) -> Move:
        """Go on after the functions of the last move, which were answered with these texts."""
        calling = self.memory.calling
        if calling is None:
            return Move()
        self._remember(calling=None)
        fields: dict[str, Any] = {}
        for content in contents:
            answer = _fields(content)
            if answer is None:
                failed = DialogueCase(say=["failed"], to=calling.home)
                return self._moved(self._go(failed, calling.known))
            fields |= answer
        known = {**calling.known, **fields}
        case = self._fitting(calling.then, known)
        if case is None:
            case = DialogueCase(say=["failed"] if calling.then else [])
        if case.to is None:
            case = case.model_copy(update={"to": calling.home})
        return self._moved(self._go(case, known))

    def functions_are_slow(self) -> Move:
        """Say that functions take long."""
        return Move(self._texts(["one_moment"], {}) or ())

    def functions_cancelled(self) -> None:
        """Give up the functions that are waited for: the caller went on."""
        calling = self.memory.calling
        if calling is not None:
            # Nothing was done: a caller who was asked whether all is right may still say yes.
            self._remember(calling=None, confirming=calling.confirmed)

    def said(self, text: str) -> None:
        """Note what the agent said unasked: its greeting, or what it was told to say."""
        self._remember(last=(text,))

    def silence(self) -> Move:
        """Answer a silence of both sides."""
        return self._moved(self._again("silent"))

    # --- What is answered ---

    def _answer(self, meaning: Meaning, given: Mapping[str, Value]) -> Move | None:
        """Decide what to do about a turn; None if it meant nothing here."""
        intent, here, content = meaning.intent, self._state, self._dialogue.content
        verdict = intent in ("yes", "no")
        known = {**self.memory.slots, **meaning.slots}
        if intent is not None and not (verdict and given):
            if intent in here.on:
                return self._act(here.on[intent], known, meaning.slots)
            if intent in content.anywhere and not verdict:
                return self._act(content.anywhere[intent], known, meaning.slots)
        changed = any(self.memory.slots.get(slot) != value for slot, value in given.items())
        if intent == "yes" and self.memory.confirming and not changed:
            return self._call(here.call, here.then, confirmed=True, home=START)
        if given:
            # Also a correction: "no, for three people".
            self._remember(slots={**self.memory.slots, **given}, confirming=False)
            return self._go_on(())
        if intent == "no" and self.memory.confirming:
            return Move(self._texts(["what_to_change"], known) or ())
        if verdict and intent is not None and intent in content.anywhere and not here.needs:
            return self._act(content.anywhere[intent], known, meaning.slots)
        return None

    def _act(
        self,
        actions: Sequence[DialogueAction],
        known: Mapping[str, Any],
        heard: Mapping[str, Value],
    ) -> Move | None:
        action = self._fitting(actions, known)
        if action is None:
            return None
        if not action.call:
            return self._go(action, known, heard)
        said = self._texts(action.say, known) or ()
        move = self._call(action.call, action.then, known=known, home=action.to)
        return dataclasses.replace(move, say=said + move.say)

    def _go(
        self,
        case: DialogueCase,
        known: Mapping[str, Any],
        heard: Mapping[str, Value] | None = None,
    ) -> Move:
        """Say what a case says, and go where it leads; `heard` are the values of this turn."""
        said = self._texts(case.say, known) or ()
        if case.forget:
            kept = {s: value for s, value in self.memory.slots.items() if s not in case.forget}
            self._remember(slots=kept)
        if case.repeat:
            said += self.memory.last
        if case.end:
            return Move(said, end=True)
        if case.to is None:
            if case.repeat:
                return Move(said)
            return self._go_on(said)
        self._enter(case.to, heard or {})
        return self._go_on(said + (self._texts(self._state.say, known) or ()))

    def _enter(self, name: str, heard: Mapping[str, Value]) -> None:
        needs = self._dialogue.states[name].needs
        # Values that the new state needs too are kept: not those of another matter.
        kept = {slot: value for slot, value in self.memory.slots.items() if slot in needs}
        if name == START:
            kept = {}
        taken = {slot: value for slot, value in heard.items() if slot in needs}
        self._remember(state=name, slots={**kept, **taken}, confirming=False)

    def _go_on(self, said: tuple[str, ...]) -> Move:
        """After `said`: ask for what is missing, or for confirmation, or call the functions."""
        state, filled = self._state, self.memory.slots
        for slot, question in state.needs.items():
            if slot not in filled:
                return Move(said + (self._texts(question, filled) or ()))
        if state.confirm:
            self._remember(confirming=True)
            return Move(said + (self._texts(state.confirm, filled) or ()))
        if state.call:
            move = self._call(state.call, state.then, home=START)
            return dataclasses.replace(move, say=said + move.say)
        return Move(said)

    def _again(self, row: _Row, *, off_topic: bool = False) -> Move:
        """Return the next answer to turns in a row that meant nothing; in the end, none."""
        content = self._dialogue.content
        if row == "misunderstood":
            actions, count = content.misunderstood, self.memory.misunderstood
            self._remember(misunderstood=count + 1)
        else:
            actions, count = content.silent, self.memory.silent
            self._remember(silent=count + 1)
        if count >= len(actions):
            return Move()
        action = actions[count]
        if off_topic and count == 0 and content.off_topic:
            action = DialogueAction(say=content.off_topic)
        return self._act([action], self.memory.slots, {}) or Move()

    # --- Functions ---

    def _call(
        self,
        names: Sequence[str],
        then: Sequence[DialogueCase],
        *,
        home: str | None,
        confirmed: bool = False,
        known: Mapping[str, Any] | None = None,
    ) -> Move:
        filled = dict(self.memory.slots if known is None else known)
        self._remember(confirming=False)
        for name in names:
            if name in self.missing:
                words = {"function": name.replace("_", " ")}
                self._enter(START, {})
                return Move(self._texts(["not_offered"], words) or ())
        if not names:
            # Confirmed, and nothing to call: that is all.
            return self._go(DialogueCase(to=home), filled)
        self._remember(calling=_Calling(tuple(then), filled, confirmed, home))
        return Move(calls=tuple(self._made(name, filled) for name in names))

    def _made(self, name: str, filled: Mapping[str, Any]) -> ConversationCall:
        function = self._dialogue.content.functions[name]
        if function.arguments is None:
            arguments = {slot: filled[slot] for slot in self._state.needs if slot in filled}
        else:
            arguments = {}
            for argument, value in function.arguments.items():
                if not (isinstance(value, str) and value.startswith("$")):
                    arguments[argument] = value
                elif value[1:] in filled:
                    arguments[argument] = filled[value[1:]]
        example = {
            key: value[0] if isinstance(value, list) and value else value
            for key, value in function.example.items()
        }
        return ConversationCall(
            name, arguments, function.speculative, msgspec.json.encode(example).decode()
        )

    # --- Words ---

    def _fitting(self, cases: Sequence[Any], known: Mapping[str, Any]) -> Any:
        """Return the first case whose conditions hold and whose words can be filled in, or None."""
        for case in cases:
            holds = all(
                known.get(name) in value if isinstance(value, list) else known.get(name) == value
                for name, value in case.when.items()
            )
            if holds and self._texts(case.say, known, count=False) is not None:
                return case
        return None

    def _texts(
        self, texts: Sequence[str], known: Mapping[str, Any], *, count: bool = True
    ) -> tuple[str, ...] | None:
        """Return what is said, filled in; None when something is not known that it needs."""
        said = []
        times = dict(self.memory.said)
        for text in texts:
            name, variants = self._dialogue.variants(text)
            if not variants:
                continue
            turn = 0
            if name is not None:
                turn = times.get(name, 0)
                times[name] = turn + 1
            chosen = variants[turn % len(variants)]
            if any(field not in known for field in FIELD.findall(chosen)):
                return None
            said.append(FIELD.sub(lambda found: self._filled(found[1], known), chosen))
        if count:
            self._remember(said=times)
        return tuple(said)

    def _filled(self, name: str, known: Mapping[str, Any]) -> str:
        value = known[name]
        kind = self._dialogue.kinds.get(name)
        try:
            return spoken(value) if kind is None else kind.say(value)
        except (ValueError, IndexError):  # a function's field that has a slot's name
            return spoken(value)

    # --- Memory ---

    @property
    def _state(self) -> DialogueState:
        return self._dialogue.states[self.memory.state]

    def _remember(self, **changed: Any) -> None:
        self.memory = dataclasses.replace(self.memory, **changed)

    def _moved(self, move: Move) -> Move:
        if move.say:
            self._remember(last=move.say)
        return move


def _fields(content: str) -> dict[str, Any] | None:
    """Return the fields of a function's answer; None if it is no JSON object, or says it failed."""
    try:
        answer = msgspec.json.decode(content[:_RESULT_MAX])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    if not isinstance(answer, dict) or answer.get("error"):
        return None
    return {str(name): value for name, value in answer.items()}
