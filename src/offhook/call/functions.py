"""The functions that the agent has called and that are not answered: each is, once, or never.

Source: deepgram.md §4. Who runs them, and how, is not known here.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from offhook.call import inputs
from offhook.call.commands import CancelTool, Command, Note, RunTool, TellAgent
from offhook.deepgram import messages as deepgram
from offhook.events.types import FunctionAnswered, FunctionCalled, FunctionDropped, FunctionOutcome

SOFT_S: Final = 3.0
"""A function that takes longer has the agent say so (§4.5)."""
HARD_S: Final = 10.0
"""A function that takes longer is given up, and the agent told: it must not wait for ever."""

OPEN_MAX: Final = 32
"""Functions of a call that are open at a time."""
CALLS_MAX: Final = 64
"""Functions that a call's agent calls within CALLS_WINDOW_S. More is no conversation."""
CALLS_WINDOW_S: Final = 10.0
NAME_MAX: Final = 256
"""Characters of an `id` or a `name`; models' makers allow 64 for a name."""
ARGUMENTS_MAX: Final = 64 * 1024
"""Characters of arguments; the agent is told of more, and nothing runs."""

_TOO_MANY: Final = '{"error": "too many functions are called; this one was not run"}'
_TOO_LARGE: Final = '{"error": "the arguments are too long"}'
_TOO_LATE: Final = '{"error": "this takes too long; it was stopped"}'
_OUTCOME_UNKNOWN: Final = (
    "It is not known whether this was done: it takes too long, and may yet be done."
    " Do not do it again. Tell the caller that it is not certain."
)
"""Not an error: after one, a model tries again."""


class _Function(NamedTuple):
    name: str
    arguments: str
    called_at: float
    signature: str | None
    stood_still_s: float = 0.0
    """Of its time, what does not count."""
    is_irrevocable: bool = False
    """It cannot be taken back and has begun, so nobody can say that it was not done."""


class Functions:
    """Those of one call; `do` takes the commands, `answered` is told of each that was answered."""

    def __init__(
        self,
        do: Callable[[Command], None],
        answered: Callable[[deepgram.FinishedFunction], None],
    ) -> None:
        self._do = do
        self._answered = answered
        # Oldest first.
        self._open: dict[str, _Function] = {}
        # When each was called, within CALLS_WINDOW_S.
        self._lately: deque[float] = deque()
        self._said_one_moment = False

    # --- what happens --------------------------------------------------------------------------

    def call(self, function: deepgram.FunctionCall, now: float) -> str:
        """The agent calls one: it runs at once. Returns what is wrong when it may not.

        One that may not run is answered all the same, so that nobody waits for it.
        """
        # What has an endpoint is called by Deepgram itself (§4.3).
        if not function.client_side or function.id in self._open:
            return ""
        call_id, name, arguments = function.id, function.name, function.arguments
        if max(len(call_id), len(name)) > NAME_MAX:
            return "a function whose name or id is too long"
        while self._lately and now - self._lately[0] > CALLS_WINDOW_S:
            self._lately.popleft()
        if len(self._open) >= OPEN_MAX or len(self._lately) >= CALLS_MAX:
            self._do(
                TellAgent(deepgram.FunctionCallResponse(id=call_id, name=name, content=_TOO_MANY))
            )
            return "too many function calls"
        self._lately.append(now)
        too_large = len(arguments) > ARGUMENTS_MAX
        if too_large:
            arguments = arguments[:NAME_MAX] + " …"
        self._open[call_id] = _Function(name, arguments, now, function.thought_signature)
        self._do(Note(FunctionCalled(call_id, name, arguments)))
        if too_large:
            self._answer(call_id, _TOO_LARGE, "failed", now)
        else:
            self._do(RunTool(call_id, name, arguments))
        return ""

    def call_off(self, cancelled: deepgram.FunctionCallCancelled) -> None:
        """The agent wants some no more: an answer that came now would be dropped (§4.4)."""
        for each in cancelled.functions:
            function = self._open.pop(each.id, None)
            if function is not None:
                self._do(CancelTool(each.id, "cancelled"))
                self._do(Note(FunctionDropped(each.id, function.name, "cancelled")))
        self._rest()

    def begin(self, call_id: str) -> None:
        """One that cannot be taken back has begun."""
        function = self._open.get(call_id)
        if function is not None:
            self._open[call_id] = function._replace(is_irrevocable=True)

    def finish(self, finished: inputs.ToolFinished, now: float) -> None:
        """One is done."""
        if finished.id in self._open:
            self._answer(finished.id, finished.content, finished.outcome, now)

    def give_up(self, now: float) -> None:
        """Give up those that have had their time.

        Of one that cannot be taken back, and has begun, the agent is told that nobody knows.
        """
        for call_id, function in list(self._open.items()):
            if now >= _counts_from(function) + HARD_S:
                self._do(CancelTool(call_id, "too_late"))
                if function.is_irrevocable:
                    self._answer(call_id, _OUTCOME_UNKNOWN, "outcome_unknown", now)
                else:
                    self._answer(call_id, _TOO_LATE, "too_late", now)

    def drop(self, why: Literal["cancelled", "call_over"]) -> None:
        """Nobody is there any more to be answered."""
        for call_id, function in self._open.items():
            self._do(CancelTool(call_id, why))
            self._do(Note(FunctionDropped(call_id, function.name, why)))
        self._open.clear()
        self._rest()

    def stood_still(self, since: float, now: float) -> None:
        """Nobody could be answered in that time, which is not of the functions' making."""
        for call_id, function in self._open.items():
            still_s = function.stood_still_s + now - max(since, function.called_at)
            self._open[call_id] = function._replace(stood_still_s=still_s)

    def said_one_moment(self) -> None:
        """The caller was told that it takes a while; once is enough while any is open."""
        self._said_one_moment = True

    # --- what is asked -------------------------------------------------------------------------

    def soft_due(self) -> float | None:
        """When the caller is to be told that it takes a while, in seconds."""
        return None if self._said_one_moment or not self._open else self._oldest() + SOFT_S

    def hard_due(self) -> float | None:
        """When `give_up` has something to do, in seconds."""
        return self._oldest() + HARD_S if self._open else None

    # --- inside --------------------------------------------------------------------------------

    def _oldest(self) -> float:
        return _counts_from(next(iter(self._open.values())))

    def _answer(self, call_id: str, content: str, outcome: FunctionOutcome, now: float) -> None:
        function = self._open.pop(call_id)
        name, signature = function.name, function.signature
        self._do(
            TellAgent(
                deepgram.FunctionCallResponse(
                    id=call_id, name=name, content=content, thought_signature=signature
                )
            )
        )
        after_ms = round((now - function.called_at) * 1000)
        self._do(Note(FunctionAnswered(call_id, name, outcome, content, after_ms)))
        self._answered(
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
            self._said_one_moment = False


def _counts_from(function: _Function) -> float:
    return function.called_at + function.stood_still_s
