"""A hundred thousand messages that nobody should send, for each parser.

They are made from tests/wire: truth cut off, spliced and overwritten, and truth in whose places
there is something else. A parser may answer with a message or with its own error, nothing else.
What makes one do otherwise is kept in tests/wire/crashes and replayed from then on.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, get_args

import msgspec
import pytest
from tests.wire import samples

from offhook.deepgram import messages as deepgram
from offhook.twilio import messages as twilio

SEED = 20261123
COUNT = 100_000


@dataclass(frozen=True)
class Parser:
    """What is fuzzed. `quiet`: its BadMessage quotes nothing of what came."""

    read: Callable[[bytes], object]
    known: tuple[type, ...]
    bad: type[Exception]
    truth: list[bytes]
    quiet: bool


PARSERS = {
    "twilio.media.read": Parser(
        twilio.read,
        (*get_args(twilio.FromTwilio), twilio.UnknownTwilioMessage),
        twilio.MalformedTwilioMessageError,
        samples.FROM_TWILIO,
        quiet=True,
    ),
    "twilio.media.read_ours": Parser(
        twilio.read_ours,
        get_args(twilio.ToTwilio),
        twilio.MalformedTwilioMessageError,
        samples.TO_TWILIO,
        quiet=False,
    ),
    "deepgram.messages.read": Parser(
        deepgram.read,
        (*get_args(deepgram.ServerMessage), deepgram.UnknownAgentMessage),
        deepgram.MalformedAgentMessageError,
        samples.FROM_DEEPGRAM,
        quiet=True,
    ),
    "deepgram.messages.read_ours": Parser(
        deepgram.read_ours,
        (*get_args(deepgram.ClientMessage), deepgram.UnknownAgentMessage),
        deepgram.MalformedAgentMessageError,
        samples.TO_DEEPGRAM,
        quiet=True,
    ),
}

CANARY = b"CANARY"

HOSTILE_VALUES = [
    *(b"null", b"true", b"0", b"-0", b"1e999", b"-1e999", b"1.5", b"01", b"NaN", b"-", b"1e"),
    *(b"[]", b"{}", b"[null]", b'""', b'"CANARY"', b"CANARY", b"'CANARY'", b"/*CANARY*/1"),
    *(b"9" * 19, b"9" * 400, b"9" * 5000, b"-" + b"9" * 5000, b"0." + b"3" * 400),
    *(b'"9"', b'"1e999"', b'"nan"', b'"-inf"', b'"' + b"9" * 5000 + b'"', b'"true"'),
    *(rb'"\ud800"', rb'"\udc00\ud800"', rb'"\ud83d\ude42"', rb'"\u0000"', rb'"\u12"', rb'"\x41"'),
    *(b'"\xff"', b'"\xed\xa0\x80"', b'"\xc0\xaf"', b'"\xf4\x90\x80\x80"', b'"\x00\n"', b'"\\"'),
    *(b'"===="', b'"A==="', b'"AA=A"', b'"-_-_"', b'"' + b"/w==" * 300 + b'"'),
    *(b"[" * depth + b"]" * depth for depth in (50, 900, 30_000)),
    *(b'{"a":' * depth + b"0" + b"}" * depth for depth in (50, 900, 10_000)),
    *(b"[" * 30_000, b'{"a":' * 10_000),
]

JUNK = [b"", b"\x00", b"\xff", b"\xef\xbb\xbf", b'"', b"\\", b"{", b"}", b"[", b",", b":", CANARY]


@dataclass(frozen=True)
class Place:
    """A value in a message, with the JSON before it and behind it."""

    before: bytes
    value: Any
    after: bytes


class Mutations:
    """Endless messages made of some true ones."""

    def __init__(self, random: Random, truth: list[bytes]) -> None:
        self._random = random
        self._truth = truth
        self._places = [place for message in truth for place in places(json.loads(message))]
        self._objects = [place for place in self._places if isinstance(place.value, dict)]
        self._names = sorted({json.dumps(name) for place in self._objects for name in place.value})
        self._values = HOSTILE_VALUES + [json.dumps(place.value).encode() for place in self._places]

    def __iter__(self) -> Iterator[bytes]:
        random = self._random
        makers = (self._another_value, self._another_value, self._one_member_more, self._spliced)
        while True:
            message = random.choice(makers)() if random.random() < 0.95 else self._junk()
            while len(message) < 10_000 and random.random() < 0.4:
                message = self._damaged(message)
            yield message

    def _another_value(self) -> bytes:
        """Truth with something else in place of one value, however deep."""
        place = self._random.choice(self._places)
        return place.before + self._random.choice(self._values) + place.after

    def _one_member_more(self) -> bytes:
        """Truth with one member more in one of its objects, often one that it has already."""
        place = self._random.choice(self._objects)
        member = (
            self._random.choice(self._names).encode() + b":" + self._random.choice(self._values)
        )
        members = [json.dumps(place.value).encode()[1:-1]]
        members.insert(self._random.randrange(2), member)
        return place.before + b"{" + b",".join(filter(None, members)) + b"}" + place.after

    def _spliced(self) -> bytes:
        """The beginning of one message and the end of another, or of the same."""
        one, two = self._random.choice(self._truth), self._random.choice(self._truth)
        return one[: self._random.randrange(len(one) + 1)] + two[self._random.randrange(len(two)) :]

    def _junk(self) -> bytes:
        return self._random.randbytes(self._random.randrange(40))

    def _damaged(self, message: bytes) -> bytes:
        """Cut off, or with a few bytes added, exchanged or left out."""
        random = self._random
        at = random.randrange(len(message) + 1)
        match random.randrange(4):
            case 0:
                return message[:at]
            case 1:
                return message[:at] + random.choice(JUNK) + message[at:]
            case 2:
                return message[:at] + random.randbytes(1) + message[at + 1 :]
            case _:
                return message[:at] + message[at + random.randrange(1, 9) :]


def places(tree: Any) -> Iterator[Place]:
    """Every value in a tree, itself first."""
    yield Place(b"", tree, b"")
    keys: Iterable[Any] = ()
    if isinstance(tree, dict):
        keys = tree
    elif isinstance(tree, list):
        keys = range(len(tree))
    for key in keys:
        marked = tree.copy()
        marked[key] = "\x00"
        before, _, after = json.dumps(marked).encode().partition(rb'"\u0000"')
        for inner in places(tree[key]):
            yield Place(before + inner.before, inner.value, inner.after + after)


def fault(parser: Parser, message: bytes) -> str | None:
    """What the parser did that it may not do."""
    try:
        result = parser.read(message)
    except parser.bad as bad:
        quoted = parser.quiet and (CANARY.decode() in str(bad) or len(str(bad)) > 300)
        return f"it quoted what came: {bad}" if quoted else None
    except Exception as error:  # noqa: BLE001 - which ones there are is the question
        return repr(error)
    return None if isinstance(result, parser.known) else f"it read {result!r}"


def fuzz(name: str, parser: Parser, crashes: Path) -> str | None:
    """The first fault, with all that it takes to find it again."""
    mutations = Mutations(Random(f"{SEED} {name}"), parser.truth)
    for number, message in enumerate(islice(mutations, COUNT)):
        found = fault(parser, message)
        if found is not None:
            file = crashes / f"{name}-{hashlib.sha256(message).hexdigest()[:12]}"
            file.write_bytes(message)
            return f"{name}, seed {SEED}, message {number}, kept as {file.name}: {found[:500]}"
    return None


@pytest.mark.parametrize("name", PARSERS)
def test_a_hundred_thousand_messages_without_a_crash(name: str) -> None:
    found = fuzz(name, PARSERS[name], samples.CRASHES)
    assert found is None, found


@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.parametrize("crash", sorted(samples.CRASHES.iterdir()), ids=lambda path: path.name)
def test_what_crashed_once_does_not_crash_again(crash: Path, name: str) -> None:
    assert fault(PARSERS[name], crash.read_bytes()) is None


@pytest.mark.parametrize("name", PARSERS)
def test_the_messages_are_neither_all_good_nor_all_garbage(name: str) -> None:
    parser = PARSERS[name]
    read: dict[type, int] = dict.fromkeys(parser.known, 0)
    refused: set[str] = set()
    for message in islice(Mutations(Random(f"{SEED} {name}"), parser.truth), COUNT // 10):
        try:
            read[type(parser.read(message))] += 1
        except parser.bad as bad:
            refused.add(str(bad)[:60])
    assert all(read.values()), "every kind of message was read, in spite of what was done to it"
    assert 200 < sum(read.values()) < COUNT // 20
    assert len(refused) > 50, "and refused for many reasons"


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(lambda text: json.loads(text), id="lets others' errors out"),
        pytest.param(lambda text: [], id="reads what is no message"),
    ],
)
def test_a_broken_parser_is_found_out_and_its_input_is_kept(
    broken: Callable[[bytes], object], tmp_path: Path
) -> None:
    truth = samples.FROM_TWILIO
    found = fuzz(
        "broken",
        Parser(broken, (), twilio.MalformedTwilioMessageError, truth, quiet=True),
        tmp_path,
    )
    assert found is not None
    assert str(SEED) in found
    [kept] = tmp_path.iterdir()
    assert kept.name in found
    assert fault(
        Parser(broken, (), twilio.MalformedTwilioMessageError, truth, quiet=True), kept.read_bytes()
    )


def test_a_parser_that_forgets_how_deep_json_can_be_is_found_out(tmp_path: Path) -> None:
    """As ours once did: see tests/wire/crashes."""

    def forgetful(text: bytes) -> object:
        try:
            return msgspec.json.decode(text, type=twilio.UnknownTwilioMessage)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise twilio.MalformedTwilioMessageError from error

    parser = Parser(
        forgetful,
        (twilio.UnknownTwilioMessage,),
        twilio.MalformedTwilioMessageError,
        samples.FROM_TWILIO,
        quiet=True,
    )
    assert "RecursionError" in (fuzz("forgetful", parser, tmp_path) or "")
