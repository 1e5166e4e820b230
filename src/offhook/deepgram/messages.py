"""Voice Agent messages, in both directions.

Source: deepgram.md §2 (client → server), §3 (server → client), §4 (functions). The
same classes serve the server, which writes the first kind and reads the second, and the stand-in
agent, which does the reverse. `Settings` is not here: it is the user's own JSON (settings.py).

Reading is lenient, because Deepgram adds types and fields every few weeks (§3.11): an unknown type
is `UnknownAgentMessage`, an unknown field is ignored, a missing optional field has a default, and a
number may come as a string (§3.9). Audio is not a message: it travels as binary frames.
"""

from typing import Any, Final, Literal, TypeAlias

import msgspec

DEFAULT_BEHAVIOR: Final = "default"
"""Behavior of an ordinary turn or piece of speech, and of a message that names none."""

BEHAVIOR_MAX: Final = 64
"""Characters of a behavior; its known values have at most 14."""


class MalformedAgentMessageError(ValueError):
    """Error: a text frame is not a Voice Agent message. Says why; never quotes the content."""


class _Message(msgspec.Struct, frozen=True, tag_field="type", omit_defaults=True):
    pass


class FunctionCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """A function that the model calls. `arguments` is JSON in a string, perhaps invalid.

    `thought_signature`: some Gemini models want it back, unchanged, with the answer and in the
    history (§4.2). No other field is known to come back (§2.8), so others are ignored.
    """

    id: str
    name: str
    # From factories, so that default values are written too: clients require both fields.
    arguments: str = msgspec.field(default_factory=str)
    client_side: bool = msgspec.field(default_factory=lambda: True)
    thought_signature: str | None = None


class CancelledFunction(msgspec.Struct, frozen=True):
    """A function call that was cancelled."""

    id: str
    name: str = ""


class FinishedFunction(msgspec.Struct, frozen=True, omit_defaults=True):
    """A function call with its answer, as the history keeps it."""

    id: str
    name: str
    client_side: bool
    arguments: str
    response: str
    thought_signature: str | None = None


# --- Server → client -----------------------------------------------------------------------------


class Welcome(_Message, frozen=True, tag="Welcome"):
    """Notice that the socket is open: send Settings now."""

    request_id: str = ""


class SettingsApplied(_Message, frozen=True, tag="SettingsApplied"):
    """Notice that Settings were accepted: audio may flow."""


class UserStartedSpeaking(_Message, frozen=True, tag="UserStartedSpeaking"):
    """Notice that the caller speaks: drop every unplayed byte of agent audio."""


class ConversationText(_Message, frozen=True, tag="ConversationText", omit_defaults=False):
    """A confirmed user turn, or one piece of what the agent is about to say.

    Early access (§3.1): a `conversational_behavior` of any other type ends nothing.
    """

    role: str
    content: str
    conversational_behavior: Any = DEFAULT_BEHAVIOR

    @property
    def behavior(self) -> str:
        """Name of its kind, such as `backchannel`, `presence_check` or `filler`."""
        behavior = self.conversational_behavior
        return behavior[:BEHAVIOR_MAX] if isinstance(behavior, str) else DEFAULT_BEHAVIOR


class AgentThinking(_Message, frozen=True, tag="AgentThinking"):
    """Notice that the model reasons. Often not sent at all."""

    content: str = ""


class FunctionCallRequest(_Message, frozen=True, tag="FunctionCallRequest", omit_defaults=False):
    """Request of the model to call one or several functions."""

    functions: list[FunctionCall]


class FunctionCallCancelled(
    _Message, frozen=True, tag="FunctionCallCancelled", omit_defaults=False
):
    """Request to stop functions and not to answer them."""

    functions: list[CancelledFunction]


class AgentStartedSpeaking(_Message, frozen=True, tag="AgentStartedSpeaking"):
    """Latencies of a turn in seconds, only with `experimental`. Nothing may depend on it (§3.8)."""

    total_latency: float | None = None
    tts_latency: float | None = None
    ttt_latency: float | None = None


class AgentAudioDone(_Message, frozen=True, tag="AgentAudioDone"):
    """Notice that the last byte of an utterance was sent; it may not be heard yet."""


