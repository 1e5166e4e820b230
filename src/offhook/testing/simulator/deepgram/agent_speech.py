"""The agent's side of a session: what it is saying, what is said next, and when all is out."""

from collections.abc import Callable

from offhook.clock import Clock
from offhook.deepgram import messages
from offhook.testing.simulator.deepgram.answers import TurnAnswer
from offhook.testing.simulator.deepgram.script import Conduct
from offhook.testing.simulator.deepgram.utterance import StandInUtterance, sentences
from offhook.testing.simulator.speech.engines import TextToSpeech


class AgentSpeech:
    """One utterance at a time, sent faster than it plays.

    `say` and `play` put text and audio on the wire; `quiet` is told of each answer, greeting or
    injection that has gone out, or what was left of it, and whether it was cut short.
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
        """With `announced`, AgentStartedSpeaking is sent."""
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
        """What is being said answers this; None: a greeting or an injection."""

    @property
    def speaking(self) -> bool:
        """Whether something is still to be sent."""
        return self._utterance is not None and not self._utterance.finished

    @property
    def audible(self) -> bool:
        """Whether a caller who hears every byte at once is still hearing it."""
        return self._utterance is not None and self._utterance.plays_until > self._clock.now()

    @property
    def plays_until(self) -> float:
        """When such a caller has heard all of it, in seconds of the clock."""
        return self._clock.now() if self._utterance is None else self._utterance.plays_until

    def heard(self) -> str:
        """Return what such a caller has heard of it."""
        return "" if self._utterance is None else self._utterance.heard()

    def speak(self, text: str, answer: TurnAnswer | None = None) -> None:
        """Say this after what is being said. What is no part of an answer is all of itself."""
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
        """Nothing is added to what is being said."""
        if self._utterance is not None:
            self._utterance.close()

    def cut(self) -> None:
        """Stop, but for what is under way: the caller speaks."""
        if self._utterance is not None:
            self._utterance.cut()

    def replace(self) -> None:
        """Stop at once: something else is to be said."""
        if self._utterance is not None:
            self._utterance.replace()

    def drop(self) -> None:
        """Stop for good: the session is over."""
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
        assert self._utterance is not None  # it is the one that calls
        self._quiet(self.answer, self._utterance.cut_short)
