"""Progress of commands that may take longer than two seconds, on standard error."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

Item = TypeVar("Item")
Shown = TypeVar("Shown")


class Elapsed(TimeElapsedColumn):
    """Column of the time since the beginning, in the terminal's own colour.

    Rich's is yellow, which cannot be read on white.
    """

    def render(self, task: Task) -> Text:
        """Return the text of the column."""
        return Text(super().render(task).plain)


@contextmanager
def waiting(what: str) -> Iterator[Callable[[object], None]]:
    """Show on a terminal, while entered, that something of unknown length goes on.

    Yields a function that shows how far it is, behind what it is.
    """
    with _display() as progress:
        task = progress.add_task(what, total=None)
        yield lambda how_far: progress.update(task, description=f"{what}: {how_far}")


@contextmanager
def waiting_between(what: str, show: Callable[[Shown], None]) -> Iterator[Callable[[Shown], None]]:
    """Show, while entered, that something goes on, like `waiting`, between calls of `show`.

    Yields `show` in a form that takes the line of progress away while it prints.
    """
    with ExitStack() as line:

        def shown(value: Shown) -> None:
            line.close()
            show(value)
            line.enter_context(waiting(what))

        line.enter_context(waiting(what))
        yield shown


def counted(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """Yield the items. Show on a terminal how many of `total` are done."""
    with _display(MofNCompleteColumn()) as progress:
        task = progress.add_task(what, total=total)
        for item in items:
            yield item
            progress.advance(task)


def _display(*columns: ProgressColumn) -> Progress:
    console = Console(stderr=True, highlight=False)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        *columns,
        Elapsed(),
        console=console,
        transient=True,
        disable=not console.is_interactive,
        # Standard output may be a file or a pipe, and gets what the command prints as it is.
        redirect_stdout=False,
    )
