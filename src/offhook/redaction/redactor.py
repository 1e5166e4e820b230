"""Redaction of a call's texts before any subscriber keeps them or passes them on.

`Redactor` works on single texts, `Redaction` on the events of calls: thread.py has it between calls
and subscribers. patterns.py finds data by its shape.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from msgspec import UNSET

from offhook.config import RedactionSettings
from offhook.events.types import (
    AgentAnnounced,
    AgentSaid,
    AgentTold,
    AgentWarned,
    CallBegan,
    CallEnded,
    CallerSaid,
    CallEvent,
    CallReleased,
    Dialled,
    DialRefused,
    Event,
    FunctionAnswered,
    FunctionCalled,
    FunctionFinishedLate,
    KeyPressed,
    KeysEntered,
    Leg,
    MessageTaken,
    OperatorActed,
    OperatorHandedBack,
    UtteranceRedacted,
)
from offhook.redaction.patterns import (
    MARGIN,
    Span,
    Speaker,
    Stretch,
    cards,
    digits_in,
    emails,
    merged,
    phones,
)
from offhook.text.user_pattern import WORK_MAX, FoundInTexts

OWN: Final = "[redacted]"

TEXT_MAX: Final = 10_000
"""Characters of a text that are searched; the rest, and a little before it, is taken out."""

JSON_MAX: Final = 64 * 1024
"""Characters of a function's arguments or answer; a longer text is taken out altogether."""

KEY: Final = "?"
"""The digit of a redacted KeyPressed."""

LEAD_MS: Final = 1000
"""Milliseconds by which speech, or a key's tone, may begin before it is reported."""


# --- One text ------------------------------------------------------------------------------------


class Redactor:
    """Finds personal data in a text."""

    def __init__(self, wanted: RedactionSettings) -> None:
        self._cards = wanted.cards
        self._phones = wanted.phone_numbers
        self._emails = wanted.emails
        self._patterns = wanted.patterns

    def spans(self, text: str) -> list[Span]:
        """Return the spans to take out, in order, without overlaps."""
        (found,) = self._of_users([text[:TEXT_MAX]], WORK_MAX).spans
        return self._spans(text, found)

    def text(self, text: str) -> str:
        """Return the text without personal data."""
        return applied(text, self.spans(text))

    def json(self, text: str) -> str:
        """Return JSON without personal data in its texts, numbers and names; the result is JSON.

        Text that is not JSON is redacted as plain text. If the names alone are too much work for
        users' patterns, all of it is taken out: objects without names would lose their texts, too.
        """
        if len(text) > JSON_MAX:
            return json.dumps(OWN)
        try:
            value = json.loads(text)
            names, texts = _texts(value)
            spans = self._spans_of_each(names, texts)
            if spans is None:
                return json.dumps(OWN)
            redacted = _without(value, spans)
        except (ValueError, RecursionError):
            return self.text(text)
        return text if redacted is value else json.dumps(redacted, ensure_ascii=False)

    def _spans(self, text: str, of_users: list[tuple[int, int]]) -> list[Span]:
        """Return the spans to take out, with what users' patterns have found."""
        seen = text[:TEXT_MAX]
        found = [Span(start, end, OWN) for start, end in of_users]
        if len(text) > TEXT_MAX:
            found.append(Span(TEXT_MAX - MARGIN, len(text), OWN))
        if self._cards or self._phones:
            groups = digits_in(seen)
            of_cards = list(cards(seen, groups)) if self._cards and groups else []
            found += of_cards
            if self._phones and groups:
                found += phones(seen, groups, merged(of_cards))
        if self._emails:
            found += emails(seen)
        return merged(found) if found else found

    def _of_users(self, texts: Sequence[str], work_max: int) -> FoundInTexts:
        """Return what users' patterns find in each of several texts, by that much work."""
        found: list[list[tuple[int, int]]] = [[] for _ in texts]
        left, lacks_work = work_max, False
        needed = [pattern.work_without_finds(texts) for pattern in self._patterns]
        for index, pattern in enumerate(self._patterns):
            # What one pattern takes for its finds leaves the others enough to read the texts once.
            kept = sum(needed[index + 1 :])
            share = left // (len(needed) - index)
            # What is taken out altogether by now is not read any more.
            rest = [at for at, text in enumerate(texts) if found[at] != [(0, len(text))]]
            done = pattern.find_in([texts[at] for at in rest], max(share, left - kept))
            left -= done.work
            lacks_work = lacks_work or done.lacks_work
            for at, spans in zip(rest, done.spans, strict=True):
                found[at] = [*found[at], *spans] if found[at] else spans
        return FoundInTexts(found, work_max - left, lacks_work)

    def _spans_of_each(
        self, names: Sequence[str], texts: Sequence[str]
    ) -> dict[str, list[Span]] | None:
        """Return the spans to take out of each text of a JSON; None: its names are too much."""
        in_names = self._of_users([name[:TEXT_MAX] for name in names], WORK_MAX)
        if in_names.lacks_work:
            return None
        in_texts = self._of_users([text[:TEXT_MAX] for text in texts], WORK_MAX - in_names.work)
        all_texts, found = (*names, *texts), (*in_names.spans, *in_texts.spans)
        return {text: self._spans(text, of) for text, of in zip(all_texts, found, strict=True)}


