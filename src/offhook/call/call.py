"""One phone call: what happened goes in, what to do comes out.

Start reading at `receive`, `hear` and `speak`. Nothing here waits, reads a clock or knows a socket:
time is an argument, in seconds. After every `receive` and `tick` do all that was returned, in
order; after `receive` also what `afterwards` returns. Then arm a timer for `deadline()`.
"""

import math
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple, TypeAlias

from offhook.audio import BYTES_PER_MS, SILENCE, milliseconds, silence
from offhook.call import handoff_actions, inputs, keypad, requests
from offhook.call.call_settings import Plan
from offhook.call.commands import (
    ClearCaller,
    Command,
    Conceal,
    DialAgent,
    End,
    HangUpAgent,
    LeaveStream,
    Note,
    Piece,
    Play,
    PutThrough,
    Reply,
    SendAudio,
    SendSettings,
    TakeAgent,
    TellAgent,
)
from offhook.call.ending import Ending, Slug
from offhook.call.functions import Functions
from offhook.call.handoff_actions import Errand
from offhook.call.history import History
from offhook.call.keypad import Action, Keypad, Secret
from offhook.call.pending_requests import Asked, Asking, Change, Injection
from offhook.call.phases import Phase, Step, after
from offhook.call.playback import Playback
from offhook.deepgram import messages as deepgram
from offhook.events.types import (
    AgentConnected,
    AgentMuted,
    AgentSaid,
    AgentSwitched,
    AgentTold,
    AgentWarned,
    Answered,
    AudioDropped,
    CallEnded,
    CallerBack,
    CallerLeft,
    CallerSaid,
    CallStarted,
    Event,
    Interrupted,
    KeyPressed,
    KeysEntered,
    LatencyReported,
    Leg,
    ProtocolViolation,
    SecretEntered,
    TransferFailed,
)
from offhook.twilio import messages as twilio

Input: TypeAlias = (
    twilio.FromTwilio
    | twilio.UnknownTwilioMessage
    | deepgram.ServerMessage
    | deepgram.UnknownAgentMessage
    | inputs.CallAnnounced
    | inputs.AgentLegRefused
    | inputs.AgentLegUnreachable
    | inputs.LegLost
    | inputs.LegStalled
    | inputs.LegRecovered
    | inputs.GarbageReceived
    | inputs.ToolBegan
    | inputs.ToolFinished
    | inputs.Asked
    | inputs.Forsaken
    | inputs.ErrandBegun
    | inputs.ErrandDone
    | inputs.CallOver
    | inputs.NobodyReached
    | inputs.ServerStopped
    | inputs.CallBroke
)

STREAM_OWED_S: Final = 300.0
"""How long an announced stream is waited for: as long as its token is valid."""
AGENT_UNUSED_S: Final = 15.0
"""How long an agent leg that was dialled ahead waits for the stream."""
LONG_ANNOUNCEMENT_MS: Final = 10_000
"""An announcement of that length lets the agent leg be dialled only when the stream comes."""
AGENT_SETTLING_S: Final = 10.0
"""From dialling to SettingsApplied."""
HELD_CALLER_BYTES: Final = 2000 * BYTES_PER_MS
HELD_AGENT_BYTES: Final = 256 * 1024
GAP_S: Final = 3.0
"""Without audio from the caller's side for that long, something else keeps the session alive."""
GAP_FILL_MS: Final = 100
FENCE_QUIET_S: Final = 0.5
"""Late audio of a cut utterance has ended when none came for that long."""
STUCK_S: Final = 10.0
FAREWELL_MIN_S: Final = 5.0
"""How long the first sound of a farewell is waited for, at least."""
FAREWELL_SLACK_S: Final = 3.0
FAREWELL_MAX_S: Final = 15.0
"""What is being played gets its remaining length + 3 s, 15 s at most, whatever marks come."""
LAST_WORD_S: Final = 1.0
"""How long the goodbye of a model that gave us none may take to begin."""
LEFT_S: Final = 60.0
"""How long Twilio may take to ask what comes after a stream that was left."""
AWAY_S: Final = 4 * 3600.0 + 60.0
"""How long two people may talk: as long as Twilio lets them (twilio.md §2.6)."""
BACK_S: Final = 60.0
"""How long after the last key Twilio may take to open the next stream."""
AWAY_OVER_S: Final = 3.0
"""How long after the call's end Twilio may yet tell that its caller had been put through."""
ON_RETURN_S: Final = 60.0
"""At least that much of its time has a call whose caller comes back."""
ERROR_LINGER_S: Final = 2.0
"""After a fatal Error the socket usually closes by itself (deepgram.md §1.4)."""
UNTOLD_MAX: Final = 8
"""Entries and sentences that wait for the agent; the oldest go."""
FAULTS_MAX: Final = 20
FAULTS_WINDOW_S: Final = 10.0

_SETTINGS_ERRORS: Final = frozenset(
    {
        "INVALID_SETTINGS",
        "UNPARSABLE_CLIENT_MESSAGE",
        "INVALID_AGENT_ID",
        "AGENT_ID_NOT_SUPPORTED",
        "FAILED_TO_START_LISTENING",
    }
)
_DURING_AGENT_SPEECH: Final = "INJECT_AGENT_MESSAGE_DURING_AGENT_SPEECH"
_INJECTION_REFUSED: Final = frozenset(
    {"INJECT_AGENT_MESSAGE_DURING_USER_SPEECH", _DURING_AGENT_SPEECH}
)
_CALLER_GONE: Final = frozenset(
    {
        Slug.CALLER_HUNG_UP,
        Slug.CALLER_LEG_LOST,
        Slug.CALLER_LEG_STUCK,
        Slug.CALLER_LEG_OVERSIZED,
    }
)
_ANSWERED: Final = (
    deepgram.PromptUpdated,
    deepgram.ThinkUpdated,
    deepgram.SpeakUpdated,
    deepgram.ListenUpdated,
)
_NOT_REACHED: Final = {
    "busy": "the line is busy",
    "no-answer": "nobody answered",
    "failed": "the number could not be reached",
    "canceled": "it was called off",
    "declined": "they did not take the call",
    "hung-up": "they hung up before the caller was there",
}
_GARBAGE: Final[dict[Leg, Slug]] = {
    "caller": Slug.CALLER_LEG_GARBAGE,
    "agent": Slug.AGENT_LEG_GARBAGE,
}


