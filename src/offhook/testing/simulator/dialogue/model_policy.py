"""Policy of a stand-in agent that asks a model, and speaks sentences as they arrive."""

import asyncio
import dataclasses
import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import httpx2

from offhook.deepgram import messages
from offhook.testing.simulator.deepgram.answers import TurnAnswer, WantedFunction
from offhook.testing.simulator.deepgram.policy import DialoguePolicy, StandInAgent
from offhook.testing.simulator.deepgram.settings import StandInSettings
from offhook.testing.simulator.dialogue.completions import (
    CompletionError,
    Model,
    ToolCall,
    complete,
    is_loopback,
)
from offhook.testing.simulator.speech.engines import Transcript

_log: Final = logging.getLogger("offhook.testing.model")

DID_NOT_CATCH: Final = "Sorry, I did not catch that."
CANNOT_THINK: Final = "I am sorry, I cannot answer that just now."

FAILURES_MAX: Final = 3
"""Turns in a row without an answer after which the session ends with FAILED_TO_THINK."""

ROUNDS_MAX: Final = 8
"""Requests that one turn may have: each but the last called functions."""

CONTEXT_MAX: Final = 50_000
"""Characters of the conversation in a request, unless Settings give `context_length`."""

_MESSAGES_MAX: Final = 400
_RESULT_MAX: Final = 16_000
"""Characters of a function's result that are sent to the model."""

_PIECE_MAX: Final = 300
"""Characters without the end of a sentence after which the text is spoken anyway."""

_SENTENCE_END: Final = re.compile(r"[.!?]+[\"')\]]*\s+|\n+")
_MARKUP: Final = re.compile(r"[*_#`~]+|^\s*[-•]\s+", re.MULTILINE)
_CANCELLED: Final = '{"error": "The caller went on speaking; this was called off."}'


@asynccontextmanager
async def thinking(
    agent: StandInAgent, configured: Model | None = None, *, asks_named: bool = True
) -> AsyncIterator[StandInAgent]:
    """Yield an agent whose policy is a model: `configured`, or one that Settings name.

    A model that Settings name is used with `asks_named` alone, and only if it is on this machine.
    Sessions without a model have the agent's own policy.
    """
    async with httpx2.AsyncClient(trust_env=False) as http, asyncio.TaskGroup() as group:
        tasks = set[asyncio.Task[None]]()

        def start(think: Callable[[], Any]) -> asyncio.Task[None]:
            task = group.create_task(think(), name="think")
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            return task

        def policy(settings: StandInSettings) -> DialoguePolicy:
            if configured is not None or (asks_named and models(settings, None)):
                return ModelPolicy(settings, configured, http, start)
            return agent.policy(settings)

        try:
            yield dataclasses.replace(agent, policy=policy)
        finally:
            for task in tasks:
                task.cancel()


def models(settings: StandInSettings, configured: Model | None) -> list[Model]:
    """Return the models of a session, in order of preference."""
    if configured is not None:
        return [configured]
    return [
        Model(
            think.endpoint.url,
            think.provider.model or "",
            think.endpoint.headers,
            think.provider.temperature,
        )
        for think in settings.think
        if think.endpoint is not None
        and think.provider.type in ("open_ai", "groq")
        and is_loopback(think.endpoint.url)
    ]


