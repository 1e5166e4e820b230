"""Keys of the caller: entries, actions, and secrets that go only to the one who asked.

Source: deepgram.md §2.15 and §2.17, for what the agent is told and when.
"""

from typing import Final, TypeAlias

from offhook.call import keypad
from offhook.call.agent_link import AgentLink
from offhook.call.call_state import CallState, earliest, is_due
from offhook.call.commands import MaskCaller, Reply, TellAgent, TransferCaller
from offhook.call.ending import Slug
from offhook.call.functions import Functions
from offhook.call.history import ConversationHistory
from offhook.call.keypad import Action, Keypad, Secret
from offhook.call.limits import Limits
from offhook.call.pending_requests import Injection, PendingRequests
from offhook.call.phases import Phase
from offhook.call.phrases import fill
from offhook.call.requests import AskDigits
from offhook.call.turns import Turns
from offhook.deepgram import messages as deepgram
from offhook.deepgram.changes import Change
from offhook.events.types import AgentTold, KeyPressed, KeysEntered, SecretEntered

UNTOLD_MAX: Final = 8
"""Entries and sentences that may wait for the agent; the oldest are dropped first."""

_LISTENING: Final = frozenset({Phase.TALKING, Phase.BARGE_IN})
_OVER: Final = frozenset({Phase.CLOSING, Phase.ENDED})


_Untold: TypeAlias = str | keypad.SayByKey | deepgram.InjectUserMessage


