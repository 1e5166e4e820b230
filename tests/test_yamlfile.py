"""Reading YAML so that every mistake has a line and a column."""

from pathlib import Path

import pydantic
import pytest

from offhook import yamlfile
from offhook.errors import UserError

HERE = Path("x.yaml")


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


class Say(Strict):
    text: str
    times: pydantic.PositiveInt = 1


class Script(Strict):
    title: str
    steps: list[Say] = []
    by_name: dict[str, Say | None] = {}

    @pydantic.field_validator("title")
    @classmethod
    def _plain(cls, title: str) -> str:
        if title == "no":
            raise yamlfile.refuse('"no" is no title.', "Think of another.")
        return title


def findings(text: str) -> list[str]:
    with pytest.raises(yamlfile.InvalidFileError) as bad:
        yamlfile.validate(Script, yamlfile.parse(text, HERE))
    return [f"{finding} {finding.fix}" for finding in bad.value.findings]


def test_json_and_python_literals_are_yaml() -> None:
    document = yamlfile.parse(
        """
settings: {
        "type":"Settings",  # pasted
\t"tabs": [1, 2.5, -3e2, True, null,],
"emoji": "\\ud83d\\ude00 \\/",
}
date: 2026-08-22
switch: on
""",
        HERE,
    )
    assert document.value == {
        "settings": {"type": "Settings", "tabs": [1, 2.5, -300.0, True, None], "emoji": "😀 /"},
        "date": "2026-08-22",
        "switch": "on",
    }
    assert str(document.place(("settings", "tabs", 1))) == "x.yaml:4:14"
    assert str(document.place(("settings", "tabs"), key=True)) == "x.yaml:4:2"
    assert str(document.place(("settings", "Union", "nothing"))) == "x.yaml:2:11"


def test_anchors_and_merges_keep_their_places() -> None:
    document = yamlfile.parse("a: &a {x: 1, y: 2}\nb: *a\nc: {<<: *a, y: 3}\n", HERE)
    assert document.value["b"] == {"x": 1, "y": 2}
    assert document.value["c"] == {"x": 1, "y": 3}
    assert document.place(("c", "y")).line == 3
    assert document.place(("c", "x")).line == 1


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("a: 1\nb: [1,\n", "x.yaml:3:1", "expected the node content"),
        ("a: b: c", "x.yaml:1:5", "mapping values are not allowed here"),
        ("a: 1\nb: 2\na: 3\n", "x.yaml:3:1", '"a" stands here and in line 1'),
        ("a: {b: 1, b: 2}", "x.yaml:1:11", '"b" stands here and in line 1'),
        ("a: *b", "x.yaml:1:4", "undefined alias"),
        ("a: 1\nb: \x07", "x.yaml:2:1", "control character"),
        ("a: !!python/object x", "x.yaml:1:4", "cannot stand here"),
        ("[a]: 1", "x.yaml:1:1", "a key must be"),
        ("<<: 1", "x.yaml:1:5", "only a mapping"),
        ("a: &a [*a]", "x.yaml:1:4", "64 levels"),
        ("a: 1\n---\nb: 2", "x.yaml:2:1", "another document"),
    ],
)
def test_broken_yaml_is_refused_with_its_place(text: str, place: str, what: str) -> None:
    with pytest.raises(yamlfile.InvalidFileError) as bad:
        yamlfile.parse(text, HERE)
    assert bad.value.code == "E-YAML-02"
    (finding,) = bad.value.findings
    assert str(finding.place) == place
    assert what in finding.text


def test_json_pasted_below_its_key_is_told_how_to_be_pasted() -> None:
    with pytest.raises(yamlfile.InvalidFileError) as bad:
        yamlfile.parse('settings:\n{\n  "agent": {}\n}\n', HERE)
    assert "on the line of its key" in bad.value.fix


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"E-YAML-01 .*No such file"):
        yamlfile.read(tmp_path / "none.yaml")
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"a: 1\nb: caf\xe9\n")
    with pytest.raises(yamlfile.InvalidFileError, match=r"latin.yaml:2:1 .*UTF-8"):
        yamlfile.read(latin)
    marked = tmp_path / "marked.yaml"
    marked.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert yamlfile.read(marked).value == {"a": 1}


