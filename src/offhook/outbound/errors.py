"""Errors for calls that are not placed."""

from offhook.errors import UserError


class TryLaterError(UserError):
    """Error: a call cannot be placed now. Retry after `after_s` seconds. No call was made."""

    def __init__(self, code: str, what: str, fix: str, after_s: float) -> None:
        super().__init__(code, what, fix)
        self.after_s = after_s

    @classmethod
    def of(cls, problem: UserError, after_s: float) -> "TryLaterError":
        """Return the error for a temporary problem."""
        return cls(problem.code, problem.what, problem.fix, after_s)


class UncertainError(TryLaterError):
    """Error: it is unknown whether Twilio has the call. Retry with the same key.

    The call is then looked for. The person is not called twice.
    """


def forbidden(words: str) -> UserError:
    """Return the error for a number that the dialling policy refuses."""
    return UserError(
        "E-OUT-05",
        f"This number is not called: {words}.",
        "If it is to be, change what dialling: in offhook.yaml allows.",
    )


def being_placed() -> TryLaterError:
    """Return the error for a key that another request, or another process, has at this moment."""
    return TryLaterError(
        "E-OUT-08",
        "A call with this idempotency key is being placed at this moment.",
        "Ask again, with the same key.",
        1.0,
    )


def uncertain(after_s: float) -> UncertainError:
    """Return the error for a call of which it is unknown whether Twilio placed it."""
    return UncertainError(
        "E-OUT-14",
        "Twilio may have been asked for this call already, and has not said so.",
        "Ask again with the same key: the call is looked for, and not rung twice.",
        max(after_s, 1.0),
    )
