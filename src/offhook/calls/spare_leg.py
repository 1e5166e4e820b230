"""The spare leg of a session: a second socket to Deepgram, until it takes over or is closed."""

from collections.abc import Callable

from offhook.call import inputs
from offhook.calls.leg_inputs import LegInputs
from offhook.deepgram import messages as deepgram
from offhook.deepgram.leg import AgentLeg, AgentLegOwner, Dial
from offhook.events.types import AgentDisconnected
from offhook.net.websocket import UnreachableError, UpgradeRefusedError


class SpareLeg:
    """Owner of a leg that does not serve the call yet; `session` gets what the call must know."""

    def __init__(
        self,
        session: LegInputs,
        dial: Dial,
        place: int,
        now: Callable[[], float],
        settled: Callable[[], None],
    ) -> None:
        """Dial. `settled` is called once, when the call has one leg again."""
        self._session = session
        self._settled: Callable[[], None] | None = settled
        self._now = now
        self._open_at: float | None = None
        self._leg = AgentLeg(self, dial, place)

    def send(self, text: bytes) -> None:
        """Send a message."""
        self._leg.send(text)

    def hang_up(self) -> None:
        """Close the leg, or stop dialling it, and publish how long it was open."""
        self._leg.hang_up()
        self._note_gone()
        self._settle()

    def hand_over(self, owner: AgentLegOwner) -> tuple[AgentLeg, float | None]:
        """Return the leg, which belongs to `owner` from now on, and when its socket was opened."""
        self._leg.owner = owner
        self._settle()
        return self._leg, self._open_at

    # --- what the leg tells ---

    def on_agent_open(self) -> None:
        """Start to count the connection time."""
        self._open_at = self._now()

    def on_agent_message(
        self, message: deepgram.ServerMessage | deepgram.UnknownAgentMessage
    ) -> None:
        """Pass on what concerns the opening of the session; nothing else may concern the call."""
        match message:
            case deepgram.Welcome():
                self._session.receive(inputs.SpareWelcomed(message.request_id))
            case deepgram.SettingsApplied():
                self._session.receive(inputs.SpareReady())
            case deepgram.Error():
                self._session.receive(inputs.SpareLost("error", message.code))
            case _:
                pass

    def on_late_turn(self, turn: deepgram.ConversationText) -> None:
        """Do nothing: the leg has heard nobody."""

    def on_agent_audio(self, audio: bytes) -> None:
        """Drop speech, which nobody has asked for."""

    def on_agent_garbage(self, what: str) -> None:
        """Report that the leg is of no use, as it breaks the protocol."""
        self._session.receive(inputs.SpareLost("error", "garbage"))

    def on_agent_writable(self, writable: bool) -> None:
        """Do nothing: hardly anything is sent."""

    def on_agent_failed(self, error: UpgradeRefusedError | UnreachableError) -> None:
        """Report that the socket could not be opened."""
        self._settle()
        if isinstance(error, UpgradeRefusedError):
            self._session.receive(inputs.SpareLost("refused", str(error.status)))
        else:
            self._session.receive(inputs.SpareLost("unreachable"))

    def on_agent_lost(self, why: str, code: int | None, *, ours: bool) -> None:
        """Report that the socket is gone."""
        self._note_gone()
        self._settle()
        if ours:
            self._session.receive(inputs.CallBroke(why))
        self._session.receive(inputs.SpareLost("closed"))

    def on_agent_dropped(self, size: int) -> None:
        """Do nothing: no audio is sent."""

    def _settle(self) -> None:
        settled, self._settled = self._settled, None
        if settled is not None:
            settled()

    def _note_gone(self) -> None:
        if self._open_at is not None:
            self._session.note(AgentDisconnected(round((self._now() - self._open_at) * 1000)))
            self._open_at = None
