"""An agent's file of either kind."""

from pathlib import Path

import pytest

from offhook.errors import UserError
from offhook.testing.simulator.deepgram.script import Script
from offhook.testing.simulator.dialogue import agent_file
from offhook.testing.simulator.dialogue.file import Dialogue


def read(tmp_path: Path, text: str) -> Script | Dialogue:
    path = tmp_path / "agent.yaml"
    path.write_text(text)
    return agent_file.read(path)


def test_turns_are_a_script_and_intents_a_dialogue(tmp_path: Path) -> None:
    assert isinstance(read(tmp_path, "turns: [{hear: Hi}]\n"), Script)
    assert isinstance(read(tmp_path, "{}"), Script)
    made = read(tmp_path, "intents: {a: [hello there]}\nanywhere: {a: Hello.}\n")
    assert isinstance(made, Dialogue)


@pytest.mark.parametrize(
    ("text", "where", "told"),
    [
        ("turns: []\nintents: {}\n", ":2:1", "has both turns and intents"),
        ("turns: []\nintents: {}\n", "", "Write one of them."),
        ("steps: []\n", ":1:1", "has turns, one that talks along a dialogue has intents"),
        ("spead: 3\n", ":1:1", 'Did you mean "speed"?'),
        ("states: {}\n", ":1:1", 'Add "intents"'),
        ("intents: {a: [b]}\n", ":1:11", "Nothing answers"),
        ("- a\n", ":1:1", "must be a mapping"),
    ],
)
def test_a_mistake_names_both_kinds_or_the_one_that_is_meant(
    tmp_path: Path, text: str, where: str, told: str
) -> None:
    with pytest.raises(UserError) as problem:
        read(tmp_path, text)
    assert f"agent.yaml{where}" in str(problem.value)
    assert told in str(problem.value)


def test_every_script_of_the_examples_and_of_offhook_is_read() -> None:
    root = Path(__file__).parents[3]
    desk = agent_file.read(root / "src" / "offhook" / "testing" / "front_desk.yaml")
    assert isinstance(desk, Script)
    assert isinstance(agent_file.read(root / "examples/front-desk/dialogue.yaml"), Dialogue)
