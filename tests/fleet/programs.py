"""Programs of this machine that tests of fleets need."""

import os
import shutil
from typing import Final

import pytest

PACKAGES: Final = {"haproxy": "haproxy", "nginx": "nginx-light"}


def require(program: str) -> None:
    """Skip the test where a program is not installed; in CI, fail it."""
    if shutil.which(program):
        return
    missing = (
        f"THERE IS NO {program.upper()} ON PATH: FLEETS BEHIND IT ARE NOT TESTED."
        f" On Debian: apt-get install {PACKAGES[program]}"
    )
    if os.environ.get("CI") == "true":
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)
