"""Reading of a stand-in agent from a file: a script or a dialogue."""

from pathlib import Path
from typing import Any

from offhook import yamlfile
from offhook.testing.simulator.deepgram.script import Script
from offhook.testing.simulator.dialogue.file import Dialogue, DialogueContent


def read(path: Path) -> Script | Dialogue:
    """Read an agent from a file: one with `turns` is a script, one with `intents` a dialogue.

    Raises UserError (E-YAML-01 to -03, E-DIALOGUE-01) naming file, line and key.
    """
    document = yamlfile.read(path)
    keys = _keys(document.value)
    of_script, of_dialogue = set(Script.model_fields), set(DialogueContent.model_fields)
    if "intents" in keys and "turns" in keys:
        raise _neither(document, "intents", "This has both turns and intents")
    if keys & (of_dialogue - of_script):
        return Dialogue(document)
    known = {key for key in keys if yamlfile.nearest(key, of_script)}
    if keys and not known:
        raise _neither(document, min(keys), "This is no stand-in agent")
    return yamlfile.validate(Script, document)


def _keys(value: Any) -> set[str]:
    return {str(key) for key in value} if isinstance(value, dict) else set()


def _neither(document: yamlfile.Document, key: str, text: str) -> yamlfile.InvalidFileError:
    finding = yamlfile.Finding(
        "error",
        f"{text}: an agent that plays a script has turns, one that talks along a dialogue has"
        " intents.",
        "Write one of them.",
        document.place((key,), key=True),
    )
    return yamlfile.InvalidFileError("E-YAML-03", [finding])
