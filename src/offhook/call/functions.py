"""Functions that the agent has called and that await an answer; each gets at most one.

Source: deepgram.md §4. Who runs them, and how, is not known here.
"""

import json
from collections.abc import Container
from typing import Final, Literal, NamedTuple

from msgspec import UNSET, UnsetType

from offhook.call import inputs
from offhook.call.call_state import CallState, earliest, is_due
from offhook.call.commands import CancelTool, RunTool, TellAgent
from offhook.call.history import ENTRY_MAX, ConversationHistory
from offhook.call.pending_requests import PendingRequests
from offhook.call.phases import Phase
from offhook.call.resumed import ResumedCall, finished
from offhook.deepgram import messages as deepgram
from offhook.events.types import FunctionAnswered, FunctionCalled, FunctionDropped, FunctionOutcome

SOFT_S: Final = 3.0
"""Seconds after which the agent is to say that a function takes longer (§4.5)."""
HARD_S: Final = 10.0
"""Seconds after which a function is given up and the agent is told so."""

SPEAKING_S: Final = 0.5
"""Seconds by which that notice is put off when the caller is speaking."""

OPEN_MAX: Final = 32
"""Functions of one call that may be open at a time."""
CALLS_MAX: Final = 64
"""Functions that a call's agent may call within CALLS_WINDOW_S."""
CALLS_WINDOW_S: Final = 10.0
NAME_MAX: Final = 256
"""Characters of an `id` or a `name`; makers of models allow 64 for a name."""
ARGUMENTS_MAX: Final = 64 * 1024
"""Characters of arguments; with more the function does not run, and the agent is told so."""


class _Function(NamedTuple):
    name: str
    arguments: str
    called_at: float
    signature: str | None
    paused_s: float = 0.0
    """Seconds that do not count toward the function's time limit."""
    is_irrevocable: bool = False
    """True once an irreversible function has begun: it may be done in spite of a cancellation."""


