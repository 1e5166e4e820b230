"""The call that each test in this folder converses with."""

from collections.abc import Iterator

import pytest
from tests.call.playbook import Playbook


@pytest.fixture
def call() -> Iterator[Playbook]:
    """A call about which, when the test is over, everything must have been said."""
    playbook = Playbook()
    yield playbook
    playbook.finish()
