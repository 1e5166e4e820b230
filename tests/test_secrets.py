"""No object that holds a secret shows it: found by the names of fields, not by care."""

import dataclasses
import importlib
import inspect
import io
import json
import pkgutil
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pydantic
import pytest
from pydantic import SecretStr
from rich.console import Console
from rich.traceback import Traceback

import offhook
from offhook import config
from offhook.config.environment import SECRETS

CANARY = "canary-0123456789abcdef"

SECRET = re.compile(
    r"(^|_)(tokens?|secrets?|passwords?|credentials?|auth|authorization|keys?|cookies?|bearer"
    r"|headers|custom_parameters|database)(_|$)"
)
"""Names of fields that may hold a secret."""

KINDS = re.compile(r"str|bytes|Secret|Any")
"""Kinds of fields that may hold one; that of a path may not."""

HARMLESS = {
    "Acceptance.headers": "those of our answer",
    "CallerSide.keys": "keys of the telephone",
    "Callee.keys": "keys of the telephone",
    "Lookup.secret_env": "the name of a variable",
    "SimulatedPerson.keys": "keys of the telephone",
    "Placement.key": "an idempotency key, which opens nothing",
    "Pressed.key": "a key of the telephone",
    "RecordsFileSettings.database": "a URL in which a password is refused",
    "Refusal.headers": "those of our answer",
    "RestReply.headers": "those of the simulated account's answer",
    "GroupTotals.key": "a name in an answer",
    "QualityGroup.key": "a name in an answer",
    "TwilioSettings.api_key": "its SID, which is the user's name",
    "SimulatedAccount.api_key": "its SID, which is the user's name",
    "OutboundRequest.key": "an idempotency key, which opens nothing",
    "RehearsalOptions.signing_key": "the id of a key",
    "_Reading.tokens": "words",
    "Phrases.key_summary": "a sentence about a key of the telephone",
    "Phrases.key_transfer_failed": "likewise",
    "Phrases.keys_impossible": "likewise",
    "Phrases.keys_pressed": "likewise",
    "Phrases.keys_sent": "likewise",
    "Phrases.reason_credentials": "a sentence that says that there are none",
}
"""Fields that are named like a secret and are none, and why."""


def classes() -> Iterator[type]:
    """Every class of the package that has fields."""
    for module in pkgutil.walk_packages(offhook.__path__, "offhook."):
        if module.name.endswith("__main__") or ".migrations" in module.name:
            continue
        for found in vars(importlib.import_module(module.name)).values():
            if inspect.isclass(found) and found.__module__ == module.name:
                yield found


def fields(owner: type) -> dict[str, Any]:
    """The class's own fields that may hold a secret, with their kinds."""
    own = {
        name: str(kind)
        for name, kind in inspect.get_annotations(owner).items()
        if "Final" not in str(kind) and "ClassVar" not in str(kind)
    }
    return {name: kind for name, kind in own.items() if SECRET.search(name) and KINDS.search(kind)}


FOUND = sorted(
    {(owner, name) for owner in classes() for name in fields(owner)},
    key=lambda found: (found[0].__qualname__, found[1]),
)


def filled(owner: type) -> object:
    """One of that class, with a canary in every field that may hold a secret."""
    if issubclass(owner, msgspec.Struct):
        return owner(**{n: CANARY if SECRET.search(n) else "x" for n in owner.__struct_fields__})
    assert dataclasses.is_dataclass(owner), f"{owner} is of no kind that is known here"
    made = object.__new__(owner)
    for field in dataclasses.fields(owner):
        may_hold_one = SECRET.search(field.name) and KINDS.search(str(field.type))
        secret = may_hold_one and f"{owner.__name__}.{field.name}" not in HARMLESS
        value = _canary(str(field.type)) if secret else None
        object.__setattr__(made, field.name, value)
    return made


def _canary(kind: str) -> Any:
    if "SecretStr" not in kind:
        return {"x": CANARY} if re.search("Mapping|dict", kind) else CANARY
    if "Mapping" in kind:
        return {"x": SecretStr(CANARY)}
    return (SecretStr(CANARY),) if "tuple" in kind else SecretStr(CANARY)


@pytest.mark.parametrize(
    ("owner", "name"), FOUND, ids=[f"{owner.__name__}.{name}" for owner, name in FOUND]
)
def test_every_field_whose_name_says_secret_is_masked_or_known_to_be_none(
    owner: type, name: str
) -> None:
    if f"{owner.__name__}.{name}" in HARMLESS:
        return
    if issubclass(owner, pydantic.BaseModel):
        info = owner.model_fields[name]
        assert "SecretStr" in str(info.annotation) or not info.repr
    else:
        made = filled(owner)
        assert [CANARY in shown for shown in (repr(made), str(made), f"{made}")] == [False] * 3


