"""Playback of the agent's audio: how much the caller has heard.

Deepgram sends speech faster than it plays and Twilio buffers it, so what was sent is not what was
heard. Three things are known: what was sent, which marks came back, and how much time has passed.

All positions are bytes of agent audio sent to Twilio since the last `clear`. The stretch between
two clears is an epoch; its number is in every mark's name, because Twilio also echoes the marks
that a `clear` threw away, and such an echo proves nothing (twilio.md §1.6, rules 1 to 3).
"""

from typing import Final

from offhook.audio import BYTES_PER_SECOND, FRAME_BYTES, SILENCE, milliseconds
from offhook.call.commands import Piece
from offhook.call.heard_text import SpeechRate, TextPiece, heard_words
from offhook.events.types import AgentAnnounced, AgentHeard, AgentSaid

MARK_EVERY: Final = 200 * 8
"""Bytes between marks, after the first, which follows the first 20 ms of an utterance."""


HEARD_EVERY: Final = BYTES_PER_SECOND
"""Bytes of an utterance between two reports of how much of it was heard."""

KEPT_MAX: Final = 5 * BYTES_PER_SECOND
"""Bytes of the longest utterance that is kept."""

WAITING_MAX: Final = 300
"""Marks before which audio is kept that Twilio may hold: 60 s. The oldest is forgotten first."""

_NEVER: Final = -1

TEXT_MAX: Final = 64 * 1024
"""Letters kept of the text of an utterance; the rest is left out, visibly."""


class _Utterance:
    __slots__ = ("began_at", "complete", "letters", "number", "size", "start", "text_pieces")

    def __init__(self, number: int, start: int) -> None:
        self.number = number
        self.start = start
        self.began_at = 0.0
        """Time in seconds at which the first byte is played; meaningless while nothing plays."""
        self.size = 0
        self.text_pieces: list[TextPiece] = []
        self.letters = 0
        self.complete = False


