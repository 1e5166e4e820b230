"""The JSON Schema for editors is the models'."""

from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from offhook.testing.scenarios import schema

VALIDATOR = jsonschema.Draft202012Validator(schema.scenario_schema())


def test_the_committed_copy_is_the_models_schema() -> None:
    committed = resources.files("offhook.testing.scenarios") / "schema.json"
    again = "offhook rehearse --schema > src/offhook/testing/scenarios/schema.json"
    assert committed.read_text("utf-8") == schema.as_text(), f"make it again: {again}"


def test_it_is_a_schema() -> None:
    VALIDATOR.check_schema(VALIDATOR.schema)


@pytest.mark.parametrize(
    "text",
    [
        "steps: [wait_for_agent, hang_up]",
        "steps: [{wait_for_agent: }, {hang_up: }, {wait_for_agent: {quiet_ms: 3}}]",
        "steps: [{expect: Hello}, {expect: [Hello, you]}, {expect: {says: [a, b], within_ms: 4}}]",
        "steps: [{barge_in: {after_ms: '{{n}}', say: x}}]\nvars: {n: 3}",
        "steps: [{expect: {called: [f, {function: g, exactly: {a: [1, {b: 2}]}}]}}]",
        "callers: {ann: {steps: [{say: x}]}}\nname: two",
        "steps: [hang_up]\nexpect: {ending: {slug: agent_lost, doing: agent}, turns: 3}",
        "steps: [hang_up]\nexpect: {ending: agent_lost, duration_s: {at_most: 3}}",
    ],
)
def test_it_takes_what_the_reader_takes(text: str) -> None:
    assert errors(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "steps: [hangup]",
        "steps: [{say: x, wait: 1}]",
        "steps: [{sey: x}]",
        "name: nobody calls",
        "steps: [hang_up]\ncallers: {ann: {steps: [hang_up]}}",
        "steps: [hang_up]\nexpect: {ending: hung_up}",
        "steps: [{expect: {within_ms: soon}}]",
        "steps: [{expect: {says: []}}]",
        "steps: [{press: 12}]",
    ],
)
def test_it_refuses_what_the_reader_refuses(text: str) -> None:
    assert errors(text)


def test_the_examples_name_it_and_keep_to_it() -> None:
    files = [*Path("examples/rehearse").glob("*.yaml"), *Path("examples").rglob("scenarios/*.yaml")]
    assert files
    for file in files:
        text = file.read_text()
        first = text.partition("\n")[0]
        mark = "# yaml-language-server: $schema="
        assert first.startswith(mark), file
        assert (file.parent / first.removeprefix(mark)).resolve().name == "schema.json", file
        assert (file.parent / first.removeprefix(mark)).is_file(), file
        assert errors(text) == [], file


def errors(text: str) -> list[Any]:
    return [error.message for error in VALIDATOR.iter_errors(yaml.safe_load(text))]