class Functions:
    """Functions that a call's agent has called, until each is answered or cancelled."""

    def __init__(
        self, state: CallState, history: ConversationHistory, pending: PendingRequests
    ) -> None:
        self._state = state
        self._history = history
        self._pending = pending
        # Oldest first.
        self._open: dict[str, _Function] = {}
        # Times of calls within CALLS_WINDOW_S, in seconds.
        self._lately: list[float] = []
        self._is_paused = False
        self._is_held = False
        """True while there is no agent to answer, since its leg was lost."""
        self._has_excused = False
        self._excuse_at: float | None = None

    @property
    def is_idle(self) -> bool:
        """True while no function is open."""
        return not self._open

    # --- what happens --------------------------------------------------------------------------

    def call(self, function: deepgram.FunctionCall, now: float) -> str | None:
        """Run a function that the agent calls; return what is wrong if it may not run.

        A function that may not run is answered as well, so that the agent does not wait for
        it.
        """
        # Deepgram itself calls functions that have an endpoint (§4.3).
        if not function.client_side or function.id in self._open:
            return None
        call_id, name, arguments = function.id, function.name, function.arguments
        if max(len(call_id), len(name)) > NAME_MAX:
            return "a function whose name or id is too long"
        while self._lately and now - self._lately[0] > CALLS_WINDOW_S:
            self._lately.pop(0)
        if len(self._open) >= OPEN_MAX or len(self._lately) >= CALLS_MAX:
            content = _error(self._state.phrases.too_many_functions)
            answer = deepgram.FunctionCallResponse(id=call_id, name=name, content=content)
            self._state.do(TellAgent(answer))
            return "too many function calls"
        self._lately.append(now)
        too_large = len(arguments) > ARGUMENTS_MAX
        if too_large:
            arguments = arguments[:NAME_MAX] + " …"
        self._open[call_id] = _Function(name, arguments, now, function.thought_signature)
        self._state.note(FunctionCalled(call_id, name, arguments, _kept(function)))
        if too_large:
            phrases = self._state.phrases
            self._answer(call_id, _error(phrases.arguments_too_long), "failed", now)
        elif self._state.is_taken:
            # What the caller says is meant for the operator.
            self._answer(call_id, _error(self._state.operator_speaks), "failed", now)
        else:
            self._state.do(RunTool(call_id, name, arguments))
        return None

    def cancel(self, cancelled: deepgram.FunctionCallCancelled) -> None:
        """Stop functions that the agent cancelled; an answer now would be dropped (§4.4)."""
        for each in cancelled.functions:
            function = self._open.pop(each.id, None)
            if function is not None:
                self._state.do(CancelTool(each.id, "cancelled"))
                self._state.note(FunctionDropped(each.id, function.name, "cancelled"))
        self._rest()

    def begin(self, call_id: str) -> None:
        """Note that an irreversible function has begun."""
        function = self._open.get(call_id)
        if function is not None:
            self._open[call_id] = function._replace(is_irrevocable=True)

    def finish(self, finished: inputs.ToolFinished, now: float) -> None:
        """Answer a function that has finished."""
        if finished.id in self._open:
            self._answer(finished.id, finished.content, finished.outcome, now)

    def drop(self, why: Literal["cancelled", "call_over"]) -> None:
        """Stop every function, as there is no agent left to answer."""
        for call_id, function in self._open.items():
            self._state.do(CancelTool(call_id, why))
            self._state.note(FunctionDropped(call_id, function.name, why))
        self._open.clear()
        self._is_held = False
        self._rest()

    def settle(
        self, resumed: ResumedCall, unrepeatable: Container[str], now: float
    ) -> dict[str, deepgram.FinishedFunction]:
        """Settle the functions that were open when the call's process died.

        Those that are `unrepeatable` may be done: return them, with the answer that says so. The
        others are called off; the agent calls them again.
        """
        unknown: dict[str, deepgram.FinishedFunction] = {}
        for function_id, function in resumed.open.items():
            name = function.called.name
            if name not in unrepeatable:
                self._state.note(FunctionDropped(function_id, name, "cancelled"))
                continue
            content = self._state.phrases.outcome_unknown
            after_ms = self._state.ms_since_start(now) - function.at_ms
            self._state.note(
                FunctionAnswered(function_id, name, "outcome_unknown", content, after_ms)
            )
            unknown[function_id] = finished(function.called, content)
        return unknown

    def hold(self) -> None:
        """Answer no function for now, as the agent's leg is lost: results go into the history."""
        self._is_held = True

    def end_open(self, now: float) -> bool:
        """End every open function, for an agent that cannot answer for it; return if one was open.

        Only finished functions can be handed on (§5.4). One that can be taken back is cancelled,
        and the next agent may call it again; one that cannot, and has begun, goes on, and the
        next agent is told that its outcome is unknown.
        """
        was_open = bool(self._open)
        for call_id, function in list(self._open.items()):
            if function.is_irrevocable:
                self._state.do(CancelTool(call_id, "too_late"))
                unknown = self._state.phrases.outcome_unknown
                self._answer(call_id, unknown, "outcome_unknown", now)
            else:
                self._state.do(CancelTool(call_id, "cancelled"))
                self._state.note(FunctionDropped(call_id, function.name, "cancelled"))
                del self._open[call_id]
        self._is_held = False
        self._rest()
        return was_open

    # --- time ----------------------------------------------------------------------------------

    def pause(self) -> None:
        """Suspend deadlines while a function that asked for last words or a secret is open."""
        self._is_paused = True

    def resume(self) -> None:
        """Resume deadlines."""
        self._is_paused = False

    def resume_after(self, since: float, now: float) -> None:
        """Resume deadlines, without counting the time since `since`."""
        self._is_paused = False
        for call_id, function in self._open.items():
            paused_s = function.paused_s + now - max(since, function.called_at)
            self._open[call_id] = function._replace(paused_s=paused_s)

    def due(self) -> float | None:
        """Return when the oldest function takes too long, in seconds; None: never."""
        if self._is_paused or not self._open:
            return None
        return earliest(self._soft_due(), self._oldest() + HARD_S)

    def tick(self, now: float) -> None:
        """Have the agent say once that a function takes longer; give up one whose time is up.

        Of an irreversible function that has begun, the agent is told that the outcome is
        unknown.
        """
        if self._is_paused or not self._open:
            return
        if is_due(self._soft_due(), now):
            self._excuse(now)
        phrases = self._state.phrases
        for call_id, function in list(self._open.items()):
            if now >= _counts_from(function) + HARD_S:
                self._state.do(CancelTool(call_id, "too_late"))
                if function.is_irrevocable:
                    # Not an error: after an error a model tries again.
                    self._answer(call_id, phrases.outcome_unknown, "outcome_unknown", now)
                else:
                    content = _error(phrases.function_too_late)
                    self._answer(call_id, content, "too_late", now)

    def _soft_due(self) -> float | None:
        if self._has_excused or self._is_held:
            return None
        return self._excuse_at if self._excuse_at is not None else self._oldest() + SOFT_S

    def _excuse(self, now: float) -> None:
        if self._state.phase is Phase.BARGE_IN:
            self._excuse_at = now + SPEAKING_S
            return
        self._has_excused = True
        words = self._state.phrases.one_moment
        message = deepgram.InjectAgentMessage(message=words, behavior="queue")
        self._pending.send(message, None, now)

    # --- inside --------------------------------------------------------------------------------

    def _oldest(self) -> float:
        return _counts_from(next(iter(self._open.values())))

    def _answer(self, call_id: str, content: str, outcome: FunctionOutcome, now: float) -> None:
        function = self._open.pop(call_id)
        name, signature = function.name, function.signature
        if not self._is_held:
            self._state.do(
                TellAgent(
                    deepgram.FunctionCallResponse(
                        id=call_id, name=name, content=content, thought_signature=signature
                    )
                )
            )
        after_ms = round((now - function.called_at) * 1000)
        self._state.note(FunctionAnswered(call_id, name, outcome, content, after_ms))
        if not self._open and not self._is_held:
            self._state.steps.end_functions(now)
        self._history.ran(
            deepgram.FinishedFunction(
                id=call_id,
                name=name,
                client_side=True,
                arguments=function.arguments,
                response=content,
                thought_signature=signature,
            )
        )
        self._rest()

    def _rest(self) -> None:
        if not self._open:
            self._has_excused = False
            self._excuse_at = None


def _error(words: str) -> str:
    return json.dumps({"error": words}, ensure_ascii=False)


def _kept(function: deepgram.FunctionCall) -> str | UnsetType:
    """Return the signature for the event: one that the history would not take is left out."""
    signature = function.thought_signature or ""
    return signature if 0 < len(signature) <= ENTRY_MAX else UNSET


def _counts_from(function: _Function) -> float:
    return function.called_at + function.paused_s
