"""Stand-in agent: one session of Deepgram's Voice Agent protocol.

Source: deepgram.md §0 to §4, whose order of messages and codes it follows. A session is a
websocket.Receiver on a given clock: the same object works in memory (in tests) and on a real
socket (server.py). This module has the opening, messages, limits and faults of the protocol;
turns.py has the conversation.
"""

import enum
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from offhook import audio
from offhook.clock import Clock
from offhook.deepgram import messages
from offhook.net.websocket import Channel, Closed
from offhook.testing.simulator.deepgram.functions import WatchedCall
from offhook.testing.simulator.deepgram.policy import StandInAgent
from offhook.testing.simulator.deepgram.script import Script, Stage
from offhook.testing.simulator.deepgram.script_policy import agent_of
from offhook.testing.simulator.deepgram.settings import SessionError, StandInSettings, unparsable
from offhook.testing.simulator.deepgram.timers import Timers
from offhook.testing.simulator.deepgram.turns import StandInTurns

CLIENT_TIMEOUT_S: Final = 10.0
"""Seconds without a message from the client that end the session (§1.3)."""

WARNING_S: Final = 5 * 60.0
"""Seconds before the end of a session at which its client is warned (§1.3), if it is that long."""

KEPT: Final = 1000
"""Number of the latest messages and lines that a session keeps."""


class SessionPhase(enum.Enum):
    """Phase of a session."""

    OPENING = "opening"
    WELCOMED = "welcomed"
    SETTLING = "settling"
    """Phase from receiving Settings to sending SettingsApplied."""
    TALKING = "talking"
    STALLED = "stalled"
    """Phase after the fault `stall`: the socket is open, but nothing more is sent."""
    OVER = "over"


@dataclass(frozen=True, slots=True)
class SpokenLine:
    """Text that was said, at `at` seconds of the clock."""

    at: float
    role: str
    content: str
    meant: str = ""
    """Meaning that the agent gave to a caller's words."""


