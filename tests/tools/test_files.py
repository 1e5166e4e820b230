import logging
import os
import sys
import threading
from pathlib import Path

import pytest
from tests.waiting import wait_until

from offhook.tools import modules
from offhook.tools.builtin import Destinations, offered
from offhook.tools.declare import Call
from offhook.tools.files import ToolFiles
from offhook.yamlfile import InvalidFileError

CALL = Call("CA1", "shop", None, None)

GOOD = '''
from offhook.tools import tool

@tool
def greet(name: str) -> str:
    """Greet somebody."""
    return f"Hello, {name}"
'''

HANGS = """
import os, pathlib, time

here = pathlib.Path(__file__).parent
(here / "begun").touch()
while not (here / "released").exists():
    time.sleep(0.01)
"""
"""What makes a file of tools hang while it is loaded, until there is a file `released`."""


def write(path: Path, text: str, stamp: int = 1) -> Path:
    path.write_text(text)
    os.utime(path, ns=(stamp, stamp))
    return path


def test_tools_are_found_in_their_files(tmp_path: Path) -> None:
    tools = ToolFiles([write(tmp_path / "tools.py", GOOD)]).current
    assert list(tools) == ["greet"]
    assert tools["greet"]("Ada") == "Hello, Ada"


def test_built_in_tools_stand_beside_those_of_files(tmp_path: Path) -> None:
    built_in = offered(["hang_up", "take_message"], Destinations({}, {}))
    tools = ToolFiles([write(tmp_path / "tools.py", GOOD)], built_in).current
    assert list(tools) == ["hang_up", "take_message", "greet"]
    assert ToolFiles((), built_in) == ToolFiles((), built_in)
    assert ToolFiles((), built_in) != ToolFiles()


def test_a_tool_file_may_import_what_lies_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "words_beside_it.py", 'HELLO = "Good morning"')
    text = GOOD.replace("Hello, {name}", "{HELLO}, {name}")
    text = "from words_beside_it import HELLO\n" + text
    tools = ToolFiles([write(tmp_path / "tools.py", text)]).current
    assert tools["greet"]("Ada") == "Good morning, Ada"


def test_two_agents_may_each_have_a_tools_py(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "tools.py", GOOD.replace("Hello", name))
    for name in ("one", "two"):
        assert ToolFiles([tmp_path / name / "tools.py"]).current["greet"]("A") == f"{name}, A"


MODELS = '''
from __future__ import annotations
from dataclasses import dataclass
from typing import Literal
from pydantic import BaseModel
from offhook.tools import tool

class Order(BaseModel):
    items: list[Item]

class Item(BaseModel):
    size: Literal["small"]

@dataclass
class Guest:
    name: str = "Ada"

@tool
def take(order: Order, guest: Guest = Guest()) -> str:
    """Take an order."""
    return f"{order.items[0].size} for {guest.name}"
'''


def test_a_tool_file_may_put_off_its_hints_and_have_models_of_its_own(tmp_path: Path) -> None:
    before = set(sys.modules)
    files = ToolFiles([write(tmp_path / "tools.py", MODELS)])
    for stamp, name in enumerate(("Grace", "Mary"), start=2):
        write(tmp_path / "tools.py", MODELS.replace("Ada", name), stamp)
        function, _ = files.toolbox.refresh()["take"].bind(
            '{"order": {"items": [{"size": "small"}]}}', CALL
        )
        assert function() == f"small for {name}"
    ours = [name for name in set(sys.modules) - before if name.startswith("offhook_tools.")]
    assert len(ours) == 1


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("x = (", 1, "not Python"),
        ("x = 1\nraise KeyError('secret')", 2, "raised KeyError"),
        ("import sys\nsys.exit(3)", 2, "raised SystemExit"),
        ("x = 1", 1, "no tool"),
        (GOOD.replace('    """Greet somebody."""\n', ""), 4, "docstring"),
        (GOOD.replace("name: str", "name"), 4, "the parameter name has no type hint"),
        (GOOD.replace("name: str", "name: tuple[int, str]"), 4, "take a list"),
        (GOOD.replace("def greet", "def hang_up"), 4, "the name of a built-in tool"),
        (GOOD + GOOD.replace("def greet", "def again").replace("@tool", '@tool(name="greet")'),
         11, "another tool, at tools.py:4"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_by_file_and_line(
    tmp_path: Path, text: str, line: int, told: str
) -> None:
    path = write(tmp_path / "tools.py", text)
    with pytest.raises(InvalidFileError) as caught:
        ToolFiles([path], offered(["hang_up"], Destinations({}, {})))
    assert caught.value.code == "E-TOOL-01"
    (finding,) = caught.value.findings
    assert finding.place is not None
    assert (finding.place.path, finding.place.line) == (path, line)
    assert told in finding.text
    assert "secret" not in str(caught.value)


def test_what_is_no_python_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidFileError, match="not a Python file"):
        ToolFiles([write(tmp_path / "tools.txt", GOOD)])


def test_a_changed_file_is_read_again_and_a_broken_one_leaves_the_tools_as_they_were(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "tools.py", GOOD)
    files = ToolFiles([path])
    first = files.current
    assert files.toolbox.refresh() is first
    write(path, GOOD.replace("Hello", "Good evening"), 2)
    second = files.toolbox.refresh()
    assert second["greet"]("Ada") == "Good evening, Ada"
    with caplog.at_level(logging.ERROR):
        for stamp, text in ((3, "x = ("), (3, "x = (")):
            write(path, text, stamp)
            assert files.toolbox.refresh() is second
    assert len([record for record in caplog.records if "E-TOOL-01" in record.message]) == 1
    path.unlink()
    assert files.toolbox.refresh() is second
    write(path, GOOD, 5)
    assert files.toolbox.refresh()["greet"]("Ada") == "Hello, Ada"


def test_who_takes_the_tools_does_not_look_at_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "tools.py", GOOD)
    files = ToolFiles([path])
    write(path, GOOD.replace("Hello", "Good evening"), 2)
    with monkeypatch.context() as patched:
        patched.setattr(modules, "stamp", None)
        assert files.current["greet"]("Ada") == "Hello, Ada"
    assert files.toolbox.has_changed()
    files.toolbox.refresh()
    assert not files.toolbox.has_changed()
    assert files.current["greet"]("Ada") == "Good evening, Ada"


def test_a_file_that_hangs_while_it_is_loaded_can_be_mended(tmp_path: Path) -> None:
    path = write(tmp_path / "tools.py", GOOD)
    files = ToolFiles([path])
    first = files.current
    write(path, GOOD.replace("Hello", "Late") + HANGS, 2)
    hung = threading.Thread(target=files.toolbox.refresh)
    hung.start()
    wait_until((tmp_path / "begun").exists)
    assert files.toolbox.refresh() is first
    write(path, GOOD.replace("Hello", "Mended"), 3)
    assert files.toolbox.refresh()["greet"]("Ada") == "Mended, Ada"
    (tmp_path / "released").touch()
    hung.join()
    assert files.current["greet"]("Ada") == "Mended, Ada", "the later change counts"
