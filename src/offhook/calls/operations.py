"""Operations on a live call, each declared once.

Routes of the API, commands of `offhook calls` and the table in docs/control.md are made from
OPERATIONS. CONTRIBUTING.md says how to add one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, TypeAlias

import pydantic
from pydantic import AfterValidator, Field

from offhook.call.handoff_actions import SendDigits
from offhook.call.requests import HandBack, HangUp, Leave, Mute, Say, Tell, Update
from offhook.deepgram.messages import UpdatePrompt
from offhook.deepgram.think_checks import PROMPT_LIMIT
from offhook.errors import UserError
from offhook.tools.requests import ControlRequest, SetRecording, StartTransfer, UpdateAgent

TEXT_MAX: Final = 2000
"""Characters of a text that the agent says or is told."""


class OperationModel(pydantic.BaseModel):
    """Base of the arguments of operations."""

    # Fields have a description, not a docstring, which pydantic would look for in the source.
    model_config = pydantic.ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class Metavar:
    """Name of an argument in a command's help; without one, TEXT."""

    name: str


def _sendable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("there is half a character in it") from None
    if not text.strip():
        raise ValueError("there are no words in it")
    return text


Words: TypeAlias = Annotated[str, Field(max_length=TEXT_MAX), AfterValidator(_sendable)]
Block: TypeAlias = dict[str, Any]
"""A block of Settings; commands read it from a file."""


class HangUpRequest(OperationModel):
    """Arguments of a hang-up."""

    farewell: Annotated[
        Words | None, Field(description="Words that the agent says in full before it hangs up.")
    ] = None


class SayRequest(OperationModel):
    """Words that the agent is to say."""

    text: Annotated[Words, Field(description="Words that the agent says.")]
    behavior: Annotated[
        Literal["default", "queue", "interrupt"],
        Field(
            description="Effect while somebody speaks: default is refused, queue waits for the end"
            " of the agent's speech, interrupt replaces it. While the caller speaks, queue is"
            " refused, too."
        ),
    ] = "default"


class TellRequest(OperationModel):
    """Information that the agent is to be told."""

    text: Annotated[Words, Field(description="Information for the agent.")]


class PromptRequest(OperationModel):
    """Text that is added to the prompt."""

    prompt: Annotated[
        str,
        Field(max_length=PROMPT_LIMIT, description="Text that is added to the prompt."),
        AfterValidator(_sendable),
    ]


class ThinkRequest(OperationModel):
    """A think block of Settings, or a list of them."""

    think: Block | list[Block]


class SpeakRequest(OperationModel):
    """A speak block of Settings, or a list of them."""

    speak: Block | list[Block]


class ListenRequest(OperationModel):
    """A listen block of Settings. Its provider names type and version, and of Flux the model."""

    listen: Block


class HandBackRequest(OperationModel):
    """Note that the agent is told when it gets the caller back."""

    note: Annotated[
        Words | None,
        Field(description="What was agreed with the caller: the agent has not heard your words."),
    ] = None


class TransferRequest(OperationModel):
    """Destination of a transfer."""

    destination: Annotated[
        Words,
        Metavar("DESTINATION"),
        Field(description="A name in `transfer.destinations` of the agent's file."),
    ]
    summary: Annotated[
        Words | None, Field(description="Summary for a person who is called first.")
    ] = None


class DigitsRequest(OperationModel):
    """Keys that are to be pressed."""

    digits: Annotated[
        str,
        Field(
            pattern=r"^[0-9*#wW]{1,32}$",
            description="0 to 9, * and #; w waits half a second, W a second.",
            examples=["1w2#"],
        ),
        Metavar("KEYS"),
    ]


class MuteRequest(OperationModel):
    """Choice between muting and unmuting the agent."""

    on: pydantic.StrictBool


class RecordingRequest(OperationModel):
    """Choice between pausing and resuming the recording of a live call."""

    state: Annotated[
        Literal["paused", "recording"],
        Field(
            description="While the recording is paused, both sides are silent in it, and its time"
            " goes on."
        ),
    ]


