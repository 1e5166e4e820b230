"""What is taken out of a call's texts before anybody keeps them or passes them on.

`Redactor` knows texts and nothing else; `Redaction` is a subscriber between a call and all who are
told of it, and knows what was said before. What is found is documented in docs/privacy.md, with
what is not: digits are found by their shape, and whatever is not in the shape stays.

All of this runs on the event loop, for every text of every call: bench/redaction.py says how long.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, NamedTuple, TypeAlias

from offhook.config import Redact
from offhook.events import (
    AgentSaid,
    AgentWarned,
    CallBegan,
    CallEnded,
    CallerSaid,
    DialRefused,
    Event,
    FunctionAnswered,
    FunctionCalled,
    Happening,
    KeyPressed,
    Leg,
    MessageTaken,
    Subscriber,
    UtteranceRedacted,
)

CARD: Final = "[card]"
PHONE: Final = "[phone number]"
EMAIL: Final = "[email]"
OWN: Final = "[redacted]"

TEXT_MAX: Final = 10_000
"""Characters of a text that are looked at; what is beyond, and a little before, is taken out."""

JSON_MAX: Final = 64 * 1024
"""Characters of a function's arguments or answer; more is taken out altogether."""

PIECE_MAX: Final = 2000
"""Characters that a pattern of the user's own is given at once: what it costs may grow faster."""

KEY: Final = "?"
"""What is told of a digit that was pressed."""

LEAD_MS: Final = 1000
"""So long before Deepgram said so the caller may have begun to speak, and a key to sound."""

_MARGIN: Final = 200
"""Characters before TEXT_MAX in which something may begin that ends beyond."""


class Span(NamedTuple):
    """A part of a text, and what stands in its place."""

    start: int
    end: int
    instead: str


# --- Digits, written and said --------------------------------------------------------------------

_SAID: Final = {
    "zero": "0",
    "oh": "0",
    "o": "0",
    "one": "1",
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
}
_TIMES: Final = {"double": 2, "triple": 3, "treble": 3}
_GROUP: Final = re.compile(r"\d+|(?<![^\W\d_])[A-Za-z]{1,6}(?![^\W\d_])")
"""Digits, and words that are short enough to be one of those."""

_CARD_GAP: Final = re.compile(r"[\s,.;/_\-\u2010-\u2015\u2212\u200b]{1,3}")
_PHONE_GAP: Final = re.compile(r" ?[-./\u2010-\u2015\u2212] ?|[ \u00a0]|\)[ -]?| ?\(0?\)? ?")
_SAID_GAP: Final = re.compile(r"[\s,.\-]{1,3}")
_AROUND: Final = re.compile(r"(?:\W|\b(?:and|then|it's|is)\b)*", re.IGNORECASE)
"""What may stand between a number and the beginning or end of what was said."""

_CARD_DIGITS: Final = range(13, 20)
_PHONE_DIGITS: Final = range(7, 16)
_SURE_DIGITS: Final = 9
"""So many digits in groups are a phone number; fewer only if they are written as one."""

_CARD_BEGINS: Final = re.compile(r"4|5[1-5]|2[2-7]|3[0-9]|6")
_SPLIT_DIGITS: Final = 11
"""From so many digits on, in several utterances, what begins like a card is taken for one."""

_DAY: Final = r"(?:0?[1-9]|[12]\d|3[01])"
_MONTH: Final = r"(?:0?[1-9]|1[0-2])"
_TIME: Final = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?"
_CLOCK: Final = re.compile(_TIME)
_ORDINARY: Final = re.compile(
    rf"(?=[\d$€£¥])(?:{_TIME}"
    rf"|(?<!\d)(?:19|20)\d{{2}}([-./]){_MONTH}\1{_DAY}(?![-./]?\d)"
    rf"|(?<![-./\d])(?:{_DAY}([-./]){_MONTH}|{_MONTH}([-./]){_DAY})(?:\2|\3)"
    r"(?:(?:19|20)\d{2}|\d{2})(?![-./]?\d)"
    r"|[$€£¥]\s?\d[\d,. ]{0,20}"
    r"|\d[\d,. ]{0,20}(?=\s?(?:[$€£¥%]|(?:dollar|euro|pound|cent|percent|people)s?\b)))"
)
"""Times, dates and amounts, which are no phone numbers."""


