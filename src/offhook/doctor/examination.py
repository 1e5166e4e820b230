"""Examination of a whole set-up: which probes there are, and what each may take."""

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC
from typing import Final
from urllib.parse import urlsplit

import httpx2

from offhook.clock import Clock, wall_clock
from offhook.concurrency.thread_job import in_thread
from offhook.config import Agent, AppConfig, Config
from offhook.doctor import deepgram, machine, public_url, twilio
from offhook.doctor.check import Check, remark
from offhook.doctor.configuration import ReadSetUp
from offhook.doctor.probes import Probe, nothing, run_probes
from offhook.link.process_files import live_processes
from offhook.net import egress
from offhook.net.listener import file_limit
from offhook.twilio.rest import date_s

ASKED_S: Final = 8.0
"""Seconds that a vendor may take to tell its time."""

LOCAL_S: Final = 10.0
PUBLIC_S: Final = 2 * public_url.ANSWER_S + 5.0


def _wall_s() -> float:
    return wall_clock(UTC).timestamp()


async def examine(
    read: ReadSetUp,
    clock: Clock,
    told: Callable[[Sequence[Check]], None] = nothing,
    wall_s: Callable[[], float] = _wall_s,
) -> list[Check]:
    """Return every check of a set-up. `told` is called with those of each part, in order.

    `wall_s` is this machine's wall clock, in seconds since 1970.
    """
    app = None if read.app is None else as_it_runs(read.app)
    trusted = [] if app is None else [app.twilio.rest_origin, public_url.local_origin(app)]
    if app is not None:
        trusted += [_http(app.deepgram.url)]
        trusted += [app.server.public_url] if app.server.public_url is not None else []
    async with egress.client(trusted) as http:
        probes = [Probe("configuration", LOCAL_S, _given(read.checks))]
        if app is not None:
            probes += _of_vendors(app, read.config, http, wall_s)
            there = public_url.PublicUrlCheck(app, http, clock)
            probes.append(Probe(public_url.PUBLIC, PUBLIC_S, there.look))
        probes += _of_machine(app, read.config)
        return await run_probes(probes, told)


def as_it_runs(app: AppConfig) -> AppConfig:
    """Return a configuration with port and public URL of the process that runs with its records.

    These may be of that process's command line, as those of `offhook dev` are. A public URL of the
    configuration stays: a process with another one is a mistake.
    """
    running = next(iter(live_processes(app.records.journals).values()), None)
    if running is None:
        return app
    server = app.server
    known = {
        "port": running.port or server.port,
        "public_url": server.public_url or running.public_url or None,
    }
    return dataclasses.replace(app, server=server.model_copy(update=known))


def agents_of(config: Config) -> list[Agent]:
    """Return every agent of a configuration once."""
    all_agents = (*config.lines.values(), *config.placers, *config.agents.values())
    return list({agent.name: agent for agent in all_agents}.values())


def _of_vendors(
    app: AppConfig, config: Config | None, http: httpx2.AsyncClient, wall_s: Callable[[], float]
) -> list[Probe]:
    agents = [] if config is None else agents_of(config)
    lines = [] if config is None else list(config.lines)

    async def at_deepgram() -> Sequence[Check]:
        return await deepgram.look_at_deepgram(app, agents)

    async def at_account() -> Sequence[Check]:
        return await twilio.look_at_account(app, http)

    async def at_numbers() -> Sequence[Check]:
        return await twilio.look_at_numbers(app, lines, http)

    async def at_countries() -> Sequence[Check]:
        return [] if config is None else await twilio.look_at_countries(config, http)

    async def at_clock() -> Sequence[Check]:
        return [await _clock(app, http, wall_s)]

    return [
        Probe("Deepgram", deepgram.limit_s(app, agents), at_deepgram),
        Probe("Twilio account", twilio.LIMIT_S, at_account),
        Probe("Twilio numbers", twilio.LIMIT_S, at_numbers),
        Probe(twilio.COUNTRIES, twilio.LIMIT_S, at_countries),
        Probe(machine.CLOCK, 2 * ASKED_S + 1, at_clock),
    ]


def _of_machine(app: AppConfig | None, config: Config | None) -> list[Probe]:
    async def at_disk() -> Sequence[Check]:
        if app is None:
            return []
        # A disk that hangs holds up nothing else.
        return [await in_thread(lambda: machine.check_disk(app), "look at the disk")]

    async def at_files() -> Sequence[Check]:
        if app is None:
            return []
        is_recording = config is not None and any(each.recording for each in agents_of(config))
        return [machine.check_files(app.server.capacity, file_limit(), is_recording=is_recording)]

    async def at_versions() -> Sequence[Check]:
        return [machine.check_versions(*machine.installed_versions())]

    return [
        Probe(machine.DISK, LOCAL_S, at_disk),
        Probe(machine.FILES, LOCAL_S, at_files),
        Probe(machine.VERSIONS, LOCAL_S, at_versions),
    ]


def _given(checks: Sequence[Check]) -> Callable[[], Awaitable[Sequence[Check]]]:
    async def look() -> Sequence[Check]:
        return checks

    return look


async def _clock(app: AppConfig, http: httpx2.AsyncClient, wall_s: Callable[[], float]) -> Check:
    """Return how the clock is by the date of an answer of Twilio's, else of Deepgram's."""
    for url, whose in ((app.twilio.rest_origin, "Twilio"), (_http(app.deepgram.url), "Deepgram")):
        try:
            async with http.stream("GET", url, timeout=ASKED_S) as response:
                date = date_s(response.headers.get("date"))
        except httpx2.HTTPError:
            continue
        if date is not None:
            return machine.check_clock(wall_s() - date, whose)
    reason = "neither Twilio nor Deepgram told its time"
    return remark(machine.CLOCK, reason, "Compare it by hand: timedatectl")


def _http(url: str) -> str:
    """Return the origin of a socket's URL for HTTP."""
    parts = urlsplit(url)
    return f"{'http' if parts.scheme == 'ws' else 'https'}://{parts.netloc.rpartition('@')[2]}"
