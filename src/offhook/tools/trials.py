"""Trials of functions: one run without a phone call, by the runner that calls have."""

import asyncio
import json
from dataclasses import dataclass
from typing import Final

from offhook.call.functions import ARGUMENTS_MAX, HARD_S
from offhook.call.inputs import ToolBegan, ToolFinished
from offhook.call.phrases import Phrases
from offhook.clock import Clock
from offhook.errors import UserError
from offhook.events.types import FunctionOutcome
from offhook.tools.declare import Call
from offhook.tools.files import Toolbox
from offhook.tools.runner import Runner, Told

TRIALS_MAX: Final = 4
"""Trials at once: most of the threads for functions are left to calls."""

HANGING_MAX: Final = 8
"""Functions that may hang in threads; with so many no further one is tried."""

_ID: Final = "trial"


@dataclass(frozen=True, slots=True)
class FunctionTrial:
    """Result of a trial: `content` is what the agent of a call would have been told.

    `outcome` is one of FunctionAnswered's, `took_ms` how long the answer took. `fault` is the
    exception that the function raised, with file and line, which no agent is told; empty for none.
    """

    outcome: FunctionOutcome
    content: str
    took_ms: int
    fault: str


class FunctionTrials:
    """Tries functions under the limits of a call: of time, of arguments and of the result."""

    def __init__(self, runner: Runner, clock: Clock) -> None:
        self._runner = runner
        self._clock = clock
        self._open = 0

    async def run(self, toolbox: Toolbox, call: Call, name: str, arguments: str) -> FunctionTrial:
        """Run a function for `call`, which is no live one, with arguments as JSON.

        A cancelled trial stops its function, unless that cannot be taken back and has begun.
        Raises UserError E-AGENT-04 while too many functions are tried, or hang.
        """
        if self._open >= TRIALS_MAX or self._runner.threads.stuck >= HANGING_MAX:
            raise UserError(
                "E-AGENT-04",
                f"No further function is tried: {self._open} are being tried, and"
                f" {self._runner.threads.stuck} hang. Calls go on.",
                "Try again in a moment. One that hangs is named in the log; it ends with its"
                " process: restart offhook serve.",
            )
        self._open += 1
        try:
            return await self._run(toolbox, call, name, arguments)
        finally:
            self._open -= 1

    async def _run(self, toolbox: Toolbox, call: Call, name: str, arguments: str) -> FunctionTrial:
        phrases: Phrases = call._phrases
        if len(arguments) > ARGUMENTS_MAX:
            return FunctionTrial("failed", _error(phrases.arguments_too_long), 0, "")
        tools = self._runner.for_call(toolbox, call)
        finished: asyncio.Future[ToolFinished] = asyncio.get_running_loop().create_future()
        has_begun = False
        """True once something has begun that cannot be taken back."""

        def told(news: Told) -> None:
            nonlocal has_begun
            if isinstance(news, ToolBegan):
                has_begun = True
            elif isinstance(news, ToolFinished) and not finished.done():
                finished.set_result(news)

        began = self._clock.now()
        tools.run(_ID, name, arguments, told)
        outcome: FunctionOutcome
        try:
            async with asyncio.timeout(HARD_S):
                end = await finished
            content, outcome = end.content, end.outcome
        except TimeoutError:
            # The words of call/functions.py at the same limit.
            content, outcome = _error(phrases.function_too_late), "too_late"
            if has_begun:
                content, outcome = phrases.outcome_unknown, "outcome_unknown"
        finally:
            tools.cancel(_ID, over=False)
        took_ms = round((self._clock.now() - began) * 1000)
        return FunctionTrial(outcome, content, took_ms, tools.fault)


def _error(words: str) -> str:
    return json.dumps({"error": words}, ensure_ascii=False)
