"""Watch over the agent's answers: an agent that owes one and is silent is asked, then replaced.

So is one that stops in mid-answer, and without being asked: what it is asked to say would wait for
the rest of the answer (deepgram.md §2.14).

Deepgram can be silent without an Error: the model or the voice behind it hangs while the socket
stays open (deepgram.md §2.5). docs/design/recovery.md lists pauses that only look so.
"""

from typing import Final, Literal, TypeAlias

from offhook.call import agent_loss
from offhook.call.agent_link import AgentLink
from offhook.call.call_state import CallState, earliest, is_due
from offhook.call.functions import Functions
from offhook.call.pending_requests import PendingRequests
from offhook.call.phases import Phase
from offhook.call.turns import Turns
from offhook.deepgram import messages as deepgram

THINK_FAILED: Final = "FAILED_TO_THINK"
"""Error code after which the session may go on, without the answer (deepgram.md §3.4)."""

TRIES_NEXT: Final = frozenset({"THINK_REQUEST_FAILED", "SPEAK_REQUEST_FAILED"})
"""Codes of Warnings after which Deepgram asks the next provider of its list (deepgram.md §3.5)."""

ASIDE_LETTERS: Final = 12
"""Letters of a turn, said while the agent is heard, that need not be answered: "uh-huh"."""

Step: TypeAlias = Literal["none", "asked", "replaced"]
"""Last step against a silence. `asked`: this session was asked to say something, which then is no
answer. `replaced`: a session was given up; until another one answers, its silence is not asked."""


