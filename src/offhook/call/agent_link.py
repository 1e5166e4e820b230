"""The agent's leg of a call: its dialling, keep-alive and loss, and what is held for it.

Deepgram bills by connection time and hangs up when it hears nothing (deepgram.md §1.4), so the leg
is dialled just before it is needed, and gets audio even while neither side speaks.
"""

from typing import Final

from offhook.audio import BYTES_PER_MS, SILENCE, milliseconds, silence
from offhook.call import agent_loss, inputs
from offhook.call.agent_loss import HOLD_AFTER_S, Outage
from offhook.call.call_state import CallState, earliest, is_due, to_ms
from offhook.call.commands import DialAgent, HangUpAgent, SendAudio, TellAgent, UseSpare
from offhook.call.functions import Functions
from offhook.call.leg_health import LegHealth
from offhook.call.pending_requests import PendingRequests
from offhook.call.phases import LinkState, LinkStep, Phase, link_after
from offhook.deepgram import messages as deepgram
from offhook.events.types import AgentConnected, AgentWarned, AudioDropped, Leg

UNUSED_S: Final = 15.0
"""Seconds that an agent leg dialled ahead waits for the stream before it is closed."""
SETTLING_S: Final = 10.0
"""Seconds that a leg may take from dialling to SettingsApplied."""
HELD_CALLER_BYTES: Final = 2000 * BYTES_PER_MS
HELD_AGENT_BYTES: Final = 256 * 1024
GAP_S: Final = 3.0
"""Seconds without caller audio after which the session must be kept alive otherwise."""
GAP_FILL_MS: Final = 100

# Kept here for speed: an enum class looks up its attributes through the metaclass.
_SETTLING: Final = Phase.SETTLING

HeldSpeech = bytes | deepgram.ConversationText | deepgram.AgentAudioDone