def _texts(value: Any) -> tuple[Sequence[str], Sequence[str]]:
    """Return the names of a decoded JSON value, and its other texts and numbers, each once."""
    names: dict[str, None] = {}
    texts: dict[str, None] = {}

    def collect(value: Any) -> None:
        match value:
            case bool() | None:
                pass
            case str() | int() | float():
                texts[str(value)] = None
            case list():
                for item in value:
                    collect(item)
            case dict():
                names.update(dict.fromkeys(value))
                for item in value.values():
                    collect(item)

    collect(value)
    return tuple(names), tuple(text for text in texts if text not in names)


def _without(value: Any, spans: Mapping[str, list[Span]]) -> Any:
    """Return a decoded JSON value without those spans: the same object if it has none."""
    match value:
        case bool() | None:
            return value
        case str() | int() | float():
            written = str(value)
            return applied(written, spans[written]) if spans[written] else value
        case list():
            items = [_without(item, spans) for item in value]
            same = all(new is old for new, old in zip(items, value, strict=True))
            return value if same else items
        case dict():
            pairs = [(_without(name, spans), _without(of, spans)) for name, of in value.items()]
            same = all(
                new[0] is old[0] and new[1] is old[1]
                for new, old in zip(pairs, value.items(), strict=True)
            )
            return value if same else dict(pairs)
    return value


def applied(text: str, spans: list[Span]) -> str:
    """Return the text with a label in place of each span."""
    parts: list[str] = []
    at = 0
    for span in spans:
        parts += (text[at : span.start], span.instead)
        at = span.end
    return "".join([*parts, text[at:]])


def _heard(text: str, intended: str, spans: list[Span]) -> str | None:
    """Return the heard part of an utterance, redacted as the whole was; None: not a part.

    Half of a card's number is not found in the half.
    """
    if not intended.startswith(text):
        return None
    begun = [span for span in spans if span.start < len(text)]
    return applied(text, [span._replace(end=min(span.end, len(text))) for span in begun])


# --- A call --------------------------------------------------------------------------------------


