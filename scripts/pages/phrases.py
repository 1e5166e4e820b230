"""The tables of phrases in docs/configuration.md, from call/phrases.py."""

import ast
import inspect
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from offhook.call import phrases

GROUP: Final = re.compile(r"^    # --- (.*) ---$")
"""Comment that begins a group of phrases."""

HEAD: Final = "| Key | Default | Meaning |\n| --- | --- | --- |\n"


def tables() -> str:
    """Return a table of each group of phrases: key, default, and when it is said."""
    source = inspect.getsource(phrases)
    groups = {
        number: match[1]
        for number, line in enumerate(source.splitlines(), 1)
        if (match := GROUP.match(line))
    }
    begins = [*groups, len(source.splitlines()) + 1]
    rows = dict(_rows(source))
    parts = []
    for first, after in pairwise(begins):
        lines = "".join(f"{rows[line]}\n" for line in sorted(rows) if first < line < after)
        title = groups[first]
        parts.append(f"**{title[0].upper()}{title[1:]}:**\n\n{HEAD}{lines}\n")
    assert "".join(parts).count("| `phrases.") == len(rows), "a phrase stands before all groups"
    return "\n" + "".join(parts)


def _rows(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line on which each phrase is declared, and its row."""
    (declared,) = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == phrases.Phrases.__name__
    ]
    defaults = phrases.Phrases()
    for node, after in pairwise(declared.body):
        if not isinstance(node, ast.AnnAssign):
            continue
        assert isinstance(node.target, ast.Name)
        assert isinstance(after, ast.Expr)
        assert isinstance(after.value, ast.Constant)
        name = node.target.id
        meaning = " ".join(str(after.value.value).split()).removesuffix(".")
        default = getattr(defaults, name)
        shown = f"`{default}`" if isinstance(default, str) else "none"
        yield node.lineno, f"| `phrases.{name}` | {shown} | {meaning} |"
