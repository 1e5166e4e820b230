"""Work that a thread does for a coroutine, and who is told of its end."""

import asyncio
import threading

from offhook.concurrency.thread_job import ThreadJob


async def test_a_fault_in_what_is_told_of_a_job_keeps_no_answer_back() -> None:
    def broken() -> None:
        raise ZeroDivisionError

    job = ThreadJob(lambda: 5, settled=broken)
    threading.Thread(target=job.run).start()
    async with asyncio.timeout(240):
        assert await job.answer == 5
