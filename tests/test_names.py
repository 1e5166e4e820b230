"""One name for one thing: public classes are unique, and exceptions are named as such."""

import ast
import collections
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import offhook

SOURCE: Final = Path(offhook.__file__).parent

SHARED: Final = {"Call": "users' functions import offhook.tools.Call; call/call.py has the core"}
"""Names that two classes have, with the reason."""


def classes() -> Iterator[tuple[str, ast.ClassDef]]:
    """Every class of the package, with its file."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                yield path.relative_to(SOURCE).as_posix(), node


def test_a_public_class_has_a_name_of_its_own() -> None:
    files = collections.defaultdict(list)
    for file, node in classes():
        if not node.name.startswith("_"):
            files[node.name].append(file)
    assert {name: where for name, where in files.items() if len(where) > 1}.keys() == SHARED.keys()


def test_an_exception_ends_in_error() -> None:
    ours = set()
    for file, node in classes():
        bases = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
        if any(base.endswith(("Error", "Exception")) for base in bases):
            assert node.name.endswith("Error"), f"{file}: {node.name}"
            ours.add(node.name)
    assert "UserError" in ours
