"""Recorded clips of callers and agents for rehearsals, as mu-law audio.

The clips and the list of their texts are in `recorded/`; scripts/render-clips makes them. A file is
read when it is needed first.
"""

import functools
import re
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

from ruamel.yaml import YAML

_NOT_A_WORD: Final = re.compile(r"[^a-z0-9]+")


def names(prefix: str = "") -> list[str]:
    """List the clips whose name begins with `prefix`: "caller-" or "agent-" says who speaks."""
    return [name for name in _texts() if name.startswith(prefix)]


def text(name: str) -> str:
    """Return the text of a clip. Raises KeyError if there is no clip of that name."""
    return _texts()[name]


@functools.cache
def load(name: str) -> bytes:
    """Return the audio of a clip. Raises KeyError if there is no clip of that name."""
    text(name)
    return (_folder() / f"{name}.ulaw").read_bytes()


def find(text: str) -> str | None:
    """Return the name of the clip that says `text`, regardless of case and punctuation, if any."""
    return _by_words().get(_words(text))


def of_caller(wanted: str) -> str | None:
    """Return the name of the caller's clip with this name or this text, if there is one."""
    return wanted if wanted in names("caller-") else find(wanted)


def _folder() -> Traversable:
    return resources.files("offhook.testing.simulator.speech") / "recorded"


@functools.cache
def _texts() -> Mapping[str, str]:
    texts = YAML(typ="safe").load((_folder() / "speech.yaml").read_text("utf-8"))
    return {str(name): str(words) for name, words in texts.items()}


@functools.cache
def _by_words() -> Mapping[str, str]:
    return {_words(said): name for name, said in _texts().items()}


def _words(said: str) -> str:
    return _NOT_A_WORD.sub(" ", said.lower()).strip()