class _Group(NamedTuple):
    """Digits that were written together, or one that was said."""

    start: int
    end: int
    digits: str
    said: bool


def _groups(text: str) -> list[_Group]:
    found: list[_Group] = []
    times = 1
    begin = 0
    for match in _GROUP.finditer(text):
        word = match[0]
        if word[0].isdigit():
            digits = word if word.isascii() else "".join(str(int(digit)) for digit in word)
            found.append(_Group(match.start(), match.end(), digits, said=False))
            times = 1
            continue
        word = word.lower()
        if word not in _SAID:
            if word in _TIMES:
                times, begin = _TIMES[word], match.start()
            continue
        near = times > 1 and _SAID_GAP.fullmatch(text, begin + 6, match.start()) is not None
        start = begin if near else match.start()
        found.append(_Group(start, match.end(), _SAID[word] * (times if near else 1), said=True))
        times = 1
    return found


def _runs(text: str, groups: list[_Group]) -> Iterator[list[_Group]]:
    """Groups with nothing between them but what separates the parts of a card's number."""
    run: list[_Group] = []
    for group in groups:
        if run and _CARD_GAP.fullmatch(text, run[-1].end, group.start) is None:
            yield run
            run = []
        run.append(group)
    if run:
        yield run


def _card_windows(digits: str, edges: list[int]) -> Iterator[tuple[int, int]]:
    """Which edges enclose a card's number: the networks' first digits, and Luhn's sum."""
    sums = ([0], [0])
    for place, digit in enumerate(digits):
        plain = int(digit)
        doubled = plain * 2 - (9 if plain > 4 else 0)
        sums[place % 2].append(sums[place % 2][-1] + plain)
        sums[1 - place % 2].append(sums[1 - place % 2][-1] + doubled)
    for first, start in enumerate(edges):
        if start == len(digits) or digits[start] not in "23456":
            continue
        last = first + 1
        while last < len(edges) and edges[last] - start < _CARD_DIGITS.start:
            last += 1
        while last < len(edges) and edges[last] - start < _CARD_DIGITS.stop:
            end = edges[last]
            # The last digit counts once, the one before it double, and so on.
            if (sums[(end - 1) % 2][end] - sums[(end - 1) % 2][start]) % 10 == 0:
                yield first, last
            last += 1


def _joined(run: list[_Group]) -> tuple[str, list[int]]:
    """The digits of a run, and where its groups begin and end among them."""
    edges = [0]
    for group in run:
        edges.append(edges[-1] + len(group.digits))
    return "".join(group.digits for group in run), edges


def _cards(text: str, groups: list[_Group]) -> Iterator[Span]:
    for run in _runs(text, groups):
        digits, edges = _joined(run)
        if len(digits) >= _CARD_DIGITS.start:
            for first, last in _card_windows(digits, edges):
                yield Span(run[first].start, run[last - 1].end, CARD)


def _phones(text: str, groups: list[_Group], taken: list[Span]) -> Iterator[Span]:
    starts = [span.start for span in taken]

    def is_taken(group: _Group) -> bool:
        index = bisect_right(starts, group.start) - 1
        return index >= 0 and group.start < taken[index].end

    free = [group for group in groups if not is_taken(group)]
    if sum(len(group.digits) for group in free) < _PHONE_DIGITS.start:
        return
    clock = _overlapped(_CLOCK, text, free) if "+" in text else set()
    ordinary = _overlapped(_ORDINARY, text, free)
    run: list[_Group] = []
    for group in [*free, None]:
        joins = (
            run
            and group is not None
            and group.start not in (clock if _plus(text, run[0]) else ordinary)
            and (_SAID_GAP if run[-1].said and group.said else _PHONE_GAP).fullmatch(
                text, run[-1].end, group.start
            )
        )
        if run and not joins:
            yield from _phone(text, run)
            run = []
        if group is not None and (_plus(text, group) or group.start not in ordinary or run):
            run.append(group)


