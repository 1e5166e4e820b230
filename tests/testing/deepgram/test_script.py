"""The stand-in's script: what is taken, and what is said about mistakes."""

from pathlib import Path

import pytest

from offhook.errors import UserError
from offhook.testing.simulator.deepgram.script import Script, front_desk, read


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "script.yaml"
    path.write_text(text)
    return path


def test_a_script_is_read(tmp_path: Path) -> None:
    script = read(
        written(
            tmp_path,
            """
turns:
  - hear: Book a table.
    function_calls:
      - name: book
        arguments: {people: 2, day: Friday}
    say: [It is booked for you.]
    end: yes
  - hear: Bye.
    fault: text_only
speed: 4
settings: {error: INVALID_SETTINGS}
""".replace("yes", "true"),
        )
    )
    assert script.turns[0].function_calls[0].arguments == {"people": 2, "day": "Friday"}
    assert script.turns[0].end
    assert script.turns[1].fault == "text_only"
    assert script.settings.error == "INVALID_SETTINGS"
    assert script.silence_ms == 600


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("turns:\n  - here: Hello\n", ":2:5", 'Did you mean "hear"?'),
        ("turns:\n  - say: [Hello]\n", ":2:5", 'Add "hear"'),
        ("spead: 8\n", ":1:1", 'Did you mean "speed"?'),
        ("speed: fast\n", ":1:8", "speed"),
        ("turns: [\n", ":", "YAML"),
        ("turns:\n  - hear: x\n    fault: explode\n", ":3:12", "fault"),
        ("chunk_bytes: []\n", ":1:14", "chunk_bytes"),
        ("welcome:\n  error: 7\n", ":2:10", "error"),
    ],
)
def test_a_mistake_is_named_with_its_place(
    tmp_path: Path, text: str, where: str, what: str
) -> None:
    with pytest.raises(UserError) as problem:
        read(written(tmp_path, text))
    told = str(problem.value)
    assert f"script.yaml{where}" in told
    assert what in told


def test_a_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="E-YAML-01"):
        read(tmp_path / "nowhere.yaml")


def test_the_front_desk_has_three_turns_and_an_empty_script_has_none() -> None:
    assert [turn.hear for turn in front_desk().turns] == [
        "What are your opening hours?",
        "Can I book a table for Friday at seven?",
        "Thank you, goodbye.",
    ]
    assert Script().turns == []
