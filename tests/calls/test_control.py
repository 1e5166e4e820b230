"""Control of a call: every request that it performs, against a session without legs."""

import asyncio
from typing import Any, cast, get_args

import pytest
from tests.calls.fake_session import SID, FakeSession, live_entry

from offhook.call.handoff_actions import SendDigits
from offhook.call.inputs import RequestCancelled
from offhook.call.phrases import Phrases
from offhook.call.requests import AskDigits, CallRequest, HangUp, Leave, Mute, Say, Tell, Update
from offhook.calls.call_entry import CallEntry
from offhook.calls.call_updates import CallUpdates
from offhook.calls.control import CallControl
from offhook.calls.messaging import Messaging
from offhook.calls.operations import OPERATIONS
from offhook.calls.transfers import Transfers
from offhook.capture.tap import NewCall
from offhook.concurrency.server_tasks import ServerTasks
from offhook.deepgram.messages import UpdatePrompt
from offhook.events.types import Event
from offhook.testing.virtual_clock import VirtualClock
from offhook.tools.declare import Call, ToolError
from offhook.tools.requests import (
    ControlRequest,
    SendText,
    SetRecording,
    StartTransfer,
    StopCalling,
    TakeMessage,
    UpdateAgent,
)

ADA, OURS = "+12025550142", "+12025550100"
THINK = {"provider": {"type": "open_ai"}}


