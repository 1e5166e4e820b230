"""What the agent was asked to say or to change, until it is known whether it did.

Deepgram's answers name no request: a refusal, in whichever of its two forms (deepgram.md §2.14), is
of the oldest injection, an acknowledgement of the oldest update of its kind (§3.12), and what was
injected is known by its text.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple

from offhook.deepgram import messages as deepgram

UNANSWERED_S: Final = 10.0
"""How long Deepgram's word on an injection or an update is waited for; queued speech waits too."""

Injection = deepgram.InjectAgentMessage | deepgram.InjectUserMessage
Change = deepgram.UpdatePrompt | deepgram.UpdateThink | deepgram.UpdateSpeak | deepgram.UpdateListen

_ACKNOWLEDGES: Final[dict[type, type]] = {
    deepgram.PromptUpdated: deepgram.UpdatePrompt,
    deepgram.ThinkUpdated: deepgram.UpdateThink,
    deepgram.SpeakUpdated: deepgram.UpdateSpeak,
    deepgram.ListenUpdated: deepgram.UpdateListen,
}


class Asked(NamedTuple):
    """A message on its way. `ask`: the number of who asked from outside, None: the call itself."""

    message: Injection | Change
    ask: int | None
    at: float


class Asking:
    """Messages that Deepgram has not answered, oldest first."""

    def __init__(self) -> None:
        self._injections: deque[Asked] = deque()
        self._changes: deque[Asked] = deque()
        self.kept: list[Change] = []
        """Changes that were made, for a session that follows this one (§5.4)."""

    def add(self, message: Injection | Change, ask: int | None, now: float) -> None:
        """It was sent."""
        asked = Asked(message, ask, now)
        if isinstance(message, Injection):
            self._injections.append(asked)
        else:
            self._changes.append(asked)

    def spoken(self, text: str) -> Asked | None:
        """The agent announced that it says this: the last sentence of which injection it is."""
        for asked in self._injections:
            message = asked.message
            if isinstance(message, deepgram.InjectAgentMessage) and (
                text and message.message.strip().endswith(text)
            ):
                self._injections.remove(asked)
                return asked
        return None

    def told(self, text: str) -> Asked | None:
        """A turn of the caller came: which injection it is, if the caller did not say it."""
        for asked in self._injections:
            message = asked.message
            if isinstance(message, deepgram.InjectUserMessage) and (
                message.content.strip() == text.strip()
            ):
                self._injections.remove(asked)
                return asked
        return None

    def refused(self, *, while_agent_speaks: bool) -> Asked | None:
        """An injection was refused: which; while the agent speaks no queued one is."""
        for asked in self._injections:
            behavior = getattr(asked.message, "behavior", "default")
            if behavior == "default" or (behavior == "queue" and not while_agent_speaks):
                self._injections.remove(asked)
                return asked
        return None

    def acknowledged(self, message: deepgram.ServerMessage) -> Asked | None:
        """A change was made: which."""
        kind = _ACKNOWLEDGES[type(message)]
        for asked in self._changes:
            if isinstance(asked.message, kind):
                self._changes.remove(asked)
                self._keep(asked.message)
                return asked
        return None

    def change_refused(self) -> Asked | None:
        """A change of the listener was refused: which (§2.13)."""
        for asked in self._changes:
            if isinstance(asked.message, deepgram.UpdateListen):
                self._changes.remove(asked)
                return asked
        return None

    def due(self) -> float | None:
        """When the oldest has waited long enough, in seconds."""
        firsts = [queue[0].at for queue in (self._injections, self._changes) if queue]
        return min(firsts) + UNANSWERED_S if firsts else None

    def overdue(self, now: float) -> Iterator[Asked]:
        """Those that have waited long enough. What was to be changed may well be: it is kept."""
        for queue in (self._injections, self._changes):
            while queue and now >= queue[0].at + UNANSWERED_S:
                asked = queue.popleft()
                self._keep(asked.message)
                yield asked

    def forget(self) -> list[Asked]:
        """The session is gone: nothing is answered any more. What was on its way."""
        lost = [*self._injections, *self._changes]
        self._injections.clear()
        self._changes.clear()
        return lost

    def _keep(self, message: Injection | Change) -> None:
        if isinstance(message, Injection):
            return
        if not isinstance(message, deepgram.UpdatePrompt):  # which appends (§2.10)
            self.kept = [each for each in self.kept if type(each) is not type(message)]
        self.kept.append(message)