def _overlapped(pattern: re.Pattern[str], text: str, groups: list[_Group]) -> set[int]:
    """Where the groups begin that lie within a match."""
    found: set[int] = set()
    index = 0
    for match in pattern.finditer(text):
        while index < len(groups) and groups[index].start < match.start():
            index += 1
        while index < len(groups) and groups[index].start < match.end():
            found.add(groups[index].start)
            index += 1
    return found


def _plus(text: str, group: _Group) -> bool:
    return text[max(0, group.start - 2) : group.start].rstrip("(").endswith("+")


def _phone(text: str, run: list[_Group]) -> Iterator[Span]:
    digits = sum(len(group.digits) for group in run)
    if digits not in _PHONE_DIGITS:
        return
    start, end = run[0].start, run[-1].end
    plus = _plus(text, run[0])
    local = [len(group.digits) for group in run] == [3, 4] and text[run[0].end] in "-\u2010\u2011"
    if plus or local or digits >= _SURE_DIGITS or any(group.said for group in run):
        while start and text[start - 1] in "+(":
            start -= 1
        yield Span(start, end, PHONE)


# --- Addresses -----------------------------------------------------------------------------------

_EMAIL: Final = re.compile(r"(?<![\w.+%'-])[\w.+%'-]{1,256}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_ENDS: Final = (
    "com|org|net|edu|gov|info|biz|io|co|ai|app|dev|eu|us|uk|de|fr|es|it|nl|be|ch|at|pl|pt|ie|ca|au"
)
_AT_HOST: Final = re.compile(
    rf"\bat\s+[\w-]{{1,63}}(?:(?:\s+dot\s+|\.)[\w-]{{1,63}}){{0,4}}(?:\s+dot\s+|\.)(?:{_ENDS})\b",
    re.IGNORECASE,
)
_BEFORE_AT: Final = re.compile(
    r"(?:\b\w\s+){0,30}\b[\w.+-]+"
    r"(?:\s+(?:dot|underscore|dash|hyphen|plus|minus)\s+(?:\w\s+){0,30}[\w.+-]+){0,6}\s+$",
    re.IGNORECASE,
)
_NOBODY: Final = frozenset(
    {
        *(
            "are",
            "available",
            "be",
            "find",
            "found",
            "here",
            "is",
            "it",
            "look",
            "looking",
            "online",
        ),
        *("order", "page", "shop", "site", "us", "visit", "website", "me", "them", "there"),
    }
)
"""Words after which `at example dot com` is a place and nobody's address."""


def _emails(text: str) -> Iterator[Span]:
    if "@" in text:
        for match in _EMAIL.finditer(text):
            yield Span(match.start(), match.end(), EMAIL)
    for match in _AT_HOST.finditer(text):
        from_ = max(0, match.start() - _MARGIN)
        before = _BEFORE_AT.search(text[from_ : match.start()])
        if before is not None and before[0].split()[-1].lower() not in _NOBODY:
            yield Span(from_ + before.start(), match.end(), EMAIL)


# --- One text ------------------------------------------------------------------------------------


class Redactor:
    """Finds in a text what is not to be kept."""

    def __init__(self, wanted: Redact) -> None:
        self._cards = wanted.cards
        self._phones = wanted.phone_numbers
        self._emails = wanted.emails
        self._patterns = wanted.patterns

    def spans(self, text: str) -> list[Span]:
        """What is to be taken out, in order, without overlaps."""
        seen = text[:TEXT_MAX]
        found: list[Span] = []
        if len(text) > TEXT_MAX:
            found.append(Span(TEXT_MAX - _MARGIN, len(text), OWN))
        if self._cards or self._phones:
            groups = _groups(seen)
            if self._cards and groups:
                found += _cards(seen, groups)
            if self._phones and groups:
                found += _phones(seen, groups, merged(found))
        if self._emails:
            found += _emails(seen)
        for pattern in self._patterns:
            found += _own(pattern, seen)
        return merged(found)

    def text(self, text: str) -> str:
        """The text without it."""
        return applied(text, self.spans(text))

    def json(self, text: str) -> str:
        """A JSON text without it, in its texts, its numbers and its names; JSON as before.

        What is no JSON is taken for plain text.
        """
        if len(text) > JSON_MAX:
            return json.dumps(OWN)
        try:
            value = json.loads(text)
            redacted = self._value(value)
        except (ValueError, RecursionError):
            return self.text(text)
        return text if redacted is value else json.dumps(redacted, ensure_ascii=False)

    def _value(self, value: Any) -> Any:
        """The same object if there is nothing in it."""
        match value:
            case str():
                spans = self.spans(value)
                return applied(value, spans) if spans else value
            case bool() | None:
                return value
            case int() | float():
                written = str(value)
                return self.text(written) if self.spans(written) else value
            case list():
                items = [self._value(item) for item in value]
                same = all(new is old for new, old in zip(items, value, strict=True))
                return value if same else items
            case dict():
                pairs = [(self._value(name), self._value(of)) for name, of in value.items()]
                same = all(
                    new[0] is old[0] and new[1] is old[1]
                    for new, old in zip(pairs, value.items(), strict=True)
                )
                return value if same else dict(pairs)
        return value


