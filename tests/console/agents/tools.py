"""What the reception can do besides talking."""

from typing import Annotated

from pydantic import Field

from offhook.tools import ToolError, tool


@tool
def order_status(number: Annotated[str, Field(description="The digits of the order.")]) -> str:
    """Look up what became of an order."""
    if number == "0000":
        raise ToolError("there is no such order")
    return f"order {number} is ready"


@tool(irreversible=True)
def book_table(day: str, people: Annotated[int, Field(ge=1, le=20)]) -> dict[str, object]:
    """Book a table. Call it only after the caller has confirmed day and people."""
    return {"booked": True, "table": 4, "day": day, "people": people}
