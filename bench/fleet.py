"""make soak-fleet: the table of what a fleet of nodes survives, each row tried on purpose.

    python -m bench.fleet [--short] [--row NAME] [--write] [--loopback]

Three nodes, each a real `offhook serve`, over a real PostgreSQL behind the real HAProxy and nginx,
by the files of deploy/. Nodes are in network namespaces with addresses and monotonic clocks of
their own, so that packets can be dropped; needs Linux and root, and touches nothing outside. With
`--loopback` they are on this machine's loopback instead, and the rows that drop packets are left
out. `--short` tries fewer calls. `--write` puts the rows into the table of docs/reliability.md, and
leaves those that were not tried as they are. A row that raises or is not over in its time is
missed, and the others are tried all the same. Exits with 1 when a bar was missed.
"""

import argparse
import asyncio
import contextlib
import functools
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.fleet_checks import BACK_S, HOME_S, RowOutcome
from bench.measured_table import (
    IN_SHORT,
    MISSED,
    NOT_MEASURED,
    Figure,
    MeasuredTable,
    attempted,
    cells,
    command,
    this_run,
)
from bench.until_stopped import until_stopped
from tests.fleet.harness import Fleet, fleet
from tests.fleet.node import FleetNode
from tests.fleet.places import Loopback, Namespaces, Place, in_own_namespace, namespaces
from tests.postgres import Postgres

from bench import fleet_rows, fleet_tokens
from offhook.concurrency.event_loop import run

APART_S: Final = {"a": -600.0, "b": 0.0, "c": 600.0}
"""Seconds by which the wall clocks of the nodes are ahead, in the row of clocks."""

CLAIMS: Final = "tests/fleet/test_directory.py tests/fleet/test_heartbeat.py"

GRACE_S: Final = 5
"""Seconds for which a node that is restarted waits for its calls, before it hands them over."""

NOTICED_S: Final = 6.0
"""Seconds after which HAProxy has noticed that a machine acknowledges nothing: `tcp-ut`."""

SETTLED_S: Final = 120.0
"""Seconds after which nodes that a row has left dead must run again."""

TOTAL_S: Final = 2700.0
"""Seconds that all rows may take together. What is not begun then is not measured."""

NOT_BEGUN: Final = Figure(f"not begun within {TOTAL_S / 60:g} minutes", None)

ROW_FILES: Final = ("fleet_rows", "fleet_checks", "fleet_tokens")

LOST: Final = 0.05
"""Share of the packets that are lost in the row of loss."""

SHARE: Final = 3
"""Sessions of each node while the database is away."""


class Trial:
    """What rows are tried on. Rows of ordinary fleets share one: to start it takes a while."""

    def __init__(
        self, folder: Path, postgres: Postgres, make_place: Callable[[], Place], *, short: bool
    ) -> None:
        self._make_place = make_place
        self.short = short
        self._folder = folder
        self._postgres = postgres
        self._count = 0
        self._shared: Fleet | None = None
        self._fleets = AsyncExitStack()

    def sized(self, short: int, long: int) -> int:
        return short if self.short else long

    @asynccontextmanager
    async def fleet(self, **options: Any) -> AsyncIterator[Fleet]:
        """Run a fleet for a row; without options, that of all such rows."""
        if not options:
            if self._shared is None:
                own = self._own(server={"grace_seconds": GRACE_S})
                self._shared = await self._fleets.enter_async_context(own)
            try:
                yield self._shared
            finally:
                await self._settle(self._shared)
            return
        async with self._own(**options) as running:
            yield running

    @asynccontextmanager
    async def _own(self, **options: Any) -> AsyncIterator[Fleet]:
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        with self._postgres.database(migrated=True) as url:
            async with fleet(folder, url, place=self._make_place(), **options) as running:
                try:
                    yield running
                finally:
                    tell_faults(running)

    async def _settle(self, running: Fleet) -> None:
        """Make the shared fleet good for the next row, or have that start one of its own."""
        try:
            async with asyncio.timeout(SETTLED_S):
                await cleared(running)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        self._shared = None
        await self._fleets.aclose()


async def cleared(running: Fleet) -> None:
    """Leave no call, and have all nodes run, whatever a row has left."""
    for way in running.databases:
        way.restore()
    for node in running.nodes.values():
        node.wake()
        if isinstance(running.place, Namespaces):
            running.place.find(node.name)
    await fleet_rows.revive(running)
    await running.drop_calls()


def tell_faults(running: Fleet) -> None:
    """Print what nodes say about faults."""
    for node in running.nodes.values():
        wrong = [line for line in node.log.splitlines() if '"level": "error"' in line]
        for line in wrong[:5]:
            print(f"  node {node.name}: {line[:300]}")


@dataclass(frozen=True, slots=True)
class FleetRow:
    """A row of the table. It is missed if it is not over after `limit_s` seconds."""

    name: str
    case: str
    bar: str
    measure: Callable[[Trial], Awaitable[Figure]]
    limit_s: float = 180.0


