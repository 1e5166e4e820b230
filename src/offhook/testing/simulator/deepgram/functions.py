"""Function calls of an answer: requested, answered one by one, cancelled or timed out.

Source: deepgram.md §4.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from offhook.clock import Timer
from offhook.deepgram import messages
from offhook.deepgram.messages import (
    CancelledFunction,
    FinishedFunction,
    FunctionCall,
    FunctionCallCancelled,
    FunctionCallRequest,
    FunctionCallResponse,
    ServerMessage,
)
from offhook.testing.simulator.deepgram.answers import WantedFunction
from offhook.testing.simulator.deepgram.settings import OfferedFunction, SessionError
from offhook.testing.simulator.deepgram.timers import Timers

SLOW_S: Final = 4.0
"""Seconds after which a policy is told that its functions are slow."""

KEPT: Final = 1000
"""Number of function calls that a session keeps in its log."""

_FAILED: Final = "FUNCTION_CALL_FAILED"


@dataclass(slots=True)
class WatchedCall:
    """Function call of a session, as its log and its observers see it."""

    at: float
    """Time of the request, in seconds of the clock."""
    id: str
    name: str
    arguments: str
    """Arguments as JSON; invalid if a model wrote invalid JSON."""
    client_side: bool
    response: str | None = None
    answered_at: float | None = None
    cancelled: bool = False


class _Batch:
    """Function calls of one answer, which continues when none is open."""

    def __init__(
        self,
        calls: Sequence[tuple[FunctionCall, WantedFunction]],
        answered: Callable[[Sequence[str]], None],
    ) -> None:
        self.calls: Final = calls
        self.answered: Final = answered
        self.held: list[FunctionCall] = []
        """Calls that have not been sent to the client yet."""
        self.open: dict[str, WatchedCall] = {}
        self.finished: dict[str, FinishedFunction] = {}
        self.timers: list[Timer] = []


class FunctionCalls:
    """Function calls of one session, for one answer at a time."""

    def __init__(
        self,
        timers: Timers,
        give_up_ms: int | None,
        send: Callable[[ServerMessage], None],
        changed: Callable[[WatchedCall], None],
        finished: Callable[[list[FinishedFunction]], None],
    ) -> None:
        """Set the callbacks.

        `changed` gets each call when it is requested, answered or cancelled. `finished` gets the
        calls for the History message before the answer continues.
        """
        self._timers = timers
        self._give_up_ms = give_up_ms
        self._send = send
        self._changed = changed
        self._finished = finished
        self._batch: _Batch | None = None
        self._confirmed = False
        self._count = 0
        self.log: Final = deque[WatchedCall](maxlen=KEPT)
        """Latest calls that were sent to the client, at most KEPT."""

    @property
    def waiting(self) -> bool:
        """True while an answer waits for functions."""
        return self._batch is not None

    def call(
        self,
        wanted: Sequence[WantedFunction],
        answered: Callable[[Sequence[str]], None],
        slow: Callable[[], None],
        offered: Mapping[str, OfferedFunction],
        *,
        confirmed: bool,
    ) -> None:
        """Request functions in one message, except those that must wait for `confirm`."""
        self._confirmed = confirmed
        calls = []
        taken = {want.id for want in wanted}
        for want in wanted:
            self._count += 1
            function = offered.get(want.name)
            arguments = want.arguments
            if not isinstance(arguments, str):
                arguments = msgspec.json.encode(arguments).decode()
            call = FunctionCall(
                id=want.id if want.id in taken and want.id else f"fc_{self._count}",
                name=want.name,
                arguments=arguments,
                client_side=function is None or not function.has_endpoint,
            )
            taken.discard(want.id)  # a model may give one id to two calls
            calls.append((call, want))
        batch = self._batch = _Batch(calls, answered)
        at_once: list[FunctionCall] = []
        for call, want in calls:
            function = offered.get(want.name)
            early = want.early and not (function is not None and function.deferred)
            (at_once if confirmed or early else batch.held).append(call)
        batch.timers.append(self._timers.after(SLOW_S, slow))
        if self._give_up_ms is not None:
            give_up_s = self._give_up_ms / 1000
            batch.timers.append(self._timers.after(give_up_s, self._give_up))
        self._ask(batch, at_once)

    def confirm(self) -> None:
        """Request the held calls, and continue the answer if all have results: the turn is over."""
        self._confirmed = True
        batch = self._batch
        if batch is not None:
            held, batch.held = batch.held, []
            self._ask(batch, held)

    def respond(self, response: FunctionCallResponse) -> None:
        """Take the client's answer; drop a late or unknown one (§4.4). Raises SessionError."""
        if response.id is None:
            raise SessionError(
                "UNPARSABLE_CLIENT_MESSAGE", "Error parsing client message. Check the id field."
            )
        batch = self._batch
        if batch is not None and response.id in batch.open:
            self._close(batch, response.id, response.content)
            self._go_on(batch)

    def cancel(self) -> None:
        """Cancel the requested functions that have no result yet."""
        batch = self._take()
        if batch is None or not batch.open:
            return
        for called in batch.open.values():
            called.cancelled = True
            self._changed(called)
        calls = [CancelledFunction(called.id, called.name) for called in batch.open.values()]
        self._send(FunctionCallCancelled(calls))

    def _ask(self, batch: _Batch, calls: Sequence[FunctionCall]) -> None:
        if calls:
            now = self._timers.now()
            for call in calls:
                called = WatchedCall(now, call.id, call.name, call.arguments, call.client_side)
                batch.open[call.id] = called
                self.log.append(called)
                self._changed(called)
            self._send(FunctionCallRequest(list(calls)))
        examples = {call.id: want.example for call, want in batch.calls}
        for call in calls:
            if not call.client_side:
                content = examples[call.id]
                if content is None:
                    content = _error("The stand-in calls no endpoints.")
                    self._send(
                        messages.Warning(_FAILED, f"{call.name}: the stand-in calls no endpoints.")
                    )
                self._send(FunctionCallResponse(call.name, content, call.id))
                self._close(batch, call.id, content)
        self._go_on(batch)

    def _close(self, batch: _Batch, id_: str, content: str) -> None:
        called = batch.open.pop(id_)
        called.response = content
        called.answered_at = self._timers.now()
        self._changed(called)
        batch.finished[id_] = FinishedFunction(
            id_, called.name, called.client_side, called.arguments, content
        )

    def _give_up(self) -> None:
        batch = self._batch
        if batch is None:
            return
        for id_, called in list(batch.open.items()):
            self._send(messages.Warning(_FAILED, f"{called.name} was not answered in time."))
            self._close(batch, id_, _error("It was not answered in time."))
        self._go_on(batch)

    def _go_on(self, batch: _Batch) -> None:
        if batch is not self._batch or batch.open or batch.held or not self._confirmed:
            return
        self._take()
        self._finished(list(batch.finished.values()))
        batch.answered([batch.finished[call.id].response for call, _ in batch.calls])

    def _take(self) -> _Batch | None:
        batch, self._batch = self._batch, None
        for timer in batch.timers if batch is not None else ():
            self._timers.cancel(timer)
        return batch


def _error(text: str) -> str:
    return msgspec.json.encode({"error": text}).decode()