class ModelPolicy:
    """DialoguePolicy that answers one session by a model."""

    silence_s: float | None = None

    def __init__(
        self,
        settings: StandInSettings,
        configured: Model | None,
        http: httpx2.AsyncClient,
        start: Callable[[Callable[[], Any]], asyncio.Task[None]],
    ) -> None:
        self._settings = settings
        self._configured = configured
        self._http = http
        self._start = start
        self._task: asyncio.Task[None] | None = None
        self._messages: list[dict[str, Any]] = []
        self._before = 0
        """Number of messages before the latest answer."""
        self._failures = 0
        self._text = ""
        """Text of the model in the current request."""
        self._spoken = 0
        """Characters of that text that were passed to the TextToSpeech."""
        self._waiting: list[ToolCall] = []
        """Function calls without a result."""

    def answer(self, heard: Transcript, answer: TurnAnswer, *, interrupted: bool) -> None:
        """Ask the model, unless the turn was not understood."""
        del self._messages[:-_MESSAGES_MAX]
        self._before = len(self._messages)
        self._text = ""
        self._waiting = []
        if not heard.understood or not heard.text:
            self._messages.append({"role": "assistant", "content": DID_NOT_CATCH})
            answer.say(DID_NOT_CATCH)
            answer.done()
            return
        self._messages.append({"role": "user", "content": heard.text})
        self._go_on(answer, 1)

    def silence(self, answer: TurnAnswer) -> None:
        """Finish without text: a model is not asked about silence."""
        answer.done()

    def forget(self) -> None:
        """Undo the latest turn, because it was not over."""
        self._stop()
        del self._messages[self._before :]

    def interrupted(self, heard: str) -> None:
        """Keep only the words of the answer that the caller has heard."""
        self._stop()
        for call in self._waiting:
            self._answered_tool(call, _CANCELLED)
        self._waiting = []
        if not self._text and self._messages[self._before :] and _is_said(self._messages[-1]):
            self._text = self._messages.pop()["content"]
        if self._text:
            # `heard` may begin with text from before function calls, which is a message already.
            for message in self._messages[self._before :]:
                if _is_said(message):
                    heard = heard.removeprefix(message["content"]).strip()
            self._add({"role": "assistant", "content": heard} if heard else None)
        self._text = ""

    def said(self, text: str) -> None:
        """Add text of the agent to the messages for the model."""
        self._add({"role": "assistant", "content": text})

    def resume(self, history: Sequence[messages.History]) -> None:
        """Add the earlier conversation to the messages for the model."""
        for message in history:
            if message.role in ("user", "assistant") and message.content:
                self._add({"role": message.role, "content": message.content})
            calls = message.function_calls or []
            if calls:
                made = [ToolCall(call.id, call.name, call.arguments) for call in calls]
                self._add(_called("", made))
                for call, tool in zip(calls, made, strict=True):
                    self._answered_tool(tool, call.response)

    def update(self, settings: StandInSettings) -> None:
        """Use the new prompt, functions and model from the next request on."""
        self._settings = settings

    def close(self) -> None:
        """Cancel the request that is open."""
        self._stop()

    # --- One round: a request and its answer ---

    def _go_on(self, answer: TurnAnswer, round_: int) -> None:
        self._text, self._spoken = "", 0
        self._task = self._start(partial(self._think, answer, round_))

    def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    async def _think(self, answer: TurnAnswer, round_: int) -> None:
        try:
            calls = await self._ask(answer) if round_ <= ROUNDS_MAX else None
        except Exception:  # noqa: BLE001 - a fault in one session must not end the others
            _log.exception("a fault while asking a model")
            calls = None
        self._task = None
        if calls is None:
            self._failed(answer)
            return
        self._failures = 0
        self._say(answer, whole=True)
        if not calls:
            self._add({"role": "assistant", "content": self._text.strip()})
            self._text = ""
            answer.done()
            return
        self._add(_called(self._text.strip(), calls))
        self._text = ""
        self._call(answer, calls, round_)

    async def _ask(self, answer: TurnAnswer) -> list[ToolCall] | None:
        """Ask the models in order of preference. Return the tool calls; None if all fail."""

        def text(piece: str) -> None:
            if answer.times.token is None:
                answer.times.token = answer.now()
            self._text += piece
            self._say(answer, whole=False)

        def slow() -> None:
            answer.send(messages.Warning("SLOW_THINK_REQUEST", "The model is slow to answer."))

        for model in models(self._settings, self._configured):
            try:
                return await complete(
                    self._http, model, self._context(), self._tools(), text=text, slow=slow
                )
            except CompletionError as failed:
                warning = messages.Warning("THINK_REQUEST_FAILED", f"The model: {failed}.")
                answer.send(warning)
                if self._spoken:
                    # Another model would start over. Complete sentences have been said already.
                    self._text = self._text[: self._spoken]
                    return []
                self._text = ""
        return None

    def _failed(self, answer: TurnAnswer) -> None:
        self._failures += 1
        if self._failures >= FAILURES_MAX:
            error = messages.Error("FAILED_TO_THINK", "No model answered, several times.")
            answer.fail(error)
            return
        self._add({"role": "assistant", "content": CANNOT_THINK})
        answer.say(CANNOT_THINK)
        answer.done()

    def _say(self, answer: TurnAnswer, *, whole: bool) -> None:
        """Say every complete sentence; with `whole`, all the remaining text."""
        while True:
            left = self._text[self._spoken :]
            end = _SENTENCE_END.search(left)
            if end is not None:
                size = end.end()
            elif len(left) > _PIECE_MAX:
                size = left.rfind(" ", 0, _PIECE_MAX) + 1 or _PIECE_MAX
            else:
                size = len(left) if whole else 0
            if not size:
                return
            self._spoken += size
            sentence = " ".join(_MARKUP.sub("", left[:size]).split())
            if sentence:
                answer.say(sentence)

    def _call(self, answer: TurnAnswer, calls: list[ToolCall], round_: int) -> None:
        offered = self._settings.functions
        known = [call for call in calls if call.name in offered]
        for call in calls:
            if call.name not in offered:
                self._answered_tool(call, '{"error": "There is no such function."}')
        if not known:
            self._go_on(answer, round_ + 1)
            return
        self._waiting = known

        def answered(contents: Sequence[str]) -> None:
            self._waiting = []
            for call, content in zip(known, contents, strict=True):
                self._answered_tool(call, content)
            self._go_on(answer, round_ + 1)

        # A model's functions are called before the turn is certain, unless they are deferred.
        wanted = [
            WantedFunction(call.name, call.arguments, early=True, id=call.id) for call in known
        ]
        answer.call(wanted, answered)

    # --- Messages to the model ---

    def _add(self, message: dict[str, Any] | None) -> None:
        if message is not None:
            self._messages.append(message)

    def _answered_tool(self, call: ToolCall, content: str) -> None:
        content = content[:_RESULT_MAX]
        self._add({"role": "tool", "tool_call_id": call.id, "content": content})

    def _context(self) -> list[dict[str, Any]]:
        """Return the prompt, and as many of the latest messages as fit."""
        think = self._settings.think[0] if self._settings.think else None
        room = CONTEXT_MAX
        if think is not None and isinstance(think.context_length, int):
            room = think.context_length
        kept: list[dict[str, Any]] = []
        for message in reversed(self._messages):
            room -= len(str(message.get("content") or "")) + 200 * ("tool_calls" in message)
            if room < 0 and kept:
                break
            kept.append(message)
        kept.reverse()
        while kept and kept[0]["role"] == "tool":
            del kept[0]
        prompt = self._settings.prompt
        return [*([{"role": "system", "content": prompt}] if prompt else []), *kept]

    def _tools(self) -> list[dict[str, Any]]:
        return [
            {
                "type": "function",
                "function": {
                    "name": function.name,
                    "description": function.description,
                    "parameters": function.parameters,
                },
            }
            for function in self._settings.functions.values()
        ]


def _is_said(message: Mapping[str, Any]) -> bool:
    return message["role"] == "assistant" and bool(message.get("content"))


def _called(text: str, calls: Sequence[ToolCall]) -> dict[str, Any]:
    """Return the assistant message that calls functions."""
    for number, call in enumerate(calls):
        call.id = call.id or f"call_{number}"
    return {
        "role": "assistant",
        "content": text or None,
        "tool_calls": [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in calls
        ],
    }
