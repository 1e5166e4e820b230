"""The house of one scenario: the server of its configuration, its agent, and its telephones."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

from pydantic import SecretStr

from offhook import config as configuration
from offhook.clock import Clock
from offhook.config import Config
from offhook.rehearsal import standin_server
from offhook.rehearsal.callee import Callee
from offhook.rehearsal.scenario import Loaded
from offhook.rehearsal.switchboard.people import Person
from offhook.rehearsal.trial import own_server
from offhook.rehearsal.trial.listening import Inside
from offhook.rehearsal.trial.possible import Sight
from offhook.rehearsal.trial.runner import House, Target

SIGHT: Final = Sight(
    "taken from the wire, as the server in this process saw it", words=True, inside=True
)
"""What is seen of its calls."""

_ACCOUNT: Final = "AC" + "0" * 32


def config_of(loaded: Loaded, environ: Mapping[str, str]) -> Config:
    """The configuration that a scenario names. Raises Problem for what is wrong with it."""
    assert loaded.scenario.config is not None
    path = loaded.beside(loaded.scenario.config)
    return configuration.load(path, {**environ, "DEEPGRAM_API_KEY": "any"})


@asynccontextmanager
async def run(loaded: Loaded, config: Config, clock: Clock) -> AsyncIterator[House]:
    """Run it for as long as the scenario lasts. `config` is `config_of` it."""
    scenario = loaded.scenario
    assert scenario.script is not None  # where there is a config, there is one
    people = None
    if scenario.telephones is not None:
        people = {number: _person(callee) for number, callee in scenario.telephones.items()}
    standin = await standin_server.serve("127.0.0.1", 0, scenario.script, clock)
    try:
        deepgram = config.deepgram.model_copy(
            update={"url": standin.url, "api_key": SecretStr("any")}
        )
        account = own_server.Account(
            _ACCOUNT, [caller.to for caller in scenario.people.values()], people
        )
        async with own_server.run(replace(config, deepgram=deepgram), clock, account) as own:
            target = Target(own.url, own.token, _ACCOUNT)
            yield House(target, lambda sid: Inside(own, sid), own.board)
    finally:
        await standin.close()


def _person(callee: Callee) -> Person:
    return Person(
        callee.does,
        after_s=callee.after_s,
        keys=callee.keys,
        talks_s=callee.talks_s,
        hang_up_after_s=callee.hang_up_after_s,
    )