class Playback:
    """The agent's audio on its way to the caller. The call began at `began`, in seconds."""

    def __init__(self, began: float = 0.0) -> None:
        self.epoch = 0
        """Number of times that audio was cut."""
        self.sent = 0
        """Bytes of this epoch that were sent to Twilio."""
        self._began = began
        self.marks: list[int] = []
        """Positions of marks that have not come back."""
        self._next_mark = FRAME_BYTES
        self._rest = b""
        self.kept = b""
        """Audio of the latest utterance that was to be kept, and came whole."""
        self._keeping: bytearray | None = None
        self._plain_size = FRAME_BYTES
        """Size of a chunk that needs nothing but to be counted; _NEVER while chunks are kept."""
        self.known = 0
        """Bytes of this epoch that were surely played; the rest is estimated by time."""
        self._waiting: list[bytes] = []
        """Pieces of this epoch that were sent since `known`, but for those of `_forgotten`."""
        self._forgotten = 0
        """Number of pieces of this epoch that are in `_waiting` no more."""
        self._pieces_at: list[int] = []
        """Number of pieces of this epoch before each of `marks`."""
        self._ends_at = 0.0
        self._utterances: list[_Utterance] = []
        self._open: _Utterance | None = None
        self._begun = 0
        self._heard_due = 0
        self._rate = SpeechRate()

    # --- what is asked ---

    @property
    def unconfirmed(self) -> bool:
        """True while Twilio may hold audio that it has not played."""
        return self.known < self.sent

    @property
    def unfinished(self) -> bool:
        """True while Deepgram is in the middle of an utterance."""
        return self._open is not None

    @property
    def is_mid_speech(self) -> bool:
        """True while Deepgram is in the middle of an utterance that has audio."""
        return self._open is not None and self._open.size > 0

    @property
    def falls_short(self) -> bool:
        """True if that audio is too little for the words that were announced of the utterance."""
        utterance = self._open
        return (
            utterance is not None
            and utterance.size > 0
            and self._rate.falls_short(utterance.text_pieces, utterance.size)
        )

    @property
    def ends_at(self) -> float:
        """Time in seconds at which all sent audio will have been played; in the past when idle."""
        return self._ends_at

    @property
    def has_speech(self) -> bool:
        """True if an utterance whose end was not heard has audio."""
        return any(utterance.size for utterance in self._utterances)

    @property
    def to_be_heard(self) -> list[str]:
        """Texts of complete utterances whose end the caller has not heard, as far as is known."""
        return [
            " ".join(piece.text for piece in utterance.text_pieces)
            for utterance in self._utterances
            if utterance.complete and utterance.text_pieces
        ]

    def heard(self, now: float) -> int:
        """Return the bytes of this epoch that were heard, at most up to the first pending mark."""
        passed = self.sent - round((self._ends_at - now) * BYTES_PER_SECOND)
        return max(self.known, min(passed, self.marks[0] if self.marks else self.sent))

    def unheard(self, now: float) -> bytes:
        """Return what was sent and is not heard: what the caller hears from now on.

        Of more than 60 s the first part is silence, as it is kept no longer.
        """
        size = self.sent - self.heard(now)
        kept = b"".join(self._waiting)[-size:] if size else b""
        return SILENCE * (size - len(kept)) + kept

    @property
    def begun(self) -> int:
        """Number of the latest utterance that has begun; 0 before the first."""
        return self._begun

    def is_in(self, number: int) -> bool:
        """Return whether an utterance, by its number, has begun and is not over for the caller."""
        return any(utterance.number == number for utterance in self._utterances)

    @property
    def carried(self) -> int:
        """Bytes of an incomplete frame, which wait for its rest."""
        return len(self._rest)

    # --- what happens ---

    def resume(self, begun: int) -> None:
        """Count utterances on from `begun`, as another process had those before."""
        self._begun = begun

    def play(self, chunk: bytes, now: float) -> list[Piece]:
        """Take agent audio; return what to send now, in whole 20 ms frames, with marks."""
        utterance = self._open or self._begin()
        size = len(chunk)
        sent = self.sent + size
        if not self._rest and size == self._plain_size and sent < self._next_mark:
            # The common case: agents send about a frame at a time, one in ten has a mark.
            if utterance.size and now <= self._ends_at:
                self.sent = sent  # As `_count` does, without a call.
                utterance.size += size
                self._ends_at += size / BYTES_PER_SECOND
            else:
                self._count(utterance, size, now)
            self._waiting.append(chunk)
            return [(chunk, None)]
        if self._keeping is not None:
            self._keep(chunk)
        if self._rest:
            chunk = self._rest + chunk
            size = len(chunk)
        whole = size - size % FRAME_BYTES
        self._rest = chunk[whole:]
        return self._send(utterance, chunk, whole, now)

    def hold(self, audio: bytes, now: float) -> list[Piece]:
        """Take audio of no utterance; return what to send now, with marks.

        It follows all that was sent. Nobody has said it, so it is in no AgentSaid.
        """
        self._next_mark = self.sent + MARK_EVERY
        pieces = self._send(_Utterance(0, self.sent), audio, len(audio), now)
        if self.marks[-1:] != [self.sent]:
            pieces.append((b"", self._set_mark()))
        if self._open is not None:
            self._open.start = self.sent  # It was announced, and has no audio yet.
        self._next_mark = self.sent + FRAME_BYTES
        return pieces

    def relay(self, audio: bytes, now: float) -> list[Piece]:
        """Take audio of an operator; return what to send now, with marks. It is in no AgentSaid."""
        if not self.sent < self._next_mark <= self.sent + MARK_EVERY:
            self._next_mark = self.sent + MARK_EVERY
        return self._send(_Utterance(0, self.sent), audio, len(audio), now)

    def end_relay(self) -> list[Piece]:
        """Return the last mark of an operator's audio, if one is missing."""
        if not self.unconfirmed or self.marks[-1:] == [self.sent]:
            return []
        return [(b"", self._set_mark())]

    def say(
        self, text: str, behavior: str = "default", *, is_kept: bool = False
    ) -> AgentAnnounced | None:
        """Add a piece of text to the current utterance, or to a new one.

        `is_kept`: the audio is kept if the utterance is this piece alone, and not too long. Return
        the piece as it was taken; None: the utterance has no room for more.
        """
        if is_kept and self._open is None:
            self._keeping, self._plain_size = bytearray(), _NEVER
        else:
            self._stop_keeping()
        utterance = self._open or self._begin()
        room = TEXT_MAX - utterance.letters
        if room <= 0:
            return None
        # One letter more for each, so that the number of empty texts is limited, too.
        utterance.letters += len(text) + 1
        if len(text) >= room:
            text = text[:room] + " …"
        utterance.text_pieces.append(TextPiece(text, utterance.size))
        return AgentAnnounced(utterance.number, text, behavior)

    def finish(self, now: float) -> tuple[list[Piece], list[AgentSaid]]:
        """End the utterance; return what remains to be sent, with a last mark.

        Also return utterances that are over at once, because they had no audio. Between
        utterances nothing happens.
        """
        utterance, self._open = self._open, None
        if utterance is None:
            return [], []
        rest, self._rest = self._rest, b""
        pieces = self._send(utterance, rest, len(rest), now)
        utterance.complete = True
        self.kept = bytes(self._keeping or b"") or self.kept
        self._stop_keeping()
        if utterance.size:
            self._rate.learn(utterance.text_pieces, utterance.size)
            if not (self.marks and self.marks[-1] == self.sent) and self.unconfirmed:
                pieces.append((b"", self._set_mark()))
        return pieces, self._over()

    def confirm(self, name: str, now: float) -> list[AgentSaid] | None:
        """Take a mark; return the utterances that are over, or None for a mark of another epoch."""
        try:
            position = self.marks.index(self._position(name))
        except ValueError:
            return None
        for _ in range(position + 1):
            self.known = self.marks.pop(0)
            self._forget(self._pieces_at.pop(0))
        self._ends_at = now + (self.sent - self.known) / BYTES_PER_SECOND
        return self._over()

    def report(self) -> AgentHeard | None:
        """Return how much was heard of the utterance that plays, about once a second of it.

        The first report comes with the utterance's first mark, after 20 ms.
        """
        if self.known < self._heard_due or not self._utterances:
            return None
        utterance = self._utterances[0]
        heard = self.known - utterance.start
        if heard <= 0:
            return None
        self._heard_due = self.known + HEARD_EVERY
        return AgentHeard(utterance.number, milliseconds(heard), self._start_ms(utterance))

    def cut(self, now: float) -> list[AgentSaid]:
        """Cut the audio and begin a new epoch; return what was heard of each utterance."""
        heard = self.heard(now)
        rate = self._rate.bytes_per_letter
        said = [self._said(utterance, heard, rate) for utterance in self._utterances]
        self._utterances.clear()
        self._open = None
        self._stop_keeping()
        self.epoch += 1
        self.marks.clear()
        self._pieces_at.clear()
        self._waiting.clear()
        self._forgotten = 0
        self._rest = b""
        self.sent = self.known = self._heard_due = 0
        self._ends_at = now
        return said

    def first_mark(self) -> str:
        """Return the name of the mark after the first 20 ms of the utterance that is playing."""
        return self._mark_name(self._utterances[-1].start + FRAME_BYTES)

    # --- inside ---

    def _begin(self) -> _Utterance:
        self._begun += 1
        self._open = utterance = _Utterance(self._begun, self.sent)
        self._utterances.append(utterance)
        self._next_mark = self.sent + FRAME_BYTES
        return utterance

    def _keep(self, chunk: bytes) -> None:
        if self._keeping is not None and len(self._keeping) + len(chunk) <= KEPT_MAX:
            self._keeping += chunk
        else:
            self._stop_keeping()

    def _stop_keeping(self) -> None:
        self._keeping, self._plain_size = None, FRAME_BYTES

    def _send(self, utterance: _Utterance, audio: bytes, size: int, now: float) -> list[Piece]:
        pieces: list[Piece] = []
        begin = 0
        while begin < size:
            end = min(size, begin + self._next_mark - self.sent)
            piece = audio if end - begin == len(audio) else audio[begin:end]
            self._count(utterance, end - begin, now)
            self._waiting.append(piece)
            begin = end
            if self.sent == self._next_mark:
                self._next_mark += MARK_EVERY
                pieces.append((piece, self._set_mark()))
            else:
                pieces.append((piece, None))
        return pieces

    def _count(self, utterance: _Utterance, size: int, now: float) -> None:
        # Playback has run out: audio that comes now is played from now on.
        if self._ends_at < now:
            self._ends_at = now
        if not utterance.size:
            utterance.began_at = self._ends_at
        self.sent += size
        utterance.size += size
        self._ends_at += size / BYTES_PER_SECOND

    def _set_mark(self) -> str:
        """Set a mark behind all that was sent; return its name."""
        self.marks.append(self.sent)
        self._pieces_at.append(self._forgotten + len(self._waiting))
        if len(self.marks) > WAITING_MAX:
            self._forget(self._pieces_at[-WAITING_MAX - 1])
        return self._mark_name(self.sent)

    def _forget(self, pieces: int) -> None:
        """Keep the first pieces of this epoch no longer."""
        if pieces > self._forgotten:
            del self._waiting[: pieces - self._forgotten]
            self._forgotten = pieces

    def _mark_name(self, position: int) -> str:
        return f"{self.epoch}:{position}"

    def _position(self, name: str) -> int:
        epoch, _, position = name.partition(":")
        if epoch != str(self.epoch):
            raise ValueError(name)
        return int(position)

    def _over(self) -> list[AgentSaid]:
        said = []
        while self._utterances and self._utterances[0].complete:
            utterance = self._utterances[0]
            if utterance.start + utterance.size > self.known:
                break
            said.append(self._said(utterance, self.known, self._rate.bytes_per_letter))
            self._utterances.pop(0)
            self._heard_due = 0
        return said

    def _said(self, utterance: _Utterance, heard: int, rate: float) -> AgentSaid:
        intended = " ".join(piece.text for piece in utterance.text_pieces)
        own = max(0, min(heard - utterance.start, utterance.size))
        start_ms = self._start_ms(utterance) if own else None
        interrupted = not utterance.complete or own < utterance.size
        text = intended if own else ""
        if interrupted:
            text = heard_words(
                utterance.text_pieces,
                utterance.size,
                own,
                rate,
                complete=utterance.complete,
            )
        return AgentSaid(text, intended, milliseconds(own), interrupted, start_ms)

    def _start_ms(self, utterance: _Utterance) -> int:
        """Return when the first byte of an utterance is played, in ms of the call."""
        return round((utterance.began_at - self._began) * 1000)
