"""Preparation of scenarios: every check that needs no call, and the callers' audio."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext

from offhook.clock import Clock
from offhook.testing.faults.fault import Fault
from offhook.testing.scenarios import scenario, scenario_server, validation
from offhook.testing.scenarios.files import Dialogues, raise_together
from offhook.testing.scenarios.listeners import Listeners
from offhook.testing.scenarios.runner import ScenarioRun, ScenarioServer, Target
from offhook.testing.scenarios.scenario import Loaded
from offhook.testing.scenarios.validation import Sight
from offhook.testing.scenarios.word_matching import AgentVocabulary
from offhook.testing.simulator.speech import clip_file
from offhook.testing.simulator.speech.render import Rendered, render
from offhook.yamlfile import InvalidFileError


async def prepare(
    loaded: Sequence[Loaded],
    dialogues: Dialogues,
    listeners: Listeners,
    rendered: Rendered,
    target: Target | None,
    environ: Mapping[str, str],
    faults: Sequence[Fault] = (),
) -> list[ScenarioRun]:
    """Check every scenario, and return what is needed to run them.

    Raises InvalidFileError with the mistakes of all scenarios, or UserError for a sound.

    `target` takes the calls of scenarios without a `config`; None if all have one. `faults` happen
    in each scenario.
    """
    cases: list[ScenarioRun] = []
    bad: list[InvalidFileError] = []
    for one in loaded:
        try:
            known = dialogues.known(one)
            sight, server = await _server(one, known, listeners, target, environ, faults)
            validation.check(one, known, sight)
        except InvalidFileError as error:
            bad.append(error)
            continue
        how = sight.how if sight.words else f"unknown. {sight.how}"
        slowly = one.scenario.config is not None and scenario_server.opens_slowly(one)
        cases.append(ScenarioRun(one, _sounds(one, rendered), known, how, server, slowly))
    raise_together(bad)
    return cases


async def _server(
    one: Loaded,
    known: AgentVocabulary | None,
    listeners: Listeners,
    target: Target | None,
    environ: Mapping[str, str],
    faults: Sequence[Fault],
) -> tuple[Sight, Callable[[Clock], AbstractAsyncContextManager[ScenarioServer]]]:
    rigged = bool(faults) or one.scenario.has_faults
    if one.scenario.config is not None:
        with scenario.at(one.place("config")):
            config = scenario_server.config_of(one, environ)
        return scenario_server.SIGHT, functools.partial(
            scenario_server.run, one, config, faults if rigged else None
        )
    assert target is not None
    sight, listen = await listeners.choose(known)
    if rigged and listeners.config is not None:
        return sight, functools.partial(
            scenario_server.run_rigged, listeners.config, target.account_sid, faults
        )
    server = ScenarioServer(target, listen)
    return sight, lambda clock: nullcontext(server)


async def rendering(loaded: Iterable[Loaded]) -> Rendered:
    """Synthesise all texts that the callers say."""
    return await render(text for one in loaded for text, is_file, _ in one.sounds() if not is_file)


def _sounds(loaded: Loaded, rendered: Rendered) -> dict[str, bytes]:
    sounds = {}
    for sound, is_file, place in loaded.sounds():
        with scenario.at(place):
            file = loaded.beside(sound)
            sounds[sound] = clip_file.read(file) if is_file else rendered.audio(sound)
    return sounds
