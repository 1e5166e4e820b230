"""Probes of a set-up: all run at once, each with its own time limit, and a fault ends one alone."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from offhook.doctor.check import Check, bad


@dataclass(frozen=True, slots=True)
class Probe:
    """A part of a set-up to look at.

    Attributes:
        name: The part, for a probe that comes to no end.
        limit_s: Seconds that it may take.
        look: Returns what was found.
    """

    name: str
    limit_s: float
    look: Callable[[], Awaitable[Sequence[Check]]]


def nothing(checks: Sequence[Check]) -> None:
    """Do nothing with the checks of a part."""


async def run_probes(
    probes: Sequence[Probe], told: Callable[[Sequence[Check]], None] = nothing
) -> list[Check]:
    """Return the checks of all probes, in the order of the probes.

    `told` is called with those of each probe as soon as they and those before are known.
    """
    found: list[Check] = []
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_contained(probe), name=probe.name) for probe in probes]
        for task in tasks:
            checks = await task
            told(checks)
            found += checks
    return found


async def _contained(probe: Probe) -> Sequence[Check]:
    try:
        async with asyncio.timeout(probe.limit_s):
            return await probe.look()
    except TimeoutError:
        reason = f"no answer within {probe.limit_s:g} s"
        return [bad(probe.name, reason, "Look at this machine's network, and run it again.")]
    except Exception as error:  # noqa: BLE001 - a fault of one probe ends no other
        reason = f"the check itself failed ({type(error).__name__})"
        return [bad(probe.name, reason, "Report this, with the output of: offhook doctor --json")]