def test_a_valid_file_becomes_a_model() -> None:
    text = "title: t\nsteps: [{text: hi}]\nby_name: {a: {text: ho, times: 2}, b: ~}\n"
    script = yamlfile.validate(Script, yamlfile.parse(text, HERE))
    assert script.steps == [Say(text="hi")]
    assert script.by_name == {"a": Say(text="ho", times=2), "b": None}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("titel: x\ntitle: y", 'x.yaml:1:1 "titel" is not known here. Did you mean "title"?'),
        (
            "title: x\nqq: 1",
            'x.yaml:2:1 "qq" is not known here. Known here: by_name, steps, title.',
        ),
        ("steps: []", 'x.yaml:1:1 "title" is missing here. Add "title".'),
        ("", 'x.yaml:1:1 "title" is missing here. Add "title".'),
        ("title: no", 'x.yaml:1:8 "no" is no title. Think of another.'),
        (
            "title: x\nsteps:\n  - text: a\n    tmies: 2",
            'x.yaml:4:5 "tmies" is not known here. Did you mean "times"?',
        ),
        (
            "title: x\nby_name:\n  a: {text: a, texxt: b}",
            'x.yaml:3:16 "texxt" is not known here. Did you mean "text"?',
        ),
        (
            "title: x\nsteps:\n  - text: a\n    times: -1",
            'x.yaml:4:12 "times" is wrong: input should be greater than 0. Correct this value.',
        ),
        ("title: x\nsteps: [7]", 'x.yaml:2:9 "steps" must be a mapping. Write keys and values.'),
    ],
)
def test_every_mistake_has_its_place_and_its_fix(text: str, expected: str) -> None:
    assert findings(text) == [expected]


def test_several_mistakes_are_told_in_the_order_of_the_file() -> None:
    found = findings("stps: 1\nsteps:\n  - tixt: a\n")
    assert [line.split(" ")[0] for line in found] == [
        "x.yaml:1:1",  # title is missing
        "x.yaml:1:1",
        "x.yaml:3:5",
        "x.yaml:3:5",
    ]
    with pytest.raises(yamlfile.InvalidFileError, match=r"4 mistakes:\n  x.yaml:1:1"):
        yamlfile.validate(Script, yamlfile.parse("stps: 1\nsteps:\n  - tixt: a\n", HERE))


def test_a_part_of_a_file_is_placed_in_the_whole() -> None:
    document = yamlfile.parse("part:\n  deep:\n    txt: 1\n    text: a\n", HERE)
    with pytest.raises(yamlfile.InvalidFileError, match=r'x.yaml:3:5 "txt" is not known here'):
        yamlfile.validate(Say, document, ("part", "deep"))


# --- Bounds ---------------------------------------------------------------------------------------

ALIASES = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 9)
)


@pytest.mark.parametrize("text", [ALIASES, MERGES], ids=["aliases", "merges"])
def test_a_few_bytes_of_aliases_are_not_written_out_in_memory(text: str) -> None:
    assert len(text) < 600
    words = (
        r"E-YAML-02 x.yaml:\d+:\d+ Not valid YAML: with its aliases this is more than 50,000 values"
    )
    with pytest.raises(yamlfile.InvalidFileError, match=words):
        yamlfile.parse(text, HERE)


def test_an_alias_within_itself_and_too_many_levels_are_told() -> None:
    for text, words in (
        ("a: &a [*a]", "x.yaml:1:4 Not valid YAML: more than 64 levels"),
        ("[" * 70 + "]" * 70, "x.yaml:1:66 Not valid YAML: more than 64 levels"),
        ("[" * 20_000, "Not valid YAML: it is nested too deeply"),
        ("a: &a {<<: *a}", "Not valid YAML"),
        ("a: " + "9" * 5_000, "x.yaml:1:4 Not valid YAML: this number is too long"),
    ):
        with pytest.raises(yamlfile.InvalidFileError, match=words):
            yamlfile.parse(text, HERE)


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_text("a: " + "x" * yamlfile.SIZE_MAX)
    with pytest.raises(
        yamlfile.InvalidFileError, match=r"large.yaml:1:1 .*more than 1,048,576 characters"
    ):
        yamlfile.read(path)


def test_ordinary_aliases_stay() -> None:
    text = "a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: [*a, *a]\n"
    assert yamlfile.parse(text, HERE).value["b"] == {"y": 2, "x": 1}
