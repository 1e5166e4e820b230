"""The functions of the agents that fail in bench/agent_faults.py: each takes a while."""

import asyncio
import time
from collections import Counter

from offhook.tools import Call, tool

TAKES_S = 1.5

RUNG: Counter[str] = Counter()
"""How often a colleague was rung in each call: that cannot be taken back."""


@tool
async def look_up() -> str:
    """Look up whether the caller's order is ready."""
    await asyncio.sleep(TAKES_S)
    return "it is ready"


@tool(irreversible=True)
def ring_colleague(call: Call) -> str:
    """Ring a colleague, who will come to the telephone."""
    RUNG[call.sid] += 1
    time.sleep(TAKES_S)
    return "a colleague comes"
