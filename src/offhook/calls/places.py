"""Places of calls: which process has a call, where several answer for one number.

Two implementations: the directory of a fleet (fleet_places.py), and the processes of one machine
while one of them drains (link/local_places.py). A server alone has none, and asks nobody.
"""

from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from offhook.calls.forwarded import ForwardedWebhook, WebhookAnswer


@dataclass(frozen=True, slots=True)
class TakenCall:
    """A call that another process had, and this one has now, by its lines (journal/live_files.py).

    Attributes:
        call_sid: Twilio's CallSid.
        lines: Its facts and its events, in order.
        epoch: Number of the ownership, in a fleet; else 0.
        node: Name of this node, in a fleet.
        began_ago_s: Seconds since the call began, if the other machine's clock says nothing here.
        token: Token of the stream that has come for it; None: the call was taken without one.
    """

    call_sid: str
    lines: list[bytes]
    epoch: int = 0
    node: str = ""
    began_ago_s: float | None = None
    token: str | None = field(default=None, repr=False)


Refusal: TypeAlias = str
"""Why a stream is refused."""


class CallPlaces(Protocol):
    """Places of the calls that this process does not have."""

    async def resolve(self, webhook: ForwardedWebhook) -> WebhookAnswer | TakenCall | None:
        """Have the process that has a call answer a request; take the call if that one is gone.

        None: nobody has the call. Waits for 2 s at most, and longer only while a process that has
        read the request answers a new call.
        """

    def stream(
        self, call_sid: str, token: str | None, *, is_here: bool
    ) -> Coroutine[Any, Any, TakenCall | Refusal | None] | None:
        """Return what must be awaited before a stream is admitted; None: nothing.

        It takes a call of which another process waits for the stream with this token. `is_here`:
        this process has the call.
        """
