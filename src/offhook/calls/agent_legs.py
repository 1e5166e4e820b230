"""The legs of a session to its agent: the one that serves the call, and one beside it."""

from abc import abstractmethod
from collections.abc import Callable

from offhook.call import inputs
from offhook.call.call import Call
from offhook.call.commands import Command
from offhook.call_context import of_call
from offhook.calls.leg_inputs import LegInputs
from offhook.calls.pause_gate import PauseGate
from offhook.calls.spare_leg import SpareLeg
from offhook.clock import Clock
from offhook.deepgram.leg import AgentLeg, Dial
from offhook.events.types import AgentDisconnected
from offhook.net.websocket import UnreachableError, UpgradeRefusedError


class AgentLegs(LegInputs):
    """Base of Session with its sockets to Deepgram, and how long they are open.

    It is a base class for the reason that CallDecisions gives.
    """

    __slots__ = (
        "_agent",
        "_agent_open_at",
        "_dial",
        "_dial_spare",
        "_spare",
        "_spare_settled",
    )

    def __init__(
        self,
        call_sid: str,
        clock: Clock,
        gate: PauseGate | None,
        make: Callable[[Callable[[Command], None]], Call],
        dial: Dial,
        dial_spare: Dial,
        spare_settled: Callable[[str], None] | None,
    ) -> None:
        super().__init__(call_sid, clock, gate, make)
        self._dial = dial
        self._dial_spare = dial_spare
        self._spare_settled = spare_settled
        self._agent: AgentLeg | None = None
        self._agent_open_at: float | None = None
        self._spare: SpareLeg | None = None

    @property
    def has_agent(self) -> bool:
        """True while the agent's leg is up, or being dialled."""
        return self._agent is not None

    @abstractmethod
    def on_agent_audio(self, audio: bytes) -> None:
        """Pass audio of the agent on to the caller."""

    # --- what the agent's leg tells --------------------------------------------------------------

    def on_agent_open(self) -> None:
        """Start to count the agent's connection time, as Deepgram's socket is open."""
        self._agent_open_at = self._now()

    def on_agent_lost(self, why: str, code: int | None, *, ours: bool) -> None:
        """Report that Deepgram's socket is gone."""
        self._agent = None
        self._note_agent_gone()
        if ours:
            self.receive(inputs.CallBroke(why))
        self.receive(inputs.LegLost("agent", why, code=code))

    def on_agent_failed(self, error: UpgradeRefusedError | UnreachableError) -> None:
        """Report that Deepgram's socket could not be opened."""
        self._agent = None
        if isinstance(error, UpgradeRefusedError):
            self.receive(inputs.AgentLegRefused(error.status))
        else:
            self.receive(inputs.AgentLegUnreachable(str(error)))

    # --- what the call commands ------------------------------------------------------------------

    def _dial_agent(self, place: int) -> None:
        with of_call(self.call_sid):
            self._agent = AgentLeg(self, self._dial, place)

    def _hang_up_agent(self, *, hears_out: bool = True) -> None:
        self._note_agent_gone()
        if self._agent is not None:
            self._agent.hang_up(hears_out=hears_out)
            self._agent = None

    def _note_agent_gone(self) -> None:
        if self._agent_open_at is not None:
            self.note(AgentDisconnected(round((self._now() - self._agent_open_at) * 1000)))
            self._agent_open_at = None

    def _dial_beside(self, place: int) -> None:
        with of_call(self.call_sid):
            self._spare = SpareLeg(self, self._dial_spare, place, self._now, self._on_spare_settled)

    def _use_spare(self) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            self._hang_up_agent(hears_out=False)  # the spare gets the same audio
            self._agent, self._agent_open_at = spare.hand_over(self)

    def _hang_up_spare(self) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.hang_up()

    def _on_spare_settled(self) -> None:
        if self._spare_settled is not None:
            self._spare_settled(self.call_sid)
