"""A run of the fuzzers that can fuzz nothing says so by its exit code."""

import sys

import pytest

from bench import fuzz


def test_without_atheris_nothing_is_judged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["bench.fuzz"])
    assert fuzz.main() == fuzz.NOT_JUDGED == 2
    assert capsys.readouterr().out.startswith("not judged: ")
