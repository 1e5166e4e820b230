"""Check of a Twilio account: are the credentials right, and is the account active and paid for."""

from typing import Final

from offhook.doctor.check import Check, bad, good, remark
from offhook.twilio.errors import TwilioRefusedError, TwilioUnreachableError
from offhook.twilio.rest import TwilioRest

NAME: Final = "Twilio account"


async def check_twilio_account(rest: TwilioRest) -> Check:
    """Return whether Twilio takes the credentials, and how the account is."""
    try:
        account = await rest.fetch_account()
    except TwilioRefusedError as refused:
        if refused.status in (401, 403) and rest.account.user.startswith("SK"):
            return await _check_key(rest)
        return refused_check(NAME, refused, rest.account.origin)
    except TwilioUnreachableError as unreachable:
        return unreachable_check(NAME, unreachable)
    if account.status != "active":
        fix = "Look at the account in the Twilio Console, and write to Twilio's support."
        return bad(NAME, f"the account is {account.status}: it takes no calls", fix)
    if account.is_trial:
        why = (
            "a trial account: only verified numbers may call and be called, calls end after 10"
            " minutes, and some settings of a number cannot be changed"
        )
        return remark(NAME, why, "Upgrade the account in the Twilio Console.")
    return good(NAME, "the credentials are right, and the account is active")


async def _check_key(rest: TwilioRest) -> Check:
    """Return how an API key is that may not read the account: a standard one (twilio.md §5.1)."""
    try:
        await rest.numbers()
    except TwilioRefusedError as refused:
        return refused_check(NAME, refused, rest.account.origin)
    except TwilioUnreachableError as unreachable:
        return unreachable_check(NAME, unreachable)
    return good(NAME, "Twilio takes the API key, which may not read whether this is a trial")


def refused_check(name: str, refused: TwilioRefusedError, origin: str) -> Check:
    """Return the check of what Twilio has refused at `origin`."""
    problem = refused.problem()
    what = f"{problem.code} {problem.what}"
    if refused.status == 401:
        # Keys and tokens are valid in the region where they were made (twilio.md §5.1).
        host = origin.partition("://")[2]
        return bad(
            name,
            f"{what} They are valid in one region alone, and {host} was asked.",
            "Compare TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN, TWILIO_API_KEY and TWILIO_API_SECRET"
            " with the Twilio Console, and twilio.region with the region that it shows.",
        )
    return bad(name, what, problem.fix)


def unreachable_check(name: str, unreachable: TwilioUnreachableError) -> Check:
    """Return the check of a Twilio that gave no answer."""
    problem = unreachable.problem()
    fix = "See that this machine reaches the internet: curl -I https://api.twilio.com"
    return bad(name, f"{problem.code} {problem.what}", fix)
