"""Built-in tools that write to the record."""

from typing import Annotated

from pydantic import Field

from offhook.tools.declare import Call, tool


@tool(irreversible=True, finish_after_hangup=True)
async def take_message(
    name: Annotated[str, Field(min_length=1, max_length=200, description="Who it is from.")],
    text: Annotated[str, Field(min_length=1, max_length=4000, description="In their words.")],
    number: Annotated[
        str,
        Field(
            max_length=40,
            description="Where to call back, if not at the number that is on the line.",
        ),
    ] = "",
    *,
    call: Call,
) -> str:
    """Take a message for the people here. Read it back to the caller before."""
    return await call.take_message(name, number, text)


@tool(irreversible=True, finish_after_hangup=True)
async def stop_calling_me(call: Call) -> str:
    """Never ring this number again: the person on the line does not want to be called any more."""
    return await call.stop_calling()
