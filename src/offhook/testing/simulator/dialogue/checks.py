"""Checks of a dialogue beyond its schema: every name must be defined and used."""

import re
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from offhook.testing.simulator.dialogue.sampling import FIELD, HEARD
from offhook.testing.simulator.dialogue.words import words
from offhook.yamlfile import Document, Finding, InvalidFileError, Loc, nearest

if TYPE_CHECKING:
    from offhook.testing.simulator.dialogue.file import Dialogue

_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")


def check(dialogue: "Dialogue", document: Document) -> None:
    """Check a dialogue. Raises InvalidFileError E-DIALOGUE-01 with all mistakes, in file order."""
    found = list(_Checks(dialogue, document).findings())
    if found:
        found.sort(key=lambda finding: (finding.place is None, finding.place))
        raise InvalidFileError("E-DIALOGUE-01", found)


class _Checks:
    def __init__(self, dialogue: "Dialogue", document: Document) -> None:
        self._dialogue = dialogue
        self._content = dialogue.content
        self._document = document
        self._in_phrases = {
            word[1:]
            for phrases in self._content.intents.values()
            for phrase in phrases
            for word in words(phrase)
            if word.startswith("$")
        }
        """Slots that some phrase contains, so that callers can fill them."""

    def findings(self) -> Iterator[Finding]:
        yield from self._names()
        yield from self._phrases()
        yield from self._states()
        yield from self._functions()
        yield from self._texts()
        yield from self._caller()

    def _error(self, loc: Loc, text: str, fix: str, *, key: bool = False) -> Finding:
        return Finding("error", text, fix, self._document.place(loc, key=key))

    def _unknown(
        self, what: str, name: str, known: Collection[str], loc: Loc, *, key: bool = False
    ) -> Iterator[Finding]:
        if name in known:
            return
        close = nearest(name, known)
        here = ", ".join(sorted(known)) or "none"
        fix = f'Did you mean "{close}"?' if close else f"There are: {here}."
        yield self._error(loc, f'There is no {what} "{name}".', fix, key=key)

    def _names(self) -> Iterator[Finding]:
        """Report names that are not words: names occur after `$`, in `{}` and under `say`."""
        for section in ("intents", "slots", "replies", "states"):
            for name in getattr(self._content, section):
                if not _NAME.fullmatch(name):
                    yield self._error(
                        (section, name),
                        f'"{name}" cannot be a name here.',
                        "Use small letters, digits and _, beginning with a letter.",
                        key=True,
                    )
        for name in self._content.slots:
            if name in ("day", "time", "people", "digits"):
                yield self._error(
                    ("slots", name),
                    f'"{name}" is a slot already.',
                    "Choose another name.",
                    key=True,
                )

    def _phrases(self) -> Iterator[Finding]:
        first: dict[str, str] = {}
        for intent, phrases in self._content.intents.items():
            for index, phrase in enumerate(phrases):
                loc = ("intents", intent, index)
                said = words(phrase)
                if not said:
                    yield self._error(loc, "This phrase has no words.", "Write some, or delete it.")
                for word in said:
                    if word.startswith("$"):
                        yield from self._unknown("slot", word[1:], self._dialogue.kinds, loc)
                key = " ".join(said)
                other = first.setdefault(key, intent)
                if other != intent:
                    yield self._error(
                        loc,
                        f'This is a phrase of "{other}" as well: nobody could tell them apart.',
                        f'Delete it here or under "{other}".',
                    )
        for intent, entries in self._content.keywords.items():
            yield from self._unknown(
                "intent", intent, self._content.intents, ("keywords", intent), key=True
            )
            for index, entry in enumerate(entries):
                loc = ("keywords", intent, index)
                if not words(entry):
                    yield self._error(loc, "This has no words.", "Write some, or delete it.")
                for word in words(entry):
                    if word.startswith("$"):
                        yield from self._unknown("slot", word[1:], self._in_phrases, loc)

    def _states(self) -> Iterator[Finding]:
        content = self._content
        reached = set(self._reached())
        for name, state in content.states.items():
            here: Loc = ("states", name)
            if name not in reached:
                yield self._error(
                    here, f'No way leads to the state "{name}".', f'Add "to: {name}".', key=True
                )
            for slot in state.needs:
                where = (*here, "needs", slot)
                if slot in self._dialogue.kinds and slot not in self._in_phrases:
                    yield self._error(
                        where,
                        f"Callers cannot answer this: no phrase has ${slot}.",
                        f'Add "${slot}" to the phrases of an intent.',
                        key=True,
                    )
                yield from self._unknown("slot", slot, self._dialogue.kinds, where, key=True)
            for answer in ("yes", "no") if state.confirm else ():
                if answer not in content.intents:
                    yield self._error(
                        (*here, "confirm"),
                        f'This needs the intent "{answer}".',
                        f'Add "{answer}" under intents.',
                    )
            for intent in state.on:
                yield from self._unknown(
                    "intent", intent, content.intents, (*here, "on", intent), key=True
                )
            if state.then and not state.call:
                yield self._error(
                    (*here, "then"), "This comes after a call, and there is none.", 'Add "call".'
                )
        for intent in content.anywhere:
            yield from self._unknown(
                "intent", intent, content.intents, ("anywhere", intent), key=True
            )
        for loc, case in self._dialogue.cases():
            if case.to is not None:
                yield from self._unknown("state", case.to, self._dialogue.states, (*loc, "to"))
            for index, slot in enumerate(case.forget):
                yield from self._unknown(
                    "slot", slot, self._dialogue.kinds, (*loc, "forget", index)
                )
        yield from self._unanswered()

    def _reached(self) -> Iterator[str]:
        """Yield the states that can be reached from `start`."""
        everywhere = [
            case.to
            for loc, case in self._dialogue.cases()
            if loc[0] != "states" and case.to is not None
        ]
        waiting = ["start", *everywhere]
        seen = set(waiting)
        while waiting:
            name = waiting.pop()
            yield name
            ways = {
                case.to
                for loc, case in self._dialogue.cases()
                if loc[:2] == ("states", name) and case.to is not None
            }
            waiting += ways - seen
            seen |= ways

    def _unanswered(self) -> Iterator[Finding]:
        """Report intents that nothing answers."""
        content = self._content
        needed = {slot for state in content.states.values() for slot in state.needs}
        answered = {*content.anywhere, *(i for s in content.states.values() for i in s.on)}
        if any(state.confirm for state in content.states.values()):
            answered |= {"yes", "no"}
        for intent, phrases in content.intents.items():
            slots = {word[1:] for p in phrases for word in words(p) if word.startswith("$")}
            if intent not in answered and not slots & needed:
                yield self._error(
                    ("intents", intent),
                    f'Nothing answers the intent "{intent}".',
                    'Name it under "anywhere", or under "on" of a state.',
                    key=True,
                )

    def _functions(self) -> Iterator[Finding]:
        content = self._content
        calls: list[tuple[Loc, Iterable[str]]] = [
            (("states", name, "call"), state.call) for name, state in content.states.items()
        ]
        for loc, actions in self._dialogue.actions():
            for index, action in enumerate(actions):
                calls.append(((*loc, index, "call"), action.call))
                if action.then and not action.call:
                    yield self._error(
                        (*loc, index, "then"),
                        "This comes after a call, and there is none.",
                        'Add "call".',
                    )
        called: set[str] = set()
        for loc, names in calls:
            for index, name in enumerate(names):
                called.add(name)
                yield from self._unknown("function", name, content.functions, (*loc, index))
        for name, function in content.functions.items():
            here: Loc = ("functions", name)
            if name not in called:
                yield self._error(
                    here, f'Nothing calls the function "{name}".', f'Add "call: {name}".', key=True
                )
            for argument, value in (function.arguments or {}).items():
                if isinstance(value, str) and value.startswith("$"):
                    yield from self._fillable(value[1:], (*here, "arguments", argument))

    def _fillable(self, slot: str, loc: Loc) -> Iterator[Finding]:
        yield from self._unknown("slot", slot, self._dialogue.kinds, loc)
        if slot in self._dialogue.kinds and slot not in self._in_phrases:
            yield self._error(
                loc,
                f'Nobody fills the slot "{slot}": no phrase has it.',
                f'Add "${slot}" to the phrases of an intent.',
            )

    def _texts(self) -> Iterator[Finding]:
        for loc, texts in self._dialogue.said():
            for index, text in enumerate(texts):
                if _NAME.fullmatch(text):
                    where = (*loc, index)
                    yield from self._unknown("reply", text, self._dialogue.replies, where)
        fields = {name for f in self._content.functions.values() for name in f.example}
        known = {*self._in_phrases & set(self._dialogue.kinds), *fields}
        for loc, text in self._dialogue.texts():
            builtin = ("function",) if loc[:2] == ("replies", "not_offered") else ()
            if loc[0] == "off_topic":
                builtin = (HEARD,)
            for name in FIELD.findall(text):
                if name in known or name in builtin:
                    continue
                close = nearest(name, known)
                fix = f'Did you mean "{{{close}}}"?' if close else "Name a slot or a field."
                yield self._error(
                    loc,
                    f"Nobody fills {{{name}}}: no phrase has it as a slot, no function's example"
                    " as a field.",
                    fix,
                )
        for loc, case in self._dialogue.cases():
            for name in case.when:
                yield from self._unknown(
                    "slot or field", name, known, (*loc, "when", name), key=True
                )

    def _caller(self) -> Iterator[Finding]:
        for index, line in enumerate(self._content.caller):
            meaning = self._dialogue.meaning(line)
            if meaning.intent is None:
                yield self._error(
                    ("caller", index),
                    "The dialogue would not understand this.",
                    "Add a phrase like it to an intent.",
                )
