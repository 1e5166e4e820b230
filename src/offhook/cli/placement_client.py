"""Placing calls through the API of a running server, and asking how they went."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from httpx2 import Response

from offhook.api.paths import PREFIX
from offhook.cli.api_client import ApiClient, ServerUnreachableError
from offhook.errors import UserError
from offhook.outbound.errors import TryLaterError, UncertainError
from offhook.outbound.list_run import CallOutcome

PLACING_S: Final = 150.0
"""Seconds that placing a call may take: its turn, Twilio's answer, and the look-up of the call."""

WAIT_S: Final = 20
"""Seconds for which the server is asked to wait for news of a call."""

TRIES: Final = 5
"""Attempts at a server that does not answer, one to three seconds apart."""

UNCERTAIN: Final = "E-OUT-14"


class _Refusal(msgspec.Struct):
    code: str
    detail: str
    fix: str


class _Placed(msgspec.Struct):
    call_sid: str
    again: bool


class _State(msgspec.Struct):
    status: str
    final: bool
    answered_by: str | None
    slug: str | None
    words: str | None


class PlacementClient:
    """Places the calls of one agent on one server. Implements `outbound.list_run.OutboundApi`.

    Attributes:
        api: The server. Its owner opens and closes it.
    """

    def __init__(self, api: ApiClient, agent: str, *, within_hours: bool) -> None:
        self.api: Final = api
        self._agent = agent
        self._within_hours = within_hours
        # A server that answered before may be restarting: then more than one attempt is made.
        self._has_answered = False

    async def place(self, to: str, variables: Mapping[str, str], zone: str | None, key: str) -> str:
        """Place a call and return its CallSid. All attempts have the same idempotency key."""
        body: dict[str, Any] = {
            "to": to,
            "agent": self._agent,
            "variables": dict(variables),
            "within_hours": self._within_hours,
        }
        if zone is not None:
            body["timezone"] = zone
        headers = {"Idempotency-Key": key}
        answer = await self._ask("POST", f"{PREFIX}/calls", body=body, headers=headers)
        return msgspec.json.decode(answer, type=_Placed).call_sid

    async def outcome_of(self, sid: str, seen: str | None) -> CallOutcome:
        """Return the state of a call as soon as its status is not `seen`."""
        params = {"wait_s": 0} if seen is None else {"wait_s": WAIT_S, "seen": seen}
        while True:
            try:
                answer = await self._ask("GET", f"{PREFIX}/calls/{sid}/status", params=params)
            except TryLaterError as not_now:
                await asyncio.sleep(not_now.after_s)
                continue
            state = msgspec.json.decode(answer, type=_State)
            return CallOutcome(state.status, state.final, state.slug, state.words)

    async def _ask(self, method: str, path: str, **how: Any) -> bytes:
        """Return the body of a success. Raise the UserError that the server sends, or E-OUT-19."""
        why = ""
        for attempt in range(TRIES):
            await asyncio.sleep(min(attempt, 3))
            try:
                response = await self.api.request(method, path, **how)
            except ServerUnreachableError as error:
                why = error.why
                if not self._has_answered and error.was_refused:
                    break
                continue
            self._has_answered = True
            if response.is_success:
                return response.content
            raise _problem(self.api.url, response)
        raise UserError(
            "E-OUT-19",
            f"No server answers at {self.api.url}: {why}.",
            "Start offhook serve, or name the server with --url. The same command then goes on.",
        )


def _problem(url: str, response: Response) -> UserError:
    try:
        refusal = msgspec.json.decode(response.content, type=_Refusal)
    except msgspec.MsgspecError:
        what = f"HTTP {response.status_code} is no answer of Offhook's."
        refusal = _Refusal("E-OUT-20", what, "")
    problem = refusal.code, refusal.detail, refusal.fix
    if response.status_code in (401, 404) or refusal.code == "E-OUT-20":
        return UserError(
            "E-OUT-20",
            f"The server at {url} does not place calls: {refusal.detail}",
            "Give --url and OFFHOOK_API_TOKEN of a server of this version.",
        )
    after = response.headers.get("retry-after", "")
    if refusal.code == UNCERTAIN:
        return UncertainError(*problem, float(after or 1))
    if after.isdecimal():
        return TryLaterError(*problem, float(after))
    if refusal.code in ("E-REC-05", "E-API-09"):  # the database does not answer
        return TryLaterError(*problem, 2.0)
    return UserError(*problem)
