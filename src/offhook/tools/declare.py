"""`@tool`: an ordinary typed function, told to the agent by its signature and its docstring.

    @tool
    def opening_hours(day: Literal["saturday", "sunday"]) -> str:
        "When the shop is open on that day."

Source of what the agent is told: deepgram.md §4.1.
"""

import asyncio
import functools
import inspect
import re
import types
import typing
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import (
    Annotated,
    Any,
    Final,
    Generic,
    Literal,
    NamedTuple,
    ParamSpec,
    TypeAlias,
    TypeVar,
    overload,
)

import pydantic

from offhook.call.handoff_actions import SendDigits
from offhook.call.keypad import ENTRY_MAX
from offhook.call.phrases import Phrases, fill
from offhook.call.requests import AskDigits, HangUp, Leave, Mute, Say, Tell, Update
from offhook.deepgram.messages import UpdatePrompt
from offhook.errors import UserError
from offhook.events.types import FunctionOutcome
from offhook.text.clean import whole
from offhook.tools.requests import (
    ControlRequest,
    SendText,
    StartTransfer,
    StopCalling,
    TakeMessage,
    UpdateAgent,
)

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

Once: TypeAlias = dict[tuple[str, str, str], asyncio.Future[tuple[str, FunctionOutcome]]]
"""Results, or pending results, of irreversible functions by file, name and arguments."""

Behavior: TypeAlias = Literal["default", "queue", "interrupt"]

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Pattern of a function's name that the makers of models allow."""

PATIENCE_MAX_S: Final = 120.0
"""Seconds for which a function may have the call wait for a key."""

_NOT_SENT: Final = frozenset({"title", "additionalProperties", "discriminator"})
"""Keys of pydantic's schema to leave out: models' makers do not need or know them."""

_VALUES: Final = frozenset({"default", "const", "enum", "examples"})
"""Keys of a schema that hold the user's own values, not schemas."""


_NOT_OF_A_SERVER: Final = "this call is not one of a server, so nothing can be done to it"
"""Words for a developer, of a call that a test or the console made: no agent hears them."""


class ToolError(Exception):
    """Error that a tool raises to tell the agent, in the tool's words, why it did not work."""


class WaitOnEventLoopError(RuntimeError):
    """Error: `Call.wait` was called on the event loop, where `await` is needed."""


class ToolDefinitionError(Exception):
    """Error: a function cannot be a tool; the message says why."""


class ArgumentFault(NamedTuple):
    """A fault of one argument.

    Attributes:
        field: Path of the argument, such as `guest.name`; `arguments` for all of them.
        kind: Pydantic's name of the fault, such as `missing`.
        english: Pydantic's sentence, or that of a validator of the user's own.
    """

    field: str
    kind: str
    english: str


class ToolArgumentsError(Exception):
    """Error: arguments that a tool does not take. The model is told in `words`, and may try again.

    Attributes:
        faults: Faults of the arguments.
        variable: Variable that the call does not have; empty: the arguments are at fault.
    """

    def __init__(self, faults: Sequence[ArgumentFault] = (), variable: str = "") -> None:
        self.faults: Final = tuple(faults)
        self.variable: Final = variable
        super().__init__(self.words(Phrases()))

    def words(self, phrases: Phrases) -> str:
        """Return what the model is told, in the agent's phrases."""
        if self.variable:
            return fill(phrases.variable_missing, name=self.variable)
        return "; ".join(
            fill(phrases.argument_wrong, field=field, kind=kind, fault=english)
            for field, kind, english in self.faults
        )


Perform: TypeAlias = Callable[[ControlRequest], Awaitable[str]]
"""Function that performs a request on a call and returns the result in words.

Raises ToolError and UserError."""


