"""Search and reading of the scenario files on a command line, and of their dialogues."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from offhook import yamlfile
from offhook.call.phrases import Phrases
from offhook.errors import UserError
from offhook.testing.scenarios.scenario import Loaded, load
from offhook.testing.scenarios.word_matching import AgentVocabulary
from offhook.testing.simulator.dialogue import file as dialogue_file
from offhook.testing.simulator.dialogue.file import Dialogue
from offhook.yamlfile import Finding, InvalidFileError


def find(paths: Iterable[Path]) -> list[Path]:
    """Return the named scenario files, and all *.yaml and *.yml below named folders, sorted.

    Raises UserError E-SCENARIO-03 for a folder without any.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            found[path] = None
            continue
        below = sorted(file for kind in ("*.yaml", "*.yml") for file in path.rglob(kind))
        if not below:
            raise UserError(
                "E-SCENARIO-03",
                f"There is no scenario in {path}: no file whose name ends in .yaml.",
                "Name a scenario file, or a folder that holds some.",
            )
        found |= dict.fromkeys(below)
    return list(found)


def load_all(paths: Sequence[Path], variables: Mapping[str, str]) -> list[Loaded]:
    """Load every scenario file.

    Raises InvalidFileError with the mistakes of every file, under the code of the first.
    """
    loaded: list[Loaded] = []
    bad: list[InvalidFileError] = []
    for path in paths:
        try:
            loaded.append(load(path, variables))
        except InvalidFileError as error:
            bad.append(error)
    raise_together(bad)
    return loaded


def raise_together(bad: Sequence[InvalidFileError]) -> None:
    """Raise one InvalidFileError with the findings of several, if there are any."""
    if bad:
        findings = [finding for error in bad for finding in error.findings]
        raise InvalidFileError(bad[0].code, findings)


class Dialogues:
    """Vocabularies of the dialogues that scenarios name; each file is read once.

    `standin` is the dialogue of a scenario that names none. `more` are further texts that the
    agents may say, such as greetings.
    """

    def __init__(self, standin: Dialogue | None, more: Iterable[str] = ()) -> None:
        phrases = Phrases()
        beside = (*more, phrases.still_there, phrases.silent_goodbye, phrases.time_up)
        self._standin = None if standin is None else AgentVocabulary(standin, beside)
        self._read = functools.cache(lambda path: AgentVocabulary(dialogue_file.read(path), beside))

    def known(self, loaded: Loaded) -> AgentVocabulary | None:
        """Return the vocabulary of the scenario's agent, or None without a dialogue.

        Raises InvalidFileError for a dialogue with mistakes, or one that does not exist.
        """
        name = loaded.scenario.dialogue
        if name is None:
            return self._standin
        path = loaded.beside(name)
        if not path.is_file():
            text, fix = f"There is no dialogue {path}.", "Correct the path: it starts here."
            raise InvalidFileError(
                "E-SCENARIO-01", [Finding("error", text, fix, loaded.place("dialogue"))]
            )
        return self._read(path.resolve())


def greetings(loaded: Iterable[Loaded]) -> list[str]:
    """Return the phrases expected before the caller's first turn, which no dialogue has."""
    found: list[str] = []
    for one in loaded:
        for person in one.scenario.people.values():
            for step in person.steps:
                if step.is_turn:
                    break
                if step.expect is not None:
                    found += step.expect.says
    return found


def unknown_variable(loaded: Sequence[Loaded], given: Iterable[str]) -> str | None:
    """Return a message about the first --var that no scenario has, or None."""
    known = {name for one in loaded for name in one.scenario.vars}
    for name in given:
        if name not in known:
            close = yamlfile.nearest(name, known)
            meant = f'Did you mean "{close}"?' if close else "Its vars say which it has."
            return f"No scenario has a variable {name}. {meant}"
    return None
