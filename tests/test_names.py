"""One name for one thing: public classes are unique, and exceptions are named as such."""

import ast
import collections
import re
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from tests.sources import syntax_tree

import offhook

SOURCE: Final = Path(offhook.__file__).parent

SHARED: Final = {"Call": "users' functions import offhook.tools.Call; call/call.py has the core"}
"""Names that two classes have, with the reason."""


class Named(NamedTuple):
    """What a source names, and says of it."""

    classes: list[tuple[str, list[str]]]
    """Each class, and its bases."""
    texts: list[tuple[int, str]]
    """Each text that is a statement, with its line: docstrings, also of constants and fields."""
    shown: list[str]
    """The texts of routes and commands that users read in a list, without what is around."""


def named(source: str) -> Named:
    found = Named([], [], [])
    for node in ast.walk(syntax_tree(source)):
        match node:
            case ast.ClassDef():
                found.classes.append((node.name, [ast.unparse(base) for base in node.bases]))
            case ast.Expr(value=ast.Constant(value=str() as text)):
                found.texts.append((node.lineno, text))
            case ast.keyword(arg="summary" | "help", value=ast.Constant(value=str() as text)):
                found.shown.append(text)
    return found


@cache
def named_in_package() -> dict[str, Named]:
    """What each file of the package names: to parse all takes a second."""
    return {
        path.relative_to(SOURCE).as_posix(): named(path.read_text(encoding="utf-8"))
        for path in sorted(SOURCE.rglob("*.py"))
    }


def test_a_public_class_has_a_name_of_its_own() -> None:
    files = collections.defaultdict(list)
    for file, found in named_in_package().items():
        for name, _ in found.classes:
            if not name.startswith("_"):
                files[name].append(file)
    assert {name: where for name, where in files.items() if len(where) > 1}.keys() == SHARED.keys()


def test_an_exception_ends_in_error() -> None:
    ours = set()
    for file, found in named_in_package().items():
        for name, bases in found.classes:
            if any(base.rpartition(".")[2].endswith(("Error", "Exception")) for base in bases):
                assert name.endswith("Error"), f"{file}: {name}"
                ours.add(name)
    assert "UserError" in ours


VAGUE: Final = re.compile(
    r"(What|Who|Whoever|How|Where|When|Why|Its|It|The same|As|Those|Another one|Nobody)\b"
)
"""Beginnings that leave out a docstring's subject: it must make sense in a tooltip."""


def vague(found: Named) -> list[int]:
    """Return the lines of docstrings that do not begin with a verb or a noun."""
    return [line for line, text in found.texts if VAGUE.match(text)]


def test_a_docstring_names_its_subject() -> None:
    found = {file: lines for file, each in named_in_package().items() if (lines := vague(each))}
    assert found == {}


def vaguely_shown(found: Named) -> list[str]:
    """Return the texts of lists that do not begin with a verb or a noun phrase."""
    return [text for text in found.shown if VAGUE_SHOWN.match(text)]


VAGUE_SHOWN: Final = re.compile(VAGUE.pattern + r"|(All|Some|Each) of\b")


def test_what_users_read_of_a_route_or_an_option_names_its_subject() -> None:
    found = {
        file: texts for file, each in named_in_package().items() if (texts := vaguely_shown(each))
    }
    assert found == {}
    assert vaguely_shown(named('a(summary="What calls come to", help="All of one call.")')) == [
        "What calls come to",
        "All of one call.",
    ]
    assert vaguely_shown(named('a(summary="Show a call", help="Allow it.", name="What")')) == []


def test_vague_docstrings_are_found() -> None:
    source = '"""What it does."""\nA = 1\n"""Its size."""\nB = 2\n"""Asynchronous."""\n'
    assert vague(named(source)) == [1, 3]


RETIRED: Final = re.compile(
    r"errand|lobby|forsaken|conceal|\bdeaf|spoilt|ghosts?\b|happenings?\b|wish(es)?\b"
    r"|house_file|\bput(s|ting)? (\w+ ){0,3}through\b|\b_?guard\b|\bfindings_of\b"
    r"|\b_front\b|\.front\b|\b_?outgoing\b|\b_pace\b|passages?\b|\bby[_ ]ear\b"
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
    """Return the retired words of a text, in lower case."""
    return {found[0] for found in RETIRED.finditer(source.lower())}


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