@dataclass(frozen=True, slots=True)
class Call:
    """The phone call in which a tool runs: annotate a parameter with it, and it is passed in.

    What identifies the caller comes from here, never from the model.
    """

    sid: str
    """Twilio's CallSid."""

    agent: str
    """The name of the agent that answers."""

    caller: str | None
    """The number that calls, in E.164 where Twilio has one; None for a TwiML Bin's call, and for
    one from the browser."""

    called: str | None
    """The number that was called; None likewise."""

    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Values of `{{name}}` in this call: docs/variables.md. Some may come from outside."""

    _perform: Perform | None = field(default=None, repr=False, compare=False)
    """`CallControl.perform`; None in a test that makes a call of its own."""

    direction: Literal["inbound", "outbound"] = "inbound"

    _once: Once = field(default_factory=dict, repr=False, compare=False)
    """Results of the call's irreversible functions, whichever of its agents called them."""

    _loop: asyncio.AbstractEventLoop | None = field(default=None, repr=False, compare=False)
    """The server's event loop, for `wait`."""

    _set_recording: Callable[[bool], bool] | None = field(default=None, repr=False, compare=False)
    """`CallControl.set_recording`, which any thread may call."""

    _phrases: Phrases = field(default_factory=Phrases, repr=False, compare=False)
    """The agent's sentences, for the answers to its functions."""

    @property
    def party(self) -> str | None:
        """The number of the person at the other end; None when it is not known."""
        return self.caller if self.direction == "inbound" else self.called

    def pause_recording(self) -> bool:
        """Record silence on both sides from now on, as while a card number is said.

        Returns False when the call is not recorded.
        """
        return self._set_recording is not None and self._set_recording(False)

    def resume_recording(self) -> bool:
        """Resume the recording. Return False when the call is not recorded."""
        return self._set_recording is not None and self._set_recording(True)

    async def hang_up(self, farewell: str = "") -> str:
        """End the call when the farewell was heard; without one, after the agent's own last words.

        A repeat changes nothing. Returns the result in words; raises ToolError.
        """
        return await self._ask(HangUp("agent", whole(farewell)))

    async def transfer(self, destination: str, summary: str = "") -> str:
        """Transfer the caller to a destination that the agent file names.

        A person who is called first hears the `summary`.

        Returns what happened, in words for the agent; raises ToolError when it is refused.
        """
        return await self._ask(StartTransfer(destination, whole(summary)))

    async def send_digits(self, digits: str) -> str:
        """Press keys: 0 to 9, *, #, and w for half a second of silence.

        Returns and raises as `transfer` does.
        """
        return await self._ask(Leave(SendDigits(digits)))

    async def say(self, text: str, behavior: Behavior = "default") -> str:
        """Have the agent say a text.

        By default it is refused while agent or caller speak, and the agent speaks when it has just
        called a function; `queue` says the text after the current speech, `interrupt` in its place.
        Returns the result in words; raises ToolError if refused.
        """
        if behavior not in typing.get_args(Behavior):
            raise ToolError(fill(self._phrases.behavior_unknown, behavior=repr(behavior)))
        return await self._ask(Say(self._words(text), behavior))

    async def tell(self, text: str) -> str:
        """Tell the agent a text that it answers, as if the caller had said it.

        The text interrupts the agent's speech or function. Returns and raises as `say` does.
        """
        return await self._ask(Tell(self._words(text)))

    async def update_prompt(self, text: str) -> str:
        """Add a text to the agent's prompt. Returns and raises as `say` does."""
        return await self._ask(Update(UpdatePrompt(self._words(text))))

    async def update_think(self, block: Mapping[str, Any] | list[dict[str, Any]]) -> str:
        """Replace the agent's language model, all of it: provider, prompt, endpoint, functions.

        A block without `functions` keeps those of the agent. Returns and raises as `say` does.
        """
        return await self._ask(UpdateAgent("think", block))

    async def update_speak(self, block: Mapping[str, Any] | list[dict[str, Any]]) -> str:
        """Replace the agent's voice. Returns and raises as `say` does."""
        return await self._ask(UpdateAgent("speak", block))

    async def update_listen(self, block: Mapping[str, Any]) -> str:
        """Change the agent's listener: what is left out stays, except `language_hints`.

        Returns and raises as `say` does.
        """
        return await self._ask(UpdateAgent("listen", block))

    async def mute(self) -> str:
        """Mute the agent for the caller; the agent goes on talking.

        Returns and raises as `say` does.
        """
        return await self._ask(Mute(True))

    async def unmute(self) -> str:
        """Let the caller hear the agent again. Returns and raises as `say` does."""
        return await self._ask(Mute(False))

    def wait(self, asked: Coroutine[Any, Any, T]) -> T:
        """Run a method of this object on the server's loop, from a function that is not async.

            call.wait(call.say("One moment.", "queue"))

        Returns and raises what the method does, at the end of the call at the latest. Raises
        WaitOnEventLoopError in an async function, which would block the loop.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            asked.close()
            raise WaitOnEventLoopError("in an async function write await, not call.wait")
        if self._loop is None:
            asked.close()
            raise ToolError(_NOT_OF_A_SERVER)
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result()

    async def _ask(self, request: ControlRequest) -> str:
        if self._perform is None:
            raise ToolError(_NOT_OF_A_SERVER)
        try:
            return await self._perform(request)
        except UserError as problem:
            refused = self._phrases.settings_refused
            raise ToolError(fill(refused, what=problem.what, fix=problem.fix)) from None

    def _words(self, text: str) -> str:
        """Return the text as it can be sent: a lone surrogate would end the agent's socket."""
        if not text.strip():
            raise ToolError(self._phrases.no_words)
        return whole(text)

    async def ask_digits(
        self, prompt: str = "", *, max_digits: int = 16, timeout_s: float = 30.0
    ) -> str:
        """Return the keys that the caller enters after the prompt is said: docs/keypad.md.

        The entry ends with `#` or the last of `max_digits` (1 to 32); `timeout_s` are the seconds
        to wait for each key. Agent, records, recordings, logs and captures do not get it. Raises
        ToolError when no key came in time, the call is over, or another request for digits is open.
        """
        if not 1 <= max_digits <= ENTRY_MAX or not 0 < timeout_s <= PATIENCE_MAX_S:
            raise ValueError(
                f"max_digits is 1 to {ENTRY_MAX}, timeout_s more than 0, at most {PATIENCE_MAX_S:g}"
            )
        return await self._ask(AskDigits(whole(prompt), max_digits, timeout_s))

    async def send_text(self, text: str, to: str = "caller") -> str:
        """Send a text message to the other party, or to one of the agent file's `texts`.

        Returns what happened, in words for the agent; raises ToolError when it was not sent.
        """
        return await self._ask(SendText(whole(text), to))

    async def take_message(self, name: str, number: str, text: str) -> str:
        """Keep a message in the call's record. Returns and raises as `send_text` does."""
        return await self._ask(TakeMessage(whole(name), whole(number), whole(text)))

    async def stop_calling(self) -> str:
        """Put the other party's number on the do-not-call list.

        Returns and raises as `send_text` does.
        """
        return await self._ask(StopCalling())


