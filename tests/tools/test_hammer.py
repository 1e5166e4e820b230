"""The short form of bench/hammer.py: functions misused in every way, against a real server."""

import pytest

from bench import hammer


@pytest.mark.long
async def test_every_request_is_answered_once_or_rightly_not_and_nothing_is_left() -> None:
    assert await hammer.run(calls=40, at_once=40, quiet=4, seed=1, short=True) == []
