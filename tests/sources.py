"""Python sources as tests read them."""

import ast
import gc


def syntax_tree(source: str) -> ast.Module:
    """Return the syntax tree of `source`, made without a garbage collection.

    A collection may log a traceback, for which Python parses source, too. Python 3.11 counts the
    depth of both in one place, and raises `SystemError: AST constructor recursion depth mismatch`.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        if collects:
            gc.enable()
