"""Checks before a call is placed: whether the person may be called, and whether now."""

import asyncio
import zoneinfo
from collections.abc import Callable
from datetime import datetime, tzinfo
from typing import Final

from offhook.calls.registry import CallRegistry
from offhook.clock import Clock
from offhook.config import Agent, Config
from offhook.config.calling_hours import NeverOpenError
from offhook.errors import UserError
from offhook.outbound.contacts import canonical
from offhook.outbound.errors import TryLaterError, forbidden
from offhook.outbound.ledger import CallLedger
from offhook.outbound.zones import NumberZones
from offhook.policy.dial_policy import DialPolicy, DialRefusal, refusal

PACE_MAX_S: Final = 10.0
"""Seconds that a request may wait for its turn; beyond, it is refused with a time to retry."""


class PlacementChecks:
    """Checks of every call that a server places. `wall` is the wall clock, UTC."""

    def __init__(
        self,
        config: Config,
        calls: CallRegistry,
        ledger: CallLedger,
        dial_policy: DialPolicy,
        clock: Clock,
        wall: Callable[[], datetime],
    ) -> None:
        self._config = config
        self._calls = calls
        self._ledger = ledger
        self._dial_policy = dial_policy
        self._clock = clock
        self._wall = wall
        self._number_zones = NumberZones()
        self._turn_at = clock.now()

    async def judge(self, to: str, agent: Agent, zone: str | None, *, within_hours: bool) -> None:
        """Raise UserError for a person who may not be called, or not now."""
        refused = refusal(self._dial_policy.rules, to)
        if refused is not None:
            raise forbidden(refused.words)
        if within_hours:
            self._judge_hours(to, agent, zone)
        if await self._is_barred(to):
            raise UserError(
                "E-OUT-11",
                "This number is on the list of those that are never to be called.",
                "Leave it out.",
            )

    async def _is_barred(self, number: str) -> bool:
        """Return whether a number is barred, as it is written or as networks have it."""
        forms = dict.fromkeys((number, canonical(number)))
        return any([await self._ledger.is_barred(form) for form in forms])

    def _judge_hours(self, to: str, agent: Agent, zone: str | None) -> None:
        """Raise UserError for a person who may not be called at this hour.

        The request gives the person's zone; otherwise every zone counts in which the number may be.
        This machine's zone and the agent's are not used: the person may be elsewhere.
        """
        zones = self._number_zones.of(to) if zone is None else (_zone(zone),)
        if not zones:
            raise UserError(
                "E-OUT-21",
                "Nobody knows in which time zone this number is.",
                "Give it one: timezone of the request, or of the row of the list.",
            )
        now = self._wall()
        try:
            opens = agent.outbound.calling_hours.opens_everywhere(now, zones)
        except NeverOpenError:
            raise UserError(
                "E-OUT-22",
                f"This number may be in any of {len(zones)} time zones, and the calling hours are"
                " at no moment in all of them.",
                "Give it one: timezone of the request, or of the row of the list.",
            ) from None
        if opens is not None:
            where = "there" if len(zones) == 1 else f"in one of its {len(zones)} time zones"
            raise TryLaterError(
                "E-OUT-10",
                f"It is outside the calling hours {where}, until {opens:%Y-%m-%d %H:%M %Z}.",
                "Ask again then, or give it its timezone; the agent file has the hours.",
                max((opens - now).total_seconds(), 1.0),
            )

    def find_room(self, live: int) -> None:
        """Raise TryLaterError when no further call may be placed now.

        `live` are the calls that this process has placed. Those of the process that drains beside
        it count, too.
        """
        if self._calls.is_draining:
            raise TryLaterError(
                "E-OUT-06", "The server is stopping, and places no calls.", "Ask again later.", 10.0
            )
        live += self._calls.placed_beside
        if live >= self._config.outbound.concurrent or self._calls.limit_reached:
            raise TryLaterError(
                "E-OUT-12",
                "As many calls as may be are ringing or going on.",
                "Ask again when one is over, or raise outbound.concurrent or server.capacity.",
                1.0,
            )

    async def count(self, to: str) -> None:
        """Count the call against the limits of the dialling policy, or raise UserError."""
        refused = await self._dial_policy.check("call", to, self._clock.now())
        if refused is None:
            return
        # What is over within the hour; the number itself is refused for good.
        if refused in (
            DialRefusal.CALLS_PER_HOUR,
            DialRefusal.SPEND_PER_HOUR,
            DialRefusal.NOT_COUNTED,
        ):
            raise TryLaterError(
                "E-OUT-17",
                f"This number is not called now: {refused.words}.",
                "Ask again in an hour, or raise the limits of dialling: in offhook.yaml.",
                60.0,
            )
        raise forbidden(refused.words)

    async def await_turn(self) -> None:
        """Wait until the configured rate lets the next call out."""
        now = self._clock.now()
        at = max(now, self._turn_at)
        if at - now > PACE_MAX_S:
            raise TryLaterError(
                "E-OUT-13",
                "More calls are asked for than outbound.calls_per_second lets through.",
                "Ask again more slowly.",
                at - now - PACE_MAX_S,
            )
        # Taken before the wait: the next request is behind this one.
        self._turn_at = at + 1 / self._config.outbound.calls_per_second
        if at > now:
            await asyncio.sleep(at - now)


def no_session() -> TryLaterError:
    """Return the refusal of a call for which the nodes of the fleet have no agent session left."""
    return TryLaterError(
        "E-OUT-12",
        "All agent sessions that the nodes share are taken by calls that ring or go on.",
        "Ask again when one is over, or raise deepgram.max_sessions to what Deepgram opens.",
        1.0,
    )


def _zone(name: str) -> tzinfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise UserError(
            "E-OUT-16",
            "This machine knows no time zone of that name.",
            "Write one as Europe/Berlin.",
        ) from None
