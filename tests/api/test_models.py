"""The API's models: their fields are described by the docstrings below them."""

from typing import Any

import pydantic

from offhook.api.models import ApiModel, ProblemResponse


class Given(ApiModel):
    first: int
    """How many;
    of two lines.
    """
    second: int = pydantic.Field(description="said")
    """not said"""
    third: int = 1


class Derived(Given):
    fourth: int = 2
    """Of its own."""


def descriptions(model: type[ApiModel]) -> dict[str, Any]:
    return {
        name: told.get("description")
        for name, told in model.model_json_schema()["properties"].items()
    }


def test_a_field_is_described_by_its_docstring() -> None:
    assert descriptions(Given) == {
        "first": "How many;\nof two lines.",
        "second": "said",
        "third": None,
    }
    assert descriptions(Derived) == descriptions(Given) | {"fourth": "Of its own."}
    assert descriptions(ProblemResponse)["fix"] == "The one step that fixes it."
