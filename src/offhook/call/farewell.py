"""Last words of a call, of a stream or of an agent, and what follows them.

Source: deepgram.md §2.14. A farewell is queued behind the current speech. It was heard when its
last sentence was announced, the agent's utterance is over and every mark has come back. Each of
these may fail to come, so there is a time limit that needs none of them.
"""

from typing import Final, NamedTuple

from offhook.call.call_state import CallState
from offhook.call.commands import Reply
from offhook.call.ending import Slug
from offhook.call.functions import Functions
from offhook.call.handoff import Handoff
from offhook.call.handoff_actions import HandoffAction
from offhook.call.key_input import KeyInput
from offhook.call.limits import Limits
from offhook.call.pending_requests import PendingRequests
from offhook.call.phases import Phase, Step
from offhook.call.requests import SwitchAgent
from offhook.call.turns import Turns
from offhook.deepgram import messages as deepgram

FAREWELL_MIN_S: Final = 5.0
"""Seconds to wait for the first sound of a farewell, at least."""
FAREWELL_SLACK_S: Final = 3.0
FAREWELL_MAX_S: Final = 15.0
"""Seconds that last words may take at most; else, what is being played gets its rest + 3 s."""
LAST_WORD_S: Final = 1.0
"""Seconds in which a goodbye must begin when its text is not known."""


# No set: what follows last words need not be hashable.
_TIME_UP: Final = (Slug.TIME_LIMIT, Slug.SPEND_LIMIT)


class LastWords(NamedTuple):
    """Last words: what follows them, their text, when they began, and the request behind them."""

    then: Slug | HandoffAction | SwitchAgent
    text: str
    began_at: float
    request_id: int | None


class Farewell:
    """Last words of one call, of one stream or of one agent."""

    def __init__(
        self,
        state: CallState,
        turns: Turns,
        pending: PendingRequests,
        functions: Functions,
        limits: Limits,
        keys: KeyInput,
        handoff: Handoff,
    ) -> None:
        self._state = state
        self._turns = turns
        self._pending = pending
        self._functions = functions
        self._limits = limits
        self._keys = keys
        self._handoff = handoff
        self._words: LastWords | None = None
        self._is_announced = False
        self._has_looked = False

    def close(
        self,
        then: Slug | HandoffAction | SwitchAgent,
        text: str,
        now: float,
        request_id: int | None = None,
    ) -> None:
        """Have the agent say `text`; when it was heard, do `then`."""
        words = LastWords(then, text, now, request_id)
        match self._state.phase:
            case Phase.ENDED:
                return
            case Phase.CLOSING:
                # The time is up during last words after which the call may go on.
                if isinstance(then, Slug):
                    self._limits.extend(then, now + FAREWELL_MAX_S)
                return
            case Phase.SETTLING:
                self._finish(words, now)  # No agent can say them.
                return
            case Phase.BARGE_IN:
                self._turns.lift_fence()
        self._keys.end_secret(self._state.phrases.digits_cut_short, now)
        self._turns.mute(False, now)
        self._state.step(Step.FAREWELL_BEGUN)
        self._words = words
        self._is_announced = not text
        self._has_looked = bool(text)
        self._functions.pause()
        if text:
            message = deepgram.InjectAgentMessage(message=text, behavior="queue")
            self._pending.send(message, None, now)

    def announce(self, text: str) -> None:
        """Note what the agent says; the last sentence of the farewell shows that it comes."""
        # Other speech may come before the last words, which come in sentences: they are complete
        # with their last sentence.
        if self._words is not None and text and self._words.text.endswith(text):
            self._is_announced = True

    def look(self, now: float) -> None:
        """Go on to what follows if the last words were heard."""
        words = self._words
        if words is None or not self._is_announced or not self._turns.is_agent_idle:
            return
        if words.text or now >= words.began_at + LAST_WORD_S:
            self._finish(words, now)

    def hear_caller(self, now: float) -> None:
        """Go on with a caller who was considered silent and has spoken."""
        if self._words is not None and self._words.then is Slug.CALLER_SILENT:
            self._go_on(self._words, now)

    def lose_agent(self, now: float) -> None:
        """Go on to what follows once what was sent is heard: the agent, now lost, says no more."""
        words = self._words
        if words is not None:
            self._is_announced = self._has_looked = True
            if self._turns.is_agent_idle:
                self._finish(words, now)

    def lose_caller(self, now: float) -> None:
        """Go on to what follows: the caller, whose stream broke off, hears no more."""
        if self._words is not None:
            self._finish(self._words, now)

    def refuse(self, now: float) -> None:
        """Go on with a caller who spoke during last words, unless the time is up."""
        if self._words is not None and self._words.then not in _TIME_UP:
            self._go_on(self._words, now, self._state.phrases.listen_first)

    def cancel(self, request_id: int, now: float) -> None:
        """Go on with the call: the request for last words was cancelled."""
        if self._words is not None and self._words.request_id == request_id:
            self._go_on(self._words, now, self._state.phrases.called_off)

    def call_off(self, now: float) -> None:
        """Go on with the call, as an operator speaks with the caller.

        A limit that is reached applies again when the operator is done.
        """
        words = self._words
        if words is not None:
            if isinstance(words.then, Slug) and words.then in _TIME_UP:
                self._limits.extend(words.then, now)
            self._go_on(words, now, self._state.operator_speaks)

    @property
    def is_closing(self) -> bool:
        """True while last words are being said."""
        return self._words is not None

    def drop(self) -> None:
        """Answer the request for last words, as the call is over."""
        words, self._words = self._words, None
        if words is not None and words.request_id is not None:
            is_meant = isinstance(words.then, Slug)
            self._state.do(Reply(words.request_id, is_meant, self._state.phrases.call_over))

    # --- time ----------------------------------------------------------------------------------

    def due(self) -> float | None:
        """Return when the time for last words is up, in seconds; None: never."""
        words = self._words
        if words is None:
            return None
        if not self._has_looked:
            return words.began_at + LAST_WORD_S
        at = self._turns.ends_at + FAREWELL_SLACK_S
        if words.text:
            at = max(words.began_at + FAREWELL_MIN_S, at)
        return min(at, words.began_at + FAREWELL_MAX_S)

    def tick(self, now: float) -> None:
        """Go on to what follows if the last words were heard or their time is up."""
        due = self.due()
        if due is None or now < due:
            return
        self.look(now)
        self._has_looked = True
        due = self.due()
        if self._words is not None and due is not None and now >= due:
            self._finish(self._words, now)

    # --- inside --------------------------------------------------------------------------------

    def _finish(self, words: LastWords, now: float) -> None:
        """Do what follows the last words."""
        if isinstance(words.then, Slug):
            self._state.steps.end(words.then, "", now)
            return
        self._words = None
        self._functions.resume()
        if isinstance(words.then, SwitchAgent):
            self._state.steps.switch(words.then, now)
        else:
            self._handoff.leave(words.then, now)
        if words.request_id is not None:
            self._state.do(Reply(words.request_id, True, self._state.phrases.done))

    def _go_on(self, words: LastWords, now: float, why: str = "") -> None:
        """Go on with the call instead of ending it after the last words."""
        self._words = None
        self._state.step(Step.CALLER_BACK)
        self._limits.listen(now)
        self._functions.resume()
        if words.request_id is not None:
            self._state.do(Reply(words.request_id, False, why))
        self._state.steps.go_on(now)
        self._keys.tell(now)