class KeyInput:
    """Keypad of one call."""

    def __init__(
        self,
        state: CallState,
        history: ConversationHistory,
        pending: PendingRequests,
        functions: Functions,
        link: AgentLink,
        turns: Turns,
        limits: Limits,
    ) -> None:
        self._state = state
        self._history = history
        self._pending = pending
        self._functions = functions
        self._link = link
        self._turns = turns
        self._limits = limits
        self._untold: list[_Untold] = []
        self._secret: Secret | None = None
        self._unmask_at: float | None = None
        self.use_settings()

    @property
    def is_idle(self) -> bool:
        """True while nothing is being entered, and the agent was told all that was."""
        is_masked = self._link.is_masked
        return self._keypad.due is None and not self._untold and not is_masked

    # --- keys ----------------------------------------------------------------------------------

    def use_settings(self) -> None:
        """Use the key settings of the call's agent."""
        settings = self._state.settings
        self._keypad = Keypad(settings.key_s, settings.actions)

    def press(self, key: str, now: float) -> None:
        """Handle a key; a masked key belongs to a secret, or came just after one."""
        if self._link.is_masked:
            if self._secret is not None and self._secret.press(key, now):
                self._end_secret(None, now)
            return
        self._enter(self._keypad.press(key, now), now)

    def note_press(self, key: str) -> None:
        """Publish a key press, unless the key is masked."""
        if not self._link.is_masked:
            self._state.note(KeyPressed(key))

    def forget(self) -> None:
        """Forget entries that the agent was not told, as the caller leaves."""
        self._untold.clear()
        self._keypad.forget()

    def tell_later(self, message: deepgram.InjectUserMessage) -> None:
        """Repeat later what the agent has refused, once it has spoken (§2.15)."""
        self._keep_waiting(message)

    def _keep_waiting(self, what: _Untold) -> None:
        self._untold.append(what)
        del self._untold[:-UNTOLD_MAX]

    def tell(self, now: float) -> None:
        """Tell the agent what was entered, if it listens; else keep it waiting."""
        if self._state.phase not in _LISTENING:
            return
        waiting = list(self._untold)
        self._untold.clear()
        for each in waiting:
            match each:
                case keypad.SayByKey():
                    say = deepgram.InjectAgentMessage(message=each.text, behavior="queue")
                    self._pending.send(say, None, now)
                case str():
                    self._tell_entry(each, now)
                case _:
                    self._pending.send(each, None, now)

    def _enter(self, done: list[str | Action], now: float) -> None:
        """Tell the agent of complete entries and perform actions; an action may end the call."""
        for each in done:
            match each:
                case keypad.SayByKey() if self._state.is_taken:
                    pass  # The caller would not hear it.
                case str() | keypad.SayByKey():
                    self._keep_waiting(each)
                    self.tell(now)
                case _ if self._state.phase in _OVER or self._state.is_taken:
                    pass  # It ends or transfers already, or the caller speaks with an operator.
                case keypad.TransferByKey():
                    self._state.do(TransferCaller(each.destination))
                case keypad.HangUpByKey():
                    self._state.steps.close(Slug.AGENT_HUNG_UP, each.farewell, now)

    def _tell_entry(self, entry: str, now: float) -> None:
        self._state.note(KeysEntered(entry))
        # Speech from before the keys comes before them, in a turn of its own (§2.17).
        if self._state.settings.forces_turns and self._turns.is_caller_speaking:
            self._state.do(TellAgent(deepgram.ForceEndTurn()))
        text = fill(self._state.phrases.keys_pressed, keys=entry)
        self._history.said(AgentTold(text))
        self._pending.send(deepgram.InjectUserMessage(content=text), None, now)

    # --- secrets -------------------------------------------------------------------------------

    @property
    def is_secret(self) -> bool:
        """True while a secret is being entered."""
        return self._secret is not None

    def ask_secret(self, request_id: int, asked: AskDigits, now: float) -> None:
        """Have the caller enter digits that are passed only to the one who asked."""
        self._keypad.forget()  # The current entry may be the beginning of the secret.
        self._secret = Secret(request_id, asked.prompt, asked.max_digits, asked.timeout_s, now)
        self._unmask_at = None
        if not self._link.is_masked:
            self._mask(True)
        self._functions.pause()
        self._limits.suspend_silence()
        if asked.prompt:
            prompt = deepgram.InjectAgentMessage(message=asked.prompt, behavior="queue")
            self._pending.send(prompt, None, now)

    def cancel(self, request_id: int, now: float) -> None:
        """Give up a secret whose request was cancelled."""
        if self._secret is not None and self._secret.request_id == request_id:
            self._end_secret(self._state.phrases.digits_called_off, now)

    def refuse_prompt(self, message: Injection | Change, now: float) -> None:
        """Give up a secret whose prompt the agent was not allowed to say."""
        if self._secret is not None and message == deepgram.InjectAgentMessage(
            message=self._secret.prompt, behavior="queue"
        ):
            self._end_secret(self._state.phrases.listen_first, now)

    def end_secret(self, why_not: str, now: float) -> None:
        """Give up the secret that is being entered, if any."""
        if self._secret is not None:
            self._end_secret(why_not, now)

    def _end_secret(self, why_not: str | None, now: float) -> None:
        """Reply with the digits, or with the reason why they are missing."""
        secret, self._secret = self._secret, None
        assert secret is not None
        self._unmask_at = now + keypad.TONES_S
        self._functions.resume_after(secret.began, now)
        self._limits.listen(now)
        is_entered = why_not is None
        self._state.note(SecretEntered(len(secret.digits), is_entered))
        self._state.do(Reply(secret.request_id, is_entered, why_not or secret.digits))

    def _mask(self, on: bool) -> None:
        self._link.is_masked = on
        self._state.do(MaskCaller(on))

    # --- time ----------------------------------------------------------------------------------

    def due(self) -> float | None:
        """Return when an entry, a secret or its last tone is over, in seconds; None: never."""
        return earliest(self._keypad.due, self._secret_due(), self._unmask_at)

    def tick(self, now: float) -> None:
        """End entries and secrets whose time for another key is over."""
        if is_due(self._keypad.due, now):
            self._enter(self._keypad.finish(), now)
        if is_due(self._secret_due(), now):
            self._end_secret(self._state.phrases.digits_too_late, now)
        if is_due(self._unmask_at, now):
            self._unmask_at = None
            self._mask(False)

    def _secret_due(self) -> float | None:
        if self._secret is None:
            return None
        return max(self._secret.pressed_at, self._turns.ends_at) + self._secret.timeout_s
