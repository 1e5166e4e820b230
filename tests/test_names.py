"""One name for one thing: public classes are unique, and exceptions are named as such."""

import ast
import collections
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.sources import syntax_tree

import offhook

SOURCE: Final = Path(offhook.__file__).parent

SHARED: Final = {"Call": "users' functions import offhook.tools.Call; call/call.py has the core"}
"""Names that two classes have, with the reason."""


def classes() -> Iterator[tuple[str, ast.ClassDef]]:
    """Every class of the package, with its file."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(syntax_tree(path.read_text(encoding="utf-8"))):
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


VAGUE: Final = re.compile(
    r"(What|Who|Whoever|How|Where|When|Why|Its|It|The same|As|Those|Another one|Nobody)\b"
)
"""Beginnings that leave out a docstring's subject: it must make sense in a tooltip."""


def texts(tree: ast.Module) -> Iterator[ast.Constant]:
    """Every text that is a statement: docstrings, also those of constants and fields."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str()) as text):
                yield text


def vague(source: str) -> list[int]:
    """Return the lines of docstrings that do not begin with a verb or a noun."""
    return [text.lineno for text in texts(syntax_tree(source)) if VAGUE.match(str(text.value))]


def test_a_docstring_names_its_subject() -> None:
    found = {
        path.relative_to(SOURCE).as_posix(): lines
        for path in sorted(SOURCE.rglob("*.py"))
        if (lines := vague(path.read_text(encoding="utf-8")))
    }
    assert found == {}


def shown(source: str) -> Iterator[ast.Constant]:
    """Yield the texts of routes and commands that users read in a list, without what is around."""
    for node in ast.walk(syntax_tree(source)):
        match node:
            case ast.keyword(arg="summary" | "help", value=ast.Constant(value=str()) as text):
                yield text


def vaguely_shown(source: str) -> list[str]:
    """Return those texts that do not begin with a verb or a noun phrase."""
    return [str(text.value) for text in shown(source) if VAGUE_SHOWN.match(str(text.value))]


VAGUE_SHOWN: Final = re.compile(VAGUE.pattern + r"|(All|Some|Each) of\b")


def test_what_users_read_of_a_route_or_an_option_names_its_subject() -> None:
    found = {
        path.relative_to(SOURCE).as_posix(): texts
        for path in sorted(SOURCE.rglob("*.py"))
        if (texts := vaguely_shown(path.read_text(encoding="utf-8")))
    }
    assert found == {}
    assert vaguely_shown('a(summary="What calls come to", help="All of one call.")') == [
        "What calls come to",
        "All of one call.",
    ]
    assert vaguely_shown('a(summary="Show a call", help="Allow it.", name="What")') == []


def test_vague_docstrings_are_found() -> None:
    source = '"""What it does."""\nA = 1\n"""Its size."""\nB = 2\n"""Asynchronous."""\n'
    assert vague(source) == [1, 3]


RETIRED: Final = re.compile(
    r"errand|lobby|forsaken|conceal|\bdeaf|spoilt|ghosts?\b|happenings?\b|wish(es)?\b"
    r"|house_file|\bput(s|ting)? (\w+ ){0,3}through\b|\b_?guard\b|\bfindings_of\b"
    r"|\b_front\b|\.front\b|\b_?outgoing\b|\b_pace\b|passages?\b|\bby[_ ]ear\b",
    re.IGNORECASE,
)
"""Words that the glossary has replaced, in identifiers, prose and texts alike."""

ALLOWED: Final = {
    ("events/stored.py", "errand"): "a field of earlier versions, which is read",
    ("journal/folders.py", "spoilt"): "a file of earlier versions, which is erased",
    ("link/channel.py", "_guard"): "guards against exceptions, no number",
    ("calls/call_limits.py", "guard"): "LagGuard, which no policy of dialling is",
    ("bench/load/sockets.py", "_outgoing"): "bytes of TLS on their way out",
    ("testing/front_desk/dialogue.yaml", "put me through"): "what callers say",
}
"""Uses that stay, with the reason: file and word."""


def retired(source: str) -> set[str]:
    """Return the retired words of a text."""
    return {found[0].lower() for found in RETIRED.finditer(source)}


def test_retired_words_do_not_come_back() -> None:
    found = {
        (path.relative_to(SOURCE).as_posix(), word)
        for path in sorted(SOURCE.rglob("*"))
        if path.suffix in {".py", ".md", ".yaml"}
        for word in retired(path.read_text(encoding="utf-8"))
    }
    assert found == ALLOWED.keys()


def test_retired_words_are_found() -> None:
    assert retired("an errand: puts the caller through, self._deaf, guardian, wished") == {
        "errand",
        "puts the caller through",
    }
