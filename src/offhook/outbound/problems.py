"""Why a call is not placed, in words for whoever asked for it."""

from offhook.errors import UserError


class TryLaterError(UserError):
    """The same request may be made again, `after_s` seconds from now; nobody was rung by it."""

    def __init__(self, code: str, what: str, fix: str, after_s: float) -> None:
        super().__init__(code, what, fix)
        self.after_s = after_s

    @classmethod
    def of(cls, problem: UserError, after_s: float) -> "TryLaterError":
        """A problem that passes."""
        return cls(problem.code, problem.what, problem.fix, after_s)


class UncertainError(TryLaterError):
    """Twilio may have the call. Asked again with the same key, it is looked for, and not rung
    twice.
    """  # noqa: D205


def forbidden(words: str) -> UserError:
    """The guard refuses the number."""
    return UserError(
        "E-OUT-05",
        f"This number is not called: {words}.",
        "If it is to be, change what dialling: in offhook.yaml allows.",
    )


def uncertain(after_s: float) -> UncertainError:
    """Nobody knows whether somebody was rung."""
    return UncertainError(
        "E-OUT-14",
        "Twilio may have been asked for this call already, and has not said so.",
        "Ask again with the same key: the call is looked for, and not rung twice.",
        max(after_s, 1.0),
    )