class LatencyReport(_Message, frozen=True, tag="LatencyReport"):
    """Latencies in seconds, by stage; each may be missing."""

    stt_latency: float | None = None
    ttt_token_latency: float | None = None
    ttt_text_latency: float | None = None
    ttt_tool_latency: float | None = None
    ttt_thinking_latency: float | None = None
    tts_latency: float | None = None
    total_latency: float | None = None


class History(_Message, frozen=True, tag="History"):
    """An earlier utterance (`role`, `content`), or functions that were run (`function_calls`)."""

    role: str | None = None
    content: str | None = None
    function_calls: list[FinishedFunction] | None = None


class FrustrationDetected(_Message, frozen=True, tag="FrustrationDetected"):
    """Notice that the caller seems frustrated, for the `count`-th time (Think Live).

    `escalated` is true once `count` has reached the provider's `frustration_max_count`.
    """

    count: int = 0
    escalated: bool = False


class ThinkLiveUpdated(_Message, frozen=True, tag="ThinkLiveUpdated"):
    """Acknowledges an update of Think Live, which Offhook does not send."""


class PromptUpdated(_Message, frozen=True, tag="PromptUpdated"):
    """Acknowledges UpdatePrompt."""


class SpeakUpdated(_Message, frozen=True, tag="SpeakUpdated"):
    """Acknowledges UpdateSpeak."""


class ThinkUpdated(_Message, frozen=True, tag="ThinkUpdated"):
    """Acknowledges UpdateThink; may never come (§3.12)."""


class ListenUpdated(_Message, frozen=True, tag="ListenUpdated"):
    """Acknowledges UpdateListen."""


class InjectionRefused(_Message, frozen=True, tag="InjectionRefused"):
    """Notice that an InjectAgentMessage was dropped."""

    message: str = ""


class Warning(_Message, frozen=True, tag="Warning"):  # noqa: A001 - the vendor's name
    """Report of a problem after which the session goes on."""

    code: str = ""
    description: str = ""


class Error(_Message, frozen=True, tag="Error"):
    """Report of an error that ended the session; the socket usually closes right after."""

    code: str = ""
    description: str = ""


class CustomFromThinkProvider(_Message, frozen=True, tag="__customFromThinkProvider"):
    """Message of a custom think provider, of any content (early access)."""

    content: Any = None


class FunctionCallResponse(_Message, frozen=True, tag="FunctionCallResponse"):
    """The answer to a function call; `content` is always a string.

    From us with the request's `id`, and its `thought_signature` if it had one (§4.2: one page asks
    for it, the schema does not list it); from Deepgram, telling of a call it made itself, maybe
    without an `id`.
    """

    name: str
    content: str
    id: str | None = None
    thought_signature: str | None = None


class UnknownAgentMessage(msgspec.Struct, frozen=True):
    """A message of an unknown type: never a fault (§3.11)."""

    type: str


ServerMessage: TypeAlias = (
    Welcome
    | SettingsApplied
    | UserStartedSpeaking
    | ConversationText
    | AgentThinking
    | FunctionCallRequest
    | FunctionCallCancelled
    | FunctionCallResponse
    | AgentStartedSpeaking
    | AgentAudioDone
    | LatencyReport
    | History
    | FrustrationDetected
    | ThinkLiveUpdated
    | PromptUpdated
    | SpeakUpdated
    | ThinkUpdated
    | ListenUpdated
    | InjectionRefused
    | Warning
    | Error
    | CustomFromThinkProvider
)


# --- Client → server -----------------------------------------------------------------------------


class KeepAlive(_Message, frozen=True, tag="KeepAlive"):
    """A sign of life for times without audio."""


class UpdatePrompt(_Message, frozen=True, tag="UpdatePrompt"):
    """Appends to the prompt; one page says it replaces it (§2.10)."""

    prompt: str


class UpdateSpeak(_Message, frozen=True, tag="UpdateSpeak"):
    """A new voice, or several in order of preference."""

    speak: dict[str, Any] | list[dict[str, Any]]


class UpdateThink(_Message, frozen=True, tag="UpdateThink"):
    """Replaces provider, prompt, endpoint and functions, all of them (§2.11)."""

    think: dict[str, Any] | list[dict[str, Any]]


class UpdateListen(_Message, frozen=True, tag="UpdateListen"):
    """Changes the listener; `language_hints` is cleared when left out (§2.13)."""

    listen: dict[str, Any]