def _own(pattern: re.Pattern[str], text: str) -> Iterator[Span]:
    start = 0
    while start < len(text):
        end = len(text)
        if end - start > PIECE_MAX:
            end = text.rfind(" ", start + 1, start + PIECE_MAX) + 1 or start + PIECE_MAX
        for match in pattern.finditer(text, start, end):
            if match.end() > match.start():
                yield Span(match.start(), match.end(), OWN)
        start = end


def merged(spans: list[Span]) -> list[Span]:
    """Spans in order; those that overlap are one."""
    whole: list[Span] = []
    for span in sorted(spans):
        if whole and span.start < whole[-1].end:
            last = whole[-1]
            whole[-1] = Span(last.start, max(last.end, span.end), last.instead)
        else:
            whole.append(span)
    return whole


def applied(text: str, spans: list[Span]) -> str:
    """The text with something else in place of each span."""
    parts: list[str] = []
    at = 0
    for span in spans:
        parts += (text[at : span.start], span.instead)
        at = span.end
    return "".join([*parts, text[at:]])


def _heard(text: str, intended: str, spans: list[Span]) -> str | None:
    """The heard part of an utterance, with what was found in the whole; None if it is no part.

    Half of a card's number is not found in the half.
    """
    if not intended.startswith(text):
        return None
    begun = [span for span in spans if span.start < len(text)]
    return applied(text, [span._replace(end=min(span.end, len(text))) for span in begun])


# --- A call --------------------------------------------------------------------------------------

Stretch: TypeAlias = tuple[int, int]
"""Start and end, in ms of the call."""


class _Number(NamedTuple):
    """Digits with which somebody stopped speaking, and which may go on."""

    digits: str
    edges: list[int]
    """Where its groups begin and end among the digits."""
    said: tuple[Stretch, ...]

    def card(self, joint: int) -> int | None:
        """Where the card ends of whose number the first `joint` digits were said before."""
        ends = [
            self.edges[last]
            for first, last in _card_windows(self.digits, self.edges)
            if self.edges[first] < joint < self.edges[last]
        ]
        if ends:
            return max(ends)
        begins = len(self.digits) >= _SPLIT_DIGITS and _CARD_BEGINS.match(self.digits)
        return len(self.digits) if begins else None


class _Speaker:
    """What one leg of a call said last, as far as a card's number may go on in what comes."""

    __slots__ = ("end_ms", "number")

    def __init__(self) -> None:
        self.number: _Number | None = None
        self.end_ms = 0

    def goes_on(
        self, text: str, spans: list[Span], said: Stretch
    ) -> tuple[list[Span], tuple[Stretch, ...]]:
        """More was said: what of it ends a card's number, and where the number's begin was said."""
        before, self.number = self.number, None
        runs = list(_runs(text, _groups(text)))
        if not runs:
            return [], ()
        head, tail = runs[0], runs[-1]
        if _AROUND.fullmatch(text, tail[-1].end) and not _within(spans, tail[-1]):
            self.number = _Number(*_joined(tail), (said,))
        if before is None or not _AROUND.fullmatch(text, 0, head[0].start):
            return [], ()
        if _within(spans, head[0]):
            return [], ()
        digits, edges = _joined(head)
        joint = len(before.digits)
        number = _Number(
            before.digits + digits,
            [*before.edges, *(joint + edge for edge in edges[1:])],
            (*before.said, said),
        )
        if head is tail and self.number is not None and len(number.digits) < _CARD_DIGITS.stop:
            self.number = number
        end = number.card(joint)
        if end is None:
            return [], ()
        return [Span(head[0].start, head[edges.index(end - joint) - 1].end, CARD)], before.said


