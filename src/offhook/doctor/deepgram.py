"""Checks of Deepgram: the key, each agent's Settings, each fallback address, the limit."""

import itertools
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from offhook import variables
from offhook.calls.agent_session import values_for
from offhook.config import Agent, AppConfig
from offhook.deepgram import settings
from offhook.doctor import deepgram_key
from offhook.doctor.agent_session import SESSION_S, SessionFailedError, try_session
from offhook.doctor.check import Check, bad, good, remark
from offhook.doctor.probes import Probe, run_probes
from offhook.errors import UserError

LIMIT: Final = "Deepgram limit"

AT_ONCE: Final = 3
"""Sessions that are open at once: calls need what the project may have (deepgram.md §1.3)."""

_CALLER: Final = "+12025550142"
_CALL_SID: Final = "CA" + "0" * 32


def limit_s(config: AppConfig, agents: Sequence[Agent]) -> float:
    """Return the seconds that the checks of Deepgram may take."""
    sessions = 1 + len(config.deepgram.fallback_urls) + len(agents)
    return SESSION_S * (2 + sessions // AT_ONCE)


async def look_at_deepgram(config: AppConfig, agents: Sequence[Agent]) -> list[Check]:
    """Return how Deepgram is for these agents; without a key that works, of the key alone."""
    try:
        key = config.require_deepgram_key().get_secret_value()
    except UserError as problem:
        return [bad(deepgram_key.NAME, f"{problem.code} {problem.what}", problem.fix)]
    deepgram = config.deepgram
    headers = deepgram.headers(key)
    connect_s = deepgram_key.CONNECT_S
    tutorial = settings.tutorial()[0].message()
    key_check = await deepgram_key.with_headers(deepgram.url, headers, tutorial, connect_s)
    found = [key_check]
    if key_check.status != "bad":

        async def of_agent(agent: Agent) -> list[Check]:
            name = f"agent {agent.name}"
            try:
                times = await try_session(deepgram.url, headers, _message(agent), connect_s)
            except SessionFailedError as failed:
                return [bad(name, failed.what, failed.fix)]
            return [good(name, f"Settings applied after {times.applied_ms} ms")]

        async def of_fallback(url: str, number: int) -> list[Check]:
            check = await deepgram_key.with_headers(url, headers, tutorial, connect_s)
            return [Check(f"fallback {number}", check.status, check.reason, check.command)]

        probes = [
            *(Probe(f"agent {each.name}", SESSION_S, partial(of_agent, each)) for each in agents),
            *(
                Probe(f"fallback {number}", SESSION_S, partial(of_fallback, url, number))
                for number, url in enumerate(deepgram.fallback_urls, 1)
            ),
        ]
        for few in _batches(probes):
            found += await run_probes(few)
    return [*found, _limit(config)]


def _batches(probes: Sequence[Probe]) -> Iterator[Sequence[Probe]]:
    for first in itertools.count(0, AT_ONCE):
        if first >= len(probes):
            return
        yield probes[first : first + AT_ONCE]


def _message(agent: Agent) -> bytes:
    """Return the Settings that a call of the agent sends."""
    values = values_for(agent, _CALL_SID, _CALLER, _CALLER)
    return agent.settings.message(
        functions=[tool.definition for tool in agent.tool_files.current.values()],
        fill=lambda text: variables.fill(text, values),
    )


def _limit(config: AppConfig) -> Check:
    capacity, most = config.server.capacity, config.deepgram.max_sessions
    if most is None:
        reason = "deepgram.max_sessions is not set: callers beyond the project's limit wait for a"
        fix = "Set it to the limit of your plan, such as 45: offhook explain E-DG-03"
        return remark(LIMIT, f"{reason} refusal (429)", fix)
    if capacity > most:
        reason = f"server.capacity is {capacity}, and deepgram.max_sessions {most}"
        return remark(LIMIT, reason, f"Set server.capacity to {most}, or have the limit raised.")
    return good(LIMIT, f"{most} sessions, for {capacity} calls")
