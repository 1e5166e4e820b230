"""False barge-ins: the agent's own echo, short noises, speech over a protected greeting.

Deepgram says when the caller begins to speak, and stops the agent. Whether the caller is also kept
from hearing what the agent has said so far is decided here. Without settings for it, every
`UserStartedSpeaking` cuts the agent at once, and nothing here sees a frame of audio.

With settings, one may be held: the agent's speech plays on, until the caller's sound has gone on
for long enough, is no echo any more, or was words. Audio is forwarded to Deepgram all the while.
"""

from enum import Enum
from typing import Final

from offhook.audio import BYTES_PER_SECOND, FRAME_MS
from offhook.call.agent_link import AgentLink
from offhook.call.call_state import CallState, is_due
from offhook.call.commands import Piece
from offhook.call.echo_path import (
    AUDIBLE,
    HOLD_MATCH,
    RELEASE_MATCH,
    AgentLevels,
    EchoPath,
    level,
)
from offhook.call.turns import Turns
from offhook.events.types import InterruptionCause, InterruptionSuppressed, SuppressionCause

GAP_FRAMES: Final = 8
"""Quiet frames (160 ms) after which a sound is over: pauses within a word are shorter."""

ABOVE_NOISE: Final = 24
"""Steps by which a sound is louder than the quietest of the latest frames: 4.5 dB."""

RECENT_FRAMES: Final = 150
"""Latest frames of the caller in which the beginning of a sound is looked for: 3 s."""

LATEST_FRAMES: Final = 50
"""Frames (1 s) within which Deepgram says that a sound is speech; older ones are not meant."""

LATE_S: Final = 0.5
"""Seconds by which a frame of the caller may be late; after more, frames were lost."""

LOOK_S: Final = 0.1
"""Seconds from one look at a held sound to the next."""

ONSET_FRAMES: Final = 40
"""Frames (800 ms) before a turn of the caller in which they may have begun to speak."""


class Hold(Enum):
    """State of the latest `UserStartedSpeaking`."""

    NONE = "none"
    """Nothing is held: the agent was cut, or was not speaking."""
    OPEN = "open"
    """The sound has not gone on for `min_speech_s` yet, nor is it over."""
    SHORT = "short"
    """The sound was over before that."""
    ECHO = "echo"
    """The sound is the agent's own."""
    GREETING = "greeting"
    """The agent is saying its greeting, which is protected."""


_CAUSES: Final[dict[Hold, SuppressionCause]] = {
    Hold.SHORT: "short",
    Hold.ECHO: "echo",
    Hold.GREETING: "greeting",
}


class CallerSound:
    """Levels of the caller's latest frames."""

    def __init__(self) -> None:
        self._levels = bytearray()

    def add(self, heard: int) -> None:
        """Take the level of the next frame."""
        self._levels.append(heard)
        if len(self._levels) > RECENT_FRAMES:
            del self._levels[0]

    def latest(self) -> tuple[int, bool]:
        """Return the length of the latest sound in ms, and True if it goes on."""
        limit = max(AUDIBLE, min(self._levels, default=0) + ABOVE_NOISE)
        length = loud_until = quiet = 0
        since = -1
        for index, each in enumerate(reversed(self._levels)):
            if each > limit:
                since = index if since < 0 else since
                loud_until, quiet = index + 1, 0
            elif since >= 0:
                quiet += 1
                if quiet > GAP_FRAMES:
                    break
            elif index >= LATEST_FRAMES:
                break
        length = loud_until - max(since, 0)
        return length * FRAME_MS, 0 <= since <= GAP_FRAMES