def _within(spans: list[Span], group: _Group) -> bool:
    return any(span.start <= group.start < span.end for span in spans)


class Redaction:
    """A subscriber that tells another one of everything, without what is not to be kept."""

    def __init__(self, wanted: Redact, publish: Subscriber) -> None:
        self._redactor = Redactor(wanted)
        self._wanted = wanted
        self._publish = publish
        self._speakers: dict[tuple[str, Leg], _Speaker] = {}
        """Of live calls alone."""

    def __call__(self, happening: Happening) -> None:
        """It happened."""
        event, silent = self._redacted(happening)
        self._publish(happening if event is happening.event else replace(happening, event=event))
        if self._wanted.audio:
            for leg, (start_ms, end_ms) in silent:
                told = UtteranceRedacted(leg, start_ms, end_ms)
                self._publish(replace(happening, event=told))

    def _redacted(self, happening: Happening) -> tuple[Event, list[tuple[Leg, Stretch]]]:
        redactor, event = self._redactor, happening.event
        match event:
            case CallerSaid():
                spans, silent = self._said(happening, "caller", event.text, event.start_ms)
                if spans:
                    event = replace(event, text=applied(event.text, spans))
                return event, silent
            case AgentSaid():
                return self._agent_said(happening, event)
            case KeyPressed() if self._wanted.cards and event.digit.isdecimal():
                at_ms = happening.at_ms
                return replace(event, digit=KEY), [("caller", (max(0, at_ms - LEAD_MS), at_ms))]
            case FunctionCalled():
                return replace(event, arguments=redactor.json(event.arguments)), []
            case FunctionAnswered():
                return replace(event, content=redactor.json(event.content)), []
            case MessageTaken():
                name, number = redactor.text(event.from_name), redactor.text(event.number)
                text = redactor.text(event.text)
                return replace(event, from_name=name, number=number, text=text), []
            case DialRefused() if self._wanted.caller_id or self._wanted.phone_numbers:
                return replace(event, to=masked(event.to)), []
            case AgentWarned():
                return replace(event, description=redactor.text(event.description)), []
            case CallBegan():
                return self._began(event), []
            case CallEnded():
                self._speakers.pop((happening.call_sid, "caller"), None)
                self._speakers.pop((happening.call_sid, "agent"), None)
                return replace(event, detail=redactor.text(event.detail)), []
            case _:
                return event, []

    def _said(
        self, happening: Happening, leg: Leg, text: str, start_ms: int | None
    ) -> tuple[list[Span], list[tuple[Leg, Stretch]]]:
        """What is to be taken out of an utterance, and what is to be silent for it."""
        speaker = self._speakers.setdefault((happening.call_sid, leg), _Speaker())
        if start_ms is None:
            start_ms = speaker.end_ms
        elif leg == "caller":
            start_ms = max(speaker.end_ms, start_ms - LEAD_MS)
        said = (min(start_ms, happening.at_ms), happening.at_ms)
        speaker.end_ms = happening.at_ms
        spans = self._redactor.spans(text)
        earlier: tuple[Stretch, ...] = ()
        if self._wanted.cards:
            more, earlier = speaker.goes_on(text[:TEXT_MAX], spans, said)
            spans = merged([*spans, *more]) if more else spans
        return spans, [(leg, each) for each in (*earlier, said)] if spans else []

    def _agent_said(
        self, happening: Happening, event: AgentSaid
    ) -> tuple[Event, list[tuple[Leg, Stretch]]]:
        spans, silent = self._said(happening, "agent", event.intended, event.start_ms)
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
    """A number of which the beginning and the end are left: two digits each."""
    return number[:3] + "*" * (len(number) - 5) + number[-2:] if len(number) > 6 else number


def redacting(wanted: Redact, publish: Subscriber) -> Subscriber:
    """What is between a call and `publish`: nothing, if nothing is to be taken out."""
    if wanted == Redact(audio=wanted.audio):
        return publish
    return Redaction(wanted, publish)