@dataclass(frozen=True, slots=True)
class Command:
    """A command of `offhook calls` for an operation. `given` are its fixed arguments."""

    name: str
    help: str
    given: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation on a live call.

    Attributes:
        name: Last part of the path of the API.
        id: Its operationId in the API's document.
        title: Title in the table of docs/control.md.
        summary: One line for the API's document.
        description: Time of the answer, and limits of the operation.
        methods: Methods of `offhook.tools.Call` that functions use for it; empty for what only a
            person can ask for.
        arguments: Model of the body of a request.
        request: Returns the request that CallControl performs, from the arguments.
        commands: Commands that perform it.
    """

    name: str
    id: str
    title: str
    summary: str
    description: str
    methods: tuple[str, ...]
    arguments: type[OperationModel]
    request: Callable[[Any], ControlRequest]
    commands: tuple[Command, ...]


RECORDING: Final = Operation(
    name="recording",
    id="pauseRecording",
    title="pause the recording",
    summary="Pause or resume a recording",
    description="While a recording is paused both sides are silent in it, and its time goes on.",
    methods=("pause_recording", "resume_recording"),
    arguments=RecordingRequest,
    request=lambda given: SetRecording(given.state == "recording"),
    commands=(
        Command(
            "pause", "Pause the recording: both sides are recorded as silence.", {"state": "paused"}
        ),
        Command("resume", "Resume the recording.", {"state": "recording"}),
    ),
)

OPERATIONS: Final = (
    Operation(
        name="hang-up",
        id="hangUp",
        title="hang up",
        summary="Hang up",
        description="End the call: at once, or when the farewell was heard. One that is over is no"
        " error.",
        methods=("hang_up",),
        arguments=HangUpRequest,
        request=lambda given: HangUp("operator", given.farewell or ""),
        commands=(Command("hang-up", "End a call: at once, or when a farewell was heard."),),
    ),
    Operation(
        name="say",
        id="say",
        title="say something",
        summary="Have the agent say something",
        description="Answered when the agent says it, or when it was refused.",
        methods=("say",),
        arguments=SayRequest,
        request=lambda given: Say(given.text, given.behavior),
        commands=(Command("say", "Have the agent say something."),),
    ),
    Operation(
        name="tell",
        id="tell",
        title="tell the agent something",
        summary="Tell the agent something",
        description="The agent answers to it as if the caller had said it.",
        methods=("tell",),
        arguments=TellRequest,
        request=lambda given: Tell(given.text),
        commands=(
            Command(
                "tell",
                "Tell the agent something that it answers to, as if the caller had said it.",
            ),
        ),
    ),
    Operation(
        name="prompt",
        id="updatePrompt",
        title="add to the prompt",
        summary="Add to the agent's prompt",
        description="Answered when Deepgram has acknowledged it, or not within 10 s.",
        methods=("update_prompt",),
        arguments=PromptRequest,
        request=lambda given: Update(UpdatePrompt(given.prompt)),
        commands=(Command("prompt", "Add something to the agent's prompt."),),
    ),
    Operation(
        name="think",
        id="updateThink",
        title="replace think",
        summary="Replace the agent's language model",
        description="All of it: a block without `functions` keeps the agent's own. Answered as"
        " `prompt`.",
        methods=("update_think",),
        arguments=ThinkRequest,
        request=lambda given: UpdateAgent("think", given.think),
        commands=(
            Command("think", "Replace the agent's language model: a think block of Settings."),
        ),
    ),
    Operation(
        name="speak",
        id="updateSpeak",
        title="replace speak",
        summary="Replace the agent's voice",
        description="Answered as `prompt`.",
        methods=("update_speak",),
        arguments=SpeakRequest,
        request=lambda given: UpdateAgent("speak", given.speak),
        commands=(Command("speak", "Replace the agent's voice: a speak block of Settings."),),
    ),
    Operation(
        name="listen",
        id="updateListen",
        title="change listen",
        summary="Change how the agent listens",
        description="What is left out stays as it is, but for `language_hints`. Answered as"
        " `prompt`.",
        methods=("update_listen",),
        arguments=ListenRequest,
        request=lambda given: UpdateAgent("listen", given.listen),
        commands=(
            Command("listen", "Change the agent's speech recognition: a listen block of Settings."),
        ),
    ),
    Operation(
        name="transfer",
        id="transfer",
        title="transfer the caller",
        summary="Transfer the caller",
        description="To one of the destinations that the agent's file names; no number is taken.",
        methods=("transfer",),
        arguments=TransferRequest,
        request=lambda given: StartTransfer(given.destination, given.summary or "", "operator"),
        commands=(
            Command("transfer", "Transfer the caller to a destination of the agent's file."),
        ),
    ),
    Operation(
        name="digits",
        id="sendDigits",
        title="press keys",
        summary="Press keys",
        description="The agent is away while they are pressed, and goes on with the same"
        " conversation.",
        methods=("send_digits",),
        arguments=DigitsRequest,
        request=lambda given: Leave(SendDigits(given.digits), by="operator"),
        commands=(Command("digits", "Press keys in a call."),),
    ),
    Operation(
        name="mute",
        id="mute",
        title="mute the agent",
        summary="Mute the agent, or let it be heard again",
        description="The caller hears nothing of it; it hears the caller, and goes on talking.",
        methods=("mute", "unmute"),
        arguments=MuteRequest,
        request=lambda given: Mute(given.on),
        commands=(
            Command("mute", "Mute the agent: the caller does not hear it.", {"on": True}),
            Command("unmute", "Let the caller hear the agent again.", {"on": False}),
        ),
    ),
    Operation(
        name="hand-back",
        id="handBack",
        title="hand the caller back",
        summary="Hand the caller back to the agent",
        description="After a take-over. Any operator may hand back. The agent is"
        " told the note, and that nothing of its words was heard meanwhile.",
        methods=(),
        arguments=HandBackRequest,
        request=lambda given: HandBack(given.note or ""),
        commands=(Command("hand-back", "Let the agent go on with a caller who was taken over."),),
    ),
    RECORDING,
)
"""All operations, in the order of docs/control.md."""


@dataclass(frozen=True, slots=True)
class StreamOperation:
    """An operation that opens a stream between a live call and a page of the console.

    Attributes:
        name: Last part of the path of the API.
        id: Its operationId in the API's document.
        title: Title in the table of docs/control.md.
        summary: One line for the API's document.
        description: What the stream carries.
        speaks: True if the person's voice goes to the caller.
    """

    name: str
    id: str
    title: str
    summary: str
    description: str
    speaks: bool


LISTENING: Final = StreamOperation(
    name="listening",
    id="listen",
    title="listen",
    summary="Listen to both sides",
    description="Open the WebSocket at `stream` within 10 s, as the same user: it carries what is"
    " said on both sides, as docs/protocols/console.md says. Neither side hears you.",
    speaks=False,
)
TAKE_OVER: Final = StreamOperation(
    name="take-over",
    id="takeOver",
    title="take over",
    summary="Speak with the caller in the agent's place",
    description="Open the WebSocket at `stream` within 10 s, as the same user: from then on the"
    " caller hears what you send there, and the agent is muted. One person at a time can. hand-back"
    " ends it, and so does the loss of the socket, 3 s later.",
    speaks=True,
)
STREAM_OPERATIONS: Final = (LISTENING, TAKE_OVER)
"""All operations that open a stream, in the order of docs/control.md."""


def no_live_call() -> UserError:
    """Return the error for an operation on a call that is not live."""
    return UserError(
        "E-API-18",
        "No call with that CallSid is live.",
        "See which are: GET /api/v1/calls?live=true, or offhook calls --live.",
    )
