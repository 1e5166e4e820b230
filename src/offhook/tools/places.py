"""File and line of a user's code, for the log: never what it holds."""

from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType, TracebackType


def place(frame: FrameType, file: str) -> str:
    """Return the innermost place of a stack in that file, or of all when none is in it."""
    inside = next((each for each in outward(frame) if each.f_code.co_filename == file), frame)
    return f"{Path(inside.f_code.co_filename).name}:{inside.f_lineno}"


def first_line(code: CodeType) -> str:
    """Return file and line at which a function begins."""
    return f"{Path(code.co_filename).name}:{code.co_firstlineno}"


def outward(frame: FrameType | None) -> Iterator[FrameType]:
    """Return a stack from its innermost frame."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def place_of(error: BaseException, file: str) -> str:
    """Return file and line at which an error, or its cause, was raised, in `file` if possible."""
    steps = [step for cause in _causes(error) for step in _steps(cause.__traceback__)]
    if not steps:
        return "?"
    name, line = next((each for each in reversed(steps) if each[0] == file), steps[-1])
    return f"{Path(name).name}:{line}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, outermost first."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__


def _steps(traceback: TracebackType | None) -> Iterator[tuple[str, int]]:
    while traceback is not None:
        yield traceback.tb_frame.f_code.co_filename, traceback.tb_lineno
        traceback = traceback.tb_next