def figure(*outcomes: RowOutcome) -> Figure:
    for outcome in outcomes:
        for what in outcome.wrong:
            print(f"  WRONG {what}", flush=True)
        for what in outcome.late:
            print(f"  LATE {what}", flush=True)
    faults = [one for outcome in outcomes for one in (*outcome.wrong, *outcome.late)]
    return Figure("; ".join([*(outcome.text for outcome in outcomes), *faults]), not faults)


async def killed(trial: Trial) -> Figure:
    """SIGKILL of all processes of a node."""
    outcomes = []
    async with trial.fleet() as running:
        for _ in range(trial.sized(1, 3)):
            calls = trial.sized(12, 100)
            outcomes.append(await fleet_rows.death(running, calls, fleet_rows.kill))
            await fleet_rows.revive(running)
    return figure(*outcomes)


async def without_power(trial: Trial) -> Figure:
    """A node's packets are dropped, and it dies. HAProxy notices, nginx does not for long."""
    outcomes = []
    for balancer, whole_s in (("HAProxy", NOTICED_S + BACK_S), ("nginx", HOME_S)):
        options = {} if balancer == "HAProxy" else {"balancer": balancer}
        async with trial.fleet(**options) as running:
            place = running.place
            if not isinstance(place, Namespaces):
                return NOT_MEASURED
            die = functools.partial(lose_power, place)
            outcome = await fleet_rows.death(running, trial.sized(12, 100), die, whole_s=whole_s)
            outcome.text = f"{balancer}: {outcome.text}"
            outcomes.append(outcome)
    return figure(*outcomes)


def lose_power(place: Namespaces, node: FleetNode) -> None:
    place.lose(node.name)
    node.kill()


async def parted(trial: Trial) -> Figure:
    """A node is cut off from the database and the other nodes, and lives on."""
    async with trial.fleet() as running:
        place = running.place
        if not isinstance(place, Namespaces):
            return NOT_MEASURED
        return figure(await fleet_rows.parted(running, trial.sized(12, 60), place.lose, place.find))


async def unlinked(trial: Trial) -> Figure:
    """No node reaches another one."""
    async with trial.fleet(balancer=None, routed=False) as running:
        place = running.place
        if not isinstance(place, Namespaces) or shutil.which("iptables") is None:
            return NOT_MEASURED
        count = trial.sized(9, 60)
        return figure(await fleet_rows.unlinked(running, count, place))


async def lossy(trial: Trial) -> Figure:
    """Every node loses packets by chance."""
    async with trial.fleet() as running:
        place = running.place
        if not isinstance(place, Namespaces) or shutil.which("iptables") is None:
            return NOT_MEASURED
        count, seconds = trial.sized(6, 60), trial.sized(10, 60)
        return figure(await fleet_rows.lossy(running, count, seconds, place.lose_some, LOST))


async def paused(trial: Trial) -> Figure:
    async with trial.fleet() as running:
        return figure(await fleet_rows.paused(running, trial.sized(9, 60)))


async def paused_alone(trial: Trial) -> Figure:
    async with trial.fleet() as running:
        return figure(await fleet_rows.paused_alone(running, trial.sized(9, 60)))


async def away(trial: Trial) -> Figure:
    most = 3 * SHARE
    seconds = trial.sized(15, 600)
    async with trial.fleet(max_sessions=most) as running:
        outcome = await fleet_rows.away(running, most, seconds)
    async with trial.fleet() as running:
        claims = await fleet_rows.away_in_a_claim(running, trial.sized(9, 60), 5.0)
    return figure(outcome, claims)


async def clocks(trial: Trial) -> Figure:
    async with trial.fleet(wall=APART_S) as running:
        dead = await fleet_rows.death(running, trial.sized(9, 60), fleet_rows.kill)
        await fleet_rows.revive(running)
        wrong = await fleet_tokens.tokens(running)
        stopped = await fleet_rows.paused(running, trial.sized(9, 60))
    return figure(dead, wrong, stopped)


async def rolling(trial: Trial) -> Figure:
    async with trial.fleet() as running:
        count, rate = trial.sized(6, 40), trial.sized(1, 3)
        return figure(await fleet_rows.rolling(running, count, rate, hold_s=4.0))


async def tokens(trial: Trial) -> Figure:
    async with trial.fleet() as running:
        return figure(await fleet_tokens.tokens(running))


def by(long: str, short: str, tells: str = f"^{IN_SHORT}") -> Callable[[Trial], Awaitable[Figure]]:
    """Return what measures by a command of its own."""

    async def measure(trial: Trial) -> Figure:
        return await command((short if trial.short else long).split(), tells)

    return measure


