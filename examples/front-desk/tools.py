"""Functions of the front desk: book a table, and look up an order."""

from typing import Annotated

from pydantic import Field

from offhook.tools import ToolError, tool

ORDERS = {"4217": "ready", "4218": "being prepared"}


@tool(irreversible=True)
def book_table(
    day: Annotated[str, Field(description='A weekday in small letters, or "today", "tomorrow".')],
    time: Annotated[str, Field(description='24 hours, as "19:00".')],
    people: Annotated[int, Field(ge=1, le=20)],
) -> dict[str, object]:
    """Book a table. Call it only after the caller has confirmed day, time and people."""
    if day == "sunday":
        raise ToolError("we are closed on Sundays")
    if people > 8:
        return {"booked": False, "reason": "we have no table of that size"}
    return {"booked": True, "table": 4}


@tool
def order_status(
    number: Annotated[str, Field(description='The digits of the order number, as "4217".')],
) -> dict[str, str]:
    """Look up what became of an order."""
    return {"status": ORDERS.get(number, "unknown")}