class Arrivals:
    """Arrival times of the caller's audio, by its offset in the stream."""

    def __init__(self) -> None:
        self.times = array("d")
        self.sizes = array("I")
        """Bytes of each binary message, in order; a session's length bounds `times` and `sizes`."""
        self.total = 0
        """Bytes of all binary messages."""

    def add(self, now: float, size: int) -> None:
        """Record the arrival of a message of `size` bytes at `now`."""
        self.times.append(now)
        self.sizes.append(size)
        self.total += size

    def frame_times(self) -> list[float]:
        """Return the time in seconds at which each whole 20 ms frame had arrived."""
        frames = []
        received = 0
        for now, size in zip(self.times, self.sizes, strict=True):
            before = received // audio.FRAME_BYTES
            received += size
            frames += [now] * (received // audio.FRAME_BYTES - before)
        return frames


class StandIn:
    """Session of the stand-in agent, with bounded logs for tests and demonstrations."""

    def __init__(
        self,
        agent: StandInAgent | Script,
        clock: Clock,
        request_id: str = "stand-in",
        ended: "Callable[[StandIn], None] | None" = None,
    ) -> None:
        """Set the agent of the session. `ended` is called when the socket has closed."""
        self.request_id: Final = request_id
        self.phase = SessionPhase.OPENING
        self.settings: StandInSettings | None = None
        self.arrivals: Final = Arrivals()
        self.received: Final = deque[messages.ClientMessage | messages.UnknownAgentMessage](
            maxlen=KEPT
        )
        """Text messages from the client, except Settings."""
        self.lines: Final = deque[SpokenLine](maxlen=KEPT)
        """Lines that caller and agent are reported to have said."""
        self.on_line: Callable[[SpokenLine], None] | None = None
        """Callback for each line as it is said; set by an observer."""
        self.on_call: Callable[[WatchedCall], None] | None = None
        """Callback for each function call when it is requested, answered or cancelled."""
        self.on_settings: Callable[[StandInSettings], None] | None = None
        """Callback for the settings when they are applied and when they change."""
        self.onsets: Final = deque[float](maxlen=KEPT)
        """Times at which UserStartedSpeaking was sent, in seconds of the clock."""
        self.audio_sent = 0
        """Bytes of agent audio that were sent."""
        self.closed: Closed | None = None

        self._ended = ended
        self._agent = agent_of(agent)
        self._conduct = self._agent.conduct
        self._clock = clock
        self._timers = Timers(clock)
        self._channel: Channel | None = None
        self._early_settings: bytes | None = None
        self._heard_at = clock.now()
        self._turns: StandInTurns | None = None
        """Conversation of the session; None until Settings are applied."""
        self._writable = True

    @property
    def calls(self) -> deque[WatchedCall]:
        """Function calls of the session, with arguments and results."""
        return deque() if self._turns is None else self._turns.functions.log

    @property
    def audible(self) -> bool:
        """True while the agent plays to a caller who hears every byte without delay."""
        return self._turns is not None and self._turns.audible

    # --- websocket.Receiver ---

    def on_open(self, socket: Channel) -> None:
        """Start the timers of the session after the upgrade."""
        self._channel = socket
        now = self._clock.now()
        self._heard_at = now
        self._timers.after(self._conduct.welcome.after_ms / 1000, self._welcome)
        self._timers.after(CLIENT_TIMEOUT_S, self._check_silence)
        session_s = self._conduct.session_s
        self._timers.after(max(session_s - WARNING_S, session_s / 2), self._warn_of_length)
        self._timers.after(session_s, self._end_of_session)

    def on_text(self, text: bytes) -> None:
        """Process a text message from the client."""
        if self.phase in (SessionPhase.STALLED, SessionPhase.OVER):
            return
        self._heard_at = self._clock.now()
        try:
            self._on_message(text)
        except SessionError as refused:
            self.fail(refused.error)

    def on_binary(self, data: bytes) -> None:
        """Process audio of the caller."""
        now = self._clock.now()
        if self.phase in (SessionPhase.STALLED, SessionPhase.OVER):
            return
        self._heard_at = now
        if self._turns is None:
            code = "BINARY_MESSAGE_BEFORE_SETTINGS"
            self.fail(messages.Error(code, "Audio came before the settings were applied."))
            return
        self.arrivals.add(now, len(data))
        self._turns.hear(data)

    def on_writable(self, writable: bool) -> None:
        """Hold audio back while the client reads too slowly."""
        self._writable = writable
        if self._turns is not None:
            self._turns.hold(writable)

    def on_close(self, closed: Closed) -> None:
        """End the session because the socket has closed."""
        self.closed = closed
        self._stop(SessionPhase.OVER)
        if self._ended is not None:
            self._ended(self)

    def close(self) -> None:
        """End the session from the agent's side."""
        self._stop(SessionPhase.OVER)
        if self._channel is not None:
            self._channel.close()

    # --- The opening ---

    def _welcome(self) -> None:
        if self._struck(self._conduct.welcome):
            return
        self.phase = SessionPhase.WELCOMED
        self.send(messages.Welcome(self.request_id))
        if self._early_settings is not None:
            self._settle(self._early_settings)

    def _settle(self, text: bytes) -> None:
        self.phase = SessionPhase.SETTLING
        self._timers.after(self._conduct.settings.after_ms / 1000, partial(self._apply, text))

    def _apply(self, text: bytes) -> None:
        if self._struck(self._conduct.settings):
            return
        try:
            settings = StandInSettings(text)
        except SessionError as refused:
            self.fail(refused.error)
            return
        self.settings = settings
        self._turns = turns = StandInTurns(self._agent, settings, self._clock, self._timers, self)
        turns.hold(self._writable)
        self.phase = SessionPhase.TALKING
        self.send(messages.SettingsApplied())
        if settings.prompt_is_too_long:
            self.send(messages.Warning("PROMPT_TOO_LONG", "The prompt was cut off."))
        if self._conduct.replays_context:
            for message in settings.context:
                self._tell_history(message)
        if self.on_settings is not None:
            self.on_settings(settings)
        if settings.greeting:
            turns.say_unasked(settings.greeting)

    def _struck(self, stage: Stage) -> bool:
        """Commit the script's fault of this stage. Return True if it ended the session."""
        if stage.error is not None:
            self.fail(messages.Error(stage.error, "The script says so."))
            return True
        return stage.fault is not None and self.fault(stage.fault)

    # --- Messages from the client ---

    def _on_message(self, text: bytes) -> None:
        try:
            message = messages.read_ours(text)
        except messages.MalformedAgentMessageError as error:
            raise unparsable(error) from None
        if message == messages.UnknownAgentMessage("Settings"):
            self._on_settings(text)
            return
        self.received.append(message)
        if self.settings is None or self._turns is None:
            if self.phase is SessionPhase.SETTLING and message == messages.KeepAlive():
                return
            code = "NON_SETTINGS_MESSAGE_BEFORE_SETTINGS"
            raise SessionError(code, "A message came before the settings were applied.")
        match message:
            case messages.UnknownAgentMessage():
                raise SessionError(
                    "UNPARSABLE_CLIENT_MESSAGE",
                    "Error parsing client message. Check the type field.",
                )
            case messages.UpdatePrompt():
                self.settings.update_prompt(message.prompt)
                self._updated(messages.PromptUpdated())
            case messages.UpdateSpeak():
                self.settings.update_speak(message.speak)
                self._updated(messages.SpeakUpdated())
            case messages.UpdateThink():
                self.settings.update_think(message.think)
                self._updated(messages.ThinkUpdated())
            case messages.UpdateListen():
                self._update_listen(self.settings, message)
            case messages.InjectAgentMessage():
                self._turns.inject(message)
            case messages.InjectUserMessage():
                self._turns.user_wrote(message.content)
            case messages.FunctionCallResponse():
                self._turns.functions.respond(message)
            case messages.ForceEndTurn():
                if self.settings.flux:
                    self._turns.end_turn()
                else:
                    code = "FORCE_END_TURN_UNSUPPORTED"
                    self.send(messages.Warning(code, "The listener is not Flux."))
            case messages.CustomToThinkProvider():
                self.send(messages.CustomFromThinkProvider(message.content))
            case messages.KeepAlive():
                pass

    def _on_settings(self, text: bytes) -> None:
        if self.phase is SessionPhase.WELCOMED:
            self._settle(text)
        elif self.phase is SessionPhase.OPENING and self._early_settings is None:
            self._early_settings = text
        else:
            raise SessionError("SETTINGS_ALREADY_APPLIED", "Settings can be sent once.")

    def _updated(self, acknowledged: messages.ServerMessage) -> None:
        assert self.settings is not None  # checked in _on_message
        assert self._turns is not None  # set together with the settings
        self._turns.updated()
        changed = "Update" + type(acknowledged).__name__.removesuffix("Updated")
        if changed not in self._conduct.unacknowledged:
            self.send(acknowledged)
        if self.on_settings is not None:
            self.on_settings(self.settings)

    def _update_listen(self, settings: StandInSettings, message: messages.UpdateListen) -> None:
        if settings.update_listen(message.listen):
            self._updated(messages.ListenUpdated())
        else:
            code = "UPDATE_LISTEN_UNSUPPORTED_FIELDS_CHANGED"
            self.send(messages.Warning(code, "The listener is as it was."))

    # --- Methods for the conversation (turns.py) ---

    def send(self, message: messages.ServerMessage) -> None:
        """Send one message to the client."""
        assert self._channel is not None  # nothing is sent before on_open
        self._channel.send_text(messages.write(message))

    def fail(self, error: messages.Error) -> None:
        """End the session as Deepgram does: the Error, then the socket.

        Deepgram's close frame has no status (§1.4). The WebSocket engine cannot send such a frame
        and sends 1000.
        """
        self.send(error)
        self.close()

    def play(self, data: bytes) -> None:
        """Send agent audio."""
        assert self._channel is not None  # nothing is said before on_open
        self._channel.send_binary(data)
        self.audio_sent += len(data)

    def user_started(self) -> None:
        """Report that the caller speaks."""
        self.onsets.append(self._clock.now())
        self.send(messages.UserStartedSpeaking())

    def fault(self, fault: str) -> bool:
        """Commit a fault of the script. Return True if it ended the session."""
        assert self._channel is not None  # faults occur only after on_open
        if fault == "garbage":
            self._channel.send_text(b'{"type": "ConversationText", "role"')
        elif fault == "unknown":
            self._channel.send_text(b'{"type":"SomethingNew","content":[1,2]}')
        elif fault == "stall":
            self._stop(SessionPhase.STALLED)
        elif fault == "close":
            self.close()
        elif fault == "cut":
            self._stop(SessionPhase.OVER)
            self._channel.abort()
        return self.phase in (SessionPhase.STALLED, SessionPhase.OVER)

    def say(self, role: str, content: str, meant: str = "") -> None:
        """Report words of the caller or the agent to the client."""
        line = SpokenLine(self._clock.now(), role, content, meant)
        self.lines.append(line)
        self.send(messages.ConversationText(role, content))
        self._tell_history(messages.History(role=role, content=content))
        if self.on_line is not None:
            self.on_line(line)

    def function_changed(self, called: WatchedCall) -> None:
        """Report that a function was requested, answered or cancelled."""
        if self.on_call is not None:
            self.on_call(called)

    def functions_finished(self, finished: list[messages.FinishedFunction]) -> None:
        """Report finished functions and their results."""
        self._tell_history(messages.History(function_calls=finished))

    # --- Helpers ---

    def _tell_history(self, history: messages.History) -> None:
        if self.settings is not None and self.settings.history:
            self.send(history)

    def _check_silence(self) -> None:
        due = self._heard_at + CLIENT_TIMEOUT_S
        if self._clock.now() >= due:
            self.fail(messages.Error("CLIENT_MESSAGE_TIMEOUT", "Nothing came from the client."))
        else:
            self._timers.at(due, self._check_silence)

    def _warn_of_length(self) -> None:
        code = "MAXIMUM_SESSION_LENGTH_APPROACHING"
        self.send(messages.Warning(code, "The session is about to end."))

    def _end_of_session(self) -> None:
        code = "MAXIMUM_SESSION_LENGTH_REACHED"
        self.fail(messages.Error(code, "The session has lasted as long as it may."))

    def _stop(self, phase: SessionPhase) -> None:
        """Enter the final `phase`: cancel all timers and send nothing more."""
        was_over = self.phase in (SessionPhase.STALLED, SessionPhase.OVER)
        self.phase = phase
        self._timers.cancel_all()
        if self._turns is not None and not was_over:
            self._turns.stop()
