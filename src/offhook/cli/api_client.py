"""Client of the API of a running server: the one way in which commands speak to it."""

import json
import re
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Final, NamedTuple, Self
from urllib.parse import quote

import httpx2
import msgspec

from offhook.api import token
from offhook.api.paths import PREFIX
from offhook.config import AppConfig
from offhook.errors import UserError

ANSWER_S: Final = 60.0
"""Seconds that an answer may take: a farewell takes 15 s at most, Deepgram's answer 10 s."""

CONNECT_S: Final = 10.0

OPERATOR_FILE: Final = "operator.json"
"""File in the folder of records that says where the operator's listener is."""

_CALL_SID: Final = re.compile(r"CA[0-9a-f]{32}")
_SUFFIX_MIN: Final = 4
"""Characters of the end of a CallSid, at least."""


class ServerUnreachableError(Exception):
    """Raised when no answer came. `was_refused`: no connection could be made."""

    def __init__(self, why: str, *, was_refused: bool) -> None:
        super().__init__(why)
        self.why = why
        self.was_refused = was_refused


class ApiAnswer(NamedTuple):
    """An answer to an operation: `what` happened, with `code` and `fix` if it was not done."""

    status: int
    body: dict[str, Any]


class ApiClient:
    """HTTP client of one server, used as an asynchronous context.

    Attributes:
        url: Address of the server, without a slash at its end.
    """

    def __init__(self, url: str, api_token: str, *, answer_s: float = ANSWER_S) -> None:
        self.url: Final = url.rstrip("/")
        self._http = httpx2.AsyncClient(
            trust_env=False,
            timeout=httpx2.Timeout(CONNECT_S, read=answer_s),
            headers={"Authorization": f"Bearer {api_token}"},
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

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """Send one request and return the whole response. Raises ServerUnreachableError."""
        sent = dict(headers or {})
        if body is not None:
            sent["Content-Type"] = "application/json"
        try:
            return await self._http.request(
                method,
                self.url + path,
                # ASCII: a command line may hold half a character, which UTF-8 cannot.
                content=None if body is None else json.dumps(body),
                params=params,
                headers=sent,
            )
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            was_refused = isinstance(error, httpx2.ConnectError | httpx2.InvalidURL)
            raise ServerUnreachableError(type(error).__name__, was_refused=was_refused) from None

    def stream(
        self, path: str, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[httpx2.Response]:
        """Open a response that is read as it comes. Entering it raises what httpx2 raises."""
        return self._http.stream("GET", self.url + path, headers=headers)

    async def find_call_sid(self, text: str) -> str:
        """Return the CallSid that `text` is, or with which the CallSid of one live call ends.

        Raises UserError E-ASK-05 when those of several do.
        """
        if _CALL_SID.fullmatch(text) or len(text) < _SUFFIX_MIN:
            return text
        answer = await self._ask("GET", f"{PREFIX}/calls?live=true&limit=500", None, {"calls"})
        calls = answer.body.get("calls", [])
        found = [call["sid"] for call in calls if call["sid"].endswith(text)]
        if len(found) > 1:
            raise UserError(
                "E-ASK-05",
                f"The CallSids of {len(found)} calls end so.",
                "Give more of its end, or all of it.",
            )
        return found[0] if found else text

    async def act(self, call_sid: str, operation: str, body: Mapping[str, Any]) -> ApiAnswer:
        """Have an operation performed on a live call.

        Raises UserError E-ASK-13 when no server answers, and E-ASK-14 when what answers is not
        Offhook.
        """
        path = f"{PREFIX}/calls/{quote(call_sid, safe='')}/{operation}"
        return await self._ask("POST", path, body, {"what"})

    async def reload(self) -> ApiAnswer:
        """Have the agent files read again. Raises UserError as `act` does."""
        return await self._ask("POST", f"{PREFIX}/agents/reload", None, {"agents", "restart"})

    async def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None, members: set[str]
    ) -> ApiAnswer:
        try:
            response = await self.request(method, path, body=body)
        except ServerUnreachableError as error:
            raise unreachable(self.url, error.why) from None
        try:
            answer = response.json()
        except ValueError:
            answer = None
        expected = members if response.status_code == 200 else {"code", "detail", "fix"}
        if not isinstance(answer, dict) or not expected <= answer.keys():
            raise UserError(
                "E-ASK-14",
                f"What answers at {self.url} is no Offhook of this version:"
                f" HTTP {response.status_code}.",
                "Name the server with --url.",
            )
        if response.status_code != 200:
            answer = {"code": answer["code"], "what": answer["detail"], "fix": answer["fix"]}
        return ApiAnswer(response.status_code, answer)


def token_of(config: AppConfig) -> str:
    """Return OFFHOOK_API_TOKEN, else the token that the server put into its folder.

    Raises UserError E-ASK-11 when there is neither, and E-API-01 for a file that cannot be used.
    """
    if config.server.api_token is not None:
        return config.server.api_token.get_secret_value()
    path = config.records.folder / token.FILE
    if not path.exists():
        raise UserError(
            "E-ASK-11",
            f"No token of the API. Looked in: OFFHOOK_API_TOKEN, {path}.",
            "Start offhook serve, which makes one; of a server elsewhere set OFFHOOK_API_TOKEN.",
        )
    return token.token_in(config.records.folder).get_secret_value()


def operator_url(config: AppConfig, given: str | None) -> str:
    """Return the URL of the operator's listener: the given one, else that of operator.json.

    Raises UserError E-ASK-15 when no operator's process has written that file, and E-ASK-16 when
    it cannot be read.
    """
    if given:
        return given
    path = config.records.folder / OPERATOR_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=_OperatorFile).url
    except FileNotFoundError:
        raise UserError(
            "E-ASK-15",
            f"No server runs on this data folder: there is no {path}.",
            "Start offhook serve, or name a server elsewhere with --url or OFFHOOK_URL.",
        ) from None
    except (OSError, msgspec.MsgspecError):
        raise UserError(
            "E-ASK-16",
            f"{path} does not say where the server is.",
            "Restart offhook serve, or name the server with --url or OFFHOOK_URL.",
        ) from None


class _OperatorFile(msgspec.Struct):
    url: str


def unreachable(url: str, why: str) -> UserError:
    """Return the UserError that no server answers at that address."""
    return UserError(
        "E-ASK-13",
        f"No server answers at {url}: {why}.",
        "Start offhook serve, or name the server with --url.",
    )
