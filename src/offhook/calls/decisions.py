"""Decisions of one call: its inputs in order, its next deadline, and what a fault in them does."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Final

from offhook.call import inputs
from offhook.call.call import Call
from offhook.call.commands import Command
from offhook.call.ending import Ending
from offhook.call.inputs import Input
from offhook.calls.pause_gate import PauseGate
from offhook.clock import Clock
from offhook.concurrency.deadline_timer import DeadlineTimer
from offhook.events.types import Event

_log: Final = logging.getLogger("offhook.session")


class CallDecisions(ABC):
    """Base of Session: passes inputs to its call one after the other, and keeps its deadline.

    A fault ends this call, and no other. It is a base class and not a part, because the legs call
    the session directly: no further object is in the audio path.
    """

    __slots__ = (
        "__weakref__",
        "_call",
        "_fault",
        "_gate",
        "_inbox",
        "_is_breaking",
        "_is_deciding",
        "_is_over",
        "_now",
        "_timer",
        "call_sid",
    )
    """Slots: Session has more than the 29 attributes that CPython keeps without a dictionary, which
    would be 1.6 kB of each call."""

    def __init__(
        self,
        call_sid: str,
        clock: Clock,
        gate: PauseGate | None,
        make: Callable[[Callable[[Command], None]], Call],
    ) -> None:
        """Make the call.

        Args:
            call_sid: Twilio's CallSid.
            clock: The server's clock.
            gate: Holds what happens after a pause of the process; None without a fleet.
            make: Makes the call, given the function to which it gives its commands.
        """
        self.call_sid = call_sid
        self._call: Final = make(self._do)
        self._now = clock.now
        self._gate = gate
        self._is_over = False
        self._inbox: list[Input] = []
        self._is_deciding = False
        self._is_breaking = False
        self._fault: Exception | None = None
        self._timer = DeadlineTimer(clock, self._on_timer)

    @abstractmethod
    def note(self, event: Event) -> None:
        """Publish an event."""

    @abstractmethod
    def _perform(self, command: Command) -> None:
        """Perform a command of the call."""

    @abstractmethod
    def _end_uncommanded(self, ending: Ending | None) -> None:
        """End the session when the call has not commanded it.

        `ending` is still to be published; None: nothing is to be published.
        """

    def receive(self, message: Input) -> None:
        """Pass an input to the call.

        Inputs that arise while the call decides, as when a command fills a socket, are
        passed next.
        """
        if self._gate is not None and self._gate.is_shut(self._now()):
            self._gate.hold(partial(self.receive, message))
            return
        self._inbox.append(message)
        if not self._is_deciding:
            self._decide(self._take_inbox)

    def _on_timer(self) -> None:
        """Let the call do what is due. The event loop would only count a fault in it."""
        self._contained(self._tick)

    def _tick(self) -> None:
        if self._gate is not None and self._gate.is_shut(self._now()):
            self._gate.hold(self._on_timer)
            return
        self._decide(lambda: self._call.tick(self._now()))

    def _take_inbox(self) -> None:
        while self._inbox:
            self._call.receive(self._inbox.pop(0), self._now())

    def _decide(self, decide: Callable[[], None]) -> None:
        """Let the call decide, then set the timer to its next deadline."""
        self._is_deciding = True
        try:
            decide()
            self._take_inbox()
            self._timer.arm(self._call.deadline())
        except Exception as error:  # noqa: BLE001 - it ends this call alone
            self._fault = self._fault or error
        finally:
            self._is_deciding = False
        fault, self._fault = self._fault, None
        if fault is not None:
            self._break(fault)

    def _do(self, command: Command) -> None:
        """Perform a command of the call. A fault is handled once the call has decided the rest."""
        try:
            self._perform(command)
        except Exception as error:  # noqa: BLE001 - the other commands are still performed
            self._fault = self._fault or error

    def _break(self, error: Exception) -> None:
        """End the call after a fault in Offhook; a call that is over is left alone."""
        _log.error("a fault in a call", exc_info=error, extra={"call_sid": self.call_sid})
        if self._is_over or self._is_breaking:
            return
        self._is_breaking = self._is_deciding = True
        what, now = type(error).__name__, self._now()
        try:
            self._call.receive(inputs.CallBroke(what), now)
        except Exception:  # noqa: BLE001 - then it ends without its rules
            _log.exception("the rules of a call cannot end it", extra={"call_sid": self.call_sid})
        ending = self._call.ending
        if ending is None:
            ending = self._call.give_up(what, now)
        if not self._is_over:  # even that has failed
            self._end_uncommanded(ending)
        self._inbox.clear()
        self._is_deciding = False

    def _give_away(self, released: inputs.Released) -> None:
        """Have the call end here, as another process goes on with it."""
        if self._gate is not None:
            self._gate.drop()
        try:
            self._call.receive(released, self._now())
        except Exception:  # noqa: BLE001 - the other process has the call in spite of a fault
            _log.exception("a fault while a call was given up", extra={"call_sid": self.call_sid})
        if not self._is_over:
            self._end_uncommanded(None)
        self._inbox.clear()

    def _guarded(self, step: Callable[[], None]) -> None:
        """Perform a step of the call's end, which comes in spite of a fault."""
        try:
            step()
        except Exception:  # noqa: BLE001 - the call must end in spite of a fault
            _log.exception("a fault while a call ended", extra={"call_sid": self.call_sid})

    def _contained(self, work: Callable[[], None]) -> None:
        """Perform work that no socket has caused. A fault in it ends the call."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - see above
            self._break(error)