class _OfTheCall:
    """Marks a parameter that is a variable of the call."""


Variable: TypeAlias = Annotated[str, _OfTheCall()]
"""Annotation of a parameter that takes the call's variable of the same name.

Like `Call`, the parameter is not shown to the agent. A call without that variable takes the
parameter's default; if it has none, the agent is told that the function cannot run.
"""


class Tool(Generic[P, R]):
    """A function and its description for an agent. Calling it calls the function."""

    def __init__(
        self,
        function: Callable[P, R],
        name: str | None,
        *,
        irreversible: bool,
        repeatable: bool,
        finish_after_hangup: bool,
        process: bool,
    ) -> None:
        if not inspect.isfunction(function):
            raise ToolDefinitionError(f"{function!r} is no function")
        if inspect.isasyncgenfunction(function):
            raise ToolDefinitionError(f"{function.__name__} yields; an answer is returned, once")
        functools.update_wrapper(self, function)
        self._function: Callable[P, R] = function
        self.name: Final = name or function.__name__
        self.description: Final = inspect.getdoc(function) or ""
        self.irreversible: Final = irreversible
        self.repeatable: Final = repeatable
        self.finish_after_hangup: Final = finish_after_hangup
        self.process: Final = process
        self.asynchronous: Final = inspect.iscoroutinefunction(function)
        self.code: Final = function.__code__
        self.file: Final = self.code.co_filename
        self.line: Final = self.code.co_firstlineno
        if not _NAME.fullmatch(self.name):
            raise ToolDefinitionError(
                f'"{self.name}" is no name for a tool: letters, digits, _ and -, 64 of them'
            )
        if process and self.asynchronous:
            raise ToolDefinitionError(f"{self.name} is async; a function in a process is not")
        if process and function.__qualname__ != function.__name__:
            raise ToolDefinitionError(
                f"{self.name} is within another function, where its process cannot find it"
            )
        if not self.description:
            raise ToolDefinitionError(
                f"{self.name} has no docstring, and so the agent cannot know what it does"
            )
        self._arguments, self._names, self._passed = _arguments(self.name, function)
        self.parameters: Final = _schema(self.name, self._arguments)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself, as in a test of it."""
        return self._function(*args, **kwargs)

    @property
    def definition(self) -> dict[str, Any]:
        """The function's entry in `functions` of Settings."""
        definition = {
            "name": self.name,
            "description": self.description,
            "parameters": self.parameters,
        }
        return definition | ({"defer_until_eot": True} if self.irreversible else {})

    def bind(self, arguments: str, call: Call) -> tuple[Callable[[], Any], str]:
        """Return the function bound to a model's arguments, and these as one canonical text.

        Raises ToolArgumentsError. An empty text is no arguments (§4.2).
        """
        try:
            given = self._arguments.model_validate_json(arguments.strip() or "{}")
        except pydantic.ValidationError as error:
            details = error.errors(include_url=False, include_input=False)
            faults = (ArgumentFault(_path(it["loc"]), it["type"], it["msg"]) for it in details[:5])
            raise ToolArgumentsError(tuple(faults)) from None
        values = {name: getattr(given, field) for field, name in self._names.items()}
        for name, (variable, default) in self._passed.items():
            value = call.variables.get(name, default) if variable else call
            if value is inspect.Parameter.empty:
                raise ToolArgumentsError(variable=name)
            values[name] = value
        return functools.partial(self._function, **values), given.model_dump_json(by_alias=True)


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...