class AgentLink:
    """The agent's leg of one call."""

    def __init__(
        self,
        state: CallState,
        functions: Functions,
        pending: PendingRequests,
        health: LegHealth,
        now: float,
        *,
        dials_ahead: bool,
    ) -> None:
        self.greets = True
        """True if the next agent session begins with its greeting."""
        self.is_masked = False
        """True while the agent gets silence in place of the caller, since keys can be heard."""
        self.ready_at: float | None = None
        """Time in seconds at which Deepgram applied the Settings; None while it has not."""
        self.outage: Outage | None = None
        """Time without a leg that was lost; None while there is one, or none is wanted."""
        self.dialled_at = now
        """Time in seconds at which the current leg, or the last one, was dialled."""
        self.is_resumed = False
        """True while a call that was taken over has had no session here.

        Deepgram may still count the session of the process before, so that a 429 says little.
        """
        self._dials_ahead = dials_ahead
        self._state = state
        self._functions = functions
        self._pending = pending
        self._health = health
        self._link = LinkState.ABSENT
        self._is_forwarding = False
        self._is_copying = False
        # Copying is apart, so that forwarding alone takes no more than it ever did.
        self._request_id = ""
        self._error = ""
        self._place = 0
        """Legs that could not be opened: each is followed by one to the next address."""
        self._heard_at = self._filled_at = now
        self._unused_at: float | None = None
        self._ready_by: float | None = None
        self._keep_alive_at: float | None = None

        self.held_speech: list[HeldSpeech] = []
        """Speech of the agent from before the stream, in order."""
        self._held_speech_bytes = 0
        self.held_frames: list[bytes] = []
        """Caller audio held while the agent's leg settles, the newest last."""
        self.held_caller_bytes = 0
        """Bytes of `held_frames`."""
        self._overflow: dict[Leg, int] = {"caller": 0, "agent": 0}

    @property
    def is_ready(self) -> bool:
        """True once Deepgram has applied the Settings."""
        return self._link is LinkState.READY

    @property
    def is_absent(self) -> bool:
        """True while no leg is open, being dialled or to be dialled again."""
        return self._link is LinkState.ABSENT

    @property
    def has_leg(self) -> bool:
        """True while a leg is open or being dialled."""
        return self._link is not LinkState.ABSENT and self._link is not LinkState.LOST

    # --- the audio path ------------------------------------------------------------------------

    def hear(self, frame: bytes, now: float) -> bytes | None:
        """Take audio of the caller; return what to forward to the agent at once, if anything."""
        self._heard_at = now
        if self.is_masked:
            frame = SILENCE * len(frame)
        if self._is_forwarding:
            return frame
        if self._is_copying:
            self._keep_frame(frame)
            return frame
        if self._state.phase is _SETTLING:
            self._overflow["agent"] += self._keep_frame(frame)
        return None

    def _keep_frame(self, frame: bytes) -> int:
        """Keep a frame; return the bytes of the oldest frames that were dropped for it."""
        self.held_frames.append(frame)
        self.held_caller_bytes += len(frame)
        dropped = 0
        while self.held_caller_bytes > HELD_CALLER_BYTES:
            oldest = len(self.held_frames.pop(0))
            self.held_caller_bytes -= oldest
            dropped += oldest
        return dropped

    def hold_speech(self, speech: HeldSpeech, size: int) -> None:
        """Keep what the agent says before the stream is there, up to HELD_AGENT_BYTES."""
        # Once something did not fit, nothing more is held: the greeting ends early, without gaps.
        if size and (self._overflow["caller"] or self._held_speech_bytes + size > HELD_AGENT_BYTES):
            if isinstance(speech, bytes):
                self._overflow["caller"] += size
            return
        self._held_speech_bytes += size
        self.held_speech.append(speech)

    # --- up ------------------------------------------------------------------------------------

    def dial(self, now: float, within_s: float = SETTLING_S) -> None:
        """Open a leg to Deepgram, which must be ready `within_s` seconds."""
        self._step(LinkStep.DIALLED)
        self.dialled_at = now
        self._ready_by = now + within_s
        self._state.do(DialAgent(self._place))

    def dial_ahead(self, now: float) -> None:
        """Open a leg that waits for the stream, unless there is one.

        A stream that may come to another node has none: that node dials.
        """
        if self._dials_ahead and self.is_absent:
            self.dial(now)
            self._unused_at = now + UNUSED_S

    def welcome(self, welcome: deepgram.Welcome) -> bool:
        """Take Deepgram's Welcome; return whether the Settings are due (deepgram.md §1.2)."""
        is_first = self._step(LinkStep.WELCOME_CAME)
        if is_first:
            self._request_id = welcome.request_id
        return is_first

    def apply_settings(self, now: float) -> None:
        """Begin to talk, or keep alive a session that has no stream yet."""
        if not self._step(LinkStep.SETTINGS_APPLIED):
            return
        self._ready_by = None
        self.ready_at = now
        self.is_resumed = False
        self._state.note(AgentConnected(self._request_id, to_ms(now - self.dialled_at)))
        if self._state.phase is _SETTLING:
            self._state.steps.begin_talking(now)
        else:
            self.outage = None
            self._keep_alive_at = now + GAP_S

    def start_stream(self, now: float) -> None:
        """Note that the caller's leg is up; dial the agent, wait for it, or begin to talk."""
        self._unused_at = self._keep_alive_at = None
        if self.outage is not None:
            self.outage.hold_at = now + HOLD_AFTER_S  # Nobody has heard the silence so far.
        if self.is_absent:
            self.dial(now)
        elif self.is_ready:
            self._state.steps.begin_talking(now)

    def forward(self, now: float) -> None:
        """Forward the caller's audio from now on, held audio first."""
        self._is_forwarding = True
        self._heard_at = self._filled_at = now
        if self.held_frames:
            self._state.do(SendAudio(b"".join(self.held_frames)))
        self._forget_frames()
        self.note_overflow()

    # --- the spare leg -------------------------------------------------------------------------

    def begin_copy(self) -> None:
        """Keep the latest 2 s of the caller's audio from now on, as it is forwarded."""
        self._is_forwarding, self._is_copying = False, True

    def end_copy(self) -> None:
        """Drop what was kept, unless it went with the leg; forward alone from now on."""
        if self._is_copying:
            self._is_forwarding, self._is_copying = True, False
            self._forget_frames()

    def keep_copy(self) -> None:
        """Hold what was kept for the leg that follows this one, which is about to be closed."""
        self._is_copying = False

    def take_over(self, request_id: str, dialled_at: float, now: float) -> None:
        """Use the spare leg, which gets what was kept of the caller's audio."""
        self._request_id, self.dialled_at, self.ready_at = request_id, dialled_at, now
        self._error = ""
        self._health.forget_agent()
        self._state.note(AgentConnected(request_id, to_ms(now - dialled_at)))
        if self.held_frames:
            self._state.do(SendAudio(b"".join(self.held_frames)))
        self.end_copy()

    def replace_lost(self, request_id: str | None, dialled_at: float, ready_by: float) -> None:
        """Use a spare leg in place of one that is lost, in the state in which it is.

        With a `request_id`, Deepgram has welcomed it, and it was sent its Settings.
        """
        self._step(LinkStep.DIALLED)
        if request_id is not None:
            self._step(LinkStep.WELCOME_CAME)
            self._request_id = request_id
        self.dialled_at, self._ready_by = dialled_at, ready_by
        self._state.do(UseSpare())

    # --- speech from before the stream ---------------------------------------------------------

    def take_speech(self) -> list[HeldSpeech]:
        """Return and clear the agent's speech from before the stream, in order."""
        held, self.held_speech = self.held_speech, []
        self._held_speech_bytes = 0
        return held

    def note_overflow(self) -> None:
        """Publish the amount of audio that found no room."""
        for leg, size in self._overflow.items():
            if size:
                self._state.note(AudioDropped(leg, milliseconds(size), "full"))
        self._overflow = {"caller": 0, "agent": 0}

    # --- down ----------------------------------------------------------------------------------

    def hang_up(self) -> None:
        """Close the leg, if there is one, and dial none in its place; the call goes on."""
        had_leg = self.has_leg
        if not self.is_absent:
            self._step(LinkStep.HUNG_UP)
        self.outage = None
        self._unused_at = None
        self._functions.drop("cancelled")
        self._let_go(had_leg)

    def leave_lost(self, outage: Outage) -> None:
        """Give up a leg that is lost. Functions go on: another leg may be told of their results."""
        had_leg = self.has_leg
        if not self.is_ready:
            self._place += 1
        self._step(LinkStep.LOST)
        self.outage = outage
        if outage.in_talk:
            self._functions.hold()
        self._let_go(had_leg)

    def _let_go(self, had_leg: bool) -> None:
        self._overflow["caller"] = 0
        self._error = ""
        self._forget()
        self._health.forget_agent()
        self._pending.forget(self._state.phrases.agent_gone)
        if had_leg:
            self._state.do(HangUpAgent())

    def leave_stream(self) -> None:
        """Close the agent's leg and drop the held caller audio, as the stream is left."""
        self.hang_up()
        self._forget_frames()
        self._overflow["agent"] = 0

    def close(self) -> None:
        """Forget the leg, as the call is over."""
        self._step(LinkStep.CALL_ENDED)
        self.outage = None
        self._unused_at = None
        self._forget()
        self._forget_frames()

    def refuse(self, refused: inputs.AgentLegRefused, now: float) -> None:
        """Note that Deepgram answered the upgrade with an HTTP status (deepgram.md §1.3)."""
        in_talk = self.outage is not None and self.outage.in_talk
        loss = agent_loss.refused(refused.status, may_be_ours=in_talk or self.is_resumed)
        self._state.steps.lose_agent(loss, now)

    def fail_to_reach(self, unreachable: inputs.AgentLegUnreachable, now: float) -> None:
        """Note that no socket to Deepgram could be opened."""
        self._state.steps.lose_agent(agent_loss.unreachable(unreachable.why), now)

    def fail(self, error: deepgram.Error, now: float) -> None:
        """Note a fatal Error of Deepgram's. Its socket closes later; the caller need not wait."""
        self._state.note(AgentWarned(error.code, error.description, fatal=True))
        if error.code == "FAILED_TO_THINK":
            # The vendor's pages disagree on whether a session survives this one (§3.4).
            self._error = error.code
        else:
            loss = agent_loss.failed(error.code, is_ready=self.is_ready)
            self._state.steps.lose_agent(loss, now)

    def lose(self, lost: inputs.LegLost, now: float) -> None:
        """Note that the leg's socket is gone."""
        if self._error:
            loss = agent_loss.failed(self._error, is_ready=self.is_ready)
        else:
            loss = agent_loss.closed(lost.code, lost.why, is_ready=self.is_ready)
        self._state.steps.lose_agent(loss, now)

    # --- time ----------------------------------------------------------------------------------

    def due(self) -> float | None:
        """Return when the leg needs audio or has run out of time, in seconds; None: never."""
        return earliest(self._unused_at, self._ready_by, self._keep_alive_at, self._gap_at())

    def tick(self, now: float) -> None:
        """Send the leg audio to keep it alive, or close it if its time is up."""
        if is_due(self._unused_at, now):
            self.hang_up()
        if self._ready_by is not None and now >= self._ready_by:
            limit_s = self._ready_by - self.dialled_at
            self._ready_by = None
            self._state.steps.lose_agent(agent_loss.too_late(limit_s), now)
        if is_due(self._keep_alive_at, now):
            self._state.do(TellAgent(deepgram.KeepAlive()))
            self._keep_alive_at = now + GAP_S
        if is_due(self._gap_at(), now):
            # Silence, not KeepAlive: Deepgram has closed sessions in spite of KeepAlive
            # (deepgram.md §1.4).
            self._state.do(SendAudio(silence(GAP_FILL_MS)))
            self._filled_at = now

    def _gap_at(self) -> float | None:
        if not (self._is_forwarding or self._is_copying):
            return None
        return max(self._heard_at + GAP_S, self._filled_at + GAP_FILL_MS / 1000)

    # --- inside --------------------------------------------------------------------------------

    def _step(self, step: LinkStep) -> bool:
        """Take a step of the leg's states; return whether the state changed."""
        before, self._link = self._link, link_after(self._link, step)
        return self._link is not before

    def _forget(self) -> None:
        self.end_copy()
        self._is_forwarding = False
        self.ready_at = None
        self._ready_by = self._keep_alive_at = None
        self.held_speech.clear()
        self._held_speech_bytes = 0

    def _forget_frames(self) -> None:
        self.held_frames.clear()
        self.held_caller_bytes = 0
