"""Count the lines of code of src/offhook, without comments, docstrings and blank lines.

`python -m scripts.code_lines [FOLDER]` prints the number; docs/design/rooms.md quotes it.
"""

import ast
import io
import sys
import tokenize
from pathlib import Path
from typing import Final

_NO_CODE: Final = frozenset(
    {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
)


def code_lines(source: str) -> int:
    """Return the number of lines of a file that hold code."""
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            code.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str()) as text):
                code.difference_update(range(text.lineno, (text.end_lineno or text.lineno) + 1))
    return len(code)


def main() -> None:
    """Print the lines of a folder."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "src/offhook")
    print(sum(code_lines(path.read_text("utf-8")) for path in folder.rglob("*.py")))


if __name__ == "__main__":
    main()
