"""The functions that bench/hammer.py has called: good, slow, broken, stuck, and worse."""

import asyncio
import threading
import time
from collections import Counter
from typing import Literal

from pydantic import BaseModel

from offhook.tools import Call, ToolError, tool

GATE = threading.Event()
"""Until it is set, `hang` hangs."""
PAID: Counter[tuple[str, int]] = Counter()


class Guest(BaseModel):
    name: str
    age: int = 30


@tool
def sync_add(a: int, b: int) -> int:
    """Add, in a thread."""
    return a + b


@tool
async def async_add(a: int, b: int) -> int:
    """Add, on the loop."""
    await asyncio.sleep(0.01)
    return a + b


@tool
def who(call: Call) -> str:
    """Whose call it is."""
    return call.sid


@tool
def seat(guest: Guest, day: Literal["friday", "sunday"] = "friday") -> str:
    """Seat a guest."""
    return f"{guest.name} on {day}"


@tool
def sync_sleep(seconds: float) -> str:
    """Sleep in a thread."""
    time.sleep(seconds)
    return "slept"


@tool
async def async_sleep(seconds: float) -> str:
    """Sleep on the loop."""
    await asyncio.sleep(seconds)
    return "slept"


@tool
def sync_compute(seconds: float) -> str:
    """Compute in a thread, in Python."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
    return "computed"


@tool
def sync_raise() -> str:
    """Raise in a thread."""
    raise ValueError("secret")


@tool
async def async_raise() -> str:
    """Raise on the loop."""
    raise SystemExit(3)


@tool
def exhaust() -> str:
    """Take the next of nothing."""
    return next(iter(()))


@tool
async def wait_for_nothing() -> str:
    """Wait for what was cancelled."""
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    future.cancel()
    return await future


@tool
async def refuse() -> str:
    """Refuse, in words for the agent."""
    raise ToolError("we are closed")


@tool
def huge() -> str:
    """Return 100 KB."""
    return "ä" * 50_000


@tool(irreversible=True)
async def pay(amount: int, call: Call) -> str:
    """Pay, which takes a moment. The answer says how often it was done."""
    await asyncio.sleep(0.7)
    PAID[call.sid, amount] += 1
    return f"paid {PAID[call.sid, amount]} times"


@tool(irreversible=True)
def sync_pay(amount: int, call: Call) -> str:
    """The same in a thread."""
    time.sleep(0.7)
    PAID[call.sid, amount] += 1
    return f"paid {PAID[call.sid, amount]} times"


@tool
def compute_here(seconds: float) -> str:
    """Compute in Python in a thread."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
    return "computed"


@tool(process=True)
def compute_elsewhere(seconds: float) -> str:
    """Compute in Python in another process."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
    return "computed"


@tool
def hang() -> str:
    """Hang in a thread until the end of the run."""
    GATE.wait()
    return "too late"


@tool
async def hold_loop() -> str:
    """Sleep where it stops everybody."""
    time.sleep(1.0)  # noqa: ASYNC251 - that is what it is for
    return "held"


@tool
def hold_lock() -> str:
    """Compute in one call into C, which keeps the interpreter's lock, for about a second."""
    size, took = 1_000_000, 0.0
    while took < 0.7:
        # Sized by the call before: doubled once too often, it held for up to twice as long.
        size = round(size * min(4, 0.9 / took)) if took else size
        began = time.thread_time()
        sum(range(size))
        took = time.thread_time() - began
    return "held"