@overload
def tool(
    *,
    name: str | None = None,
    irreversible: bool = False,
    repeatable: bool = False,
    finish_after_hangup: bool = False,
    process: bool = False,
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...


def tool(
    function: Callable[P, R] | None = None,
    /,
    *,
    name: str | None = None,
    irreversible: bool = False,
    repeatable: bool = False,
    finish_after_hangup: bool = False,
    process: bool = False,
) -> Tool[P, R] | Callable[[Callable[P, R]], Tool[P, R]]:
    """Let the agent call this function, sync or async.

    Every parameter has a type hint; its JSON Schema is made from them. A parameter annotated `Call`
    is passed the call, one annotated `Variable` a variable of the call. `irreversible`: it pays,
    books or sends something, so the agent may call it only once the caller's turn is confirmed
    (`defer_until_eot`, §4.4), it is not stopped once it runs, and a repeat gets the first
    result, unless it is `repeatable`. `finish_after_hangup`: a caller who hangs up does not stop
    it. `process`: it runs in a process of its own, so that it may compute; it can read the call,
    and do nothing to it. Raises ToolDefinitionError.
    """

    def declare(function: Callable[P, R]) -> Tool[P, R]:
        return Tool(
            function,
            name,
            irreversible=irreversible,
            repeatable=repeatable,
            finish_after_hangup=finish_after_hangup,
            process=process,
        )

    return declare if function is None else declare(function)


def _arguments(
    name: str, function: Callable[..., Any]
) -> tuple[type[pydantic.BaseModel], dict[str, str], dict[str, tuple[bool, Any]]]:
    """Return a model of what the agent gives, the parameters by its fields, and those passed to it.

    Each of the last tells whether it is a variable (else the call), and its default.
    """
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise ToolDefinitionError(
            f"{name}: its type hints name something unknown: {error}"
        ) from None
    fields: dict[str, Any] = {}
    names: dict[str, str] = {}
    passed: dict[str, tuple[bool, Any]] = {}
    annotated: Any = Annotated
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ToolDefinitionError(f"{name}: the parameter {parameter} cannot be given by name")
        if parameter.name not in hints:
            raise ToolDefinitionError(f"{name}: the parameter {parameter.name} has no type hint")
        hint = hints[parameter.name]
        if _is_call(hint) or _is_variable(hint):
            passed[parameter.name] = (_is_variable(hint), parameter.default)
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        # Not under its own name, which pydantic may have a use for: `schema`, `model_config`, `_x`.
        field = f"field{len(fields)}"
        names[field] = parameter.name
        inner, *notes = typing.get_args(hint) if typing.get_origin(hint) is Annotated else (hint,)
        alias = pydantic.Field(alias=parameter.name)  # first, so that one of the user's own wins
        fields[field] = (annotated[(inner, alias, *notes)], default)
    config = pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=False)
    try:
        return pydantic.create_model(name, __config__=config, **fields), names, passed
    except (pydantic.errors.PydanticUserError, TypeError, NameError, ValueError) as error:
        raise ToolDefinitionError(f"{name}: {str(error).splitlines()[0]}") from None


