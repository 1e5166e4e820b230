"""Utterances of the agent that have not ended: at this moment, or when a server died."""

from dataclasses import dataclass, field

from offhook.audio import BYTES_PER_MS
from offhook.call.heard_text import BYTES_PER_LETTER, TextPiece, heard_words
from offhook.events.types import AgentAnnounced, AgentHeard, AgentSaid, Event


@dataclass(slots=True)
class _Utterance:
    texts: list[str] = field(default_factory=list)
    heard_ms: int = 0
    start_ms: int | None = None
    at_ms: int = 0


class UnfinishedSpeech:
    """The agent's speech in one call, by its events in their order."""

    def __init__(self) -> None:
        self._ended = 0
        self._open: dict[int, _Utterance] = {}

    @property
    def begun(self) -> int:
        """Number of utterances that have begun, as far as events tell."""
        return max([self._ended, *self._open])

    def take(self, event: Event | None, at_ms: int) -> None:
        """Take an event, which came at `at_ms` of the call; those of no use here are ignored."""
        match event:
            case AgentSaid():
                self._ended += 1
                self._open.pop(self._ended, None)
            case AgentAnnounced() if event.utterance > self._ended:
                utterance = self._utterance(event.utterance, at_ms)
                utterance.texts.append(event.text)
            case AgentHeard() if event.utterance > self._ended:
                utterance = self._utterance(event.utterance, at_ms)
                utterance.heard_ms, utterance.start_ms = event.heard_ms, event.start_ms

    def cut(self) -> list[tuple[int, AgentSaid]]:
        """Return the utterances that have not ended, as if they were cut now, each with its ms.

        Which words were heard is estimated by a usual rate: how much audio there was is not known.
        """
        return [(of.at_ms, _cut(of)) for _, of in sorted(self._open.items())]

    def _utterance(self, number: int, at_ms: int) -> _Utterance:
        utterance = self._open.setdefault(number, _Utterance())
        utterance.at_ms = at_ms
        return utterance


def _cut(utterance: _Utterance) -> AgentSaid:
    heard = utterance.heard_ms * BYTES_PER_MS
    pieces = [TextPiece(text, 0) for text in utterance.texts]
    return AgentSaid(
        text=heard_words(pieces, heard, heard, BYTES_PER_LETTER, complete=False),
        intended=" ".join(utterance.texts),
        heard_ms=utterance.heard_ms,
        interrupted=True,
        start_ms=utterance.start_ms,
    )
