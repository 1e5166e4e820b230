"""The built-in tool that sends text messages."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import Field

from offhook.tools.builtin.naming import described, one_of
from offhook.tools.declare import Call, tool
from offhook.tools.files import AnyTool

CALLER: Final = "caller"
"""The destination that every agent with the tool has: the number at the other end."""

TEXT_MAX: Final = 1600
"""Characters of a message (twilio.md §5.6)."""


def send_sms(destinations: Mapping[str, str]) -> AnyTool:
    """Return the tool for an agent that may send texts to these, and to the caller."""

    async def send_sms(
        text: Annotated[str, Field(min_length=1, max_length=TEXT_MAX)],
        to: Any = CALLER,
        *,
        call: Call,
    ) -> str:
        return await call.send_text(text, to)

    send_sms.__annotations__["to"] = one_of((CALLER, *destinations))
    send_sms.__doc__ = (
        "Send a text message (SMS). To the caller it goes to the number that is on the line, which"
        " you need not ask for; to another number you cannot send one."
        + (f"\n\nOther recipients:\n{described(destinations)}" if destinations else "")
    )
    return tool(irreversible=True, finish_after_hangup=True)(send_sms)
