"""The extra [ears], which `make test` installs before the tests."""

import os

import pytest

from offhook.testing.simulator.speech import installed

REQUIRED = "FREE_SPEECH_IS_REQUIRED"
"""Environment variable that scripts/run-tests sets: a skip would hide that nothing was tested."""


def need_free_speech() -> None:
    """Skip a test where the extra is missing; in `make test`, fail it."""
    missing = installed.missing_free_speech()
    if missing is None:
        return
    why = f"{missing}; in a checkout: make ears"
    if REQUIRED in os.environ:
        pytest.fail(why)
    pytest.skip(why)