class AnswerWatch:
    """Watch over what the agent of one call owes.

    The agent's audio is not watched: whether any has come is looked up when the time is over, so
    that a frame costs nothing.
    """

    def __init__(
        self,
        state: CallState,
        functions: Functions,
        pending: PendingRequests,
        link: AgentLink,
        turns: Turns,
    ) -> None:
        self._state = state
        self._functions = functions
        self._pending = pending
        self._link = link
        self._turns = turns
        self._since: float | None = None
        """Since when an answer is owed, in seconds; None: none is."""
        self._wait_s = 0.0
        """Seconds of silence to wait for it."""
        self._epoch = self._sent = 0
        """Position of the playback at that time."""
        self._is_aside = False
        """True if the caller has begun to speak while the agent was heard."""
        self._endpoints = 0
        """Functions that Deepgram itself calls, and that have no answer yet."""
        self._has_spoken_first = False
        """True if the agent had said something before it called its latest functions."""
        self._step: Step = "none"
        self._has_words = False
        """True once the agent has said words that it was not asked for, since an answer is owed."""
        self._failure = ""
        self._whole = (0, 0)
        """Epoch and position of the playback at which an utterance without end was found whole."""

    # --- what is owed --------------------------------------------------------------------------

    def expect(self, now: float) -> None:
        """Note that the agent owes an answer from now on."""
        self.settle()
        if self._state.settings.answer_s:
            playback = self._turns.playback
            self._since = now
            self._wait_s = self._state.settings.answer_s
            self._epoch, self._sent = playback.epoch, playback.sent
            self._has_words = False

    def expect_nothing(self) -> None:
        """Note that no answer is owed any more."""
        self._since = None

    def put_off(self, now: float) -> None:
        """Wait anew for an answer that Deepgram tries to get from the next provider."""
        if self._since is not None:
            self._since = now

    def fail(self, error: deepgram.Error, now: float) -> None:
        """Count a failure to think, after which no answer will come, as the first silence."""
        if error.code == THINK_FAILED and self._link.is_ready:
            if self._step != "asked":
                self.expect(now)
                self._wait_s = 0.0
            self._failure = error.code

    # --- the caller ----------------------------------------------------------------------------

    def begin_speech(self) -> None:
        """Note that the caller begins to speak, before that cuts the agent."""
        if not self._turns.is_caller_speaking:
            self._is_aside = not self._turns.is_agent_idle

    def take_turn(self, text: str, now: float) -> None:
        """Note a turn of the caller, which is to be answered if it is more than an aside."""
        letters = len(_letters(text))
        if letters > (ASIDE_LETTERS if self._is_aside else 0):
            self.expect(now)
        self._is_aside = False

    # --- the agent -----------------------------------------------------------------------------

    def hear(self, text: str) -> None:
        """Note what the agent says; text without a letter says that it chooses to be silent."""
        letters = _letters(text)
        self._endpoints = 0
        if not letters:
            self.meet()
        elif letters not in _letters(self._state.phrases.one_moment):
            self._has_words = True

    def call_functions(self, request: deepgram.FunctionCallRequest) -> None:
        """Note that the agent calls functions, which have limits of their own."""
        if request.functions:
            self._has_spoken_first = self._since is None or self._has_answered()
            self.meet()
        self._endpoints += sum(not each.client_side for each in request.functions)

    def cancel_functions(self) -> None:
        """Note that the agent has called functions off."""
        self._endpoints = 0

    def end_endpoint(self, now: float) -> None:
        """Note that a function which Deepgram has called is answered (deepgram.md §4.3)."""
        self._endpoints = max(0, self._endpoints - 1)
        self.end_functions(now)

    def end_functions(self, now: float) -> None:
        """Note that the agent has the results it waited for.

        It need not say more if it has said something before it called for them: "I wrote it down."
        """
        if self._since is not None or not self._has_spoken_first:
            self.expect(now)

    def settle(self) -> None:
        """Note an answer of which some audio has come, before the playback begins anew."""
        if self._since is not None and self._has_answered():
            self.meet()

    def meet(self) -> None:
        """Note that the agent has answered."""
        self._since = None
        self._step = "none"
        self._failure = ""

    def begin_talking(self) -> None:
        """Begin anew with another session; remember if the one before it was given up."""
        self._since = None
        self._is_aside = False
        if self._step == "asked":
            self._step = "none"
        self._endpoints = 0
        self._failure = ""

    # --- time ----------------------------------------------------------------------------------

    def due(self) -> float | None:
        """Return when the agent has been silent for too long, in seconds; None: never.

        What is played to the caller is no silence. Nothing is due while the caller speaks, while a
        function is open, or while the agent is muted.
        """
        if (
            self._state.phase is not Phase.TALKING
            or self._turns.is_caller_speaking
            or self._turns.is_muted
            or self._endpoints
            or not self._functions.is_idle
        ):
            return None
        return earliest(self._answer_due(), self._rest_due())

    def tick(self, now: float) -> None:
        """Have a silent agent say something; give it up the second time, or in mid-answer."""
        if not is_due(self.due(), now):
            return
        playback = self._turns.playback
        if is_due(self._rest_due(), now):
            if playback.falls_short:
                self._replace(now)
                return
            # It can have ended without AgentAudioDone (deepgram.md §3.2).
            self._whole = playback.epoch, playback.sent
        if not is_due(self._answer_due(), now):
            return
        self.settle()
        if self._since is None:
            return
        if self._step == "none":
            self._step = "asked"
            self.expect(now)
            words = self._state.phrases.one_moment
            message = deepgram.InjectAgentMessage(message=words, behavior="queue")
            self._pending.send(message, None, now)
        else:
            self._replace(now)

    def _answer_due(self) -> float | None:
        """Return when the beginning of an answer is overdue, in seconds; None: never."""
        return None if self._since is None else max(self._since, self._turns.ends_at) + self._wait_s

    def _rest_due(self) -> float | None:
        """Return when the rest of an utterance is overdue, in seconds; None: never."""
        playback, limit_s = self._turns.playback, self._state.settings.answer_s
        if not limit_s or not playback.is_mid_speech:
            return None
        is_whole = self._whole == (playback.epoch, playback.sent)
        return None if is_whole else playback.ends_at + limit_s

    # --- inside --------------------------------------------------------------------------------

    def _replace(self, now: float) -> None:
        """Give the session up."""
        self._since = None
        is_first, self._step = self._step != "replaced", "replaced"
        limit_s = self._state.settings.answer_s
        loss = agent_loss.silent(limit_s, self._failure, is_first=is_first)
        self._state.steps.lose_agent(loss, now)

    def _has_answered(self) -> bool:
        """Return whether audio has come that is not only what the agent was asked to say."""
        playback = self._turns.playback
        before = self._sent if playback.epoch == self._epoch else 0
        return playback.sent > before and (self._has_words or self._step != "asked")


def _letters(text: str) -> str:
    """Return the letters and digits of a text, without regard to case."""
    return "".join(letter for letter in text.casefold() if letter.isalnum())
