"""Owner of context managers that are entered together and left in the opposite order."""

import contextlib
from typing import Self


class PartsOwner:
    """Context manager that enters its parts, and leaves those that were entered if one fails."""

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._enter_parts(stack)
            self._entered = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._entered.close()

    def _enter_parts(self, stack: contextlib.ExitStack) -> None:
        """Enter the parts, in their order."""
        raise NotImplementedError
