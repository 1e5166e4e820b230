"""Dialogues as files: what is taken, and what is said about mistakes."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from offhook.errors import UserError
from offhook.testing.simulator.dialogue import file
from offhook.testing.simulator.dialogue import schema as schema_file
from offhook.testing.simulator.dialogue.file import Dialogue, front_desk, read
from offhook.testing.simulator.dialogue.words import words

SMALL = """\
intents:
  hours: [when are you open]
  book: [book a table, a table for $people]
  count: [for $people]
  "yes": ["yes"]
  "no": ["no"]
functions:
  book_table: {example: {booked: true, table: 4}}
replies:
  sorry: [Sorry., Pardon?]
states:
  booking:
    needs: {people: For how many?}
    confirm: For {people}?
    call: book_table
    then: Table {table}.
anywhere:
  hours: From nine to six.
  book: {say: sorry, to: booking}
caller:
  - A table for two.
pronunciations: {offhook: AO F HH UH K}
"""

EXAMPLE = Path(__file__).parents[3] / "examples" / "front-desk" / "dialogue.yaml"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "dialogue.yaml"
    path.write_text(text)
    return path


def test_a_dialogue_is_read(tmp_path: Path) -> None:
    dialogue = read(written(tmp_path, SMALL))
    assert dialogue.caller_lines == ["A table for two."]
    assert dialogue.meaning("a table for four").slots == {"people": 4}
    assert dialogue.content.states["booking"].then[0].say == ["Table {table}."]
    assert dialogue.vocabulary().pronunciations == {"offhook": "AO F HH UH K"}


CHANGES = [
    ("hours: From", "hors: From", ":18:3", 'no intent "hors". Did you mean "hours"?'),
    ("to: booking", "to: bocking", ":19:26", 'no state "bocking". Did you mean "booking"?'),
    ("to: booking}", "end: true}", ":12:3", 'No way leads to the state "booking".'),
    ("for $people]\n  count", "for $peopel]\n  count", ":3:24", 'Did you mean "people"?'),
    ("needs: {people:", "needs: {poeple:", ":13:13", 'no slot "poeple". Did you mean "people"?'),
    ("needs: {people:", "needs: {day:", ":13:13", "no phrase has $day"),
    ("call: book_table", "call: book_tabel", ":15:11", 'Did you mean "book_table"?'),
    ("say: sorry", "say: sory", ":19:15", 'no reply "sory". Did you mean "sorry"?'),
    ("Table {table}.", "Table {tabel}.", ":16:11", 'Did you mean "{table}"?'),
    ("For {people}?", "On {day}?", ":14:14", "Nobody fills {day}"),
    ("For {people}?", "For {}?", ":14:14", "Nobody fills {}"),
    ('  "no": ["no"]\n', "", ":13:14", 'This needs the intent "no".'),
    ("book: [book a table,", "book: [when are you open,", ":3:10", 'a phrase of "hours" as well'),
    ("count: [for $people]", "count: [When are you OPEN?]", ":4:11", "nobody could tell"),
    ("count: [for $people]", "count: [well well]", ":4:3", 'Nothing answers the intent "count".'),
    ("count: [for $people]", 'count: ["..."]', ":4:11", "no words"),
    ("    call: book_table\n", "", ":15:11", "comes after a call, and there is none"),
    ("    call: book_table\n    then: Table {table}.\n", "", ":8:3", "Nothing calls the function"),
    ("{example: {booked", "{arguments: {n: $day}, example: {booked", ":8:31", "Nobody fills"),
    ("{say: sorry,", "{when: {boked: true}, say: sorry,", ":19:17", 'Did you mean "booked"?'),
    ("{say: sorry,", "{forget: peple, say: sorry,", ":19:18", 'Did you mean "people"?'),
    ("  - A table for two.", "  - Do you like jazz?", ":21:5", "would not understand this"),
    ("  sorry:", "  Sorry Sorry:", ":10:3", "cannot be a name"),
    ("intents:", "slots: {day: [x]}\nintents:", ":1:9", '"day" is a slot already'),
    ("intents:", "slots: {dish: 3}\nintents:", ":1:15", "The kinds are day, time, people, digits"),
    ("intents:", "slots: {dish: {a: b}}\nintents:", ":1:15", "list of words"),
    ("intents:", "slots: {dish: []}\nintents:", ":1:15", "list of words"),
    ("intents:", "day_begins: 7\nintents:", ":1:13", "day_begins"),
    ("hours: [when are you open]", "hours: []", ":2:10", "hours"),
    ("  book: {say:", "  book: {sya:", ":19:10", 'Did you mean "say"?'),
    ("    needs:", "    need:", ":13:5", 'Did you mean "needs"?'),
    ("replies:", "reply:", ":9:1", 'Did you mean "replies"?'),
    ("caller:", "silent_after: 0\ncaller:", ":20:15", "silent_after"),
    ("intents:", "keywords: {hors: [x]}\nintents:", ":1:12", 'Did you mean "hours"?'),
    ("intents:", 'keywords: {hours: ["?"]}\nintents:', ":1:20", "This has no words"),
    ("intents:", "keywords: {hours: [$peopel]}\nintents:", ":1:20", 'Did you mean "people"?'),
    ("caller:", "off_topic: [\"You said {herd}.\"]\ncaller:", ":20:13", "Nobody fills {herd}"),
    (
        "anywhere:",
        "misunderstood: {say: x y, to: nowhere}\nanywhere:",
        ":17:31",
        'no state "nowhere"',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "where", "what"), CHANGES)
def test_a_mistake_is_named_with_its_place(
    tmp_path: Path, old: str, new: str, where: str, what: str
) -> None:
    assert SMALL.count(old) == 1
    with pytest.raises(UserError) as problem:
        read(written(tmp_path, SMALL.replace(old, new)))
    told = str(problem.value)
    assert f"dialogue.yaml{where} " in told
    assert what in told


def test_every_mistake_is_named_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = SMALL.replace("to: booking", "to: x").replace("hours: From", "y: From")
    with pytest.raises(UserError, match="E-DIALOGUE-01") as problem:
        read(written(tmp_path, text))
    lines = [int(line) for line in re.findall(r"dialogue\.yaml:(\d+):", problem.value.what)]
    assert lines == sorted(lines)
    assert {12, 18, 19} <= set(lines)


def test_the_example_is_the_front_desk_that_offhook_comes_with() -> None:
    shipped = Path(file.__file__).parents[2] / "front_desk"
    for name in ("dialogue.yaml", "agent.yaml", "tools.py", "offhook.yaml"):
        assert (EXAMPLE.parent / name).read_text() == (shipped / name).read_text()
    assert read(EXAMPLE).content == front_desk().content


def test_the_caller_can_say_nothing_that_the_recogniser_does_not_expect() -> None:
    desk = front_desk()
    phrases = {phrase.text for phrase in desk.vocabulary().phrases}
    for line in desk.caller_lines:
        assert " ".join(words(line)) in phrases


def test_every_value_and_every_word_is_in_the_vocabulary() -> None:
    desk = front_desk()
    phrases = desk.vocabulary().phrases
    said = {word for phrase in phrases for word in phrase.text.split()}
    for kind in (desk.kinds[name] for name in ("day", "time", "people", "digits")):
        assert said >= {word for sample in kind.samples() for word in words(sample)}
    assert all(re.fullmatch(r"[a-z' ]+", phrase.text) for phrase in phrases)
    assert all(phrase.place is not None and phrase.weight > 0 for phrase in phrases)
    assert desk.vocabulary() == front_desk().vocabulary()


def test_what_the_agent_may_say_is_known_with_what_is_filled_in() -> None:
    said = {phrase.text for phrase in front_desk().spoken_vocabulary(["Hello! It's 7."]).phrases}
    assert {"hello", "it's seven"} <= said
    assert "it is table four" in said
    assert "your order is being prepared" in said
    assert "we have a table at eight in the evening" in said
    assert any(re.fullmatch("a table for two .* in the evening", text) for text in said)
    assert all("{" not in text for text in said)


def test_the_schema_for_editors_takes_what_is_read() -> None:
    committed = Path(file.__file__).with_name("schema.json").read_text("utf-8")
    assert committed == schema_file.as_text(), "make it again: see schema.py"
    schema = json.loads(committed)
    yaml = YAML(typ="safe")
    for text in (SMALL, EXAMPLE.read_text()):
        jsonschema.validate(yaml.load(text), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"intents": {"a": ["b"]}, "nonsense": 1}, schema)


def test_own_slots_may_be_lists_names_and_kinds(tmp_path: Path) -> None:
    dialogue = read(
        written(
            tmp_path,
            """
slots:
  dish: [pizza, pasta with tomatoes]
  size: {large: [large, big], small: [small, little]}
  until: time
intents:
  eat: [a $size $dish until $until]
anywhere:
  eat: A {size} {dish} until {until}.
""",
        )
    )
    meaning = dialogue.meaning("a big pasta with tomatoes until half past nine")
    assert meaning.slots == {
        "size": "large",
        "dish": "pasta with tomatoes",
        "until": "09:30",
    }
    said = [phrase.text for phrase in dialogue.vocabulary().phrases]
    assert any("little pizza" in text for text in said)


def test_a_state_may_be_reached_through_another(tmp_path: Path) -> None:
    text = """
intents: {a: [go on], b: [go further]}
states:
  one: {say: First., on: {b: {to: two}}}
  two: {say: Second.}
  start: {on: {a: {to: one}}}
"""
    assert isinstance(read(written(tmp_path, text)), Dialogue)
    lonely = text.replace("start: {on: {a: {to: one}}}", "start: {on: {a: No.}}")
    with pytest.raises(UserError) as problem:
        read(written(tmp_path, lonely))
    assert problem.value.what.count("No way leads") == 2
