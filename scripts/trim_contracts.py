"""Write tests/contracts/*.json: what the tests check of the vendors' published specifications.

    .venv/bin/python scripts/trim_contracts.py FOLDER

FOLDER holds specifications under the names in `SOURCES`; tests/contracts/README.md says where
each comes from. Kept are the parts of a specification that the tests compare with the code, and all
schemas that those parts refer to. Annotations, such as descriptions and examples, are dropped.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

CONTRACTS: Final = Path(__file__).parents[1] / "tests" / "contracts"

DEEPGRAM_CHANNEL: Final = "/v1/agent/converse"
TWILIO_ACCOUNT: Final = "/2010-04-01/Accounts/{AccountSid}"
TWILIO_OPERATIONS: Final = [
    ("/Calls.json", "get"),
    ("/Calls.json", "post"),
    ("/Calls/{Sid}.json", "post"),
    ("/IncomingPhoneNumbers.json", "get"),
    ("/IncomingPhoneNumbers/{Sid}.json", "post"),
    ("/Messages.json", "post"),
]
TWILIO_RESOURCES: Final = ["call", "incoming_phone_number", "message"]
KEDA_SCALER: Final = "metrics-api"

ANNOTATIONS: Final = {
    "default",
    "deprecated",
    "description",
    "example",
    "examples",
    "summary",
    "title",
}
"""Keywords that refuse no value, in a schema or an operation; `x-…` is dropped too."""


def contracts(folder: Path) -> dict[Path, str]:
    """Return files of facts and their text, made from those specifications that `folder` holds."""
    files = {}
    for name, trim in SOURCES.items():
        if not (folder / name).exists():
            continue
        document = read(folder / name)
        path = (CONTRACTS / name).with_suffix(".json")
        files[path] = json.dumps(trim(document), indent=1, ensure_ascii=False) + "\n"
    return files


def read(path: Path) -> Any:
    """Return the document in a file of JSON or YAML."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        return json.loads(text)
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def trim_deepgram(document: Any) -> Any:
    """Return the messages of both sides of an agent's socket, and their schemas."""
    channel = document["channels"][DEEPGRAM_CHANNEL]
    sides = {
        side: {"message": {"oneOf": channel[side]["message"]["oneOf"]}}
        for side in ("publish", "subscribe")
    }
    named = {reference.removeprefix("#/components/messages/") for reference in references(sides)}
    messages = {
        name: {"payload": message["payload"]}
        for name, message in document["components"]["messages"].items()
        if name in named
    }
    return {
        "channels": {DEEPGRAM_CHANNEL: sides},
        "components": {"messages": messages, "schemas": schemas_for(document, messages)},
    }


def trim_twilio(document: Any) -> Any:
    """Return the parameters of the operations that the simulated account has, and its resources."""
    paths: dict[str, Any] = {}
    for path, method in TWILIO_OPERATIONS:
        operation = document["paths"][TWILIO_ACCOUNT + path][method]
        kept = {key: operation[key] for key in ("parameters", "requestBody") if key in operation}
        paths.setdefault(TWILIO_ACCOUNT + path, {})[method] = rules(kept)
    names = [f"api.v2010.account.{name}" for name in TWILIO_RESOURCES]
    resources = [{"$ref": f"#/components/schemas/{name}"} for name in names]
    return {
        "paths": paths,
        "components": {"schemas": schemas_for(document, [paths, resources])},
    }


def trim_keda(document: Any) -> Any:
    """Return the schema of a resource's specification, in each of its versions."""
    spec = document["spec"]
    versions = [
        {
            "name": version["name"],
            "schema": {
                "openAPIV3Schema": {
                    "properties": {
                        "spec": rules(version["schema"]["openAPIV3Schema"]["properties"]["spec"])
                    }
                }
            },
        }
        for version in spec["versions"]
    ]
    kind = {"kind": spec["names"]["kind"]}
    return {"spec": {"group": spec["group"], "names": kind, "versions": versions}}


def trim_keda_scalers(document: Any) -> Any:
    """Return the parameters of the one scaler that deploy/ uses."""
    return {"scalers": [one for one in document["scalers"] if one["type"] == KEDA_SCALER]}


SOURCES: Final = {
    "deepgram-asyncapi.2026-07-22.yml": trim_deepgram,
    "deepgram-asyncapi.2026-08-22.yaml": trim_deepgram,
    "twilio_api_v2010.json": trim_twilio,
    "keda.sh_scaledobjects.yaml": trim_keda,
    "keda.sh_triggerauthentications.yaml": trim_keda,
    "keda-scalers-schema.json": trim_keda_scalers,
}


def schemas_for(document: Any, part: Any) -> dict[str, Any]:
    """Return the schemas that a part of a document refers to, by name, in the document's order."""
    schemas = document["components"]["schemas"]
    found: dict[str, Any] = {}
    unread = [part]
    while unread:
        for reference in references(unread.pop()):
            name = reference.removeprefix("#/components/schemas/")
            if name not in found:
                found[name] = rules(schemas[name])
                unread.append(found[name])
    return {name: found[name] for name in schemas if name in found}


def references(part: Any) -> Iterator[str]:
    """Yield what every `$ref` in a part of a document refers to."""
    if isinstance(part, list):
        for each in part:
            yield from references(each)
    elif isinstance(part, dict):
        for key, value in part.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)


def rules(schema: Any) -> Any:
    """Return a schema, or what holds schemas, without annotations.

    Keys under `properties` are names of fields, such as `description`, and are all kept.
    """
    if isinstance(schema, list):
        return [rules(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {field: rules(about) for field, about in value.items()}
        if key == "properties"
        else rules(value)
        for key, value in schema.items()
        if key not in ANNOTATIONS and not key.startswith("x-")
    }


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FOLDER, which holds some of {', '.join(SOURCES)}")
    for path, text in contracts(Path(sys.argv[1])).items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
