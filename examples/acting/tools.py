"""What the agent can do besides talking."""

import asyncio
from typing import Annotated

from pydantic import Field

from offhook.tools import tool


@tool
def book_table(
    day: Annotated[str, Field(description="A weekday in small letters.")],
    people: Annotated[int, Field(ge=1, le=20)],
) -> dict[str, object]:
    """Book a table."""
    return {"booked": True, "table": 4, "day": day, "people": people}


@tool
async def find_in_garden(people: Annotated[int, Field(ge=1, le=20)]) -> dict[str, object]:
    """Look for a free table in the garden, which takes a while."""
    await asyncio.sleep(8)
    return {"free": True, "people": people}
