"""The stand-in agent: one session of Deepgram's Voice Agent protocol, played from a script.

Source: deepgram-voice-agent.md §0 to §4, whose order of messages and codes it keeps. It is a
wire.Receiver on a given clock: the same object serves in memory (memory.py) and on a real socket
(standin_server.py). It listens to the caller's real audio, so a barge-in is heard, not announced.
"""

import enum
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import msgspec

from offhook import audio
from offhook.clock import Clock, Timer
from offhook.deepgram import messages
from offhook.rehearsal.script import Script, Stage, Turn
from offhook.rehearsal.standin_settings import Refused, Settings, unparsable
from offhook.rehearsal.utterance import Utterance, sentences
from offhook.rehearsal.voice import Change, TurnFinder
from offhook.wire import Channel, Closed

CLIENT_TIMEOUT_S: Final = 10.0
"""Seconds without a message from the client that end the session (§1.3)."""

SESSION_WARNING_S: Final = 115 * 60.0
SESSION_MAX_S: Final = 120 * 60.0

KEPT: Final = 1000
"""How many of the latest messages and lines a session remembers."""


class Phase(enum.Enum):
    """How far the session has come."""

    OPENING = "opening"
    WELCOMED = "welcomed"
    SETTLING = "settling"
    """Settings have come, SettingsApplied has not gone out."""
    TALKING = "talking"
    STALLED = "stalled"
    """A fault of the script: the socket is open and nothing more happens."""
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Line:
    """Something that was said, at `at` seconds of the clock."""

    at: float
    role: str
    content: str