class _Agent(Enum):
    ABSENT = "absent"
    DIALLED = "dialled"
    WELCOMED = "welcomed"
    READY = "ready"


# An attribute of an enum class is looked up through its metaclass, which a frame need not pay for.
_READY: Final = _Agent.READY
_WAITING: Final = Phase.WAITING
_SETTLING: Final = Phase.SETTLING
_TALKING: Final = Phase.TALKING
_BARGE_IN: Final = Phase.BARGE_IN
_CLOSING: Final = Phase.CLOSING
_AWAY: Final = Phase.AWAY


class _Closing(NamedTuple):
    """Last words: what they are, since when, what follows, and who asked for it."""

    then: Slug | Errand | requests.SwitchAgent
    text: str
    began_at: float
    ask: int | None


class _Due(Enum):
    STREAM = "the announced stream"
    AGENT_USE = "a stream for the agent leg that was dialled ahead"
    AGENT_READY = "SettingsApplied"
    KEEP_ALIVE = "a sign of life before the stream"
    GAP = "audio from the caller"
    FENCE = "the end of late audio"
    SILENCE = "a word from the caller"
    TIME_LIMIT = "the end of the time"
    FAREWELL = "the end of the farewell"
    KEYS = "the next key of an entry"
    ASKED_DIGITS = "the next key of a secret"
    TONES = "the end of a secret's last tone"
    FUNCTION_SOFT = "a function's answer, or the agent's word that it takes a while"
    FUNCTION_HARD = "a function's answer"
    ASKED = "Deepgram's word on what it was asked"
    AWAY = "the caller's return"
    AGENT_ERROR = "the socket's closing after an Error"
    CALLER_STUCK = "room in the caller's socket"
    AGENT_STUCK = "room in the agent's socket"


_STUCK_DUE: Final[dict[Leg, _Due]] = {"caller": _Due.CALLER_STUCK, "agent": _Due.AGENT_STUCK}


