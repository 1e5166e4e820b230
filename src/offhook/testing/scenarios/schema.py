"""JSON Schema of scenario files, for editors, generated from the models that read them.

schema.json in this folder is a copy; `offhook rehearse --schema` prints it.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from offhook.testing.scenarios.scenario import Scenario

_VARIABLE: Final = {"type": "string", "pattern": r"^\{\{.*\}\}$"}
"""Schema of a variable, which may stand for a number."""

_MAY_BE_ALONE: Final = ("#/$defs/WaitForAgent", "#/$defs/HangUpStep")
"""References to the steps whose key needs no value."""


def scenario_schema() -> dict[str, Any]:
    """Return the JSON Schema, draft 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_as_written(Scenario.model_json_schema(by_alias=True)),
        "title": "An Offhook scenario",
        "oneOf": [{"required": ["steps"]}, {"required": ["callers"]}],
    }


def as_text() -> str:
    """Return the schema as text, as in schema.json."""
    return json.dumps(scenario_schema(), indent=2) + "\n"


def _as_written(schema: Any) -> Any:
    """Return the schema of the file's text, given pydantic's schema of the parsed values.

    A variable may stand for a number, one value for a list, and a step's name for the step; a
    missing value is left out, not null.
    """
    if isinstance(schema, list):
        return [_as_written(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    kept = {
        key: _as_written(value)
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str)) and not (key == "default" and not value)
    }
    about = {key: kept.pop(key) for key in ("description", "default") if key in kept}
    options = kept.get("anyOf")
    if options and {"type": "null"} in options:
        options.remove({"type": "null"})
        if len(options) == 1:
            kept = {**options[0]}
    if kept.get("type") in ("integer", "number"):
        kept = {"anyOf": [kept, dict(_VARIABLE)]}
    elif "minLength" in kept and kept.get("type") == "array":
        kept["minItems"] = kept.pop("minLength")
        kept = {"anyOf": [kept["items"], kept]}
    if kept.get("$ref") in _MAY_BE_ALONE:
        kept = {"anyOf": [kept, {"type": "null"}]}
    return {**kept, **about}