class Arrivals:
    """When the caller's audio arrived, by its offset in the stream."""

    def __init__(self) -> None:
        self.times = array("d")
        self.sizes = array("I")
        """Of each binary message, in order; a session's length bounds both."""
        self.total = 0
        """Bytes, of all of them."""

    def add(self, now: float, size: int) -> None:
        """One message came."""
        self.times.append(now)
        self.sizes.append(size)
        self.total += size

    def frame_times(self) -> list[float]:
        """When the last byte of each whole 20 ms frame was there, in seconds."""
        frames = []
        received = 0
        for now, size in zip(self.times, self.sizes, strict=True):
            before = received // audio.FRAME_BYTES
            received += size
            frames += [now] * (received // audio.FRAME_BYTES - before)
        return frames


class StandIn:
    """One session. What a test or a demonstration may look at is kept, within bounds."""

    def __init__(
        self,
        script: Script,
        clock: Clock,
        request_id: str = "stand-in",
        ended: "Callable[[StandIn], None] | None" = None,
    ) -> None:
        """`ended` is told when the socket is gone."""
        self.request_id: Final = request_id
        self.phase = Phase.OPENING
        self.settings: Settings | None = None
        self.arrivals: Final = Arrivals()
        self.received: Final = deque[messages.ClientMessage | messages.Unknown](maxlen=KEPT)
        """Text messages from the client, but for Settings."""
        self.lines: Final = deque[Line](maxlen=KEPT)
        """What each side is reported to have said."""
        self.onsets: Final = deque[float](maxlen=KEPT)
        """When each UserStartedSpeaking went out, in seconds of the clock."""
        self.audio_sent = 0
        """Bytes of agent audio."""
        self.closed: Closed | None = None

        self._ended = ended
        self._script = script
        self._clock = clock
        self._channel: Channel | None = None
        self._timers: set[Timer] = set()
        self._finder = TurnFinder(script.silence_ms)
        self._early_settings: bytes | None = None
        self._heard_at = clock.now()
        self._turns = iter(script.turns)
        self._unanswered = False
        """The caller has finished a turn, and no answer has begun."""
        self._reply_timer: Timer | None = None
        self._pending: dict[str, messages.FunctionCall] = {}
        self._finished: list[messages.FinishedFunction] = []
        self._calling: Turn | None = None
        """The turn whose answer waits for functions."""
        self._calls = 0
        self._utterance: Utterance | None = None
        self._turn: Turn | None = None
        """The turn that the utterance answers; None for a greeting or an injection."""
        self._interrupted = False
        """The caller has cut an answer short, and has had no reply to that."""
        self._writable = True

    # --- wire.Receiver ---

    def on_open(self, socket: Channel) -> None:
        """The upgrade is done."""
        self._channel = socket
        now = self._clock.now()
        self._heard_at = now
        self._at(now + self._script.welcome.after_ms / 1000, self._welcome)
        self._at(now + CLIENT_TIMEOUT_S, self._check_silence)
        self._at(now + SESSION_WARNING_S, self._warn_of_length)
        self._at(now + SESSION_MAX_S, self._end_of_session)

    def on_text(self, text: bytes) -> None:
        """A message from the client."""
        if self.phase in (Phase.STALLED, Phase.OVER):
            return
        self._heard_at = self._clock.now()
        try:
            self._on_message(text)
        except Refused as refused:
            self._fail(refused.error)

    def on_binary(self, data: bytes) -> None:
        """Caller audio."""
        now = self._clock.now()
        if self.phase in (Phase.STALLED, Phase.OVER):
            return
        self._heard_at = now
        if self.phase is not Phase.TALKING:
            code = "BINARY_MESSAGE_BEFORE_SETTINGS"
            self._fail(messages.Error(code, "Audio came before the settings were applied."))
            return
        self.arrivals.add(now, len(data))
        for change in self._finder.hear(data):
            if change is Change.STARTED:
                self._user_started()
            elif change is Change.ENDED:
                self._unanswered = True
                self._user_paused()
            elif self._unanswered:
                # A cough held up the answer, and was not a turn.
                self._user_paused()

    def on_writable(self, writable: bool) -> None:
        """The client reads too slowly, or has caught up: audio waits for it."""
        self._writable = writable
        if self._utterance is not None:
            self._utterance.hold(not writable)

    def on_close(self, closed: Closed) -> None:
        """The socket is gone."""
        self.closed = closed
        self._stop(Phase.OVER)
        if self._ended is not None:
            self._ended(self)

    def close(self) -> None:
        """End the session from this side."""
        self._stop(Phase.OVER)
        if self._channel is not None:
            self._channel.close()

    # --- The opening ---

    def _welcome(self) -> None:
        if self._struck(self._script.welcome):
            return
        self.phase = Phase.WELCOMED
        self._send(messages.Welcome(self.request_id))
        if self._early_settings is not None:
            self._settle(self._early_settings)

    def _settle(self, text: bytes) -> None:
        self.phase = Phase.SETTLING
        self._at(
            self._clock.now() + self._script.settings.after_ms / 1000, partial(self._apply, text)
        )

    def _apply(self, text: bytes) -> None:
        if self._struck(self._script.settings):
            return
        try:
            settings = Settings(text)
        except Refused as refused:
            self._fail(refused.error)
            return
        self.settings = settings
        self.phase = Phase.TALKING
        self._send(messages.SettingsApplied())
        if settings.prompt_is_too_long:
            self._send(messages.Warning("PROMPT_TOO_LONG", "The prompt was cut off."))
        if settings.history:
            for message in settings.context:
                self._send(message)
        if settings.greeting:
            self._speak(sentences(settings.greeting))

    def _struck(self, stage: Stage) -> bool:
        """Do what the script says goes wrong here; whether that ended it."""
        if stage.error is not None:
            self._fail(messages.Error(stage.error, "The script says so."))
            return True
        return self._fault(stage.fault)

    # --- Messages from the client ---

    def _on_message(self, text: bytes) -> None:
        try:
            message = messages.read_ours(text)
        except messages.BadMessage as error:
            raise unparsable(error) from None
        if message == messages.Unknown("Settings"):
            self._on_settings(text)
            return
        self.received.append(message)
        waiting = self.phase is Phase.SETTLING and message == messages.KeepAlive()
        if self.settings is None and not waiting:
            code = "NON_SETTINGS_MESSAGE_BEFORE_SETTINGS"
            raise Refused(code, "A message came before the settings were applied.")
        match message:
            case messages.Unknown():
                raise Refused(
                    "UNPARSABLE_CLIENT_MESSAGE",
                    "Error parsing client message. Check the type field.",
                )
            case messages.UpdatePrompt():
                self._send(messages.PromptUpdated())
            case messages.UpdateSpeak():
                self._send(messages.SpeakUpdated())
            case messages.UpdateThink():
                self._send(messages.ThinkUpdated())
            case messages.UpdateListen():
                self._update_listen(message)
            case messages.InjectAgentMessage():
                self._inject(message)
            case messages.InjectUserMessage():
                if self._utterance is not None:
                    self._utterance.replace()
                self._user_said(message.content)
            case messages.FunctionCallResponse():
                self._function_answered(message)
            case messages.ForceEndTurn():
                self._force_end_turn()
            case messages.CustomToThinkProvider():
                self._send(messages.CustomFromThinkProvider(message.content))
            case messages.KeepAlive():
                pass

    def _on_settings(self, text: bytes) -> None:
        if self.phase is Phase.WELCOMED:
            self._settle(text)
        elif self.phase is Phase.OPENING and self._early_settings is None:
            self._early_settings = text
        else:
            raise Refused("SETTINGS_ALREADY_APPLIED", "Settings can be sent once.")

    def _update_listen(self, message: messages.UpdateListen) -> None:
        assert self.settings is not None  # _on_message has looked
        if self.settings.update_listen(message.listen):
            self._send(messages.ListenUpdated())
        else:
            code = "UPDATE_LISTEN_UNSUPPORTED_FIELDS_CHANGED"
            self._send(messages.Warning(code, "The listener is as it was."))

    def _inject(self, message: messages.InjectAgentMessage) -> None:
        """§2.14: who is mid-turn, and the behavior, decide."""
        if self._finder.speaking and message.behavior != "interrupt":
            self._refuse_injection("USER")
            return
        if message.behavior == "default" and self._is_mid_turn():
            self._refuse_injection("AGENT")
            return
        if message.behavior == "interrupt":
            if self._utterance is not None:
                self._utterance.replace()
            self._cancel_answer()
            self._unanswered = False
            # A caller who goes on speaking starts anew, and cuts the injected message off.
            self._finder.end_turn()
        self._speak(sentences(message.message))

    def _refuse_injection(self, speaker: str) -> None:
        text = f"The {speaker.lower()} is speaking."
        if self._script.refuse_with == "Warning":
            code = f"INJECT_AGENT_MESSAGE_DURING_{speaker}_SPEECH"
            self._send(messages.Warning(code, text))
        else:
            self._send(messages.InjectionRefused(text))

    def _force_end_turn(self) -> None:
        assert self.settings is not None  # _on_message has looked
        if not self.settings.flux:
            code = "FORCE_END_TURN_UNSUPPORTED"
            self._send(messages.Warning(code, "The listener is not Flux."))
        elif self._finder.end_turn():
            self._user_said(None)

    # --- The caller's turn ---

    def _user_started(self) -> None:
        self.onsets.append(self._clock.now())
        self._send(messages.UserStartedSpeaking())
        if self._utterance is not None:
            if self._turn is not None and self._utterance.plays_until > self._clock.now():
                self._interrupted = True
            self._utterance.cut()
        self._cancel_answer()

    def _user_paused(self) -> None:
        """Answer soon, unless the caller goes on before that."""
        self._reply_timer = self._at(
            self._clock.now() + self._script.reply_ms / 1000, partial(self._user_said, None)
        )

    def _user_said(self, words: str | None) -> None:
        """Answer the next turn of the script; the caller said `words`, or what the script hears."""
        self._cancel_answer()
        self._unanswered = False
        if self._interrupted:
            self._interrupted = False
            turn = self._script.interrupted
        else:
            turn = next(self._turns, self._script.fallback)
        self._say("user", turn.hear if words is None else words)
        if turn.fault in ("garbage", "unknown"):
            self._fault(turn.fault)
        if turn.thinking is not None:
            self._send(messages.AgentThinking(turn.thinking))
        if turn.function_calls:
            self._call_functions(turn)
        else:
            self._answer(turn)

    def _cancel_answer(self) -> None:
        """Forget the answer that is due; functions that were asked for are called off (§4.4)."""
        if self._reply_timer is not None:
            self._forget(self._reply_timer)
            self._reply_timer = None
        if self._calling is not None:
            self._calling = None
            cancelled = [messages.CancelledFunction(c.id, c.name) for c in self._pending.values()]
            self._pending.clear()
            self._send(messages.FunctionCallCancelled(cancelled))

    def _is_mid_turn(self) -> bool:
        """Whether the agent speaks, or is about to."""
        speaks = self._utterance is not None and not self._utterance.finished
        return speaks or self._reply_timer is not None or self._calling is not None

    # --- Functions ---

    def _call_functions(self, turn: Turn) -> None:
        assert self.settings is not None  # nothing is heard before SettingsApplied
        self._calling = turn
        self._finished = []
        calls = []
        for call in turn.function_calls:
            self._calls += 1
            calls.append(
                messages.FunctionCall(
                    id=f"fc_{self._calls}",
                    name=call.name,
                    arguments=msgspec.json.encode(call.arguments).decode(),
                    client_side=call.name not in self.settings.server_side,
                )
            )
        self._pending = {call.id: call for call in calls}
        self._send(messages.FunctionCallRequest(calls))
        for request, call in zip(calls, turn.function_calls, strict=True):
            if not request.client_side:
                response = messages.FunctionCallResponse(call.name, call.response, request.id)
                self._send(response)
                self._function_answered(response)

    def _function_answered(self, response: messages.FunctionCallResponse) -> None:
        """A late or unknown answer is dropped, as after FunctionCallCancelled."""
        if response.id is None:
            raise Refused(
                "UNPARSABLE_CLIENT_MESSAGE", "Error parsing client message. Check the id field."
            )
        call = self._pending.pop(response.id, None)
        if call is None:
            return
        self._finished.append(
            messages.FinishedFunction(
                call.id, call.name, call.client_side, call.arguments, response.content
            )
        )
        if self._pending or self._calling is None:
            return
        turn, self._calling = self._calling, None
        self._tell_history(messages.History(function_calls=self._finished))
        self._answer(turn)

    # --- The agent's turn ---

    def _answer(self, turn: Turn) -> None:
        self._reply_timer = None
        pieces = [piece for text in turn.say for piece in sentences(text)]
        if pieces:
            self._speak(pieces, turn)
        else:
            self._strike(turn)
            if turn.end:
                self.close()

    def _speak(self, pieces: list[str], turn: Turn | None = None) -> None:
        """Say this; `turn` is the one it answers, None for a greeting or an injection."""
        assert self.settings is not None  # nothing is said before SettingsApplied
        if self.settings.failed_to_speak:
            self._fail(messages.Error("FAILED_TO_SPEAK", "The voice does not have that speed."))
            return
        plays_from = self._clock.now()
        if self._utterance is not None:
            if self._utterance.is_cut:
                self._utterance.replace()
            if not self._utterance.finished:
                self._turn = turn or self._turn
                self._utterance.append(pieces)
                return
            plays_from = max(plays_from, self._utterance.plays_until)
        self._turn = turn
        if self.settings.experimental:
            latency = self._script.latency
            self._send(
                messages.AgentStartedSpeaking(
                    latency.total_latency, latency.tts_latency, latency.ttt_text_latency
                )
            )
        self._utterance = Utterance(
            self._script,
            self._clock,
            partial(self._say, "assistant"),
            self._play,
            self._spoken,
            plays_from=plays_from,
            with_audio=turn is None or turn.fault != "text_only",
        )
        if not self._writable:
            self._utterance.hold(True)
        self._utterance.start(pieces)

    def _play(self, data: bytes) -> None:
        assert self._channel is not None  # nothing is said before on_open
        self._channel.send_binary(data)
        self.audio_sent += len(data)
        if self._turn is not None:
            self._strike(self._turn)

    def _spoken(self) -> None:
        """The utterance has gone out, or what was left of it."""
        turn = self._turn
        if turn is None or turn.fault not in ("text_only", "never_done"):
            self._send(messages.AgentAudioDone())
        if turn is None:
            return
        self._send(self._script.latency_report())
        if turn.end:
            assert self._utterance is not None  # it is the one that calls
            self._at(self._utterance.plays_until, self.close)

    def _strike(self, turn: Turn) -> None:
        """Do what the script says goes wrong in the middle of this answer."""
        if turn.error is not None:
            self._fail(messages.Error(turn.error, "The script says so."))
        elif turn.fault in ("close", "cut", "stall"):
            self._fault(turn.fault)

    # --- The means ---

    def _fault(self, fault: str | None) -> bool:
        """Commit a fault; whether it ended the session."""
        assert self._channel is not None  # there is a session to spoil
        if fault == "garbage":
            self._channel.send_text(b'{"type": "ConversationText", "role"')
        elif fault == "unknown":
            self._channel.send_text(b'{"type":"SomethingNew","content":[1,2]}')
        elif fault == "stall":
            self._stop(Phase.STALLED)
        elif fault == "close":
            self.close()
        elif fault == "cut":
            self._stop(Phase.OVER)
            self._channel.abort()
        return self.phase in (Phase.STALLED, Phase.OVER)

    def _fail(self, error: messages.Error) -> None:
        """End the session as Deepgram does: the Error, then the socket.

        Deepgram's close frame has no status (§1.4), which the engine cannot send: this is 1000.
        """
        self._send(error)
        self.close()

    def _say(self, role: str, content: str) -> None:
        self.lines.append(Line(self._clock.now(), role, content))
        self._send(messages.ConversationText(role, content))
        self._tell_history(messages.History(role=role, content=content))

    def _tell_history(self, history: messages.History) -> None:
        if self.settings is not None and self.settings.history:
            self._send(history)

    def _send(self, message: messages.ServerMessage) -> None:
        assert self._channel is not None  # nothing is sent before on_open
        self._channel.send_text(messages.write(message))

    def _check_silence(self) -> None:
        due = self._heard_at + CLIENT_TIMEOUT_S
        if self._clock.now() >= due:
            self._fail(messages.Error("CLIENT_MESSAGE_TIMEOUT", "Nothing came from the client."))
        else:
            self._at(due, self._check_silence)

    def _warn_of_length(self) -> None:
        code = "MAXIMUM_SESSION_LENGTH_APPROACHING"
        self._send(messages.Warning(code, "The session ends in five minutes."))

    def _end_of_session(self) -> None:
        code = "MAXIMUM_SESSION_LENGTH_REACHED"
        self._fail(messages.Error(code, "A session lasts two hours."))

    def _at(self, when: float, act: Callable[[], None]) -> Timer:
        def fire() -> None:
            self._timers.discard(timer)
            act()

        timer = self._clock.call_at(when, fire)
        self._timers.add(timer)
        return timer

    def _forget(self, timer: Timer) -> None:
        timer.cancel()
        self._timers.discard(timer)

    def _stop(self, phase: Phase) -> None:
        """Nothing more goes out, and no timer is left."""
        self.phase = phase
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if self._utterance is not None:
            self._utterance.drop()
