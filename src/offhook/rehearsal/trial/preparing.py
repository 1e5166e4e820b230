"""Scenarios made ready to run: checked as far as can be without calling, and with their sounds."""

from collections.abc import Iterable, Sequence

from offhook.rehearsal import clip_file, scenario
from offhook.rehearsal.local.render import Rendered, render
from offhook.rehearsal.scenario import Loaded
from offhook.rehearsal.trial import possible
from offhook.rehearsal.trial.files import Dialogues, raise_together
from offhook.rehearsal.trial.listening import Listeners
from offhook.rehearsal.trial.runner import Case
from offhook.yamlfile import BadFile


async def prepare(
    loaded: Sequence[Loaded], dialogues: Dialogues, listeners: Listeners, rendered: Rendered
) -> list[Case]:
    """All of them. Raises BadFile with the mistakes of every one, or Problem for a sound."""
    cases: list[Case] = []
    bad: list[BadFile] = []
    for one in loaded:
        try:
            known = dialogues.known(one)
            sight, listen = await listeners.choose(known)
            possible.check(one, known, sight)
        except BadFile as error:
            bad.append(error)
            continue
        how = sight.how if sight.words else f"not known, for {sight.how}"
        cases.append(Case(one, _sounds(one, rendered), known, how, listen))
    raise_together(bad)
    return cases


async def rendering(loaded: Iterable[Loaded]) -> Rendered:
    """All that their callers say, said."""
    return await render(text for one in loaded for text, is_file, _ in one.sounds() if not is_file)


def _sounds(loaded: Loaded, rendered: Rendered) -> dict[str, bytes]:
    sounds = {}
    for sound, is_file, place in loaded.sounds():
        with scenario.at(place):
            file = loaded.beside(sound)
            sounds[sound] = clip_file.read(file) if is_file else rendered.audio(sound)
    return sounds
