"""Every parser takes its seeds, and what once broke one, without a fault of ours.

`python -m bench.fuzz` looks for more, and puts what it finds into tests/wire/crashes.
"""

from contextlib import suppress
from pathlib import Path

import pytest
from tests.fuzzing import TARGETS, Target, crashes


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


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("crash", crashes(), ids=lambda path: path.name)
def test_what_broke_a_parser_once_breaks_none_now(crash: Path, name: str) -> None:
    TARGETS[name].run(crash.read_bytes())


def test_an_error_that_nobody_expects_is_let_through() -> None:
    with pytest.raises(ZeroDivisionError):
        Target(lambda data: 1 // len(data), (ValueError,)).run(b"")


def test_every_crash_belongs_to_a_target() -> None:
    assert {path.name.rpartition("-")[0] for path in crashes()} <= TARGETS.keys()
