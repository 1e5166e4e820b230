"""Conversation along a dialogue: answers to recognised text, without sockets and clock.

    conversation = DialogueConversation(dialogue)
    conversation.hear("a table for two on friday").say      # ("Of course.", "At what time?")

The whole state is in `memory`, which is replaced and never changed. So a caller of this module can
keep an old `memory` and restore it, to undo a turn that was not over.
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
from offhook.testing.simulator.dialogue.sampling import FIELD, HEARD
from offhook.testing.simulator.dialogue.slots import Value, spoken

_Row: TypeAlias = Literal["misunderstood", "silent"]

_RESULT_MAX: Final = 64 * 1024
"""Characters of a function's result that are read."""

_QUOTED_MAX: Final = 15
"""Words of the caller that the agent repeats."""


@dataclass(frozen=True, slots=True)
class ConversationCall:
    """Function call that the conversation requests."""

    name: str
    arguments: Mapping[str, Any]
    speculative: bool
    """True to call the function now, though the turn may not be over."""
    example: str
    """Example of a result, as JSON, for an agent that must run the function itself."""


@dataclass(frozen=True, slots=True)
class Move:
    """Next actions of the agent."""

    say: tuple[str, ...] = ()
    calls: tuple[ConversationCall, ...] = ()
    """Functions to call. `functions_answered` must be called with all results."""
    end: bool = False
    """True to end the session when the caller has heard `say`."""
    meaning: Meaning = field(default_factory=lambda: Meaning(None))
    """Meaning that was given to the caller's words."""


@dataclass(frozen=True, slots=True)
class _Calling:
    """Functions without results yet, and the cases that follow them."""

    then: tuple[DialogueCase, ...]
    known: Mapping[str, Any]
    """Values that could be filled in at the time of the call."""
    confirmed: bool
    """True if the caller's confirmation caused the call."""
    home: str | None
    """State that follows, unless `then` names one; None for the present state."""


@dataclass(frozen=True, slots=True)
class Memory:
    """State of a conversation."""

    state: str = START
    slots: Mapping[str, Value] = field(default_factory=dict)
    confirming: bool = False
    """True if the caller was asked to confirm."""
    calling: _Calling | None = None
    last: tuple[str, ...] = ()
    """Texts that were said last."""
    misunderstood: int = 0
    """Number of turns in a row that meant nothing."""
    silent: int = 0
    """Number of silences in a row."""
    said: Mapping[str, int] = field(default_factory=dict)
    """Number of times that each reply was said, by name: its variants are said in turn."""


class DialogueConversation:
    """Conversation. `offered` are the functions that Settings offer; None for all functions."""

    def __init__(self, dialogue: Dialogue, offered: frozenset[str] | None = None) -> None:
        self._dialogue: Final = dialogue
        self.offered = offered
        self.memory = Memory()

    @property
    def missing(self) -> frozenset[str]:
        """Functions that the dialogue calls but Settings do not offer."""
        if self.offered is None:
            return frozenset()
        return frozenset(self._dialogue.content.functions) - self.offered

    # --- Events ---

    def hear(self, text: str, understood: bool = True) -> Move:
        """Answer a turn. `text` was recognised; `understood` is False if it is not trusted."""
        self._remember(silent=0, calling=None)
        state = self._state
        missing = [slot for slot in state.needs if slot not in self.memory.slots]
        meaning = Meaning(None)
        if understood and text:
            meaning = self._dialogue.meaning(text, missing[:1] or list(state.needs))
        given = {slot: value for slot, value in meaning.slots.items() if slot in state.needs}
        move = self._answer(meaning, given)
        if move is None:
            clear = bool(understood and text) and meaning.intent is None
            move = self._again("misunderstood", off_topic=text if clear else "")
        else:
            self._remember(misunderstood=0)
        return self._moved(dataclasses.replace(move, meaning=meaning))

    def functions_answered(self, contents: Sequence[str]) -> Move:
        """Continue after the functions of the latest move, with their results."""
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
        """Return the reply for functions that are slow."""
        return Move(self._texts(["one_moment"], {}) or ())

    def functions_cancelled(self) -> None:
        """Cancel the open functions, because the caller went on speaking."""
        calling = self.memory.calling
        if calling is not None:
            # No function was completed, so a caller who was asked to confirm may still say yes.
            self._remember(calling=None, confirming=calling.confirmed)

    def said(self, text: str) -> None:
        """Note a greeting or an injected message that the agent said."""
        self._remember(last=(text,))

    def silence(self) -> Move:
        """Answer a silence of both parties."""
        return self._moved(self._again("silent"))

    # --- Answers ---

    def _answer(self, meaning: Meaning, given: Mapping[str, Value]) -> Move | None:
        """Return the move for a turn; None if it means nothing in this state."""
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
            # A correction is handled here too: "no, for three people".
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
        """Say the texts of a case and enter its state. `heard` are the values of this turn."""
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
        # Only values that the new state needs too are kept.
        kept = {slot: value for slot, value in self.memory.slots.items() if slot in needs}
        if name == START:
            kept = {}
        taken = {slot: value for slot, value in heard.items() if slot in needs}
        self._remember(state=name, slots={**kept, **taken}, confirming=False)

    def _go_on(self, said: tuple[str, ...]) -> Move:
        """Ask for a missing slot or for confirmation, or call the functions, after `said`."""
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

    def _again(self, row: _Row, *, off_topic: str = "") -> Move:
        """Return the next answer to successive failed turns or silences; none after the last.

        `off_topic` are the words of a turn that were clear and meant nothing.
        """
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
        known = {**self.memory.slots, HEARD: _quoted(off_topic)}
        return self._act([action], known, {}) or Move()

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
            # The caller has confirmed, and there is nothing to call.
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

    # --- Texts ---

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
        """Return texts with their values filled in; None if a needed value is unknown."""
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


def _quoted(text: str) -> str:
    """Return words of the caller as the agent repeats them: without an end, and not too many."""
    said = text.split()
    return " ".join(said[:_QUOTED_MAX]).rstrip(".!?,") + (" and so on" * (len(said) > _QUOTED_MAX))


def _fields(content: str) -> dict[str, Any] | None:
    """Return the fields of a function's result; None if it is no JSON object or has `error`."""
    try:
        answer = msgspec.json.decode(content[:_RESULT_MAX])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    if not isinstance(answer, dict) or answer.get("error"):
        return None
    return {str(name): value for name, value in answer.items()}
