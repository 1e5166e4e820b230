"""A client of a running server's API that places calls and asks what becomes of them."""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

import httpx2
import msgspec

from offhook.errors import UserError
from offhook.outbound.lists import CallOutcome
from offhook.outbound.problems import TryLaterError, UncertainError

PLACING_S: Final = 150.0
"""How long a call may take to be placed: its turn, Twilio's answer, and looking it up."""

WAIT_S: Final = 20
"""How long the server is asked to wait for news of a call."""

TRIES: Final = 5
"""How often a server that does not answer is asked again, a second and more apart."""

UNCERTAIN: Final = "E-OUT-14"


class _Told(msgspec.Struct):
    code: str
    what: str
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


class Client:
    """An outbound.lists.Asking for one agent of one server. An asynchronous context."""

    def __init__(self, url: str, api_token: str, agent: str, *, within_hours: bool) -> None:
        self._url = url.rstrip("/")
        self._agent = agent
        self._within_hours = within_hours
        self._ever = False
        """Whether the server ever answered: one that did may be on its way back."""
        self._http = httpx2.AsyncClient(
            trust_env=False,
            headers={"Authorization": f"Bearer {api_token}"},
            timeout=httpx2.Timeout(PLACING_S, connect=5.0),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def place(self, to: str, variables: Mapping[str, str], zone: str | None, key: str) -> str:
        """As Asking has it. A server that does not answer is asked again, under the same key."""
        body: dict[str, Any] = {
            "to": to,
            "agent": self._agent,
            "variables": dict(variables),
            "within_hours": self._within_hours,
        }
        if zone is not None:
            body["timezone"] = zone
        answer = await self._ask("POST", "/api/calls", json=body, headers={"Idempotency-Key": key})
        return msgspec.json.decode(answer, type=_Placed).call_sid

    async def fate(self, sid: str, seen: str | None) -> CallOutcome:
        """As Asking has it."""
        asked: dict[str, Any] = {"wait_s": WAIT_S if seen is not None else 0}
        if seen is not None:
            asked["seen"] = seen
        while True:
            try:
                answer = await self._ask("GET", f"/api/calls/{sid}/status", params=asked)
            except TryLaterError as not_now:
                await asyncio.sleep(not_now.after_s)
                continue
            state = msgspec.json.decode(answer, type=_State)
            return CallOutcome(state.status, state.final, state.slug, state.words)

    async def _ask(self, method: str, path: str, **how: Any) -> bytes:
        """The body of a success. Raises UserError: what the server says, or E-OUT-19."""
        why = ""
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(min(attempt, 3))
            try:
                response = await self._http.request(method, self._url + path, **how)
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                why = type(error).__name__
                if not self._ever and isinstance(error, httpx2.ConnectError | httpx2.InvalidURL):
                    break
                continue
            self._ever = True
            if response.is_success:
                return response.content
            raise _problem(self._url, response)
        raise UserError(
            "E-OUT-19",
            f"No server answers at {self._url}: {why}.",
            "Start offhook serve, or name the server with --url. The same command then goes on.",
        )


def _problem(url: str, response: httpx2.Response) -> UserError:
    try:
        told = msgspec.json.decode(response.content, type=_Told)
    except msgspec.MsgspecError:
        told = _Told("E-OUT-20", f"HTTP {response.status_code} is no answer of Offhook's.", "")
    if response.status_code in (401, 404) or told.code == "E-OUT-20":
        return UserError(
            "E-OUT-20",
            f"The server at {url} does not place calls: {told.what}",
            "Give --url and OFFHOOK_API_TOKEN of a server of this version.",
        )
    after = response.headers.get("retry-after", "")
    if told.code == UNCERTAIN:
        return UncertainError(told.code, told.what, told.fix, float(after or 1))
    if after.isdecimal():
        return TryLaterError(told.code, told.what, told.fix, float(after))
    if told.code in ("E-REC-05", "E-API-09"):  # the database does not answer
        return TryLaterError(told.code, told.what, told.fix, 2.0)
    return UserError(told.code, told.what, told.fix)
