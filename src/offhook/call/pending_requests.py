"""Messages to the agent whose effect is not known yet.

Deepgram's answers name no request. A refusal, in either of its two forms (deepgram.md §2.14),
belongs to the oldest injection; an acknowledgement, to the oldest update of its kind (§3.12). An
injection is recognised by its text when it is spoken.
"""

from typing import Final, NamedTuple

from offhook.call.call_state import CallState
from offhook.call.commands import KeepChanges, Reply, TellAgent
from offhook.call.history import ConversationHistory
from offhook.deepgram import changes
from offhook.deepgram import messages as deepgram
from offhook.deepgram.changes import Change
from offhook.events.types import AgentTold, CallerSaid

UNANSWERED_S: Final = 10.0
"""Seconds to wait for Deepgram's answer to an injection or an update, and for queued speech."""

Injection = deepgram.InjectAgentMessage | deepgram.InjectUserMessage
Acknowledgement = (
    deepgram.PromptUpdated | deepgram.ThinkUpdated | deepgram.SpeakUpdated | deepgram.ListenUpdated
)

_ACKNOWLEDGES: Final[dict[type, type]] = {
    deepgram.PromptUpdated: deepgram.UpdatePrompt,
    deepgram.ThinkUpdated: deepgram.UpdateThink,
    deepgram.SpeakUpdated: deepgram.UpdateSpeak,
    deepgram.ListenUpdated: deepgram.UpdateListen,
}


class PendingRequest(NamedTuple):
    """A message that awaits an answer.

    `request_id` names the request from outside; None: the call's own message.
    """

    message: Injection | Change
    request_id: int | None
    at: float


class PendingRequests:
    """Messages that Deepgram has not answered, oldest first; also replies to outside requests."""

    def __init__(self, state: CallState, history: ConversationHistory) -> None:
        self._state = state
        self._history = history
        self._injections: list[PendingRequest] = []
        self._changes: list[PendingRequest] = []
        self._left: list[str] = []
        """Texts that the session before was told in the caller's stead, and had not confirmed."""
        self.changes: tuple[Change, ...] = ()
        """Changes that were made, with which a later session begins (§5.4)."""

    @property
    def is_idle(self) -> bool:
        """True while no message awaits an answer."""
        return not self._injections and not self._changes

    def send(self, message: Injection | Change, request_id: int | None, now: float) -> None:
        """Send the agent a message that awaits an answer."""
        self._state.do(TellAgent(message))
        request = PendingRequest(message, request_id, now)
        if isinstance(message, Injection):
            self._injections.append(request)
            if isinstance(message, deepgram.InjectUserMessage):
                self._state.steps.expect_answer(now)
        else:
            self._changes.append(request)

    def tell(self, text: str, request_id: int | None, now: float) -> None:
        """Tell the agent something that it answers to, as if the caller had said it."""
        told = AgentTold(text)
        self._state.note(told)
        self._history.said(told)
        self.send(deepgram.InjectUserMessage(content=text), request_id, now)

    def repeat_turn(self, text: str, now: float) -> None:
        """Repeat a turn of the caller's that had no answer; the record has it already."""
        self._history.said(CallerSaid(text))
        self.send(deepgram.InjectUserMessage(content=text), None, now)

    def repeat_changes(self) -> None:
        """Repeat all changes in a session whose Settings cannot carry them."""
        for change in self.changes:
            self._state.do(TellAgent(change))

    def restore(self, changes: tuple[Change, ...]) -> None:
        """Take the changes that were made while another process had the call."""
        self.changes = changes

    def forget_changes(self) -> None:
        """Forget all changes, as another agent takes over."""
        if self.changes:
            self._set(())

    # --- what Deepgram answers -----------------------------------------------------------------

    def spoken(self, text: str) -> None:
        """Note what the agent says; the last sentence of an injection shows that it is spoken."""
        for request in self._injections:
            message = request.message
            if isinstance(message, deepgram.InjectAgentMessage) and (
                text and message.message.strip().endswith(text)
            ):
                self._injections.remove(request)
                self._reply(request, self._state.phrases.being_said)
                return

    def told(self, text: str) -> bool:
        """Return whether a caller's turn is what the agent was told in the caller's stead."""
        for request in self._injections:
            message = request.message
            if isinstance(message, deepgram.InjectUserMessage) and (
                message.content.strip() == text.strip()
            ):
                self._injections.remove(request)
                self._reply(request, self._state.phrases.agent_told)
                return True
        return False

    def was_told(self, text: str) -> bool:
        """Return whether a late turn is what the session before was told in the caller's stead."""
        is_known = text.strip() in self._left
        if is_known:
            self._left.remove(text.strip())
        return is_known

    def refuse(self, why: str, *, while_agent_speaks: bool) -> PendingRequest | None:
        """Find the injection that was refused; while the agent speaks, never a queued one."""
        for request in self._injections:
            behavior = getattr(request.message, "behavior", "default")
            if behavior == "default" or (behavior == "queue" and not while_agent_speaks):
                self._injections.remove(request)
                self._reply(request, why or self._state.phrases.somebody_speaks, done=False)
                return request
        return None

    def acknowledge(self, message: Acknowledgement) -> None:
        """Treat a change as made."""
        kind = _ACKNOWLEDGES[type(message)]
        for request in self._changes:
            if isinstance(request.message, kind):
                self._changes.remove(request)
                self._keep(request.message)
                self._reply(request, self._state.phrases.done)
                return

    def refuse_listen(self, why: str) -> None:
        """Treat a change of the listener as refused (§2.13)."""
        for request in self._changes:
            if isinstance(request.message, deepgram.UpdateListen):
                self._changes.remove(request)
                self._reply(request, why, done=False)
                return

    def forget(self, why: str) -> None:
        """Stop waiting for answers, as the session is gone."""
        lost = [*self._injections, *self._changes]
        told = [request.message for request in self._injections]
        self._left = [
            each.content.strip() for each in told if isinstance(each, deepgram.InjectUserMessage)
        ]
        self._injections.clear()
        self._changes.clear()
        for request in lost:
            self._reply(request, why, done=False)

    # --- time ----------------------------------------------------------------------------------

    def due(self) -> float | None:
        """Return when the oldest message has waited long enough, in seconds; None: never."""
        firsts = [queue[0].at for queue in (self._injections, self._changes) if queue]
        return min(firsts) + UNANSWERED_S if firsts else None

    def tick(self, now: float) -> None:
        """Reply to requests that have waited long enough.

        A change may have been made all the same (§3.12), so it is kept.
        """
        for queue in (self._injections, self._changes):
            while queue and now >= queue[0].at + UNANSWERED_S:
                request = queue.pop(0)
                self._keep(request.message)
                self._reply(request, self._state.phrases.agent_silent, done=False)

    def _reply(self, request: PendingRequest, what: str, *, done: bool = True) -> None:
        if request.request_id is not None:
            self._state.do(Reply(request.request_id, done, what))

    def _keep(self, message: Injection | Change) -> None:
        if not isinstance(message, Injection):
            self._set(changes.kept(self.changes, message))

    def _set(self, all_changes: tuple[Change, ...]) -> None:
        self.changes = all_changes
        self._state.do(KeepChanges(all_changes))
