"""Every parser takes its seeds, and what once broke one, without a fault of ours.

`python -m bench.fuzz` looks for more, and puts what it finds into tests/wire/crashes.
"""

from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Final

import pytest
from tests.fuzzing import TARGETS, crashes
from tests.fuzzing_target import Target


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_reads_its_seeds(name: str) -> None:
    target = TARGETS[name]
    good = 0
    for seed in target.seeds:
        target.run(seed)
        with suppress(*target.bad):
            target.read(seed)
            good += 1
    assert good, "a fuzzer begins with something that is read"


FILES_OF_YAML: Final = {"offhook.yaml", "agent", "dialogue", "script", "scenario"}
"""Targets that read what target `yaml` has read; reading garbage takes a second."""


def is_tried(crash: Path, name: str) -> bool:
    """Return whether a target is tried with what broke one: all are, but for each kind of YAML."""
    of = crash.name.rpartition("-")[0]
    return name not in FILES_OF_YAML or of in FILES_OF_YAML | {"yaml"}


@pytest.mark.parametrize(
    ("crash", "name"),
    [
        pytest.param(crash, name, id=f"{crash.name}-{name}")
        for crash, name in product(crashes(), TARGETS)
        if is_tried(crash, name)
    ],
)
def test_what_broke_a_parser_once_breaks_none_now(crash: Path, name: str) -> None:
    TARGETS[name].run(crash.read_bytes())


def test_an_error_that_nobody_expects_is_let_through() -> None:
    with pytest.raises(ZeroDivisionError):
        Target(lambda data: 1 // len(data), (ValueError,)).run(b"")


def test_every_crash_belongs_to_a_target() -> None:
    assert {path.name.rpartition("-")[0] for path in crashes()} <= TARGETS.keys()
    assert TARGETS.keys() >= FILES_OF_YAML
