"""Parsing of the Settings message by the stand-in, which refuses what Deepgram refuses.

Source: deepgram.md §2.1 to §2.9. Offhook's own checks (offhook.deepgram.settings_checks) validate
`listen` and `speak`. Unknown fields are accepted, except in the context.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from offhook.deepgram import settings_checks, settings_fields
from offhook.deepgram.messages import UNREADABLE, Error, History
from offhook.text import urls

PROMPT_MAX: Final = 25_000
"""Characters of a prompt for a Deepgram-managed LLM; the rest is cut off, with a Warning."""

_EOT_TIMEOUT_MS: Final = 5000

_TOP_LEVEL_ONLY: Final = ("audio", "experimental", "flags", "mip_opt_out", "tags")
_IN_AGENT_ONLY: Final = ("context", "greeting", "listen", "speak", "think")
_TALK_FIELDS: Final = {"type", "role", "content"}
_CALLS_FIELDS: Final = {"type", "function_calls"}
_CALL_FIELDS: Final = {"id", "name", "client_side", "arguments", "response"}
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_AT: Final = re.compile(r"`\$\.?(.*)`$")


class SessionError(Exception):
    """Refusal of a message, with the Error that ends the session."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(f"{code}: {description}")
        self.error: Final = Error(code, description)


class _Flags(msgspec.Struct):
    history: bool = True


class _Input(msgspec.Struct):
    encoding: str
    sample_rate: int


class _Output(msgspec.Struct):
    encoding: str = "linear16"
    sample_rate: int | None = None
    container: str | None = "none"


class _Audio(msgspec.Struct):
    input: _Input | None = None
    output: _Output | None = None


class _Provider(msgspec.Struct):
    type: str
    version: str | None = None
    model: str | None = None
    smart_format: bool | None = None
    eot_threshold: float | None = None
    eager_eot_threshold: float | None = None
    eot_timeout_ms: int | None = None
    speed: float | None = None
    temperature: float | None = None


class _Listen(msgspec.Struct):
    provider: _Provider


class Endpoint(msgspec.Struct):
    """Endpoint of a model or a function: URL and headers."""

    url: str
    headers: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"Endpoint({urls.origin(self.url)!r})"