def test_what_is_known_to_be_none_is_there() -> None:
    assert len(FOUND) > 25
    assert HARMLESS.keys() - {f"{owner.__name__}.{name}" for owner, name in FOUND} == set()


def test_a_class_that_shows_its_secret_is_found_out() -> None:
    @dataclasses.dataclass
    class Careless:
        token: str

    assert list(fields(Careless)) == ["token"]
    assert CANARY in repr(filled(Careless))


ENVIRONMENT = {
    "DEEPGRAM_API_KEY": f"{CANARY}-deepgram",
    "TWILIO_AUTH_TOKEN": f"{CANARY}-one,{CANARY}-two",
    "TWILIO_SIGNING_SECRETS": f"k1={CANARY}-first,k2={CANARY}-second",
    "TWILIO_API_KEY": "SK" + "a" * 32,
    "TWILIO_API_SECRET": f"{CANARY}-rest",
    "OFFHOOK_API_TOKEN": f"{CANARY}-api",
    "OFFHOOK_WEBHOOK_SECRET": f"{CANARY}-hook",
    "OFFHOOK_FLEET_KEY": f"{CANARY}-fleet-0123456789,{CANARY}-fleet-abcdefghij",
    "OFFHOOK_DATABASE_URL": f"postgresql://u:{CANARY}@h/d",
    "LOOKUP": f"{CANARY}-lookup",
}


def whole(folder: Path) -> config.Config:
    """A configuration with every secret that there is."""
    (folder / "a.yaml").write_text(
        "settings:\n"
        "  listen: {provider: {type: deepgram, model: nova-3}}\n"
        "  think:\n"
        "    provider: {type: open_ai, model: gpt-4o-mini}\n"
        f"    endpoint: {{url: 'https://h/v1', headers: {{authorization: 'Bearer {CANARY}'}}}}\n"
        "  speak: {provider: {type: deepgram, model: aura-2-thalia-en}}\n"
        f"lookup: {{url: 'https://h/?k={CANARY}', secret_env: LOOKUP}}\n"
    )
    (folder / "offhook.yaml").write_text(
        "lines: {default: a.yaml}\n"
        f"deepgram: {{url: 'wss://u:{CANARY}@h/?k={CANARY}'}}\n"
        f"records: {{webhook: {{url: 'https://h/?k={CANARY}'}}}}\n"
        "fleet: {node: a, address: 'http://10.0.0.1:5002'}\n"
    )
    return config.load(folder / "offhook.yaml", ENVIRONMENT)


def test_every_secret_of_the_environment_is_among_the_canaries() -> None:
    assert set(SECRETS.values()) - ENVIRONMENT.keys() == set()
    assert [name for name, value in ENVIRONMENT.items() if CANARY not in value] == [
        "TWILIO_API_KEY"
    ], "which is a name, as an AccountSid is"


def test_a_configuration_with_every_secret_knows_each(tmp_path: Path) -> None:
    """Captures and logs are masked by that list."""
    known = whole(tmp_path).secrets
    every = [
        one.rpartition("=")[2]
        for name, value in ENVIRONMENT.items()
        for one in value.split(",")
        if name not in ("TWILIO_API_KEY", "OFFHOOK_DATABASE_URL")
    ]
    assert [one for one in every if one not in known] == []


def test_no_object_shows_a_secret(tmp_path: Path) -> None:
    loaded = whole(tmp_path)
    parts = [getattr(loaded, field.name) for field in dataclasses.fields(loaded)]
    agents = list(loaded.agents.values())
    shown = [repr(one) + str(one) + f"{one!s}" for one in (loaded, *parts, *agents)]
    shown += [repr(one.lookup) for one in agents] + [repr(one.settings) for one in agents]
    shown += [repr(loaded.server.model_dump()), loaded.twilio.model_dump_json()]
    shown += [repr(loaded.records.model_dump()["database"])]
    shown += [json.dumps(dict(loaded.lookup_secrets), default=str)]
    assert [text for text in shown if CANARY in text] == []


def test_a_traceback_with_the_values_of_variables_shows_none(tmp_path: Path) -> None:
    def fail(
        loaded: config.Config, server: config.ServerSettings, deepgram: config.DeepgramSettings
    ) -> None:
        twilio, records, agents = loaded.twilio, loaded.records, loaded.agents
        raise ValueError(len((twilio, records, agents, server, deepgram)))

    loaded = whole(tmp_path)
    try:
        fail(loaded, loaded.server, loaded.deepgram)
    except ValueError as error:
        plain = "".join(
            traceback.TracebackException.from_exception(error, capture_locals=True).format()
        )
        out = io.StringIO()
        rich = Traceback.from_exception(
            type(error), error, error.__traceback__, show_locals=True, locals_max_string=10_000
        )
        Console(file=out, width=200).print(rich)
    else:
        raise AssertionError
    assert "twilio" in plain
    assert "twilio" in out.getvalue()
    assert [text for text in (plain, out.getvalue()) if CANARY in text] == []
