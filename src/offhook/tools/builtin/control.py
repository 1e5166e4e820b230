"""Built-in tools that act on the call itself."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from offhook.tools.builtin.naming import described, one_of
from offhook.tools.declare import Call, tool
from offhook.tools.files import AnyTool


@tool(irreversible=True, repeatable=True)
async def hang_up(
    farewell: Annotated[
        str, Field(description="What is said to the caller before the call ends: one sentence.")
    ],
    call: Call,
) -> str:
    """End this call. The farewell is spoken in full first, so do not say goodbye before."""
    return await call.hang_up(farewell)


@tool(irreversible=True, repeatable=True)
async def send_digits(
    digits: Annotated[
        str,
        Field(
            pattern=r"^[0-9*#wW]{1,32}$",
            description="The keys: 0 to 9, * and #; w waits half a second, W a second.",
        ),
    ],
    call: Call,
) -> str:
    """Press keys in this call, as in another company's menu. You hear what comes after it."""
    return await call.send_digits(digits)


def transfer_call(destinations: Mapping[str, str]) -> AnyTool:
    """Return the tool for an agent that may transfer to these, each with its description."""

    async def transfer_call(
        destination: Any,
        summary: Annotated[
            str,
            Field(
                max_length=400,
                description="What it is about, in a sentence, for the person who is called.",
            ),
        ],
        call: Call,
    ) -> str:
        return await call.transfer(destination, summary)

    transfer_call.__annotations__["destination"] = one_of(destinations)
    transfer_call.__doc__ = (
        "Transfer the caller to a person or another agent. Tell the caller so before. If nobody"
        " answers, the caller comes back to you, and you are told.\n\n"
        f"Destinations:\n{described(destinations)}"
    )
    return tool(irreversible=True, repeatable=True)(transfer_call)