ROWS: tuple[FleetRow, ...] = (
    FleetRow(
        "killed",
        "node killed (SIGKILL) under 100 calls, 3 nodes, three times",
        "callers back ≤ 5 s after Twilio asks; none twice; lines older than 1 s kept",
        killed,
        limit_s=300,
    ),
    FleetRow(
        "power",
        "node without power (its packets dropped) under 100 calls, behind HAProxy and behind nginx",
        "callers back ≤ 5 s after Twilio asks, ≤ 15 s by re-homing (≤ 11 s by HAProxy); none twice",
        without_power,
        limit_s=300,
    ),
    FleetRow(
        "parted",
        "node cut off from the database and the other nodes, not from Twilio",
        "its calls go on, there or at another node; nothing is recorded twice",
        parted,
    ),
    FleetRow(
        "unlinked",
        "no node reaches another one; all reach Twilio, Deepgram and the database",
        "no call cut, none with two agents; callers whose call is taken elsewhere back ≤ 5 s;"
        " commands there refused ≤ 3 s",
        unlinked,
    ),
    FleetRow(
        "lossy",
        f"each node loses {LOST:.0%} of its packets, in and out, on all of its networks",
        "no call cut, none with two agents; nothing lost, nothing recorded twice",
        lossy,
    ),
    FleetRow(
        "paused",
        "owner paused (SIGSTOP) past its lease, replaced, then woken",
        "it neither speaks, writes nor dials",
        paused,
    ),
    FleetRow(
        "paused-alone",
        "owner paused past its lease, not replaced, woken",
        "the call goes on",
        paused_alone,
    ),
    FleetRow(
        "claims",
        "reaper and `/twilio/after` at the same moment; two claimants",
        "one owner, 10,000 times",
        by(
            f"-m pytest -s -p no:cacheprovider --hypothesis-profile soak {CLAIMS}",
            f"-m pytest -s -p no:cacheprovider {CLAIMS}",
            "races of a reaper|failed",
        ),
        limit_s=300,
    ),
    FleetRow(
        "away",
        "database away for 10 minutes, and during claims",
        "live calls go on; new ones are taken within static shares; nothing stored twice",
        away,
        limit_s=900,
    ),
    FleetRow("clocks", "clocks of nodes apart by minutes", "no difference", clocks, limit_s=300),
    FleetRow(
        "rolling",
        "rolling restart of 3 nodes behind HAProxy under load",
        "no call cut, no webhook 5xx",
        rolling,
        limit_s=300,
    ),
    FleetRow(
        "commands",
        "a command to a call on another node",
        "p99 ≤ 20 ms more than locally; a stale one is refused, never run late",
        by("-m bench.node_commands", "-m bench.node_commands --commands 100 --stale 1"),
        limit_s=420,
    ),
    FleetRow(
        "tokens",
        "wrong, expired, foreign, replayed token on every node",
        "refused",
        tokens,
    ),
)


TABLE: Final = MeasuredTable(
    "case",
    [row.case for row in ROWS],
    "<!-- measured by bench/fleet.py: begin -->",
    "<!-- measured by bench/fleet.py: end -->",
)


async def tried(rows: Sequence[FleetRow], trial: Trial, of: str) -> list[list[str]]:
    """Measure these rows, one after the other."""
    table = []
    end = time.monotonic() + TOTAL_S
    try:
        for row in rows:
            print(f"{row.name}: {row.case}", flush=True)
            began = time.monotonic()
            limit_s = min(row.limit_s, end - began)
            if limit_s > 0:
                found = await attempted(row.measure(trial), limit_s, ROW_FILES)
            else:
                found = NOT_BEGUN
            line = cells(row.case, row.bar, found, of)
            print(f"  {line[2]}: {line[3]} ({time.monotonic() - began:.0f} s)", flush=True)
            table.append(line)
    finally:
        await trial.close()
    return table


def is_well(table: Sequence[Sequence[str]]) -> bool:
    """Return whether every row was begun, and none is missed."""
    return not any(line[3] == MISSED or line[2] == NOT_BEGUN.text for line in table)


def try_all(given: argparse.Namespace) -> None:
    logging.disable(logging.ERROR)
    postgres = Postgres()
    with (
        tempfile.TemporaryDirectory(prefix="offhook-fleet-") as name,
        namespaces() if not given.loopback else contextlib.nullcontext(Loopback) as make_place,
    ):
        try:
            trial = Trial(Path(name), postgres, make_place, short=given.short)
            rows = [row for row in ROWS if row.name in (given.row or row.name)]
            form = "short" if given.short else "long"
            form += ", loopback" if given.loopback else ""
            lines = run(until_stopped(tried(rows, trial, this_run(form))))
        finally:
            postgres.stop()
    if not lines:
        sys.exit("stopped: nothing is judged")
    TABLE.show(lines)
    if given.write:
        TABLE.write(lines)
    sys.exit(not is_well(lines))


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="fewer calls")
    names = [row.name for row in ROWS]
    parser.add_argument("--row", action="append", choices=names, help="default: all")
    parser.add_argument("--write", action="store_true", help="write the rows into the table")
    parser.add_argument("--loopback", action="store_true", help="no network namespaces")
    given = parser.parse_args()
    for program in ("haproxy", "nginx", "ip", "unshare", "nsenter"):
        if shutil.which(program) is None:
            sys.exit(
                f"{program} is not installed.\n  → apt-get install haproxy nginx-light iproute2"
            )
    if given.loopback:
        try_all(given)
    else:
        in_own_namespace(lambda: try_all(given))


if __name__ == "__main__":
    main()