class Beside:
    """Transfers and messaging that note what they are asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.refusal = ""

    async def begin(self, entry: CallEntry, asked: StartTransfer) -> str:
        self.asked.append((asked.destination, asked.summary))
        if self.refusal:
            raise ToolError(self.refusal)
        return "it is done"

    async def send_text(
        self, texts: Any, call_sid: str, party: str, text: str, to: str, note: Any, phrases: Phrases
    ) -> str:
        self.asked.append((call_sid, party, text, to))
        return "it is done"

    def take_message(self, name: str, number: str, text: str, note: Any, phrases: Phrases) -> str:
        self.asked.append((name, number, text))
        return "it is done"

    async def stop_calling(self, party: str, note: Any, phrases: Phrases) -> str:
        self.asked.append((party,))
        return "it is done"


class Rig:
    """The control of a call that is live, unless it is not to be."""

    def __init__(
        self,
        *,
        is_live: bool = True,
        token: str | None = "token",
        tasks: asyncio.TaskGroup | None = None,
    ) -> None:
        self.session = FakeSession()
        self.beside = Beside()
        self.events: list[Event] = []
        self.control = CallControl(
            NewCall(SID, "desk", by="webhook", from_=ADA, to=OURS),
            cast("Transfers", self.beside),
            cast("Messaging", self.beside),
            CallUpdates(None, ServerTasks(tasks or asyncio.TaskGroup())),
            lambda sid, event: self.events.append(event),
        )
        if is_live:
            self.control.entry = live_entry(VirtualClock(0.0), self.session, token=token)


@pytest.mark.parametrize(
    "request_",
    [
        HangUp("agent", "Goodbye."),
        Say("Hello."),
        Tell("(It rains.)"),
        Update(UpdatePrompt("Be brief.")),
        Mute(True),
        Leave(SendDigits("1w2#")),
        AskDigits("Your number?", 4, 5.0),
    ],
)
async def test_what_the_call_decides_is_asked_of_it(request_: CallRequest) -> None:
    rig = Rig()
    assert await rig.control.perform(request_) == "it is done"
    assert rig.session.requests == [request_]
    rig.session.reply = (False, "the call is being ended")
    with pytest.raises(ToolError, match="the call is being ended"):
        await rig.control.perform(request_)


@pytest.mark.parametrize(
    ("request_", "asked"),
    [
        (StartTransfer("desk", "A bill."), ("desk", "A bill.")),
        (SendText("Hi", "caller"), (SID, ADA, "Hi", "caller")),
        (TakeMessage("Ada", "", "Call back."), ("Ada", "", "Call back.")),
        (StopCalling(), (ADA,)),
    ],
)
async def test_what_is_done_beside_the_call_is_asked_of_what_does_it(
    request_: ControlRequest, asked: tuple[Any, ...]
) -> None:
    rig = Rig()
    assert await rig.control.perform(request_) == "it is done"
    assert rig.beside.asked == [asked]
    assert rig.session.requests == []


async def test_a_block_of_settings_becomes_a_message() -> None:
    rig = Rig()
    assert await rig.control.perform(UpdateAgent("think", THINK)) == "it is done"
    assert rig.session.changes == [("think", THINK)]
    assert rig.session.requests == [Update(UpdatePrompt("a change of think"))]


async def test_a_recording_is_paused_and_resumed() -> None:
    rig = Rig()
    assert await rig.control.perform(SetRecording(False)) == "the recording is paused"
    assert await rig.control.perform(SetRecording(True)) == "what is said is recorded"
    assert rig.session.recording == [False, True]
    rig.session.is_recorded = False
    with pytest.raises(ToolError, match="not recorded"):
        await rig.control.perform(SetRecording(False))


@pytest.mark.parametrize("is_over", [False, True])
async def test_a_call_that_is_not_live_is_asked_for_nothing(is_over: bool) -> None:
    rig = Rig(is_live=is_over)
    if rig.control.entry is not None:
        rig.control.entry.session = None
    for request_ in (HangUp("operator"), Leave(SendDigits("1")), UpdateAgent("speak", {})):
        with pytest.raises(ToolError, match=Phrases().no_call):
            await rig.control.perform(request_)
    with pytest.raises(ToolError, match=Phrases().no_call):
        await rig.control.perform(StartTransfer("desk"))
    assert not rig.control.set_recording(True)
    assert await rig.control.perform(TakeMessage("Ada", "", "Call back.")), "there is a record"


async def test_keys_are_not_pressed_where_twilio_cannot_be_told_to() -> None:
    rig = Rig(token=None)  # a TwiML Bin's call, and no credentials for REST
    with pytest.raises(ToolError, match="keys cannot be pressed on this line"):
        await rig.control.perform(Leave(SendDigits("1")))
    assert rig.session.requests == []


async def test_a_request_that_is_cancelled_is_withdrawn() -> None:
    rig = Rig()
    rig.session.reply = None
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(rig.control.perform(Say("Hello.")))
        await asyncio.sleep(0)
        asking.cancel()
    assert asking.cancelled()
    assert rig.session.inputs == [RequestCancelled(1)]


async def test_who_hangs_up_on_a_caller_beyond_reach_is_told_so() -> None:
    rig = Rig()
    rig.session.has_stream = False
    assert "is hung up on when Twilio asks" in await rig.control.perform(HangUp("operator"))


async def test_a_key_of_a_destination_transfers_the_caller() -> None:
    async with asyncio.TaskGroup() as tasks:
        rig = Rig(tasks=tasks)
        rig.control.transfer_by_key("desk")
    assert rig.beside.asked == [("desk", "The caller asked for you by a key.")]
    assert rig.session.requests == []


async def test_the_agent_is_told_of_a_key_that_came_to_nothing() -> None:
    async with asyncio.TaskGroup() as tasks:
        rig = Rig(tasks=tasks)
        rig.beside.refusal = "nobody can be called from here"
        rig.control.transfer_by_key("desk")
    words = "(The caller asked for desk by a key; nobody can be called from here.)"
    assert rig.session.requests == [Tell(words)]


async def test_functions_act_through_the_control() -> None:
    rig = Rig()
    call = Call(SID, "desk", ADA, OURS, {}, rig.control.perform)
    assert await call.say("Hello.", "queue") == "it is done"
    assert await call.mute() == "it is done"
    assert await call.send_digits("1") == "it is done"
    assert rig.session.requests == [Say("Hello.", "queue"), Mute(True), Leave(SendDigits("1"))]


SAMPLES: dict[str, dict[str, Any]] = {
    "hang-up": {"farewell": "Goodbye."},
    "say": {"text": "Hello.", "behavior": "queue"},
    "tell": {"text": "(It rains.)"},
    "prompt": {"prompt": "Be brief."},
    "think": {"think": [THINK]},
    "speak": {"speak": THINK},
    "listen": {"listen": THINK},
    "transfer": {"destination": "desk"},
    "digits": {"digits": "1w2#"},
    "mute": {"on": True},
    "hand-back": {"note": "They pay on Monday."},
    "recording": {"state": "paused"},
}
"""Arguments of each operation."""


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_every_operation_is_performed(operation: Any) -> None:
    rig = Rig()
    arguments = operation.arguments.model_validate(SAMPLES[operation.name])
    assert await rig.control.perform(operation.request(arguments))
    session = rig.session
    assert len(session.requests) + len(session.recording) + len(rig.beside.asked) == 1


def test_every_kind_of_request_is_tried_here() -> None:
    operations = (
        operation.request(operation.arguments.model_validate(SAMPLES[operation.name]))
        for operation in OPERATIONS
    )
    tried = {type(one) for one in operations}
    tried |= {AskDigits, SendText, TakeMessage, StopCalling}
    # Transfers.begin asks for an agent to switch to, and an operator's stream for the call.
    left = {one.__name__ for one in set(get_args(ControlRequest)) - tried}
    assert left == {"SwitchAgent", "TakeOver"}
