"""A client of the API for what acts on live calls."""

import json
import re
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, NamedTuple, Self
from urllib.parse import quote

import httpx2

from offhook.cli.calls.following import not_there
from offhook.errors import Problem

ANSWER_S: Final = 60.0
"""A farewell takes 15 s at most, Deepgram's word on a change 10 s."""

_WHOLE: Final = re.compile(r"CA[0-9a-f]{32}")
_SUFFIX_MIN: Final = 4


class Answer(NamedTuple):
    """What the API answered: `what` happened, with `code` and `fix` if it was not done."""

    status: int
    body: dict[str, Any]


class Server:
    """A running server, used as a context. Raises Problem E-ASK-13 when none is there, and
    E-ASK-14 for what is none of ours.
    """  # noqa: D205

    def __init__(self, url: str, api_token: str) -> None:
        self._url = url.rstrip("/")
        self._client = httpx2.Client(
            trust_env=False,
            timeout=httpx2.Timeout(10.0, read=ANSWER_S),
            headers={
                "Authorization": f"Bearer {api_token}",
                "Content-Type": "application/json",
            },
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def call_sid(self, text: str) -> str:
        """The CallSid that `text` is, or with which that of a live call ends.

        Raises Problem E-ASK-05 when those of several do.
        """
        if _WHOLE.fullmatch(text) or len(text) < _SUFFIX_MIN:
            return text
        answer = self._ask("GET", "/api/calls?live=true&limit=500")
        calls = answer.body.get("calls", [])
        found = [call["sid"] for call in calls if call["sid"].endswith(text)]
        if len(found) > 1:
            raise Problem(
                "E-ASK-05",
                f"The CallSids of {len(found)} calls end so.",
                "Give more of its end, or all of it.",
            )
        return found[0] if found else text

    def act(self, call_sid: str, what: str, body: Mapping[str, Any]) -> Answer:
        """Ask something of a call."""
        return self._ask("POST", f"/api/calls/{quote(call_sid, safe='')}/{what}", body)

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        try:
            content = None if body is None else json.dumps(body)
            response = self._client.request(method, self._url + path, content=content)
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            raise not_there(self._url, type(error).__name__) from None
        try:
            answer = response.json()
        except ValueError:
            answer = None
        expected = {"what"} if method == "POST" else {"calls"}
        if response.status_code != 200:
            expected = {"code", "what", "fix"}
        if not isinstance(answer, dict) or not expected <= answer.keys():
            raise Problem(
                "E-ASK-14",
                f"What answers at {self._url} is no Offhook of this version:"
                f" HTTP {response.status_code}.",
                "Name the server with --url.",
            )
        return Answer(response.status_code, answer)