class Interruptions:
    """Decision whether the caller's sound interrupts the agent, in one call."""

    def __init__(self, state: CallState, link: AgentLink, turns: Turns) -> None:
        self._state = state
        self._link = link
        self._turns = turns
        self._playback = turns.playback
        self._hold = Hold.NONE
        self._decide_at: float | None = None
        self._decide_by = 0.0
        """Time by which an open decision is made, in the caller's favour."""
        self._published: list[Hold] = []
        self._greeting = 0
        """Number of the utterance that is the protected greeting; 0: none."""
        self._sound = CallerSound()
        self._agent = AgentLevels()
        self._echo = EchoPath()
        self._is_turn = False
        self._played_from = 0.0
        """Time at which the first byte of the playback's epoch was played, were there no gap."""
        self._heard_at = 0.0
        """Time at which the latest frame of the caller was due."""

    # --- the audio path, if a setting needs it -------------------------------------------------

    @property
    def needs_audio(self) -> bool:
        """True if the settings of the call's agent need the audio of both sides."""
        settings = self._state.settings
        return settings.echo_guard or settings.min_speech_s > 0

    def hear(self, frame: bytes, now: float) -> bytes | None:
        """Take audio of the caller, as `AgentLink.hear` does, and note its level."""
        forwarded = self._link.hear(frame, now)
        if forwarded is not None:
            heard = level(forwarded)
            self._sound.add(heard)
            if self._state.settings.echo_guard:
                self._echo.add(heard, self._playing(now), is_turn=self._is_turn)
        return forwarded

    def speak(self, chunk: bytes, now: float) -> list[Piece]:
        """Take audio of the agent, as `Turns.speak` does, and note its level."""
        playback = self._playback
        is_gap = playback.ends_at <= now
        pieces = self._turns.speak(chunk, now)
        if pieces and self._state.settings.echo_guard:
            audio = b"".join(piece for piece, _ in pieces)
            self._agent.add(audio, playback.sent - len(audio), playback.epoch)
            # Marks may be late, and never early: the earliest beginning is the best known.
            begin = playback.ends_at - playback.sent / BYTES_PER_SECOND
            self._played_from = begin if is_gap else min(begin, self._played_from)
        return pieces

    def _playing(self, now: float) -> int:
        """Return the level of the agent's speech that plays while the caller sends a frame.

        A frame of the caller may be late, and is never early. When several come at once, each is
        of its own time.
        """
        due = self._heard_at + FRAME_MS / 1000
        self._heard_at = min(now, due) if now - due < LATE_S else now
        position = round((self._heard_at - self._played_from) * BYTES_PER_SECOND)
        if position >= self._playback.sent:
            return 0
        return self._agent.at(position, self._playback.epoch)

    # --- what happens --------------------------------------------------------------------------

    def begin_talking(self) -> None:
        """Note that both sides hear each other from now on, and what the agent says first."""
        self._release()
        self._is_turn = False
        # Audio of no utterance may have been sent meanwhile.
        self._played_from = self._playback.ends_at - self._playback.sent / BYTES_PER_SECOND
        is_protected = self._state.settings.protects_greeting and self._link.greets
        self._greeting = self._playback.begun + 1 if is_protected else 0

    def begin_speech(self, now: float) -> None:
        """Take Deepgram's word that the caller speaks: cut the agent, now, later or never."""
        self._published.clear()
        if self._turns.is_agent_idle:
            self._accept("speech", now)
        elif self._playback.is_in(self._greeting):
            self._suppress(Hold.GREETING, now)
        else:
            self._weigh("speech", HOLD_MATCH, now)

    def end_turn(self, now: float) -> None:
        """Take a turn of the caller that Deepgram has confirmed: the words were spoken to it."""
        if self._hold in (Hold.OPEN, Hold.SHORT) and not self._turns.is_agent_idle:
            self._accept("turn", now)
        self._end_hold()

    def begin_answer(self) -> None:
        """Note that the agent says something else: the caller's turn is over, or was none."""
        self._end_hold()

    def _end_hold(self) -> None:
        if self._playback.begun < self._greeting:
            self._greeting = 0  # This agent has no greeting.
        self._is_turn = False
        self._release()

    # --- time ----------------------------------------------------------------------------------

    def due(self) -> float | None:
        """Return when a sound has gone on for long enough, in seconds; None: never."""
        return self._decide_at

    def tick(self, now: float) -> None:
        """Decide about a sound that has gone on for long enough; look again at a held one."""
        if not is_due(self._decide_at, now):
            return
        self._decide_at = None
        if self._turns.is_agent_idle:
            return  # All was heard: there is nothing to cut any more.
        match self._hold:
            case Hold.OPEN:
                self._decide(now)
            case Hold.SHORT:
                self._look_again(now)
            case Hold.ECHO:
                self._weigh("beyond_echo", RELEASE_MATCH, now)

    # --- inside --------------------------------------------------------------------------------

    def _weigh(self, cause: InterruptionCause, least: float, now: float) -> None:
        """Hold an echo or a short sound; let a long one interrupt; wait to see which it is."""
        if self._holds_echo(least, now):
            return
        length_ms, goes_on = self._sound.latest()
        missing_s = self._state.settings.min_speech_s - length_ms / 1000
        if not self._state.settings.min_speech_s or missing_s <= 0:
            self._accept(cause, now)
        elif goes_on:
            self._hold, self._decide_at = Hold.OPEN, now + missing_s
            self._decide_by = now + self._state.settings.min_speech_s
        else:
            self._suppress(Hold.SHORT, now)

    def _decide(self, now: float) -> None:
        if self._holds_echo(HOLD_MATCH, now):
            return
        length_ms, goes_on = self._sound.latest()
        if length_ms >= self._state.settings.min_speech_s * 1000:
            self._accept("long_speech", now)
        elif not goes_on:
            self._suppress(Hold.SHORT, now)
        elif now < self._decide_by:
            # It pauses: within a word, or because it is over.
            self._decide_at = min(self._decide_by, now + FRAME_MS / 1000)
        else:
            self._accept("long_speech", now)

    def _look_again(self, now: float) -> None:
        """Let a caller interrupt who made a short sound, and then a long one."""
        length_ms, _ = self._sound.latest()
        if length_ms < self._state.settings.min_speech_s * 1000:
            self._decide_at = now + LOOK_S
        elif not self._holds_echo(HOLD_MATCH, now):
            self._accept("long_speech", now)

    def _holds_echo(self, least: float, now: float) -> bool:
        """Return whether the caller's sound is the agent's own; if so, hold it."""
        match = self._echo.match() if self._state.settings.echo_guard else None
        if match is None or match.likeness < least or match.has_second_voice:
            return False
        self._suppress(Hold.ECHO, now, match.lag_ms)
        return True

    def _suppress(self, why: Hold, now: float, lag_ms: int | None = None) -> None:
        self._hold = why
        self._decide_at = None if why is Hold.GREETING else now + LOOK_S
        if why not in self._published:
            self._published.append(why)
            length_ms = self._sound.latest()[0] if self.needs_audio else None
            self._state.note(InterruptionSuppressed(_CAUSES[why], length_ms, lag_ms))

    def _accept(self, cause: InterruptionCause, now: float) -> None:
        self._release()
        self._is_turn = True
        self._echo.exclude(ONSET_FRAMES)
        self._state.steps.interrupt(cause, now)

    def _release(self) -> None:
        self._hold, self._decide_at = Hold.NONE, None
