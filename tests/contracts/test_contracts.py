"""The contract facts are what scripts/trim_contracts.py makes of the vendors' specifications."""

import json
from pathlib import Path

import pytest
from scripts.trim_contracts import CONTRACTS, SOURCES, contracts

SPECIFICATIONS = Path(__file__).parents[3] / "shared" / "reference" / "spec"


@pytest.mark.skipif(
    not SPECIFICATIONS.is_dir(),
    reason="the vendors' whole specifications are not beside this checkout",
)
def test_the_facts_are_what_the_script_makes_of_the_specifications() -> None:
    made = contracts(SPECIFICATIONS)
    assert made
    for path, text in made.items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: see README.md beside it"


def test_there_is_a_file_of_each_specification_and_no_other() -> None:
    named = {(CONTRACTS / source).with_suffix(".json") for source in SOURCES}
    assert named == set(CONTRACTS.glob("*.json"))


@pytest.mark.parametrize("source", SOURCES)
def test_the_facts_refer_to_nothing_absent_and_hold_nothing_unused(source: str) -> None:
    facts = json.loads((CONTRACTS / source).with_suffix(".json").read_text(encoding="utf-8"))
    assert SOURCES[source](facts) == facts


def test_the_page_states_the_origin_of_every_file() -> None:
    page = (CONTRACTS / "README.md").read_text(encoding="utf-8")
    for source in SOURCES:
        assert f"| `{Path(source).with_suffix('.json')}` | `{source}` |" in page
