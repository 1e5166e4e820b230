"""Turn-taking in one session of the stand-in agent: turns, barge-in, answers, injections.

Source: deepgram.md §2.14 to §2.17, §3.2, §4.4. turn_listener.py finds the caller's turns. A policy
(policy.py) decides the answer, answers.py holds it until the turn is confirmed, and
agent_speech.py speaks it; functions.py calls functions. This module combines them and uses no
sockets.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from offhook.clock import Clock, Timer
from offhook.deepgram import messages
from offhook.testing.simulator.deepgram.agent_speech import AgentSpeech
from offhook.testing.simulator.deepgram.answers import TurnAnswer, WantedFunction
from offhook.testing.simulator.deepgram.functions import FunctionCalls
from offhook.testing.simulator.deepgram.policy import StandInAgent
from offhook.testing.simulator.deepgram.script import ScriptTurn
from offhook.testing.simulator.deepgram.settings import StandInSettings
from offhook.testing.simulator.deepgram.timers import Timers

if TYPE_CHECKING:
    from offhook.testing.simulator.deepgram.standin import StandIn
from offhook.testing.simulator.deepgram.turn_listener import TurnListener
from offhook.testing.simulator.speech.engines import Transcript


class StandInTurns:
    """Conversation of one session, from SettingsApplied on."""

    def __init__(
        self,
        agent: StandInAgent,
        settings: StandInSettings,
        clock: Clock,
        timers: Timers,
        wire: "StandIn",
    ) -> None:
        self._conduct = agent.conduct
        self._settings = settings
        self._clock = clock
        self._timers = timers
        self.wire: Final = wire
        self._policy = agent.policy(settings)
        self._policy.resume(settings.context)
        self._listener = TurnListener(
            agent.speech_to_text(),
            timers,
            settings.end_of_turn_ms(agent.conduct.silence_ms),
            self._user_started,
            self._user_paused,
            self._user_heard,
        )
        self.functions = FunctionCalls(
            timers,
            agent.conduct.function_ms,
            wire.send,
            wire.function_changed,
            wire.functions_finished,
        )
        self._speaker = AgentSpeech(
            agent.conduct,
            clock,
            agent.voice,
            wire.send,
            partial(wire.say, "assistant"),
            self._play,
            self._spoken,
            announced=settings.experimental,
        )
        self._answer: TurnAnswer | None = None
        """Answer to the latest turn; None after the caller has spoken again."""
        self._reply_timer: Timer | None = None
        self._silence_timer: Timer | None = None
        self._closing: Timer | None = None
        """Timer that ends the session when the caller has heard the last answer."""
        self._paused_at = 0.0
        self._is_forced = False
        """True while the words of a turn that was forced to end are unknown."""
        self._written: list[str] = []
        """Injected user messages that must wait for the words of that turn."""
        self._interrupted = False
        """True from the time the caller cuts an answer short until the next answer."""

    # --- Methods for the session ---

    def hear(self, data: bytes) -> None:
        """Process audio of the caller."""
        self._listener.hear(data)

    def hold(self, writable: bool) -> None:
        """Hold audio back while the client reads too slowly."""
        self._speaker.hold(writable)

    @property
    def audible(self) -> bool:
        """True while the agent plays to a caller who hears every byte without delay."""
        return self._speaker.audible

    def updated(self) -> None:
        """Apply changed settings."""
        self._policy.update(self._settings)
        self._listener.end_after(self._settings.end_of_turn_ms(self._conduct.silence_ms))

    def say_unasked(self, text: str) -> None:
        """Say a greeting or an injected message."""
        self._policy.said(text)
        self.speak(text, None)

    def inject(self, message: messages.InjectAgentMessage) -> None:
        """Say an injected message, or refuse it, by who is mid-turn and its `behavior` (§2.14)."""
        if self._listener.speaking and message.behavior != "interrupt":
            self._refuse_injection("USER")
            return
        if message.behavior == "default" and self._is_mid_turn():
            self._refuse_injection("AGENT")
            return
        if message.behavior == "interrupt":
            self._replace_answer()
            # A caller who goes on speaking begins another turn, which cuts off the injection.
            self._listener.forget()
        self.say_unasked(message.message)

    def user_wrote(self, words: str) -> None:
        """Answer as if the caller had said exactly `words` (§2.15).

        A turn that was forced to end is answered first, as soon as its words are known.
        """
        if self._is_forced:
            self._written.append(words)
            return
        self._replace_answer()
        self._think(Transcript(words, understood=True), self._new_answer(words, self._clock.now()))

    def end_turn(self) -> None:
        """End the caller's turn now, if there is one (§2.17), even if it has only paused."""
        self._listener.end_turn()
        self._reply_is_due()
        self._is_forced = self._listener.recognising

    def stop(self) -> None:
        """Stop the conversation because the session is over."""
        self._speaker.drop()
        self._listener.close()
        self._policy.close()
        if self._answer is not None:
            self._answer.drop()

    # --- The caller's turn ---

    def _user_started(self) -> None:
        self.wire.user_started()
        cut_short = self._cut_short()
        if self._speaker.audible and self._speaker.answer is not None:
            self._interrupted = True
        self._speaker.cut()
        self._cancel_answer(cut_short)
        self._await_silence(self._clock.now())

    def _user_paused(self) -> None:
        """Start the timer for the answer, which further speech of the caller cancels."""
        self._paused_at = self._clock.now()
        self._timers.cancel(self._reply_timer)
        self._reply_timer = self._timers.after(self._conduct.reply_ms / 1000, self._reply_is_due)

    def _user_heard(self, heard: Transcript) -> None:
        """Begin the answer. The turn is confirmed when the caller has been silent long enough."""
        self._cancel_thought()
        self._think(heard, self._new_answer(heard.text or None, self._paused_at))
        self._is_forced = False
        written, self._written = self._written, []
        for words in written:
            self.user_wrote(words)

    def _reply_is_due(self) -> None:
        self._timers.cancel(self._reply_timer)
        self._reply_timer = None
        if self._answer is not None and not self._answer.is_confirmed:
            self._confirm(self._answer)

    # --- The answer ---

    def _new_answer(self, words: str | None, paused_at: float | None) -> TurnAnswer:
        """Make an answer to a turn that paused at `paused_at`; None for an answer to a silence."""
        answer = self._answer = TurnAnswer(self, self._clock.now, words, paused_at is not None)
        answer.times.paused = paused_at
        answer.times.heard = self._clock.now()
        return answer

    def _think(self, heard: Transcript, answer: TurnAnswer) -> None:
        self._policy.answer(heard, answer, interrupted=self._interrupted)
        if self._reply_timer is None and not answer.is_dropped:
            # The time in which the caller could go on had passed before the words were known.
            self._confirm(answer)

    def _confirm(self, answer: TurnAnswer) -> None:
        self._interrupted = False
        self._listener.taken()
        answer.confirm()
        if not answer.is_dropped:
            self.functions.confirm()

    def _cut_short(self) -> str | None:
        """Return the words heard of an unfinished answer; None if no answer is unfinished."""
        answer = self._answer
        if answer is None or answer.is_dropped or not answer.is_confirmed:
            return None
        is_said = self._speaker.answer is answer
        if answer.is_done and not (is_said and self._speaker.audible):
            return None
        return self._speaker.heard() if is_said else ""

    def _replace_answer(self) -> None:
        """Stop the current answer, spoken or pending, because something else replaces it."""
        cut_short = self._cut_short()
        self._speaker.replace()
        self._cancel_answer(cut_short)

    def _cancel_answer(self, cut_short: str | None) -> None:
        """Drop the pending answer and cancel the functions that it requested (§4.4)."""
        self._timers.cancel(self._closing)
        self._timers.cancel(self._reply_timer)
        self._reply_timer = None
        self._cancel_thought()
        if cut_short is not None:
            self._policy.interrupted(cut_short)

    def _cancel_thought(self) -> None:
        answer, self._answer = self._answer, None
        if answer is None or answer.is_dropped:
            return
        answer.drop()
        self.functions.cancel()
        if not answer.is_confirmed:
            self._policy.forget()

    def _is_mid_turn(self) -> bool:
        """Return True if the agent speaks or prepares an answer."""
        answer = self._answer
        thinks = answer is not None and not (answer.is_confirmed and answer.is_done)
        return self._speaker.speaking or self._reply_timer is not None or thinks

    # --- Methods for an answer (answers.py) ---

    def speak(self, text: str, answer: TurnAnswer | None) -> None:
        """Say `text` after the current utterance."""
        if self._settings.failed_to_speak:
            self.wire.fail(messages.Error("FAILED_TO_SPEAK", "The voice does not have that speed."))
        else:
            self._speaker.speak(text, answer)

    def pause(self, answer: TurnAnswer) -> None:
        """Complete the current utterance, because the answer waits for functions."""
        if self._speaker.answer is answer:
            self._speaker.finish()

    def finish(self, answer: TurnAnswer) -> None:
        """Finish an answer that has nothing more to say."""
        if self._speaker.answer is not answer or not answer.has_spoken:
            self._strike(answer)
            if answer.ends:
                self.wire.close()
        elif self._speaker.speaking:
            self._speaker.finish()
        else:
            # The text before its functions has been sent already.
            self._is_said(answer, was_cut=False)

    def call(
        self,
        wanted: Sequence[WantedFunction],
        answered: Callable[[Sequence[str]], None],
        slow: Callable[[], None],
    ) -> None:
        """Call functions for the current answer."""
        assert self._answer is not None  # only the current answer calls this
        confirmed = self._answer.is_confirmed
        offered = self._settings.functions
        self.functions.call(wanted, answered, slow, offered, confirmed=confirmed)

    def spoil(self, turn: ScriptTurn) -> None:
        """Commit the fault that precedes an answer."""
        if turn.fault in ("garbage", "unknown"):
            self.wire.fault(turn.fault)

    def _refuse_injection(self, speaker: str) -> None:
        text = f"The {speaker.lower()} is speaking."
        if self._conduct.refuse_with == "Warning":
            code = f"INJECT_AGENT_MESSAGE_DURING_{speaker}_SPEECH"
            self.wire.send(messages.Warning(code, text))
        else:
            self.wire.send(messages.InjectionRefused(text))

    # --- The agent's turn ---

    def _play(self, data: bytes) -> None:
        self.wire.play(data)
        if self._speaker.answer is not None:
            self._strike(self._speaker.answer)

    def _spoken(self, answer: TurnAnswer | None, was_cut: bool) -> None:
        """Report that the current utterance has been sent completely or was cut."""
        fault = answer.flaws.fault if answer is not None and answer.flaws is not None else None
        if fault not in ("text_only", "never_done"):
            self.wire.send(messages.AgentAudioDone())
        self._await_silence(self._speaker.plays_until)
        if answer is not None and (answer.is_done or was_cut):
            self._is_said(answer, was_cut)

    def _is_said(self, answer: TurnAnswer, was_cut: bool) -> None:
        """End a spoken answer: report its latency, and close the session if the answer ends it."""
        if answer.is_turn:
            fixed = self._conduct.latency
            self.wire.send(answer.latency() if fixed is None else fixed.report())
        if answer.ends and not was_cut:
            self._closing = self._timers.at(self._speaker.plays_until, self.wire.close)

    def _await_silence(self, since: float) -> None:
        """Start the timer for `silence_s` without speech, after which the policy is asked."""
        self._timers.cancel(self._silence_timer)
        if self._policy.silence_s is not None:
            self._silence_timer = self._timers.at(since + self._policy.silence_s, self._on_silence)

    def _on_silence(self) -> None:
        if self._listener.speaking or self._is_mid_turn() or self._speaker.audible:
            self._await_silence(self._clock.now())
            return
        answer = self._new_answer(None, None)
        self._policy.silence(answer)
        self._confirm(answer)

    def _strike(self, answer: TurnAnswer) -> None:
        """Commit the fault that a script has in the middle of this answer."""
        flaws = answer.flaws
        if flaws is None:
            return
        if flaws.error is not None:
            self.wire.fail(messages.Error(flaws.error, "The script says so."))
        elif flaws.fault in ("close", "cut", "stall"):
            self.wire.fault(flaws.fault)
