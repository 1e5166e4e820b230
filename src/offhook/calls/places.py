"""Places of calls: which process has a call, where several answer for one number.

Two implementations: the directory of a fleet (fleet_places.py), and the processes of one machine
while one of them drains (link/local_places.py). A server alone has none, and asks nobody.
"""

from collections.abc import Coroutine, Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias


class TakenCall(NamedTuple):
    """A call that another process had, and this one has now, by its lines (journal/live_files.py).

    Attributes:
        call_sid: Twilio's CallSid.
        lines: Its facts and its events, in order.
        epoch: Number of the ownership, in a fleet; else 0.
        node: Name of this node, in a fleet.
        began_ago_s: Seconds since the call began, if the other machine's clock says nothing here.
    """

    call_sid: str
    lines: list[bytes]
    epoch: int = 0
    node: str = ""
    began_ago_s: float | None = None


class AnsweredElsewhere(NamedTuple):
    """The answer of the process that has a call to one of Twilio's requests."""

    status: int
    body: str
    media_type: str


Refusal: TypeAlias = str
"""Why a stream is refused."""


class CallPlaces(Protocol):
    """Places of the calls that this process does not have."""

    async def resolve(
        self, webhook: str, form: Mapping[str, str], origin: str
    ) -> AnsweredElsewhere | TakenCall | None:
        """Have the process that has a call answer a request; take the call if that one is gone.

        `webhook` is the last part of the request's path. None: nobody has the call. Waits for 2 s
        at most, but for the owner's answer to a new call, which may take 10 s.
        """

    def stream(
        self, call_sid: str, token: str | None, *, is_here: bool
    ) -> Coroutine[Any, Any, TakenCall | Refusal | None] | None:
        """Return what must be awaited before a stream is admitted; None: nothing.

        It takes a call of which another process waits for the stream with this token. `is_here`:
        this process has the call.
        """