class Call:
    """One phone call. `now` is the time at which it came to be, in seconds."""

    def __init__(self, plan: Plan, now: float) -> None:
        self.phase = Phase.WAITING
        self.ending: Ending | None = None
        self._plan = plan
        self._began = now
        self._playback = Playback(now)
        self._commands: list[Command] = []
        self._due: dict[_Due, float] = {}

        self._agent = _Agent.ABSENT
        self._agent_dialled_at = now
        self._agent_error = ""
        self._request_id = ""

        # Caller audio while the agent leg settles; agent audio and text before the stream.
        self._held_frames: deque[bytes] = deque()
        self._held_bytes = 0
        self._held_speech: list[bytes | deepgram.ServerMessage] = []
        self._held_speech_bytes = 0
        self._overflow: dict[Leg, int] = {"caller": 0, "agent": 0}

        self._heard_at = now
        self._spoken_at = now
        self._late_bytes = 0

        self._active_at = now
        self._asked = False
        self._speech_start_ms: int | None = None
        self._turn_at: float | None = None
        self._answer: tuple[str, float, float] | None = None
        self._history = History()
        self._functions = Functions(self._do, self._history.ran)
        self._asking = Asking()
        self._closing: _Closing | None = None
        self._announced = False
        self._limit_at = math.inf
        self._errand: Errand | None = None
        self._resumed = False
        self._on_return = ""
        self._muted = False
        self._unheard_bytes = 0
        self._faults: dict[Leg, deque[float]] = {"caller": deque(), "agent": deque()}
        self._keypad = Keypad(plan.key_s, plan.actions)
        self._untold: deque[str | keypad.Say | deepgram.InjectUserMessage] = deque(
            maxlen=UNTOLD_MAX
        )
        self._secret: Secret | None = None
        self._unsaid: Callable[[], list[AgentSaid]] | None = None
        self._deaf = False  # While a secret is entered, and a moment longer.

    # --- the audio path ------------------------------------------------------------------------

    def hear(self, frame: bytes, now: float) -> bytes | None:
        """Audio of the caller: what to forward to the agent at once in its place, if anything.

        Keys can be heard: while a secret is entered it is silence.
        """
        self._heard_at = now
        if self._deaf:
            frame = SILENCE * len(frame)
        if self._agent is _READY:
            return frame if self.phase is not _WAITING else None
        if self.phase is _SETTLING:
            self._hold(frame)
        return None

    def speak(self, chunk: bytes, now: float) -> list[Piece]:
        """Audio of the agent: what of it to send to Twilio at once, with which marks."""
        if self._muted:
            self._unheard_bytes += len(chunk)
            return []
        if self.phase is _TALKING or self.phase is _CLOSING:
            pieces = self._playback.play(chunk, now)
            if self._turn_at is not None and self._answer is None:
                self._answer = (self._playback.first_mark(), self._turn_at, now)
            return pieces
        if self.phase is _BARGE_IN:
            if now - self._spoken_at < FENCE_QUIET_S:
                self._spoken_at = now
                self._late_bytes += len(chunk)
                return []
            self._lift_fence()  # The timer is late: its note leaves with the next command.
            return self.speak(chunk, now)
        if self.phase is _WAITING:
            self._hold_speech(chunk, len(chunk))
        return []

    # --- everything else -----------------------------------------------------------------------

    def receive(self, message: Input, now: float) -> list[Command]:
        """One thing that happened: all that is to be done about it, in order.

        Nothing is done about what happens after the end. `afterwards` says what then is left to do.
        """
        if self.phase is Phase.ENDED:
            return []
        self._tell_cut()
        match message:
            case twilio.Mark():
                self._on_mark(message.mark.name, now)
            case deepgram.ConversationText():
                self._on_text(message, now)
            case deepgram.UserStartedSpeaking():
                self._on_barge_in(now)
            case deepgram.AgentAudioDone():
                self._on_audio_done(message, now)
            case deepgram.Welcome():
                self._on_welcome(message)
            case deepgram.SettingsApplied():
                self._on_settings_applied(now)
            case deepgram.FunctionCallRequest():
                self._on_functions_called(message, now)
            case deepgram.FunctionCallCancelled():
                self._functions.call_off(message)
                self._await_functions()
            case inputs.ToolBegan():
                self._functions.begin(message.id)
            case inputs.ToolFinished():
                self._functions.finish(message, now)
                self._await_functions()
            case inputs.Asked():
                self._on_asked(message.id, message.wish, now)
            case inputs.Forsaken():
                self._on_forsaken(message.id, now)
            case inputs.ErrandBegun():
                self._on_errand_begun(now)
            case inputs.ErrandDone():
                self._on_errand_done(message, now)
            case deepgram.LatencyReport():
                self._on_latency(message)
            case deepgram.Warning():
                self._note(AgentWarned(message.code, message.description, fatal=False))
                if message.code in _INJECTION_REFUSED:
                    self._on_injection_refused(message.code, message.description, now)
                elif message.code == "UPDATE_LISTEN_UNSUPPORTED_FIELDS_CHANGED":
                    self._reply(self._asking.change_refused(), message.description, done=False)
            case deepgram.InjectionRefused():
                self._note(AgentWarned("INJECTION_REFUSED", message.message, fatal=False))
                self._on_injection_refused("", message.message, now)
            case _ if isinstance(message, _ANSWERED):
                self._reply(self._asking.acknowledged(message))
                self._await_answers()
            case deepgram.Error():
                self._on_error(message, now)
            case twilio.Start():
                self._on_start(now)
            case twilio.Dtmf():
                self._on_key(message.dtmf.digit, now)
            case twilio.Stop():
                if self.phase is not Phase.AWAY:  # else it is of the stream that was left
                    self._end(Slug.CALLER_HUNG_UP, "", now)
            case inputs.CallOver():
                self._on_call_over(now)
            case inputs.NobodyReached():
                self._end(message.how, message.detail, now)
            case inputs.CallAnnounced():
                self._on_announced(message, now)
            case inputs.AgentLegRefused():
                self._on_refused(message.status, now)
            case inputs.AgentLegUnreachable():
                self._end(Slug.AGENT_UNREACHABLE, message.why, now)
            case inputs.LegLost():
                self._on_leg_lost(message, now)
            case inputs.LegStalled():
                self._due[_STUCK_DUE[message.leg]] = now + STUCK_S
            case inputs.LegRecovered():
                self._due.pop(_STUCK_DUE[message.leg], None)
            case inputs.GarbageReceived():
                self._on_garbage(message.leg, message.what, now)
            case inputs.ServerStopped():
                self._end(Slug.SHUT_DOWN, "", now)
            case inputs.CallBroke():
                self._end(Slug.INTERNAL_ERROR, message.what, now)
            case twilio.Connected():
                self._on_garbage("caller", "a second 'connected'", now)
            case _:
                pass  # Nothing hangs on the rest: history, acknowledgements, unknown types.
        return self._drain()

    def afterwards(self) -> list[Command]:
        """Return what is left to do once the commands of `receive` are done.

        After a barge-in: tell what was heard. Its words take an estimate, and the `clear` must not
        wait for that.
        """
        if self._unsaid is None:
            return []
        self._tell_cut()
        return self._drain()

    def give_up(self, what: str, now: float) -> list[Command]:
        """End the call though its rules have failed: its last event, and End, and nothing else.

        For whoever feeds it, when `receive` itself raises.
        """
        self._commands = []
        self._unsaid = None
        self._due.clear()
        self.phase = Phase.ENDED
        self.ending = ending = self.ending or Ending(Slug.INTERNAL_ERROR, what)
        how = ending.how
        event = CallEnded(how.fault, how.slug, how.words, ending.detail, _ms(now - self._began))
        return [Note(event), End(ending)]

    def deadline(self) -> float | None:
        """When `tick` must be called at the latest, in seconds; None: not at all."""
        return min(self._due.values(), default=None)

    def tick(self, now: float) -> list[Command]:
        """Time has passed: all that is to be done about it, in order."""
        self._tell_cut()
        while self._due:
            due = min(self._due, key=self._due.__getitem__)
            if self._due[due] > now:
                break
            del self._due[due]
            self._on_due(due, now)
        return self._drain()

    # --- beginning -----------------------------------------------------------------------------

    def _on_announced(self, announced: inputs.CallAnnounced, now: float) -> None:
        if self.phase is not Phase.WAITING:
            return  # Twilio asked the webhook again: the call is what it was.
        self._due[_Due.STREAM] = now + STREAM_OWED_S
        if announced.announcement_ms < LONG_ANNOUNCEMENT_MS and self._agent is _Agent.ABSENT:
            self._dial(now)
            self._due[_Due.AGENT_USE] = now + AGENT_UNUSED_S

    def _dial(self, now: float) -> None:
        self._agent = _Agent.DIALLED
        self._agent_dialled_at = now
        self._due[_Due.AGENT_READY] = now + AGENT_SETTLING_S
        self._do(DialAgent())

    def _on_start(self, now: float) -> None:
        if self.phase not in (Phase.WAITING, Phase.AWAY):
            self._on_garbage("caller", "a second 'start'", now)
            return
        if self.phase is Phase.WAITING:
            self._note(CallStarted())
            self._limit_at = now + self._plan.max_s
        else:
            self._note(CallerBack())
            self._limit_at = max(self._limit_at, now + ON_RETURN_S)
        self._step(Step.STREAM_STARTED)
        for due in (_Due.STREAM, _Due.AGENT_USE, _Due.KEEP_ALIVE, _Due.AWAY):
            self._due.pop(due, None)
        self._heard_at = self._active_at = now
        self._due[_Due.TIME_LIMIT] = self._limit_at
        if self._agent is _Agent.ABSENT:
            self._dial(now)
        elif self._agent is _Agent.READY:
            self._begin_talking(now)

    def _on_welcome(self, welcome: deepgram.Welcome) -> None:
        if self._agent is _Agent.DIALLED:
            self._agent = _Agent.WELCOMED
            self._request_id = welcome.request_id
            history = self._history.so_far()
            self._do(SendSettings(greeting=not self._resumed, history=history))

    def _on_settings_applied(self, now: float) -> None:
        if self._agent is not _Agent.WELCOMED:
            return
        self._agent = _Agent.READY
        del self._due[_Due.AGENT_READY]
        self._note(AgentConnected(self._request_id, _ms(now - self._agent_dialled_at)))
        if self.phase is Phase.SETTLING:
            self._begin_talking(now)
        else:
            self._due[_Due.KEEP_ALIVE] = now + GAP_S

    def _begin_talking(self, now: float) -> None:
        self._step(Step.AGENT_READY)
        self._due[_Due.GAP] = now + GAP_S
        if self._plan.silence_s:
            self._due[_Due.SILENCE] = now + self._plan.silence_s / 2
        if self._held_frames:
            self._do(SendAudio(b"".join(self._held_frames)))
            self._held_frames.clear()
            self._held_bytes = 0
        self._note_overflow()
        held, self._held_speech = self._held_speech, []
        for speech in held:
            if isinstance(speech, bytes):
                self._do(Play(self.speak(speech, now)))
            elif isinstance(speech, deepgram.ConversationText):
                self._on_text(speech, now)
            else:
                self._on_audio_done(speech, now)
        for change in self._asking.kept:
            self._do(TellAgent(change))
        if self._on_return:
            self._tell_agent(self._on_return, None, now)
            self._on_return = ""
        self._tell_keys(now)

    def _hold(self, frame: bytes) -> None:
        self._held_frames.append(frame)
        self._held_bytes += len(frame)
        while self._held_bytes > HELD_CALLER_BYTES:
            dropped = len(self._held_frames.popleft())
            self._held_bytes -= dropped
            self._overflow["agent"] += dropped

    def _hold_speech(self, speech: bytes | deepgram.ServerMessage, size: int) -> None:
        # Once something did not fit nothing more is held: the greeting breaks off, without holes.
        if size and (self._overflow["caller"] or self._held_speech_bytes + size > HELD_AGENT_BYTES):
            if isinstance(speech, bytes):
                self._overflow["caller"] += size
            return
        self._held_speech_bytes += size
        self._held_speech.append(speech)

    # --- talking -------------------------------------------------------------------------------

    def _on_text(self, text: deepgram.ConversationText, now: float) -> None:
        if self.phase is Phase.WAITING:
            self._hold_speech(text, len(text.content))
            return
        if text.role == "assistant":
            if self.phase is Phase.BARGE_IN:
                self._lift_fence()
            else:
                self._speech_start_ms = None  # It was no speech: the agent has its turn.
            if not self._muted:
                self._playback.say(text.content)
            # Other speech may come before the last words, which come in sentences: they are there
            # when their last sentence is.
            last = text.content.strip()
            if self._closing is not None and last and self._closing.text.endswith(last):
                self._announced = True
            self._reply(self._asking.spoken(last), "it is being said")
            return
        told = self._asking.told(text.content)
        if told is not None:
            self._finish_utterance(now)
            self._reply(told, "the agent was told")
            return
        # A reply can end without AgentAudioDone (deepgram.md §3.2); the caller's next
        # turn ends it at the latest.
        self._finish_utterance(now)
        said = CallerSaid(text.content, self._speech_start_ms)
        self._note(said)
        self._history.said(said)
        self._speech_start_ms = None
        self._turn_at = now
        self._answer = None
        self._caller_is_there(now)
        self._look_for_farewell(now)

    def _on_audio_done(self, done: deepgram.ServerMessage, now: float) -> None:
        if self.phase is Phase.WAITING:
            self._hold_speech(done, 0)
        elif self.phase is Phase.BARGE_IN:
            self._lift_fence()
        else:
            self._finish_utterance(now)
            self._look_for_farewell(now)
            self._tell_keys(now)

    def _finish_utterance(self, now: float) -> None:
        pieces, said = self._playback.finish(now)
        if pieces:
            self._do(Play(pieces))
        self._note_said(said)

    def _on_mark(self, name: str, now: float) -> None:
        said = self._playback.confirm(name, now)
        if said is None:
            return
        if self._answer is not None and self._answer[0] == name:
            _, asked_at, first_byte_at = self._answer
            self._note(Answered(_ms(first_byte_at - asked_at), _ms(now - asked_at)))
            self._answer = self._turn_at = None
        self._note_said(said)
        self._look_for_farewell(now)

    def _on_barge_in(self, now: float) -> None:
        if self._speech_start_ms is None:
            self._speech_start_ms = _ms(now - self._began)
        self._caller_is_there(now)
        if self.phase is not Phase.TALKING:
            return  # Cut already; or the time is up, and the farewell may still be heard.
        unfinished = self._playback.unfinished
        self._clear()
        self._answer = self._turn_at = None
        self._unsaid = self._playback.cut_first(now)
        if unfinished:
            self._step(Step.INTERRUPTED)
            self._spoken_at = now
            self._due[_Due.FENCE] = now + FENCE_QUIET_S

    def _cut(self, now: float, *, clear: bool) -> list[AgentSaid]:
        if clear:
            self._clear()
        self._answer = self._turn_at = None
        return self._playback.cut(now)

    def _clear(self) -> None:
        if self._playback.unconfirmed:
            self._do(ClearCaller())

    def _tell_cut(self) -> None:
        """Tell what was heard of what the caller has cut."""
        unsaid, self._unsaid = self._unsaid, None
        if unsaid is None:
            return
        said = unsaid()
        cut = next((utterance for utterance in said if utterance.interrupted), None)
        if cut is not None:
            self._note(Interrupted(cut.heard_ms))
        self._note_said(said)

    def _lift_fence(self) -> None:
        self._step(Step.FENCE_LIFTED)
        del self._due[_Due.FENCE]
        self._note_late()

    def _note_late(self) -> None:
        if self._late_bytes:
            self._note(AudioDropped("caller", milliseconds(self._late_bytes), "late"))
            self._late_bytes = 0

    def _on_functions_called(self, request: deepgram.FunctionCallRequest, now: float) -> None:
        for function in request.functions:
            if self._agent is not _READY:
                break  # It is not there yet, or that was too much: the call is over.
            wrong = self._functions.call(function, now)
            if wrong:
                self._on_garbage("agent", wrong, now)
        self._await_functions()

    def _await_functions(self) -> None:
        """Arm the deadlines of the function that has waited longest.

        There are none in last words, nor while a secret is entered: the function that has asked for
        either is open until they are over.
        """
        none = self.phase is Phase.CLOSING or self._secret is not None
        self._arm(_Due.FUNCTION_SOFT, None if none else self._functions.soft_due())
        self._arm(_Due.FUNCTION_HARD, None if none else self._functions.hard_due())

    def _say_one_moment(self, now: float) -> None:
        if self.phase is Phase.BARGE_IN:
            self._due[_Due.FUNCTION_SOFT] = now + FENCE_QUIET_S  # The caller speaks just now.
            return
        self._functions.said_one_moment()
        filler = deepgram.InjectAgentMessage(message=self._plan.one_moment, behavior="queue")
        self._ask_agent(filler, None, now)

    def _on_latency(self, report: deepgram.LatencyReport) -> None:
        self._note(
            LatencyReported(
                _optional_ms(report.stt_latency),
                _optional_ms(report.ttt_token_latency),
                _optional_ms(report.tts_latency),
                _optional_ms(report.total_latency),
            )
        )

    # --- limits --------------------------------------------------------------------------------

    def _on_due(self, due: _Due, now: float) -> None:
        match due:
            case _Due.STREAM:
                self._end(Slug.STREAM_NEVER_CAME, "", now)
            case _Due.AGENT_USE:
                self._drop_agent()
            case _Due.AGENT_READY:
                self._end(Slug.AGENT_UNREACHABLE, "no SettingsApplied within 10 s", now)
            case _Due.KEEP_ALIVE:
                self._do(TellAgent(deepgram.KeepAlive()))
                self._due[due] = now + GAP_S
            case _Due.GAP:
                self._fill_gap(now)
            case _Due.FENCE:
                self._mind_fence(now)
            case _Due.SILENCE:
                self._mind_silence(now)
            case _Due.TIME_LIMIT:
                self._close(Slug.TIME_LIMIT, self._plan.time_up, now)
            case _Due.FAREWELL:
                self._mind_farewell(now)
            case _Due.KEYS:
                self._enter(self._keypad.finish(), now)
            case _Due.ASKED_DIGITS:
                self._mind_secret(now)
            case _Due.TONES:
                self._deaf = False
                self._do(Conceal(False))
            case _Due.FUNCTION_SOFT:
                self._say_one_moment(now)
            case _Due.FUNCTION_HARD:
                self._functions.give_up(now)
                self._await_functions()
            case _Due.ASKED:
                for asked in self._asking.overdue(now):
                    self._reply(asked, "Deepgram has not answered within 10 s", done=False)
                self._await_answers()
            case _Due.AWAY:
                self._on_away_too_long(now)
            case _Due.AGENT_ERROR:
                self._on_leg_lost(inputs.LegLost("agent"), now)
            case _Due.CALLER_STUCK:
                self._end(Slug.CALLER_LEG_STUCK, "", now)
            case _Due.AGENT_STUCK:
                self._end(Slug.AGENT_LEG_STUCK, "", now)

    def _drop_agent(self) -> None:
        self._agent = _Agent.ABSENT
        self._agent_error = ""
        for due in (
            _Due.AGENT_USE,
            _Due.AGENT_READY,
            _Due.KEEP_ALIVE,
            _Due.AGENT_ERROR,
            _Due.AGENT_STUCK,
        ):
            self._due.pop(due, None)
        self._held_speech.clear()
        self._held_speech_bytes = 0
        self._overflow["caller"] = 0
        self._faults["agent"].clear()
        self._functions.drop("cancelled")
        self._await_functions()
        for asked in self._asking.forget():
            self._reply(asked, "the agent's leg was given up", done=False)
        self._await_answers()
        self._do(HangUpAgent())

    def _fill_gap(self, now: float) -> None:
        # Silence rather than KeepAlive: sessions have been closed in spite of the latter
        # (deepgram.md §1.4).
        due = self._heard_at + GAP_S
        if now >= due:
            self._do(SendAudio(silence(GAP_FILL_MS)))
            due = now + GAP_FILL_MS / 1000
        self._due[_Due.GAP] = due

    def _mind_fence(self, now: float) -> None:
        self._due[_Due.FENCE] = self._spoken_at + FENCE_QUIET_S
        if now >= self._due[_Due.FENCE]:
            self._lift_fence()

    def _caller_is_there(self, now: float) -> None:
        self._active_at = now
        self._asked = False
        if self._closing is not None and self._closing.then is Slug.CALLER_SILENT:
            self._go_on(now)

    def _mind_silence(self, now: float) -> None:
        due = max(self._active_at, self._playback.ends_at) + self._plan.silence_s / 2
        if self._secret is not None:
            due = now + self._plan.silence_s / 2  # A secret has a patience of its own.
        if now < due:
            self._due[_Due.SILENCE] = due
        elif self._asked:
            self._close(Slug.CALLER_SILENT, self._plan.silent_goodbye, now)
        else:
            self._asked = True
            self._active_at = now
            question = deepgram.InjectAgentMessage(message=self._plan.still_there)
            self._ask_agent(question, None, now)
            self._due[_Due.SILENCE] = now + self._plan.silence_s / 2

    # --- keys ----------------------------------------------------------------------------------

    def _on_key(self, key: str, now: float) -> None:
        if self._deaf:
            self._caller_is_there(now)
            if self._secret is not None and self._secret.press(key, now):
                self._secret_over("", now)
            return
        self._note(KeyPressed(key))
        self._caller_is_there(now)
        if self.phase not in (Phase.WAITING, Phase.AWAY):
            done = self._keypad.press(key, now)
            self._arm(_Due.KEYS, self._keypad.due)
            self._enter(done, now)

    def _enter(self, done: list[str | Action], now: float) -> None:
        """Tell the agent of complete entries, and do complete actions; the first may end it all."""
        for each in done:
            match each:
                case str() | keypad.Say():
                    self._untold.append(each)
                    self._tell_keys(now)
                case _ if self.phase in (Phase.CLOSING, Phase.ENDED):
                    pass  # The call is over or being ended, or its caller put through, already.
                case keypad.PutThrough():
                    self._do(PutThrough(each.destination))
                case keypad.HangUp():
                    self._close(Slug.AGENT_HUNG_UP, each.farewell, now)

    def _tell_keys(self, now: float) -> None:
        """Tell the agent what was entered, if it listens; else it waits."""
        if self.phase not in (Phase.TALKING, Phase.BARGE_IN):
            return
        waiting, self._untold = self._untold, deque(maxlen=UNTOLD_MAX)
        for each in waiting:
            match each:
                case keypad.Say():
                    say = deepgram.InjectAgentMessage(message=each.text, behavior="queue")
                    self._ask_agent(say, None, now)
                case str():
                    self._tell_entry(each, now)
                case _:
                    self._ask_agent(each, None, now)

    def _tell_entry(self, entry: str, now: float) -> None:
        self._note(KeysEntered(entry))
        # What was said before the keys comes before them, in a turn of its own (§2.17).
        if self._plan.forces_turns and self._speech_start_ms is not None:
            self._do(TellAgent(deepgram.ForceEndTurn()))
        text = f"(The caller pressed {entry} on the keypad.)"
        self._history.said(AgentTold(text))
        self._ask_agent(deepgram.InjectUserMessage(content=text), None, now)

    def _begin_secret(self, ask: int, wish: requests.AskDigits, now: float) -> None:
        # What is entered just now may be its beginning: no one is told.
        self._keypad.forget()
        self._due.pop(_Due.KEYS, None)
        self._secret = Secret(ask, wish.prompt, wish.max_digits, wish.timeout_s, now)
        self._due.pop(_Due.TONES, None)
        if not self._deaf:
            self._deaf = True
            self._do(Conceal(True))
        self._due[_Due.ASKED_DIGITS] = now + wish.timeout_s
        self._await_functions()
        if wish.prompt:
            prompt = deepgram.InjectAgentMessage(message=wish.prompt, behavior="queue")
            self._ask_agent(prompt, None, now)

    def _mind_secret(self, now: float) -> None:
        secret = self._secret
        assert secret is not None
        due = max(secret.pressed_at, self._playback.ends_at) + secret.timeout_s
        if now < due:
            self._due[_Due.ASKED_DIGITS] = due
        else:
            self._secret_over("the caller did not enter it in time", now)

    def _secret_over(self, why_not: str, now: float) -> None:
        """It was entered, or not: whoever asked is told, and nobody else."""
        secret, self._secret = self._secret, None
        if secret is None:
            return
        self._due.pop(_Due.ASKED_DIGITS, None)
        self._due[_Due.TONES] = now + keypad.TONES_S
        self._functions.stood_still(secret.began, now)
        self._await_functions()
        self._note(SecretEntered(len(secret.digits), not why_not))
        self._do(Reply(secret.ask, not why_not, why_not or secret.digits))

    # --- last words ----------------------------------------------------------------------------

    def _close(
        self,
        then: Slug | Errand | requests.SwitchAgent,
        text: str,
        now: float,
        ask: int | None = None,
    ) -> None:
        """Have the agent say `text`; when it was heard, do what comes `then`."""
        if self.phase is Phase.ENDED:
            return
        if self.phase is Phase.BARGE_IN:
            self._lift_fence()
        if self.phase is Phase.CLOSING:
            # The time is up in last words after which the call may yet go on.
            self._due[_Due.TIME_LIMIT] = now + FAREWELL_MAX_S
            return
        if self.phase is Phase.SETTLING:
            self._closed(_Closing(then, "", now, ask), now)  # Nobody is there to say them.
            return
        self._secret_over("the call is being ended, or its caller put through", now)
        if self._muted:
            self._mute(False, now)
        self._due.pop(_Due.SILENCE, None)
        self._step(Step.FAREWELL_BEGUN)
        self._closing = _Closing(then, text, now, ask)
        self._announced = not text
        self._await_functions()
        self._due[_Due.FAREWELL] = now + (FAREWELL_MIN_S if text else LAST_WORD_S)
        if text:
            message = deepgram.InjectAgentMessage(message=text, behavior="queue")
            self._ask_agent(message, None, now)

    def _mind_farewell(self, now: float) -> None:
        closing = self._closing
        assert closing is not None
        self._look_for_farewell(now)
        if self._closing is not closing:
            return
        due = self._playback.ends_at + FAREWELL_SLACK_S
        if closing.text:
            due = max(closing.began_at + FAREWELL_MIN_S, due)
        due = min(due, closing.began_at + FAREWELL_MAX_S)
        if now < due:
            self._due[_Due.FAREWELL] = due
        else:
            self._closed(closing, now)

    def _look_for_farewell(self, now: float) -> None:
        closing, playback = self._closing, self._playback
        if (
            closing is not None
            and self._announced
            and not playback.unfinished
            and not playback.unconfirmed
            and (closing.text or now >= closing.began_at + LAST_WORD_S)
        ):
            self._closed(closing, now)

    def _closed(self, closing: _Closing, now: float) -> None:
        """The last words were heard, or have had their time."""
        if isinstance(closing.then, Slug):
            self._end(closing.then, "", now)
            return
        self._closing = None
        self._due.pop(_Due.FAREWELL, None)
        if isinstance(closing.then, requests.SwitchAgent):
            self._switch(closing.then, now)
        else:
            self._leave(closing.then, now)
        if closing.ask is not None:
            self._do(Reply(closing.ask, True, "it is done"))

    def _go_on(self, now: float, why: str = "") -> None:
        """They were not the last words after all."""
        closing, self._closing = self._closing, None
        self._step(Step.CALLER_BACK)
        del self._due[_Due.FAREWELL]
        if self._plan.silence_s:
            self._due[_Due.SILENCE] = now + self._plan.silence_s / 2
        self._await_functions()
        if closing is not None and closing.ask is not None:
            self._do(Reply(closing.ask, False, why))
        self._tell_keys(now)

    # --- away and back -------------------------------------------------------------------------

    def _leave(self, errand: Errand, now: float) -> None:
        self._step(Step.CALLER_LEFT)
        self._note_said(self._cut(now, clear=False))
        for due in (_Due.GAP, _Due.SILENCE, _Due.TIME_LIMIT, _Due.CALLER_STUCK):
            self._due.pop(due, None)
        self._drop_agent()
        self._held_frames.clear()
        self._held_bytes = self._overflow["agent"] = 0
        self._untold.clear()
        self._keypad.forget()
        self._due.pop(_Due.KEYS, None)
        self._errand = errand
        self._resumed = True
        self._due[_Due.AWAY] = now + LEFT_S
        if isinstance(errand, handoff_actions.SendDigits):
            self._on_return = "(The keys were pressed. Go on.)"
            self._note(CallerLeft("digits", ""))
        else:
            self._note(CallerLeft("transfer", errand.name))
        self._do(LeaveStream(errand))

    def _on_errand_begun(self, now: float) -> None:
        errand = self._errand
        if self.phase is not Phase.AWAY or errand is None:
            return
        match errand:
            case handoff_actions.SendDigits():
                self._due[_Due.AWAY] = now + errand.duration_s + BACK_S
            case handoff_actions.Dial():
                self._due[_Due.AWAY] = now + errand.timeout_s + AWAY_S
            case handoff_actions.Meet():
                self._due[_Due.AWAY] = now + AWAY_S

    def _on_errand_done(self, done: inputs.ErrandDone, now: float) -> None:
        errand = self._errand
        if self.phase is not Phase.AWAY or not isinstance(
            errand, handoff_actions.Dial | handoff_actions.Meet
        ):
            return
        if done.outcome == "reached":
            self._end(Slug.TRANSFERRED, errand.name, now)
            return
        self._errand = None
        self._note(TransferFailed(errand.name, done.outcome))
        self._on_return = (
            f"(The transfer to {errand.name} did not work: {_NOT_REACHED[done.outcome]}."
            " Tell the caller, and go on helping.)"
        )
        self._due[_Due.AWAY] = now + STREAM_OWED_S
        if self._agent is _Agent.ABSENT:
            self._dial(now)
            self._due[_Due.AGENT_USE] = now + AGENT_UNUSED_S

    def _on_call_over(self, now: float) -> None:
        if self.phase is Phase.AWAY and isinstance(
            self._errand, handoff_actions.Dial | handoff_actions.Meet
        ):
            # Statuses come in any order (twilio.md §4.3): perhaps the caller was put through.
            self._due[_Due.AWAY] = now + AWAY_OVER_S
            self._limit_at = -math.inf
        else:
            self._end(Slug.CALLER_HUNG_UP, "", now)

    def _on_away_too_long(self, now: float) -> None:
        over = self._limit_at == -math.inf
        self._end(Slug.CALLER_HUNG_UP if over else Slug.STREAM_NEVER_CAME, "", now)

    def _switch(self, wish: requests.SwitchAgent, now: float) -> None:
        self._step(Step.AGENT_SWITCHED)
        self._note_said(self._cut(now, clear=False))
        for due in (_Due.GAP, _Due.SILENCE):
            self._due.pop(due, None)
        self._drop_agent()
        self._asking.kept.clear()
        self._resumed = False  # It is new to the caller, and greets.
        self._plan = wish.plan
        self._keypad = Keypad(wish.plan.key_s, wish.plan.actions)
        self._due.pop(_Due.KEYS, None)
        self._note(AgentSwitched(wish.agent))
        self._do(TakeAgent(wish.agent))
        self._dial(now)

    # --- asked from outside --------------------------------------------------------------------

    def _on_asked(self, ask: int, wish: requests.Wish, now: float) -> None:
        refusal = self._why_not(wish)
        if refusal:
            self._do(Reply(ask, False, refusal))
            return
        match wish:
            case requests.HangUp(by="operator", farewell=""):
                self._do(Reply(ask, True, "the call is over"))
                self._end(Slug.OPERATOR_HUNG_UP, "", now)
            case requests.HangUp():
                how = Slug.AGENT_HUNG_UP if wish.by == "agent" else Slug.OPERATOR_HUNG_UP
                self._close(how, wish.farewell, now, ask)
            case requests.Leave():
                self._close(wish.errand, wish.first, now, ask)
            case requests.SwitchAgent():
                self._close(wish, wish.first, now, ask)
            case requests.Say():
                say = deepgram.InjectAgentMessage(message=wish.text, behavior=wish.behavior)
                self._ask_agent(say, ask, now)
            case requests.Tell():
                self._tell_agent(wish.text, ask, now)
            case requests.Update():
                self._ask_agent(wish.message, ask, now)
            case requests.AskDigits():
                self._begin_secret(ask, wish, now)
            case requests.Mute():
                self._mute(wish.on, now)
                self._do(Reply(ask, True, "muted" if wish.on else "not muted"))

    def _on_forsaken(self, ask: int, now: float) -> None:
        """Give up what nobody waits for: its function was called off, for one."""
        if self._secret is not None and self._secret.ask == ask:
            self._secret_over("nobody waits for it", now)
        elif self._closing is not None and self._closing.ask == ask:
            self._go_on(now, "it was called off")

    def _why_not(self, wish: requests.Wish) -> str:
        """Why that cannot be done now; empty when it can."""
        if isinstance(wish, requests.HangUp) and wish.by == "operator" and not wish.farewell:
            return ""
        if self.phase is Phase.CLOSING:
            return requests.ENDING
        if self.phase is Phase.SETTLING and isinstance(wish, requests.Leave | requests.SwitchAgent):
            return ""
        if isinstance(wish, requests.AskDigits) and self._secret is not None:
            return "digits are being asked for already"
        if self.phase not in (Phase.TALKING, Phase.BARGE_IN):
            return requests.NOBODY_TALKS
        return ""

    def _ask_agent(self, message: Injection | Change, ask: int | None, now: float) -> None:
        self._do(TellAgent(message))
        self._asking.add(message, ask, now)
        self._await_answers()

    def _tell_agent(self, text: str, ask: int | None, now: float) -> None:
        told = AgentTold(text)
        self._note(told)
        self._history.said(told)
        self._ask_agent(deepgram.InjectUserMessage(content=text), ask, now)

    def _await_answers(self) -> None:
        self._arm(_Due.ASKED, self._asking.due())

    def _on_injection_refused(self, code: str, why: str, now: float) -> None:
        refused = self._asking.refused(while_agent_speaks=code == _DURING_AGENT_SPEECH)
        self._reply(refused, why or "somebody was speaking", done=False)
        if refused is not None and refused.ask is None:
            self._on_own_refused(refused.message, now)
        # What is to be queued, as last words are, is refused only while the caller speaks
        # (deepgram.md §2.14): then the caller is there, and has something to say.
        closing = self._closing
        if closing is None:
            return
        self._caller_is_there(now)
        if self._closing is not None and closing.then is not Slug.TIME_LIMIT:
            self._go_on(now, "the caller is speaking; listen first")

    def _on_own_refused(self, message: Injection | Change, now: float) -> None:
        if isinstance(message, deepgram.InjectUserMessage):
            self._untold.append(message)  # It may be sent again when the agent has spoken (§2.15).
        elif self._secret is not None and message == deepgram.InjectAgentMessage(
            message=self._secret.prompt, behavior="queue"
        ):
            self._secret_over("the caller is speaking; listen first", now)

    def _mute(self, on: bool, now: float) -> None:
        if on == self._muted:
            return
        self._muted = on
        if on:
            self._note_said(self._cut(now, clear=True))
        elif self._unheard_bytes:
            self._note(AudioDropped("caller", milliseconds(self._unheard_bytes), "muted"))
            self._unheard_bytes = 0
        self._note(AgentMuted(on))

    def _reply(self, asked: Asked | None, what: str = "it is done", *, done: bool = True) -> None:
        self._await_answers()
        if asked is not None and asked.ask is not None:
            self._do(Reply(asked.ask, done, what))

    # --- trouble -------------------------------------------------------------------------------

    def _on_refused(self, status: int, now: float) -> None:
        slug = Slug.AGENT_UNREACHABLE
        if status == 429:
            slug = Slug.AGENT_BUSY
        elif status in (401, 402, 403):
            slug = Slug.AGENT_KEY_REFUSED
        self._end(slug, f"HTTP {status}", now)

    def _on_error(self, error: deepgram.Error, now: float) -> None:
        self._note(AgentWarned(error.code, error.description, fatal=True))
        self._agent_error = error.code
        # The vendor's pages disagree on whether a session survives this one (§3.4).
        if error.code != "FAILED_TO_THINK":
            self._due.setdefault(_Due.AGENT_ERROR, now + ERROR_LINGER_S)

    def _on_leg_lost(self, lost: inputs.LegLost, now: float) -> None:
        if lost.leg == "agent" and self._agent is _Agent.ABSENT:
            return  # We hung it up ourselves.
        if lost.leg == "caller" and self.phase is Phase.AWAY:
            return  # The stream was left, and Twilio has done its errand.
        early = self.phase in (Phase.WAITING, Phase.AWAY)
        if lost.leg == "agent" and early and self._agent is _Agent.READY:
            self._drop_agent()  # It is dialled anew when the stream comes.
        elif lost.leg == "agent":
            self._lose_agent(lost.why, now)
        elif lost.oversized:
            self._end(Slug.CALLER_LEG_OVERSIZED, lost.why, now)
        else:
            self._end(Slug.CALLER_LEG_LOST, lost.why, now)

    def _lose_agent(self, why: str, now: float) -> None:
        detail = self._agent_error or why
        if self._agent is _Agent.READY:
            self._end(Slug.AGENT_LOST, detail, now)
        elif self._agent_error in _SETTINGS_ERRORS:
            self._end(Slug.AGENT_SETTINGS_REFUSED, detail, now)
        else:
            self._end(Slug.AGENT_UNREACHABLE, detail, now)

    def _on_garbage(self, leg: Leg, what: str, now: float) -> None:
        self._note(ProtocolViolation(leg, what))
        recent = self._faults[leg]
        recent.append(now)
        while now - recent[0] > FAULTS_WINDOW_S:
            recent.popleft()
        if len(recent) > FAULTS_MAX:
            self._end(_GARBAGE[leg], what, now)

    def _end(self, how: Slug, detail: str, now: float) -> None:
        """End the call, once: whatever else has ended it by now has come too late."""
        if self.phase is Phase.ENDED:
            return
        self._note_late()
        self._note_said(self._cut(now, clear=how not in _CALLER_GONE))
        self._note_overflow()
        self._secret_over("the call is over", now)
        self._functions.drop("call_over")
        for asked in self._asking.forget():
            self._reply(asked, "the call is over", done=False)
        if self._closing is not None and self._closing.ask is not None:
            meant = isinstance(self._closing.then, Slug)
            self._do(Reply(self._closing.ask, meant, "the call is over"))
        self._closing = None
        self._step(Step.ENDED)
        self._agent = _Agent.ABSENT
        self._due.clear()
        self._held_frames.clear()
        self._held_speech.clear()
        ending = Ending(how, detail)
        self._note(
            CallEnded(how.fault, how.slug, how.words, detail, _ms(now - self._began)),
        )
        self._do(End(ending))
        self.ending = ending

    # --- small things --------------------------------------------------------------------------

    def _step(self, step: Step) -> None:
        self.phase = after(self.phase, step)

    def _do(self, command: Command) -> None:
        """Command something. A loop that had more to do when the call ended commands nothing."""
        if self.ending is None:
            self._commands.append(command)

    def _note(self, event: Event) -> None:
        self._do(Note(event))

    def _arm(self, due: _Due, at: float | None) -> None:
        if at is None or self.ending is not None:
            self._due.pop(due, None)
        else:
            self._due[due] = at

    def _note_said(self, said: list[AgentSaid]) -> None:
        for utterance in said:
            self._note(utterance)
            self._history.said(utterance)

    def _note_overflow(self) -> None:
        for leg, size in self._overflow.items():
            if size:
                self._note(AudioDropped(leg, milliseconds(size), "full"))
        self._overflow = {"caller": 0, "agent": 0}

    def _drain(self) -> list[Command]:
        commands, self._commands = self._commands, []
        return commands


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _optional_ms(seconds: float | None) -> int | None:
    # A number may come as a string (deepgram.md §3.9), and so may "nan".
    return _ms(seconds) if seconds is not None and math.isfinite(seconds * 1000) else None
