"""The caller's stream of a session, with everyone who hears it."""

from collections.abc import Callable

from offhook.call.handoff_actions import HandoffAction
from offhook.calls.control import CallControl
from offhook.calls.operators import Operators
from offhook.calls.session_recording import SessionRecording
from offhook.capture.tap import Tapped
from offhook.net.websocket import Channel
from offhook.twilio import messages as twilio
from offhook.twilio.stream import CallerLeg, CallerLegOwner, Recorder


class CallerStream:
    """The stream of a call, which may be left and come back.

    The recording, operators and the tap hear what is on it, and nothing while it is left.

    Attributes:
        leg: The caller's leg, which calls the session directly; None: there is no stream.
    """

    def __init__(
        self,
        control: CallControl,
        recording: SessionRecording,
        operators: Operators,
        tapped: Tapped | None,
    ) -> None:
        self.leg: CallerLeg | None = None
        self._control = control
        self._recording = recording
        self._operators = operators
        self._tapped = tapped

    def begin(self, channel: Channel, start: twilio.Start, owner: CallerLegOwner) -> None:
        """Make the channel of a verified stream the caller's leg, which calls `owner`."""
        if self._tapped is not None:
            channel = self._tapped.caller(channel, start)
        self._recording.begin_stream()
        recorder = self._operators.over(self._recording.recorder)
        self.leg = CallerLeg(channel, start.stream_sid, owner, recorder)
        channel.receiver = self.leg

    def record(self, recorder: Recorder | None) -> None:
        """Give the caller's leg, if there is one, what is to get its audio from now on."""
        if self.leg is not None:
            self.leg.record(recorder)

    def stop_recording(self) -> bool:
        """Give the audio of the caller's leg to nobody; return whether anybody got it."""
        if self.leg is None or not self.leg.is_recorded:
            return False
        self.leg.record(None)
        return True

    def mask(self, is_on: bool) -> None:
        """Let nobody hear the caller while a secret is entered."""
        self._recording.mask(is_on)
        self._operators.mask(is_on)
        if self._tapped is not None:
            self._tapped.is_masked = is_on

    def leave(self, action: HandoffAction) -> None:
        """Have Twilio do something else with the call, which ends the stream."""
        leg = self._cut()
        if leg is not None:
            self._control.leave_stream(action, leg.leave())

    def await_caller(self) -> None:
        """Close a stream that broke; the caller may come back to another one."""
        leg = self._cut()
        if leg is not None:
            leg.leave()()  # It may be half-open.
        self._control.await_caller()

    def _cut(self) -> CallerLeg | None:
        leg, self.leg = self.leg, None
        self._recording.cut()
        self._operators.cut()
        return leg

    def detach(self) -> Callable[[], None]:
        """Do no more with the stream; return what closes it."""
        leg, self.leg = self.leg, None
        return leg.leave() if leg is not None else _nothing

    def end(self, *, hangs_up: bool) -> None:
        """Close the stream at the end of the call, and hang up if that does not."""
        close = self.leg.close if self.leg is not None else _nothing
        if hangs_up:
            self._control.end_phone_call(close)
        else:
            close()

    def let_go(self) -> None:
        """Refer to the leg no more: the call is over."""
        self._recording.let_go()
        self.leg = None


def _nothing() -> None:
    """Do nothing: there is no stream to close."""