class InjectAgentMessage(_Message, frozen=True, tag="InjectAgentMessage"):
    """Have the agent say this. Refused during a turn, depending on `behavior` (§2.14)."""

    message: str
    behavior: Literal["default", "queue", "interrupt"] = "default"


class InjectUserMessage(_Message, frozen=True, tag="InjectUserMessage"):
    """Have the agent answer as if the caller had said this."""

    content: str


class ForceEndTurn(_Message, frozen=True, tag="ForceEndTurn"):
    """End the caller's turn now; Flux only (§2.17)."""


class CustomToThinkProvider(_Message, frozen=True, tag="__customToThinkProvider"):
    """Message to a custom think provider, of any content (early access)."""

    content: Any = None


ClientMessage: TypeAlias = (
    KeepAlive
    | UpdatePrompt
    | UpdateSpeak
    | UpdateThink
    | UpdateListen
    | InjectAgentMessage
    | InjectUserMessage
    | FunctionCallResponse
    | ForceEndTurn
    | CustomToThinkProvider
)

TEXT_MAX: Final = 16 * 1024
"""Characters of one text of Deepgram's; a turn of minutes has fewer. Beyond, it is cut, visibly."""

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Exceptions of decoding JSON; the last is raised when it is nested too deeply."""

# Not strict: a number may come as a string (deepgram.md §3.9).
_server: Final = msgspec.json.Decoder[ServerMessage](ServerMessage, strict=False)
_client: Final = msgspec.json.Decoder[ClientMessage](ClientMessage)
_envelope: Final = msgspec.json.Decoder(UnknownAgentMessage)
_encode: Final = msgspec.json.Encoder().encode


def _tags(union: Any) -> frozenset[str]:
    return frozenset(member.__struct_config__.tag for member in union.__args__)


SERVER_TYPES: Final = _tags(ServerMessage)
CLIENT_TYPES: Final = _tags(ClientMessage)


def read(text: bytes) -> ServerMessage | UnknownAgentMessage:
    """Return a message from Deepgram.

    Raise MalformedAgentMessageError for anything that is not one.

    In a message of more than TEXT_MAX bytes each text that is published or logged is cut visibly.
    """
    try:
        message: ServerMessage = _server.decode(text)
        return message if len(text) <= TEXT_MAX else _cut(message)
    except UNREADABLE as error:
        return _unknown_or_bad(text, SERVER_TYPES, str(error))


def read_ours(text: bytes) -> ClientMessage | UnknownAgentMessage:
    """Return a message from a client, other than Settings: the stand-in's side.

    Raises MalformedAgentMessageError (Deepgram answers UNPARSABLE_CLIENT_MESSAGE and ends the
    session).
    """
    try:
        message: ClientMessage = _client.decode(text)
        return message
    except UNREADABLE as error:
        return _unknown_or_bad(text, CLIENT_TYPES, str(error))


def write(message: ServerMessage | ClientMessage) -> bytes:
    """Return a message as text for the wire."""
    return _encode(message)


def _cut(message: ServerMessage) -> ServerMessage:
    match message:
        case ConversationText():
            return ConversationText(_short(message.role), _short(message.content), message.behavior)
        case Warning():
            return Warning(_short(message.code), _short(message.description))
        case Error():
            return Error(_short(message.code), _short(message.description))
        case InjectionRefused():
            return InjectionRefused(_short(message.message))
        case Welcome():
            return Welcome(_short(message.request_id))
        case _:  # a function's arguments, too: cut, they would be no JSON
            return message


def _short(text: str) -> str:
    return text if len(text) <= TEXT_MAX else text[:TEXT_MAX] + " …"


def _unknown_or_bad(text: bytes, known: frozenset[str], fault: str) -> UnknownAgentMessage:
    try:
        unknown = _envelope.decode(text)
    except UNREADABLE as error:
        raise MalformedAgentMessageError(f"not a Voice Agent message: {error}") from None
    # An unknown type is ignored (deepgram.md §3.11), a known one that cannot be read is not.
    if unknown.type in known:
        if fault.startswith("Invalid"):  # the faults in which msgspec quotes content
            fault = f"an unknown value - at {fault.rpartition(' - at ')[2]}"
        raise MalformedAgentMessageError(f"malformed {unknown.type}: {fault}")
    return unknown
