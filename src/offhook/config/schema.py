"""JSON Schema of offhook.yaml and of agent files, for editors, from the models that read them.

An editor knows less than `offhook check`: names of models are suggested, and any other is allowed.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from offhook.config import agent_file
from offhook.config.agent_file import Agent
from offhook.config.app_config import AppConfigFile
from offhook.deepgram import model_names, settings_fields
from offhook.deepgram.settings_fields import Fields, Kind

_SWITCH: Final = {"enum": [True, False, "on", "off", "yes", "no"]}

_SHORT: Final[Mapping[object, JsonSchemaValue]] = {
    agent_file.said: {"type": "string"},
    agent_file.yes_or_no: _SWITCH,
    agent_file.action: {"const": "hang_up"},
}
"""Short forms of mappings, by the function that makes the mapping of one."""


def app_schema() -> dict[str, Any]:
    """Return the schema of offhook.yaml."""
    return _schema(AppConfigFile, "offhook.yaml")


def agent_schema() -> dict[str, Any]:
    """Return the schema of an agent file."""
    schema = _schema(Agent, "An Offhook agent")
    schema["properties"]["settings"] = {
        "description": "A Settings message, its agent block, or the UUID of a stored agent.",
        "anyOf": [{"type": "string"}, _message(), _agent()],
    }
    return schema


def as_text(schema: Mapping[str, Any]) -> str:
    """Return a schema as the text of a file."""
    return json.dumps(schema, ensure_ascii=False) + "\n"


def _schema(model: type[BaseModel], title: str) -> dict[str, Any]:
    made = model.model_json_schema(by_alias=True, schema_generator=_AsWritten)
    about = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    # A file may be empty as any heading: what it has otherwise is the first of the two.
    whole = made["anyOf"][0]
    return {**whole, **about, "$defs": made.get("$defs", {})}


class _AsWritten(GenerateJsonSchema):
    """Schema of the file's text, where a word may stand for a mapping, and a heading be empty."""

    def bool_schema(self, schema: core_schema.BoolSchema) -> JsonSchemaValue:
        return dict(_SWITCH)

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        return {"anyOf": [super().model_schema(schema), {"type": "null"}]}

    def is_instance_schema(self, schema: core_schema.IsInstanceSchema) -> JsonSchemaValue:
        return {"type": "string"}

    def function_before_schema(
        self, schema: core_schema.BeforeValidatorFunctionSchema
    ) -> JsonSchemaValue:
        made = super().function_before_schema(schema)
        function = schema["function"]["function"]
        short = _SHORT.get(function)
        if short is None and getattr(function, "__name__", "") in ("or_empty", "_lines"):
            short = {"type": "null"}
        return made if short is None else {"anyOf": [made, dict(short)]}


# --- Settings: suggestions, from the fields that `check` knows ---

_TYPES: Final[Mapping[Kind, JsonSchemaValue]] = {
    "text": {"type": "string"},
    "a number": {"type": "number"},
    "a whole number": {"type": "integer"},
    "true or false": {"type": "boolean"},
    "a list of texts": {"type": "array", "items": {"type": "string"}},
    "a list": {"type": "array"},
    "a mapping": {"type": "object"},
    "a mapping, or a list of mappings": {"type": ["object", "array"]},
    "a mapping, or a UUID in quotes": {"type": ["object", "string"]},
    "anything": {},
}


def _object(fields: Fields, **inner: JsonSchemaValue) -> JsonSchemaValue:
    known = {name: dict(_TYPES[kind]) for name, kind in fields.items()}
    return {"type": "object", "properties": {**known, **inner}}


def _suggested(names: frozenset[str]) -> JsonSchemaValue:
    return {"anyOf": [{"enum": sorted(names)}, {"type": "string"}]}


def _one_or_more(block: JsonSchemaValue) -> JsonSchemaValue:
    return {"anyOf": [block, {"type": "array", "items": block}]}


def _message() -> JsonSchemaValue:
    agent = {"anyOf": [{"type": "string"}, _agent()]}
    return {**_object(settings_fields.ROOT, agent=agent), "required": ["agent"]}


def _agent() -> JsonSchemaValue:
    thinkers = frozenset().union(*model_names.THINKERS.values())
    listen = _object(settings_fields.LISTEN_PROVIDER, model=_suggested(model_names.LISTENERS))
    think = _object(settings_fields.THINK_PROVIDER, model=_suggested(thinkers))
    speak = _object(settings_fields.SPEAK_PROVIDER, model=_suggested(model_names.VOICES))
    functions = {"type": "array", "items": _object(settings_fields.FUNCTION)}
    return {
        **_object(
            settings_fields.AGENT,
            listen=_object(settings_fields.LISTEN, provider=listen),
            think=_one_or_more(_object(settings_fields.THINK, provider=think, functions=functions)),
            speak=_one_or_more(_object(settings_fields.SPEAK, provider=speak)),
        ),
        "not": {"required": ["agent"]},
    }