class Redaction:
    """Redaction of the events of calls, which keeps the end of what was said before in each."""

    def __init__(self, wanted: RedactionSettings) -> None:
        self._redactor = Redactor(wanted)
        self._wanted = wanted
        self._speakers: dict[tuple[str, Leg], Speaker] = {}
        """Speakers by CallSid and leg, of live calls alone."""

    def redacted(self, call_event: CallEvent) -> Sequence[CallEvent]:
        """Return an event without personal data, and those that tell what must be silenced.

        Events of one call must come in their order.
        """
        event, silent = self._redacted(call_event)
        clean = call_event if event is call_event.event else replace(call_event, event=event)
        if not self._wanted.audio:
            return (clean,)
        told = (UtteranceRedacted(leg, start_ms, end_ms) for leg, (start_ms, end_ms) in silent)
        return (clean, *(replace(call_event, event=each) for each in told))

    def _redacted(self, call_event: CallEvent) -> tuple[Event, list[tuple[Leg, Stretch]]]:
        redactor, event = self._redactor, call_event.event
        match event:
            case CallerSaid():
                spans, silent = self._said(call_event, "caller", event.text, event.start_ms)
                if spans:
                    event = replace(event, text=applied(event.text, spans))
                return event, silent
            case AgentAnnounced():
                return replace(event, text=self._announced(event.text)), []
            case AgentSaid():
                return self._agent_said(call_event, event)
            case KeyPressed() if self._wanted.cards and event.digit.isdecimal():
                at_ms = call_event.at_ms
                return replace(event, digit=KEY), [("caller", (max(0, at_ms - LEAD_MS), at_ms))]
            case KeysEntered() if self._wanted.cards:
                return replace(event, digits=re.sub(r"\d", KEY, event.digits)), []
            case KeysEntered():
                return replace(event, digits=redactor.text(event.digits)), []
            case OperatorActed():
                return replace(event, what=redactor.text(event.what)), []
            case OperatorHandedBack():
                return replace(event, note=redactor.text(event.note)), []
            case AgentTold():
                return replace(event, text=redactor.text(event.text)), []
            case FunctionCalled():
                # Nobody can read a signature, and it is of the arguments as they were.
                arguments = redactor.json(event.arguments)
                return replace(event, arguments=arguments, thought_signature=UNSET), []
            case FunctionAnswered() | FunctionFinishedLate():
                return replace(event, content=redactor.json(event.content)), []
            case MessageTaken():
                name, number = redactor.text(event.from_name), redactor.text(event.number)
                text = redactor.text(event.text)
                return replace(event, from_name=name, number=number, text=text), []
            case Dialled() | DialRefused() if self._wanted.caller_id or self._wanted.phone_numbers:
                return replace(event, to=masked(event.to)), []
            case AgentWarned():
                return replace(event, description=redactor.text(event.description)), []
            case CallBegan():
                return self._began(event), []
            case CallEnded():
                self._forget(call_event.call_sid)
                return replace(event, detail=redactor.text(event.detail)), []
            case CallReleased():
                self._forget(call_event.call_sid)
                return event, []
            case _:
                return event, []

    def _forget(self, call_sid: str) -> None:
        self._speakers.pop((call_sid, "caller"), None)
        self._speakers.pop((call_sid, "agent"), None)

    def _said(
        self, call_event: CallEvent, leg: Leg, text: str, start_ms: int | None
    ) -> tuple[list[Span], list[tuple[Leg, Stretch]]]:
        """Return the spans to take out of an utterance, and the stretches of audio to silence."""
        speaker = self._speakers.setdefault((call_event.call_sid, leg), Speaker())
        if start_ms is None:
            start_ms = speaker.end_ms
        elif leg == "caller":
            start_ms = max(speaker.end_ms, start_ms - LEAD_MS)
        said = (min(start_ms, call_event.at_ms), call_event.at_ms)
        speaker.end_ms = call_event.at_ms
        spans = self._redactor.spans(text)
        earlier: tuple[Stretch, ...] = ()
        if self._wanted.cards:
            more, earlier = speaker.goes_on(text[:TEXT_MAX], spans, said)
            spans = merged([*spans, *more]) if more else spans
        return spans, [(leg, each) for each in (*earlier, said)] if spans else []

    def _announced(self, text: str) -> str:
        """Return a piece of an utterance, redacted.

        A number may go on in the next piece, and no half of it is found in the half: so every
        digit is taken out, until AgentSaid has the whole.
        """
        text = self._redactor.text(text)
        if self._wanted.cards or self._wanted.phone_numbers:
            text = re.sub(r"\d", KEY, text)
        return text

    def _agent_said(
        self, call_event: CallEvent, event: AgentSaid
    ) -> tuple[Event, list[tuple[Leg, Stretch]]]:
        spans, silent = self._said(call_event, "agent", event.intended, event.start_ms)
        if not spans:
            return event, []
        # What is heard of a cut utterance has its words, with one space between each.
        words = " ".join(event.intended.split())
        found = spans if words == event.intended else self._redactor.spans(words)
        text = _heard(event.text, words, found)
        redacted = replace(
            event,
            text=self._redactor.text(event.text) if text is None else text,
            intended=applied(event.intended, spans),
        )
        return redacted, silent if event.start_ms is not None else []

    def _began(self, event: CallBegan) -> CallBegan:
        given = event.variables
        if self._wanted.caller_id:
            values = json.loads(given)
            for number in filter(None, (event.from_, event.to)):
                values = {name: of.replace(number, masked(number)) for name, of in values.items()}
            given = json.dumps(values, ensure_ascii=False)
            event = replace(event, from_=masked(event.from_), to=masked(event.to))
        return replace(event, variables=self._redactor.json(given))


def masked(number: str) -> str:
    """Return a number with all but its first three and last two characters masked."""
    return number[:3] + "*" * (len(number) - 5) + number[-2:] if len(number) > 6 else number
