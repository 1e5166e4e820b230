"""JSON Schema of dialogues, for editors, generated from the models that read them.

schema.json beside this is a copy, written by
`python -m offhook.testing.simulator.dialogue.schema > schema.json`.
"""

import json
import sys

from offhook.testing.simulator.dialogue.file import DialogueContent


def as_text() -> str:
    """Return the text of the schema as it is committed."""
    draft = "https://json-schema.org/draft/2020-12/schema"
    schema = {
        "$schema": draft,
        **DialogueContent.model_json_schema(),
        "title": "An Offhook dialogue",
    }
    return json.dumps(schema, indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(as_text())
