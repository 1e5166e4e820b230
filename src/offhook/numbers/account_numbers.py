"""The numbers of the account: chosen, pointed at Offhook, and put back."""

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from offhook.errors import UserError
from offhook.numbers.kept_routes import HOLDERS, Holder, KeptRoute, KeptRoutes
from offhook.numbers.routes import NumberRoute, claim
from offhook.twilio.errors import TwilioRefusedError, TwilioUnreachableError
from offhook.twilio.rest import RestNumber, TwilioRest


@dataclass(frozen=True, slots=True)
class RestoredNumber:
    """Result of a restoration. `left` names what somebody else has changed, and has kept."""

    phone_number: str
    before: NumberRoute
    left: tuple[str, ...]
    is_gone: bool = False
    """True if the account does not have the number any more."""


class AccountNumbers:
    """The numbers of an account, and what is kept of them in a data folder.

    Every method that asks Twilio raises UserError E-TW-03 or E-TW-04 when that fails.
    """

    def __init__(self, rest: TwilioRest, account_sid: str, kept: KeptRoutes) -> None:
        self._rest = rest
        self._account_sid = account_sid
        self.kept: Final = kept

    async def all(self) -> Sequence[RestNumber]:
        """Return all numbers of the account."""
        try:
            return await self._rest.numbers()
        except (TwilioRefusedError, TwilioUnreachableError) as error:
            raise error.problem() from None

    async def choose(self, wanted: str | None, lines: Collection[str]) -> RestNumber:
        """Return the number `wanted`; without it the one of `lines`, or the account's only one.

        Raises UserError E-NUM-01 to 03.
        """
        found = await self.all()
        if wanted is not None:
            found = [one for one in found if one.phone_number == wanted]
            if not found:
                raise UserError(
                    "E-NUM-03",
                    "The Twilio account does not have this number.",
                    "Choose one of its numbers: offhook numbers list",
                )
        if not found:
            raise UserError(
                "E-NUM-01",
                "The Twilio account has no phone number.",
                "Buy one that can take calls: Twilio Console, Phone Numbers, Buy a number.",
            )
        if len(found) > 1:
            found = [one for one in found if one.phone_number in lines] or found
        if len(found) > 1:
            raise UserError(
                "E-NUM-02",
                f"The Twilio account has {len(found)} numbers, and none of them is chosen.",
                "Choose one with --number: offhook numbers list",
            )
        return found[0]

    def require_free(self, number: RestNumber, public_url: str | None) -> None:
        """Raise UserError E-NUM-04 if something else than Offhook answers the number's calls."""
        ours = [NumberRoute.to(public_url)] if public_url is not None else []
        for holder in HOLDERS:
            kept = self.kept.find(number.sid, holder)
            ours += kept.ours if kept is not None else ()
        whose = claim(NumberRoute.of(number), ours)
        if whose is not None:
            raise UserError(
                "E-NUM-04",
                f"The number is in use: {whose}. Nothing was changed.",
                "Choose another number; or take this one all the same, and have it put back later:"
                " --force",
            )

    async def point(
        self, sid: str, public_url: str, holder: Holder, *, force: bool = False
    ) -> NumberRoute:
        """Have Offhook at an https origin answer a number; return what the number had before.

        What it had before is on disk first. Raises UserError E-NUM-04 to 06, and E-NUM-09.
        """
        number = await self._fetch(sid)
        if not force:
            self.require_free(number, public_url)
        current, target = NumberRoute.of(number), NumberRoute.to(public_url)
        kept = self.kept.find(sid, holder)
        if kept is not None and kept.restored(current) != kept.before:
            # Somebody has changed the number since: what it has now is what to put back.
            self.kept.put_aside(kept)
            kept = None
        before = current if kept is None else kept.before
        ours = (target,) if kept is None else (*dict.fromkeys((*kept.ours, target)),)
        kept = KeptRoute(self._account_sid, sid, number.phone_number, holder, before, ours)
        self.kept.keep(kept)
        has = await self._change(number, target)
        if has != target:
            # What it has now is our doing, and is to be put back like all of it.
            self.kept.keep(msgspec.structs.replace(kept, ours=(*kept.ours, has)))
            raise await _partial(self._rest)
        return before

    async def restore(self, kept: KeptRoute, *, force: bool = False) -> RestoredNumber:
        """Put a number back, unless somebody else has changed it; with `force` even then.

        Raises UserError E-NUM-07 for a number of another account, and E-NUM-09.
        """
        if kept.account_sid != self._account_sid:
            raise UserError(
                "E-NUM-07",
                "What is kept of a number is of another Twilio account"
                f" ({kept.account_sid}), and cannot be put back with this one's credentials.",
                "Set TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN of that account, and run:"
                " offhook numbers restore",
            )
        try:
            number = await self._fetch(kept.sid)
        except UserError as problem:
            if (
                isinstance(problem.__cause__, TwilioRefusedError)
                and problem.__cause__.status == 404
            ):
                self.kept.put_aside(kept)
                return RestoredNumber(kept.phone_number, kept.before, (), is_gone=True)
            raise
        current = NumberRoute.of(number)
        wanted = kept.before if force else kept.restored(current)
        if await self._change(number, wanted) != wanted:
            raise await _partial(self._rest)
        left = tuple(
            name
            for name, has, had in (
                ("voice URL", wanted.voice, kept.before.voice),
                ("status callback", wanted.status, kept.before.status),
            )
            if has != had
        )
        if not left:
            self.kept.remove(kept)
        return RestoredNumber(kept.phone_number, kept.before, left)

    async def _fetch(self, sid: str) -> RestNumber:
        try:
            return await self._rest.fetch_number(sid)
        except (TwilioRefusedError, TwilioUnreachableError) as error:
            raise error.problem() from error

    async def _change(self, number: RestNumber, wanted: NumberRoute) -> NumberRoute:
        """Change the routes of a number; return those that Twilio says it has then."""
        changes = wanted.changes(NumberRoute.of(number))
        if not changes:
            return wanted
        try:
            return NumberRoute.of(await self._rest.update_number(number.sid, **changes))
        except (TwilioRefusedError, TwilioUnreachableError) as error:
            raise error.problem() from error


async def _partial(rest: TwilioRest) -> UserError:
    what = "Twilio has accepted the change of the number, and not made all of it."
    fix = "Look at the number in the Twilio Console; offhook numbers restore puts it back."
    # A standard API key may not read the account (twilio.md §5.1).
    with contextlib.suppress(TwilioRefusedError, TwilioUnreachableError):
        if (await rest.fetch_account()).is_trial:
            what += " The account is a trial account, which may not change every setting."
            fix = "Upgrade the account in the Twilio Console, and run the command again."
    return UserError("E-NUM-09", what, fix)
