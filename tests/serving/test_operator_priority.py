"""The operator process gives way to the call process."""

import os
import sys
from pathlib import Path

import pytest
from tests.cli.served import serving


@pytest.mark.skipif(sys.platform != "linux", reason="the policy is Linux's")
async def test_the_operator_process_interrupts_no_other(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        operator = await served.until_started("operator")
        await served.operator_url()
        assert os.sched_getscheduler(operator) == os.SCHED_BATCH
        call = await served.until_started("call")
        assert os.sched_getscheduler(call) == os.SCHED_OTHER
