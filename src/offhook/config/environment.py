"""The environment: the process's variables over those of .env, and what they set.

Secrets have variables of their own, and may be in files that `NAME_FILE` names. Every other key of
offhook.yaml has a variable of the same steps: OFFHOOK_SERVER__PUBLIC_URL.
"""

import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import dotenv

from offhook.config.app_config import AppConfigFile
from offhook.config.parts import DOTENV
from offhook.errors import UserError
from offhook.yamlfile import Document, Finding, Loc, variable_place

SECRETS: Final[Mapping[Loc, str]] = {
    ("server", "api_token"): "OFFHOOK_API_TOKEN",
    ("deepgram", "api_key"): "DEEPGRAM_API_KEY",
    ("twilio", "auth_token"): "TWILIO_AUTH_TOKEN",
    ("twilio", "auth_tokens"): "TWILIO_AUTH_TOKEN",
    ("twilio", "signing_secrets"): "TWILIO_SIGNING_SECRETS",
    ("twilio", "api_key"): "TWILIO_API_KEY",
    ("twilio", "api_secret"): "TWILIO_API_SECRET",
    ("records", "webhook", "secret"): "OFFHOOK_WEBHOOK_SECRET",
    ("fleet", "key"): "OFFHOOK_FLEET_KEY",
    ("fleet", "keys"): "OFFHOOK_FLEET_KEY",
}
"""Secrets, by the place that one would look for them in offhook.yaml, which must not have any."""

NAMED: Final[Mapping[Loc, str]] = {
    ("twilio", "account_sid"): "TWILIO_ACCOUNT_SID",
    ("records", "database"): "OFFHOOK_DATABASE_URL",
    ("fleet", "node"): "OFFHOOK_NODE",
    ("fleet", "address"): "OFFHOOK_NODE_ADDRESS",
}
"""Keys of offhook.yaml whose variable has a name of its own."""

PREFIX: Final = "OFFHOOK_"
DELIMITER: Final = "__"

PORT: Final = "PORT"
"""Variable by which hosting platforms give the port; it counts where no other port is set."""

FILE_SUFFIX: Final = "_FILE"

SECRET_MAX: Final = 64 * 1024
"""Characters of a file with a secret, at most."""


def read_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the process's environment over that of .env; empty values count as not set.

    Of NAME and NAME_FILE, one that the process sets replaces the other of .env.

    Raises UserError E-CFG-03 when .env cannot be read.
    """
    try:
        own = dotenv.dotenv_values(DOTENV, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            "E-CFG-03", f"{DOTENV} cannot be read: {error}.", "Make it a readable UTF-8 text file."
        ) from None
    given = _set(environ)
    replaced = {name + FILE_SUFFIX for name in given}
    replaced |= {name.removesuffix(FILE_SUFFIX) for name in given}
    return {name: value for name, value in _set(own).items() if name not in replaced} | given


def _set(variables: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value.strip() for name, value in variables.items() if value and value.strip()}


def secret_of(env: Mapping[str, str], name: str) -> str | None:
    """Return the secret that `name` holds, or the file that NAME_FILE names; None without both.

    Raises UserError E-CFG-08 when both are set, or there is no text in the file.
    """
    path = env.get(name + FILE_SUFFIX)
    if path is None:
        return env.get(name)
    if name in env:
        raise UserError(
            "E-CFG-08", f"{name} and {name}{FILE_SUFFIX} are both set.", "Remove one of them."
        )
    try:
        with Path(path).open(encoding="utf-8") as file:
            text = file.read(SECRET_MAX + 1).strip()
        why = None if text else "it is empty"
        why = "it is too long for a secret" if len(text) > SECRET_MAX else why
    except (OSError, ValueError) as error:
        text, why = "", getattr(error, "strerror", None) or "it is not UTF-8 text"
    if why is not None:
        raise UserError(
            "E-CFG-08",
            f"{name}{FILE_SUFFIX} names {path}, which cannot be used: {why}.",
            f"Let this user read the secret there, or set {name}.",
        )
    return text


def set_keys(document: Document, env: Mapping[str, str]) -> list[Finding]:
    """Replace what the environment sets in the document of offhook.yaml.

    Return an error for each value that cannot be read, and each name that is not used.
    """
    findings: list[Finding] = []
    # A whole heading first, so that a key below it counts more.
    for name, loc in sorted(_variables(env), key=lambda each: (len(each[1]), each[0])):
        proper = SECRETS.get(loc) or NAMED.get(loc)
        if proper is not None:
            fix = f"Set {proper}."
            findings.append(Finding("error", "This is not read.", fix, variable_place(name)))
            continue
        try:
            document.override(loc, _value(env, name, loc), name)
        except ValueError:
            text, fix = "This is not JSON.", 'Write a list as ["a", "b"], a table as {"a": 1}.'
            findings.append(Finding("error", text, fix, variable_place(name)))
    if PORT in env and not document.has(("server", "port")):
        document.override(("server", "port"), env[PORT], PORT)
    return findings


def _variables(env: Mapping[str, str]) -> Iterator[tuple[str, Loc]]:
    """Yield each variable that is for a key of offhook.yaml, with the steps to that key."""
    for name in env:
        if name.startswith(PREFIX):
            steps = name.removeprefix(PREFIX).lower().split(DELIMITER)
            if len(steps) > 1 or steps[0] in AppConfigFile.model_fields:
                yield name, tuple(steps)


def _value(env: Mapping[str, str], name: str, loc: Loc) -> Any:
    """Return the value of a variable: JSON for a list or a table, else text.

    Raises ValueError when it must be JSON and is not. A key that is not known has its text.
    """
    schema = _schema()
    kinds = _kinds(schema, schema["$defs"], loc)
    if kinds.isdisjoint(("array", "object")):
        return env[name]
    try:
        return json.loads(env[name])
    except ValueError:
        if "string" in kinds:
            return env[name]
        raise


@functools.cache  # it takes longer than all the rest, and each variable asks for it
def _schema() -> Mapping[str, Any]:
    """Return the schema of offhook.yaml."""
    from offhook.config.schema import app_schema  # few servers have a variable that needs it

    return app_schema()


def _kinds(schema: Mapping[str, Any], definitions: Mapping[str, Any], loc: Loc) -> set[str]:
    """Return the JSON types that the value of a key may have; none for an unknown key."""
    if "$ref" in schema:
        return _kinds(definitions[schema["$ref"].rpartition("/")[2]], definitions, loc)
    several = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    found = set().union(*(_kinds(each, definitions, loc) for each in several))
    if not loc:
        return found | {schema.get("type", "")}
    below = schema.get("properties", {}).get(loc[0], schema.get("additionalProperties"))
    return found | _kinds(below, definitions, loc[1:]) if isinstance(below, dict) else found
