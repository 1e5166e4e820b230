"""Patterns of personal data: card numbers, phone numbers, e-mail addresses.

Digits may be written or said, and a card's number may come in several utterances. What is found is
documented in docs/privacy.md, with what is not. redactor.py takes it out.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

CARD: Final = "[card]"
PHONE: Final = "[phone number]"
EMAIL: Final = "[email]"

MARGIN: Final = 200
"""Characters from where personal data begins to the part that identifies it, at most."""


class Span(NamedTuple):
    """A part of a text, and the label that replaces it."""

    start: int
    end: int
    instead: str


def merged(spans: list[Span]) -> list[Span]:
    """Return spans in order; spans that overlap are joined."""
    whole: list[Span] = []
    for span in sorted(spans):
        if whole and span.start < whole[-1].end:
            last = whole[-1]
            whole[-1] = Span(last.start, max(last.end, span.end), last.instead)
        else:
            whole.append(span)
    return whole


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
"""Characters between a number and the beginning or end of what was said."""

_CARD_DIGITS: Final = range(13, 20)
_PHONE_DIGITS: Final = range(7, 16)
_SURE_DIGITS: Final = 9
"""Digits in groups that make a phone number; fewer do only if they are written as one."""

_CARD_BEGINS: Final = re.compile(r"4|5[1-5]|2[2-7]|3[0-9]|6")
_SPLIT_DIGITS: Final = 11
"""Digits in several utterances from which a number that begins like a card's counts as one."""

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


class Group(NamedTuple):
    """Digits that were written together, or a digit that was said."""

    start: int
    end: int
    digits: str
    said: bool


def digits_in(text: str) -> list[Group]:
    """Return all digits of a text, written and said, in order."""
    found: list[Group] = []
    times = 1
    begin = 0
    for match in _GROUP.finditer(text):
        word = match[0]
        if word[0].isdigit():
            digits = word if word.isascii() else "".join(str(int(digit)) for digit in word)
            found.append(Group(match.start(), match.end(), digits, said=False))
            times = 1
            continue
        word = word.lower()
        if word not in _SAID:
            if word in _TIMES:
                times, begin = _TIMES[word], match.start()
            continue
        near = times > 1 and _SAID_GAP.fullmatch(text, begin + 6, match.start()) is not None
        start = begin if near else match.start()
        found.append(Group(start, match.end(), _SAID[word] * (times if near else 1), said=True))
        times = 1
    return found


def _runs(text: str, groups: list[Group]) -> Iterator[list[Group]]:
    """Yield groups with nothing between them but separators of the parts of a card's number."""
    run: list[Group] = []
    for group in groups:
        if run and _CARD_GAP.fullmatch(text, run[-1].end, group.start) is None:
            yield run
            run = []
        run.append(group)
    if run:
        yield run


def _card_windows(digits: str, edges: list[int]) -> Iterator[tuple[int, int]]:
    """Yield the edges that enclose a card's number: a network's first digits, and Luhn's sum."""
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


def _joined(run: list[Group]) -> tuple[str, list[int]]:
    """Return the digits of a run, and where its groups begin and end among them."""
    edges = [0]
    for group in run:
        edges.append(edges[-1] + len(group.digits))
    return "".join(group.digits for group in run), edges


def cards(text: str, groups: list[Group]) -> Iterator[Span]:
    """Yield the card numbers among the digits of a text."""
    for run in _runs(text, groups):
        digits, edges = _joined(run)
        if len(digits) >= _CARD_DIGITS.start:
            for first, last in _card_windows(digits, edges):
                yield Span(run[first].start, run[last - 1].end, CARD)


def phones(text: str, groups: list[Group], taken: list[Span]) -> Iterator[Span]:
    """Yield the phone numbers among the digits that are not `taken`, which is `merged`."""
    starts = [span.start for span in taken]

    def is_taken(group: Group) -> bool:
        index = bisect_right(starts, group.start) - 1
        return index >= 0 and group.start < taken[index].end

    free = [group for group in groups if not is_taken(group)]
    if sum(len(group.digits) for group in free) < _PHONE_DIGITS.start:
        return
    clock = _overlapped(_CLOCK, text, free) if "+" in text else set()
    ordinary = _overlapped(_ORDINARY, text, free)
    run: list[Group] = []
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


def _overlapped(pattern: re.Pattern[str], text: str, groups: list[Group]) -> set[int]:
    """Return where the groups begin that lie within a match."""
    found: set[int] = set()
    index = 0
    for match in pattern.finditer(text):
        while index < len(groups) and groups[index].start < match.start():
            index += 1
        while index < len(groups) and groups[index].start < match.end():
            found.add(groups[index].start)
            index += 1
    return found


def _plus(text: str, group: Group) -> bool:
    return text[max(0, group.start - 2) : group.start].rstrip("(").endswith("+")


def _phone(text: str, run: list[Group]) -> Iterator[Span]:
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
"""Words after which `at example dot com` is a place and not a person's address."""


def emails(text: str) -> Iterator[Span]:
    """Yield the e-mail addresses, written and said."""
    if "@" in text:
        for match in _EMAIL.finditer(text):
            yield Span(match.start(), match.end(), EMAIL)
    for match in _AT_HOST.finditer(text):
        from_ = max(0, match.start() - MARGIN)
        before = _BEFORE_AT.search(text[from_ : match.start()])
        if before is not None and before[0].split()[-1].lower() not in _NOBODY:
            yield Span(from_ + before.start(), match.end(), EMAIL)


# --- Over several utterances ----------------------------------------------------------------------

Stretch: TypeAlias = tuple[int, int]
"""Start and end, in ms of the call."""


class _Number(NamedTuple):
    """Digits at the end of an utterance, which the next utterance may continue."""

    digits: str
    edges: list[int]
    """Positions among the digits at which groups begin and end."""
    said: tuple[Stretch, ...]

    def card(self, joint: int) -> int | None:
        """Return where a card's number ends that began in the first `joint` digits, or None."""
        ends = [
            self.edges[last]
            for first, last in _card_windows(self.digits, self.edges)
            if self.edges[first] < joint < self.edges[last]
        ]
        if ends:
            return max(ends)
        begins = len(self.digits) >= _SPLIT_DIGITS and _CARD_BEGINS.match(self.digits)
        return len(self.digits) if begins else None


class Speaker:
    """The end of a leg's last utterance: a card's number may go on in the next."""

    __slots__ = ("end_ms", "number")

    def __init__(self) -> None:
        self.number: _Number | None = None
        self.end_ms = 0

    def goes_on(
        self, text: str, spans: list[Span], said: Stretch
    ) -> tuple[list[Span], tuple[Stretch, ...]]:
        """Take the next utterance. Return spans that end a card's number, and its beginnings."""
        before, self.number = self.number, None
        runs = list(_runs(text, digits_in(text)))
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


def _within(spans: list[Span], group: Group) -> bool:
    return any(span.start <= group.start < span.end for span in spans)
