"""Conversation so far, for an agent that continues it.

Source: deepgram.md §2.8 and §5.4: what the caller heard, not what the agent was about to say.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from offhook.call.resumed import Turn
from offhook.deepgram import messages as deepgram
from offhook.events.types import AgentSaid, AgentTold, CallerSaid

BUDGET: Final = 16 * 1024
"""Letters of the latest conversation that are handed on: the model's context is limited."""
ENTRY_MAX: Final = BUDGET // 4
"""Letters of one entry beyond which its texts are cut: one must not push out all the others."""


class ConversationHistory:
    """Conversation of one call, up to the size that is handed on."""

    def __init__(self) -> None:
        self._entries: list[tuple[deepgram.History, int]] = []
        self._size = 0
        self.functions_done = 0
        """Functions that were answered so far."""

    def said(self, said: CallerSaid | AgentSaid | AgentTold) -> None:
        """Add a turn of either side, or what the agent was told in the caller's stead."""
        if said.text:
            role = "assistant" if isinstance(said, AgentSaid) else "user"
            self._add(deepgram.History(role=role, content=said.text), len(said.text))

    def ran(self, function: deepgram.FinishedFunction) -> None:
        """Add a function that was answered."""
        self.functions_done += 1
        size = len(function.arguments) + len(function.response)
        size += len(function.thought_signature or "")
        self._add(deepgram.History(function_calls=[function]), size)

    def restore(self, turns: Iterable[Turn]) -> None:
        """Add the conversation of a call that another process had."""
        for turn in turns:
            if isinstance(turn, deepgram.FinishedFunction):
                self.ran(turn)
            else:
                self.said(turn)

    def so_far(self) -> tuple[deepgram.History, ...]:
        """Return the conversation so far, oldest first."""
        return tuple(entry for entry, _ in self._entries)

    def unanswered(self) -> tuple[deepgram.History, ...]:
        """Return what follows the agent's last words, oldest first: turns and functions."""
        entries = self.so_far()
        begin = len(entries)
        while begin and entries[begin - 1].role != "assistant":
            begin -= 1
        return entries[begin:]

    def question(self) -> str:
        """Return what the caller said last, if nobody answered it; else empty.

        It is empty, too, where functions were answered since: their order must be kept.
        """
        texts = [entry.content for entry in self.unanswered()]
        return "" if None in texts else " ".join(text for text in texts if text)

    def take_question(self) -> str:
        """Remove the question from the conversation, and return it; empty without a question."""
        question = self.question()
        if question:
            for _ in self.unanswered():
                self._size -= self._entries.pop()[1]
        return question

    def _add(self, entry: deepgram.History, size: int) -> None:
        if size > ENTRY_MAX:
            entry = _bounded(entry)
            size = _size(entry)
        self._entries.append((entry, size))
        self._size += size
        while self._size > BUDGET and len(self._entries) > 1:
            self._size -= self._entries.pop(0)[1]


def _bounded(entry: deepgram.History) -> deepgram.History:
    """Return an entry of at most ENTRY_MAX letters: texts are cut visibly, or left out."""
    if entry.content is not None:
        return msgspec.structs.replace(entry, content=_short(entry.content, ENTRY_MAX))
    most = ENTRY_MAX // 3
    calls = [
        msgspec.structs.replace(
            call,
            # JSON, and a signature, that are cut are worse than none.
            arguments=call.arguments if len(call.arguments) <= most else "{}",
            response=_short(call.response, most),
            thought_signature=None
            if len(call.thought_signature or "") > most
            else call.thought_signature,
        )
        for call in entry.function_calls or ()
    ]
    return msgspec.structs.replace(entry, function_calls=calls)


def _size(entry: deepgram.History) -> int:
    size = len(entry.content or "")
    for call in entry.function_calls or ():
        size += len(call.arguments) + len(call.response) + len(call.thought_signature or "")
    return size


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 2] + " …"
