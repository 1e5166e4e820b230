"""Speech of the agent in one session: current utterance, queued text, and completion."""

from collections.abc import Callable

from offhook.clock import Clock
from offhook.deepgram import messages
from offhook.testing.simulator.deepgram.answers import TurnAnswer
from offhook.testing.simulator.deepgram.script import Conduct
from offhook.testing.simulator.deepgram.utterance import StandInUtterance, sentences
from offhook.testing.simulator.speech.engines import TextToSpeech


class AgentSpeech:
    """Sender of the agent's utterances, one at a time, faster than they play.

    `say` and `play` send text and audio to the client. `quiet` is called when an answer, greeting
    or injection has been sent or cut short, with the answer (or None) and True if it was cut short.
    """

    def __init__(
        self,
        conduct: Conduct,
        clock: Clock,
        voice: TextToSpeech,
        send: Callable[[messages.ServerMessage], None],
        say: Callable[[str], None],
        play: Callable[[bytes], None],
        quiet: Callable[[TurnAnswer | None, bool], None],
        *,
        announced: bool,
    ) -> None:
        """Set the callbacks. With `announced`, send AgentStartedSpeaking before audio."""
        self._conduct = conduct
        self._clock = clock
        self._voice = voice
        self._send = send
        self._say = say
        self._play = play
        self._quiet = quiet
        self._utterance: StandInUtterance | None = None
        self._writable = True
        self._announced = announced
        self.answer: TurnAnswer | None = None
        """Answer that the current utterance belongs to; None for a greeting or an injection."""

    @property
    def speaking(self) -> bool:
        """True while part of the current utterance has not been sent."""
        return self._utterance is not None and not self._utterance.finished

    @property
    def audible(self) -> bool:
        """True while the utterance plays to a caller who hears every byte without delay."""
        return self._utterance is not None and self._utterance.plays_until > self._clock.now()

    @property
    def plays_until(self) -> float:
        """Time at which that caller has heard the whole utterance, in seconds of the clock."""
        return self._clock.now() if self._utterance is None else self._utterance.plays_until

    def heard(self) -> str:
        """Return the words of the utterance that the caller has heard, without network delay."""
        return "" if self._utterance is None else self._utterance.heard()

    def speak(self, text: str, answer: TurnAnswer | None = None) -> None:
        """Queue text after the current utterance. Text without an answer is a whole utterance."""
        pieces = sentences(text)
        utterance = self._utterance
        plays_from = self._clock.now()
        if utterance is not None:
            if utterance.is_cut:
                utterance.replace()
            if not utterance.finished:
                self.answer = answer or self.answer
                utterance.append(pieces)
                return
            plays_from = max(plays_from, utterance.plays_until)
        self.answer = answer
        if self._announced and self._conduct.latency is not None:
            self._announce(self._conduct.latency.report())
        silent = answer is not None and answer.is_text_only
        utterance = self._utterance = StandInUtterance(
            self._conduct,
            self._clock,
            None if silent else self._voice,
            self._text,
            self._sound,
            self._done,
            plays_from=plays_from,
        )
        if not self._writable:
            utterance.hold(True)
        utterance.append(pieces)
        if answer is None:
            utterance.close()

    def finish(self) -> None:
        """Mark the current utterance as complete: no text will be appended to it."""
        if self._utterance is not None:
            self._utterance.close()

    def cut(self) -> None:
        """Cut the utterance because the caller speaks; audio already under way is still sent."""
        if self._utterance is not None:
            self._utterance.cut()

    def replace(self) -> None:
        """Stop the utterance at once, because other text replaces it."""
        if self._utterance is not None:
            self._utterance.replace()

    def drop(self) -> None:
        """Stop the utterance without reporting it, because the session is over."""
        if self._utterance is not None:
            self._utterance.drop()

    def hold(self, writable: bool) -> None:
        """Hold audio back while the client reads too slowly."""
        self._writable = writable
        if self._utterance is not None:
            self._utterance.hold(not writable)

    def _text(self, sentence: str) -> None:
        self._say(sentence)
        if self.answer is not None and self.answer.times.spoken is None:
            self.answer.times.spoken = self._clock.now()

    def _sound(self, data: bytes) -> None:
        answer = self.answer
        if answer is not None and answer.times.sound is None:
            answer.times.sound = self._clock.now()
            if self._announced and self._conduct.latency is None:
                self._announce(answer.latency())
        self._play(data)

    def _announce(self, report: messages.LatencyReport) -> None:
        self._send(
            messages.AgentStartedSpeaking(
                report.total_latency, report.tts_latency, report.ttt_text_latency
            )
        )

    def _done(self) -> None:
        assert self._utterance is not None  # only the current utterance calls this
        self._quiet(self.answer, self._utterance.cut_short)
