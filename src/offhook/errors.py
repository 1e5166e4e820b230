"""Errors that a user sees: what happened, why, and the one step that fixes it.

Each has a code with a place in docs/errors.md; a test holds the two lists equal.
"""

from offhook.text import urls


class UserError(Exception):
    """An error that only the user can fix.

    `what` says what happened and why, `fix` names the one command or change that helps. Neither
    may hold a secret, a whole phone number or what was said in a call. A URL in `what` is shown
    without its user and its query.
    """

    def __init__(self, code: str, what: str, fix: str) -> None:
        what = urls.masked_in(what)
        super().__init__(f"{code} {what} {fix}")
        self.code = code
        self.what = what
        self.fix = fix

    def for_terminal(self) -> str:
        """Return the two lines that a command prints before it exits with 1."""
        return f"{self.code} {self.what}\n  → {self.fix}"


def fault_of(error: Exception) -> UserError:
    """Return what the one who asked is told of an unexpected exception: its kind, not its words."""
    return UserError(
        "E-API-15",
        f"Offhook has a fault ({type(error).__name__}); its log has more.",
        "Report it, with those lines of the log.",
    )
