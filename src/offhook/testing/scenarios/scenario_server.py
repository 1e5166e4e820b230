"""The server of one scenario: its configuration, the agent's script, and the telephones."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final, cast

import httpx2
from pydantic import SecretStr

from offhook import config as configuration
from offhook.api.paths import PREFIX
from offhook.clock import Clock
from offhook.config import Config
from offhook.errors import UserError
from offhook.testing.faults.fault import Fault
from offhook.testing.scenarios import own_server
from offhook.testing.scenarios.callee import Callee
from offhook.testing.scenarios.caller import CallReport, SimulatedCaller
from offhook.testing.scenarios.deadlines import within
from offhook.testing.scenarios.listeners import inside
from offhook.testing.scenarios.own_server import OwnServer
from offhook.testing.scenarios.runner import ScenarioServer, Target
from offhook.testing.scenarios.scenario import Loaded, PlacedCaller, ScenarioStep
from offhook.testing.scenarios.validation import Sight
from offhook.testing.simulator.deepgram import server
from offhook.testing.simulator.twilio.calls.network import SimulatedNetwork
from offhook.testing.simulator.twilio.calls.people import MachineGreeting, SimulatedPerson

SIGHT: Final = Sight(
    "taken from the wire, as the server in this process saw it", words=True, inside=True
)
"""Sight of the calls of a scenario's own server."""

_PLACING_S: Final = 20.0
"""Seconds that the server has for the answer to a request that places a call."""
_LOOKS_S: Final = 0.05

_ACCOUNT: Final = "AC" + "0" * 32


def config_of(loaded: Loaded, environ: Mapping[str, str]) -> Config:
    """Load the configuration that a scenario names. Raises UserError for a mistake in it."""
    assert loaded.scenario.config is not None
    path = loaded.beside(loaded.scenario.config)
    return configuration.load(path, {**environ, "DEEPGRAM_API_KEY": "any"})


def opens_slowly(loaded: Loaded) -> bool:
    """Return True if the server keeps records and has an API: both take seconds to set up."""
    return any(caller.placed is not None for caller in loaded.scenario.people.values())


@asynccontextmanager
async def run_rigged(
    config: Config, account_sid: str, faults: Sequence[Fault], clock: Clock
) -> AsyncIterator[ScenarioServer]:
    """Run another server of that configuration for one scenario, with a fault rig around it."""
    async with own_server.run(config, clock, faults=faults) as own:
        target = Target(own.url, own.token, account_sid)
        yield ScenarioServer(target, lambda sid: inside(own, sid), rig=own.rig)


@asynccontextmanager
async def run(
    loaded: Loaded, config: Config, faults: Sequence[Fault] | None, clock: Clock
) -> AsyncIterator[ScenarioServer]:
    """Run the scenario's server within the context. `config` is that of `config_of`.

    With `faults`, even none, a fault rig is around it.
    """
    scenario = loaded.scenario
    assert scenario.script is not None  # where there is a config, there is one
    people: dict[str, SimulatedPerson] | None = None
    if scenario.telephones is not None:
        people = {number: _person(callee) for number, callee in scenario.telephones.items()}
    standin = await server.serve("127.0.0.1", 0, scenario.script, clock)
    try:
        deepgram = config.deepgram.model_copy(
            update={"url": standin.url, "api_key": SecretStr("any")}
        )
        callers = scenario.people.values()
        places = opens_slowly(loaded)
        account = own_server.OwnAccount(
            _ACCOUNT, [caller.to for caller in callers], people, places=places
        )
        config = replace(config, deepgram=deepgram)
        async with own_server.run(config, clock, account, faults=faults) as own:
            target = Target(own.url, own.token, _ACCOUNT)
            place = None
            if people is not None and own.network is not None and places:
                place = _Placing(own, own.network, people, scenario.time_limit_s).place
            yield ScenarioServer(target, lambda sid: inside(own, sid), own.network, place, own.rig)
    finally:
        await standin.close()


def _person(callee: Callee) -> SimulatedPerson:
    return SimulatedPerson(
        callee.does,
        after_s=callee.after_s,
        keys=callee.keys,
        talks_s=callee.talks_s,
        hang_up_after_s=callee.hang_up_after_s,
        machine=None
        if callee.machine is None
        else MachineGreeting(callee.machine.greeting_s, callee.machine.beep),
    )


class _Placing:
    """Placing of calls over the API of a scenario's server."""

    def __init__(
        self,
        own: OwnServer,
        network: SimulatedNetwork,
        people: dict[str, SimulatedPerson],
        time_limit_s: float,
    ) -> None:
        self._own = own
        self._network = network
        self._people = people
        self._time_limit_s = time_limit_s

    async def place(self, to: str, placed: PlacedCaller, caller: SimulatedCaller) -> CallReport:
        """Have the server place a call; return its report.

        Raises UserError if it refuses, OverdueError if it does not answer in time.
        """
        who = self._people[to]
        if who.machine is not None:
            sound = who.machine.sound()
            caller = SimulatedCaller((ScenarioStep(say="greeting"),), lambda _: sound)
        self._people[to] = replace(who, caller=lambda: caller)
        body = {"to": to, "agent": placed.agent, "variables": placed.variables}
        async with (
            within(_PLACING_S, "Placing a call"),
            httpx2.AsyncClient(timeout=None, trust_env=False) as http,
        ):
            response = await http.post(
                f"{self._own.api_url}{PREFIX}/calls",
                json=body,
                headers={"Authorization": f"Bearer {self._own.token}"},
            )
        answer = response.json()
        if "call_sid" not in answer:
            raise UserError(answer["code"], answer["detail"], answer["fix"])
        leg = self._network.legs[answer["call_sid"]]
        leg.at(self._time_limit_s, lambda: leg.end("given_up"))
        while not leg.over:
            await self._network.passed(_LOOKS_S)
        return cast("CallReport", leg.report)  # its party is this caller
