"""Lookups: data that an agent's `lookup:` finds about a call while its caller hears ringing.

After any failure the call goes on with the defaults of the agent file. LookedUp reports the
failure, in words that hold nothing of the question or the answer.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import httpx2
import msgspec
from pydantic import SecretStr

from offhook import variables
from offhook.clock import Clock
from offhook.config import Agent, Lookup
from offhook.events.types import LookedUp
from offhook.tools.declare import Call
from offhook.tools.threads import NoThreadError, Threads

ANSWER_MAX: Final = 64 * 1024
"""Bytes of an answer; a longer answer counts as none."""


@dataclass(frozen=True, slots=True)
class LookupResult:
    """Result of a lookup: the variables, and how it went; `event` is None without a lookup."""

    variables: Mapping[str, str] = field(default_factory=dict)
    event: LookedUp | None = None


LookUp: TypeAlias = Callable[[Agent, Call], Awaitable[LookupResult]]
"""Function that looks up a call. It never raises, and obeys the agent file's time limit."""


class LookupFailedError(Exception):
    """Raised when there is no answer; its message is for the log."""


class Lookups:
    """Lookups of one server. `secrets` has the values of the agents' `secret_env`."""

    def __init__(
        self, http: httpx2.AsyncClient, secrets: Mapping[str, SecretStr], clock: Clock
    ) -> None:
        self._http = http
        self._secrets = secrets
        self._clock = clock
        self.threads: Final = Threads()

    async def find(self, agent: Agent, call: Call) -> LookupResult:
        """Look up a call, as a LookUp."""
        lookup = agent.lookup
        if lookup is None:
            return LookupResult()
        began = self._clock.now()

        def event(outcome: Any, why: str) -> LookedUp:
            return LookedUp(outcome, why, round((self._clock.now() - began) * 1000))

        try:
            async with asyncio.timeout(lookup.timeout_ms / 1000):
                values, left_out = await self._ask(agent, lookup, call)
        except TimeoutError:
            return LookupResult({}, event("too_late", f"no answer within {lookup.timeout_ms} ms"))
        except LookupFailedError as failed:
            return LookupResult({}, event("failed", str(failed)))
        why = f"{left_out} of its members are no variables" if left_out else ""
        return LookupResult(values, event("answered", why))

    async def _ask(self, agent: Agent, lookup: Lookup, call: Call) -> tuple[dict[str, str], int]:
        """Return the variables in the answer, and how many of its members are not variables.

        Raises LookupFailedError.
        """
        function = agent.lookup_function
        try:
            if lookup.url is not None:
                answer = await self._post(lookup.url, lookup.secret_env, call)
            elif function is None:
                raise LookupFailedError("its function is not loaded")
            elif inspect.iscoroutinefunction(function):
                answer = await function(call)
            else:
                code = function.__code__
                answer = await self.threads.run("lookup", lambda: function(call), code=code)
            if isinstance(answer, Mapping):
                return variables.taken(answer)  # a user's own Mapping may raise, too
        except LookupFailedError:
            raise
        except httpx2.HTTPError as error:
            raise LookupFailedError(f"{type(error).__name__} at its address") from None
        except NoThreadError:
            raise LookupFailedError("too many are running") from None
        except GeneratorExit:
            raise
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise  # its time is over, or the server's is
            raise LookupFailedError(f"it raised {type(error).__name__}") from None
        raise LookupFailedError("its answer is not an object of names and values")

    async def _post(self, url: str, secret_env: str | None, call: Call) -> Any:
        question = {
            "call_sid": call.sid,
            "caller": call.caller,
            "called": call.called,
            "agent": call.agent,
        }
        # A compressed answer could be far longer than its transfer.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if secret_env is not None:
            headers["Authorization"] = f"Bearer {self._secrets[secret_env].get_secret_value()}"
        body = b""
        async with self._http.stream("POST", url, json=question, headers=headers) as response:
            if response.status_code == 204:
                return {}
            if response.status_code != 200:
                raise LookupFailedError(f"HTTP status {response.status_code}")
            async for part in response.aiter_raw():
                body += part
                if len(body) > ANSWER_MAX:
                    raise LookupFailedError(f"more than {ANSWER_MAX} bytes")
        return read_answer(body)


def read_answer(body: bytes) -> Any:
    """Return the JSON of an answer. Raises LookupFailedError for anything else."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise LookupFailedError("its answer is not JSON") from None
