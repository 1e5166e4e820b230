"""Lines about numbers, as `offhook dev` and `offhook numbers` print them."""

from offhook.numbers.account_numbers import RestoredNumber
from offhook.numbers.routes import NumberRoute, answered_by
from offhook.observability.console_output import inert


def was(before: NumberRoute) -> str:
    """Return what answered a number before."""
    return inert(answered_by(before.voice))


def restored(number: RestoredNumber) -> str:
    """Return what became of a number that was to be put back."""
    if number.is_gone:
        return f"{number.phone_number} is not a number of the account any more."
    if number.left:
        what = " and the ".join(number.left)
        return (
            f"{number.phone_number} keeps its {what}: somebody has changed that since."
            f" Before Offhook: {was(number.before)}.\n"
            "  → To put back what it had all the same: offhook numbers restore --force"
        )
    return f"{number.phone_number} is as it was: {was(number.before)}."