def _is_call(hint: Any) -> bool:
    """Return whether a type hint is `Call`, or `Call | None`."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return set(typing.get_args(hint)) == {Call, type(None)}
    return hint is Call


def _is_variable(hint: Any) -> bool:
    """Return whether a type hint is `Variable`, or `Variable | None`."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(map(_is_variable, typing.get_args(hint)))
    return any(isinstance(each, _OfTheCall) for each in getattr(hint, "__metadata__", ()))


def _schema(name: str, model: type[pydantic.BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema of a model in one piece: not every maker's model takes references."""
    try:
        schema = model.model_json_schema()
    except pydantic.errors.PydanticUserError as error:
        raise ToolDefinitionError(f"{name}: {str(error).splitlines()[0]}") from None
    definitions = schema.pop("$defs", {})

    def inline(part: Any, inside: tuple[str, ...]) -> Any:
        if isinstance(part, list):
            return [inline(item, inside) for item in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            referred = part["$ref"].rpartition("/")[2]
            if referred in inside:
                raise ToolDefinitionError(
                    f"{name}: {referred} holds itself, which an agent cannot be told"
                )
            rest = {key: value for key, value in part.items() if key != "$ref"}
            return inline(definitions[referred], (*inside, referred)) | inline(rest, inside)
        if "prefixItems" in part:
            raise ToolDefinitionError(
                f"{name}: a tuple is nothing that every maker knows; take a list"
            )
        if "const" in part:  # nor is this
            part = {key: value for key, value in part.items() if key != "const"} | {
                "enum": [part["const"]]
            }
        return {
            # The names of properties are the user's own words.
            key: {each: inline(of, inside) for each, of in value.items()}
            if key == "properties"
            else value
            if key in _VALUES
            else inline(value, inside)
            for key, value in part.items()
            if key not in _NOT_SENT
        }

    whole: dict[str, Any] = inline(schema, ())
    whole.setdefault("properties", {})
    whole.pop("description", None)
    return whole


def _path(loc: tuple[str | int, ...]) -> str:
    return ".".join(map(str, loc)) or "arguments"