class _Function(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    endpoint: Endpoint | None = None
    defer_until_eot: bool = False


class Think(msgspec.Struct):
    """Entry of `think`: a model, with its prompt and functions."""

    provider: _Provider
    endpoint: Endpoint | None = None
    prompt: str | None = None
    functions: list[_Function] | None = None
    context_length: int | str | None = None


class _Speak(msgspec.Struct):
    provider: _Provider


class OfferedFunction(msgspec.Struct, frozen=True):
    """Function that the agent may call (§4.1)."""

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON Schema of the function's arguments."""
    has_endpoint: bool
    """True if the agent runs the function itself; the client only sees the call."""
    deferred: bool
    """True if the function must wait until the caller's turn is confirmed."""


class _Context(msgspec.Struct):
    messages: list[History] | None = None


class _Agent(msgspec.Struct):
    listen: _Listen | None = None
    think: Think | list[Think] | None = None
    speak: _Speak | list[_Speak] | None = None
    context: _Context | None = None
    greeting: str | None = None


class _Settings(msgspec.Struct, tag="Settings"):
    audio: _Audio
    agent: _Agent | str
    experimental: bool | None = None
    flags: _Flags | None = None


_decoder: Final = msgspec.json.Decoder(_Settings)


class StandInSettings:
    """Accepted Settings, and the parts of them that the stand-in uses."""

    def __init__(self, text: bytes) -> None:
        """Read a Settings message. Raises SessionError."""
        try:
            settings = _decoder.decode(text)
            self.message: Final[dict[str, Any]] = msgspec.json.decode(text)
            """Settings message as it was received."""
        except UNREADABLE as error:
            raise unparsable(error) from None
        _refuse_misplaced(self.message)
        _refuse_context(self.message["agent"])
        _refuse_fillers(self.message["agent"])
        _refuse_audio(settings.audio)
        if isinstance(settings.agent, str):
            if not _UUID.fullmatch(settings.agent):
                raise SessionError("INVALID_AGENT_ID", "agent is not the id of a stored agent.")
            agent = _Agent()
        else:
            agent = settings.agent
        self.greeting: Final = agent.greeting or ""
        self.context: Final = (agent.context and agent.context.messages) or []
        self.history: Final = settings.flags is None or settings.flags.history
        self.experimental: Final = bool(settings.experimental)
        self.listen: dict[str, Any] = {}
        if agent.listen is not None:
            self.listen = self.message["agent"]["listen"]["provider"]
            _refuse_listen(self.listen)
        self.failed_to_speak = False
        """True if the voice does not support the requested speed (§2.6)."""
        self._speak(agent.speak and self.message["agent"]["speak"])
        self.think: list[Think] = list(_entries(agent.think))
        """Entries of `think`, in order of preference."""
        self.is_stored: Final = isinstance(settings.agent, str)
        """True if the agent is stored at Deepgram, so that its `think` is unknown here."""

    @property
    def prompt(self) -> str:
        """Prompt of the first entry of `think`, cut off where Deepgram cuts it off."""
        if not self.think:
            return ""
        first = self.think[0]
        prompt = first.prompt or ""
        return prompt if first.endpoint is not None else prompt[:PROMPT_MAX]

    @property
    def prompt_is_too_long(self) -> bool:
        """True if the prompt is cut off for an LLM that Deepgram manages."""
        return any(
            think.endpoint is None and len(think.prompt or "") > PROMPT_MAX for think in self.think
        )

    @property
    def functions(self) -> dict[str, OfferedFunction]:
        """Functions that the agent may call, by name."""
        return {
            function.name: OfferedFunction(
                function.name,
                function.description or "",
                function.parameters or {"type": "object", "properties": {}},
                function.endpoint is not None,
                function.defer_until_eot,
            )
            for think in reversed(self.think)
            for function in think.functions or []
        }

    def update_prompt(self, prompt: str) -> None:
        """Append to the prompt (§2.10, as one of Deepgram's two pages on UpdatePrompt says)."""
        for think in self.think:
            think.prompt = f"{think.prompt}\n\n{prompt}" if think.prompt else prompt

    def update_think(self, think: Any) -> None:
        """Replace provider, prompt, endpoint and functions (§2.11). Raises SessionError."""
        try:
            self.think = list(_entries(msgspec.convert(think, Think | list[Think])))
        except msgspec.ValidationError as error:
            raise unparsable(error) from None

    def update_speak(self, speak: Any) -> None:
        """Use another voice from the next turn on (§2.12). Raises SessionError."""
        try:
            msgspec.convert(speak, _Speak | list[_Speak])
        except msgspec.ValidationError as error:
            raise unparsable(error) from None
        self._speak(speak)

    def _speak(self, speak: Any) -> None:
        errors = [
            text
            for block in _entries(speak)
            if block["provider"]["type"] == "eleven_labs"
            or (block["provider"]["type"] == "deepgram" and "model" in block["provider"])
            for text in _errors("speak", block)
        ]
        for text in errors:
            if ".speed" not in text:
                raise SessionError("INVALID_SETTINGS", text)
        # A speed that the voice does not support ends the session when the agent speaks (§2.6).
        self.failed_to_speak = bool(errors)

    def update_listen(self, listen: Mapping[str, Any]) -> bool:
        """Apply UpdateListen. Return False where Deepgram ignores it with a Warning (§2.13)."""
        provider = listen.get("provider")
        if not isinstance(provider, dict):
            return False
        updated = {**self.listen, **provider}
        if "language_hints" not in provider:
            updated.pop("language_hints", None)
        try:
            msgspec.convert(updated, _Provider)
            _refuse_listen(updated)
        except (msgspec.ValidationError, SessionError):
            return False
        if "keyterms" in provider and updated.get("version") != "v2":
            return False
        self.listen = updated
        return True

    def end_of_turn_ms(self, usual: int) -> int:
        """Return the milliseconds of silence that end a turn; `usual` is the default (§2.4)."""
        if not self.flux:
            return usual
        timeout = self.listen.get("eot_timeout_ms") or _EOT_TIMEOUT_MS
        never_by_itself = self.listen.get("eot_threshold") == 1.0
        return int(timeout if never_by_itself else min(usual, timeout))

    @property
    def flux(self) -> bool:
        """True if the listener is Flux."""
        return self.listen.get("version") == "v2"


def unparsable(error: Exception) -> SessionError:
    """Return the refusal of a message that did not match its schema, naming the field."""
    fault = str(error)
    at = _AT.search(fault)
    field = f" Check the {at[1]} field." if at and at[1] else ""
    return SessionError(
        "UNPARSABLE_CLIENT_MESSAGE", f"Error parsing client message: {fault}.{field}"
    )


def _entries(block: Any) -> Iterator[Any]:
    """Yield the entries of a `think` or `speak`: one block, or an array in order of preference."""
    if isinstance(block, list):
        yield from block
    elif block is not None:
        yield block


def _refuse_misplaced(message: Mapping[str, Any]) -> None:
    misplaced = [key for key in _IN_AGENT_ONLY if key in message]
    agent = message["agent"]
    if isinstance(agent, dict):
        misplaced += [f"agent.{key}" for key in _TOP_LEVEL_ONLY if key in agent]
    if misplaced:
        raise SessionError(
            "UNPARSABLE_CLIENT_MESSAGE",
            f"Error parsing client message. Check the {misplaced[0]} field.",
        )


def _refuse_context(agent: Any) -> None:
    """Raise SessionError for an earlier conversation with a field that §2.8 does not list.

    Deepgram may be more lenient. A client that passes with this reading passes with either.
    """
    messages = (agent.get("context") or {}).get("messages") if isinstance(agent, dict) else None
    for number, message in enumerate(messages or ()):
        at = f"agent.context.messages[{number}]"
        calls = message.get("function_calls")
        fields = _CALLS_FIELDS if calls is not None else _TALK_FIELDS
        if message.keys() != fields or message["type"] != "History":
            raise SessionError(
                "UNPARSABLE_CLIENT_MESSAGE", f"Error parsing client message. Check the {at} field."
            )
        if calls is None and message["role"] not in ("user", "assistant"):
            raise SessionError("INVALID_SETTINGS", f"{at}.role must be user or assistant.")
        for call in calls or ():
            if not _CALL_FIELDS <= call.keys() <= _CALL_FIELDS | {"thought_signature"}:
                raise SessionError(
                    "UNPARSABLE_CLIENT_MESSAGE",
                    f"Error parsing client message. Check the {at}.function_calls field.",
                )


def _refuse_fillers(agent: Any) -> None:
    """Raise SessionError for a function with a field that needs think_live (§4.1)."""
    if not isinstance(agent, dict) or "think_live" in agent:
        return
    for think in _entries(agent.get("think")):
        for function in think.get("functions") or ():
            for name in settings_fields.FILLERS:
                if name in function:
                    raise SessionError("INVALID_SETTINGS", f"{name} requires agent.think_live.")


def _refuse_audio(audio: _Audio) -> None:
    """Raise SessionError for encodings that Deepgram supports but the stand-in does not."""
    heard, spoken = audio.input, audio.output
    if heard is None or (heard.encoding, heard.sample_rate) != ("mulaw", 8000):
        raise SessionError(
            "INVALID_SETTINGS", "audio.input must be mulaw at 8000 for the stand-in."
        )
    if spoken is None or spoken.encoding != "mulaw" or spoken.sample_rate not in (None, 8000):
        raise SessionError(
            "INVALID_SETTINGS", "audio.output must be mulaw at 8000 for the stand-in."
        )
    if spoken.container not in (None, "none"):
        raise SessionError(
            "INVALID_SETTINGS", "audio.output.container must be none for the stand-in."
        )


def _errors(part: str, block: Any) -> list[str]:
    """Return the errors that Deepgram reports for a block of an agent."""
    found = settings_checks.check({"agent": {part: block}})
    return [one.text for one in found if one.level == "error"]


def _refuse_listen(provider: Mapping[str, Any]) -> None:
    if provider["type"] != "deepgram":
        raise SessionError("INVALID_SETTINGS", "agent.listen.provider.type must be deepgram.")
    for text in _errors("listen", {"provider": provider}):
        raise SessionError("INVALID_SETTINGS", text)
