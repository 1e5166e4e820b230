"""The content of an agent file."""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias, TypeVar
from urllib.parse import urlsplit

import pydantic
from pydantic import BeforeValidator, Field, SkipValidation

from offhook import variables, yamlfile
from offhook.call import keypad, phrases
from offhook.config.calling_hours import DAYS, Day, Hours, read_hours
from offhook.config.parts import (
    Default,
    Destination,
    DestinationName,
    Key,
    Name,
    Part,
    PhoneNumber,
    Text,
    Zone,
    or_empty,
    speakable,
)
from offhook.deepgram.settings import Settings
from offhook.tools import modules
from offhook.tools.builtin.texts import CALLER
from offhook.tools.files import ToolFiles
from offhook.yamlfile import Loc

_Places: TypeAlias = "dict[str | int, _Places]"
"""Ways to texts with variables: each step with the steps after it, none after a text."""


def said(value: Any) -> Any:
    """Return `{say: value}` for a bare text."""
    return {"say": value} if isinstance(value, str) else value


def yes_or_no(value: Any) -> Any:
    """Return a switch as a mapping: {} (the defaults) for yes, None for no."""
    word = value.lower() if isinstance(value, str) else value
    if word in (True, "on", "yes"):  # words to YAML 1.2
        return {}
    return None if word in (False, "off", "no") else value


def action(value: Any) -> Any:
    """Return the bare word `hang_up` as a mapping: no words are said."""
    return {"hang_up": ""} if value == "hang_up" else value


class TwilioSpeech(Part):
    """Language and voice of what Twilio says."""

    language: str | None = None
    """BCP-47; None is Twilio's default, en-US."""

    voice: str | None = None
    """A voice of Twilio's, such as Polly.Joanna-Neural; None is the account's."""


class Announcement(TwilioSpeech):
    """Words that Twilio says before the agent is connected, which delays the agent."""

    say: Text

    def by_default(self, speech: TwilioSpeech | None) -> "Announcement":
        """Return the words as they are, or like the agent's other ones if they do not say how."""
        if speech is None or self.language is not None or self.voice is not None:
            return self
        return Announcement(say=self.say, language=speech.language, voice=speech.voice)


class Voicemail(Part):
    """A recorded message, when there is no agent to talk to."""

    say: Text = "Please leave a message after the tone."
    max_seconds: int = Field(default=120, ge=1, le=3600)


class Fallback(Part):
    """The answer to a caller whose agent cannot be reached or is lost: `say`, then one action."""

    say: Text | None = "We are sorry, we cannot continue this call. Please try again later."
    dial: Destination | None = None
    """A number in E.164, or a sip: address, that takes over."""

    voicemail: Annotated[Voicemail | None, BeforeValidator(yes_or_no)] = None

    @pydantic.model_validator(mode="after")
    def _one(self) -> "Fallback":
        if self.dial and self.voicemail:
            raise yamlfile.refuse("fallback has both dial and voicemail.", "Keep one of them.")
        return self


class Busy(Part):
    """The answer to a caller for whom the server has no room: one of the four."""

    say: Text | None = None
    reject: bool = False
    """Decline with the busy tone; the call is not answered and costs nothing."""

    dial: Destination | None = None
    voicemail: Annotated[Voicemail | None, BeforeValidator(yes_or_no)] = None

    @pydantic.model_validator(mode="after")
    def _one(self) -> "Busy":
        given = (self.say, self.reject, self.dial, self.voicemail)
        if sum(map(bool, given)) != 1:
            raise yamlfile.refuse(
                "busy must have one of say, reject, dial and voicemail.", "Keep one."
            )
        return self


class LimitSettings(Part):
    """Limits of a call: of its length, and of either side's silence."""

    max_minutes: float = Field(default=30, gt=0, le=1440)
    silence_seconds: float = Field(default=60, ge=0)
    """Seconds of the caller's silence after which the agent asks, then says goodbye; 0 never."""
    answer_seconds: float = Field(default=8, ge=0)
    """Seconds that an answer may take before Deepgram's session counts as silent; 0 any."""


if TYPE_CHECKING:
    from offhook.call.phrases import Phrases
else:
    # The keys, defaults and words are declared once, in the core that says them.
    Phrases = pydantic.create_model(
        "Phrases",
        __base__=Part,
        __doc__="Sentences that the agent says, or is told.",
        **{
            name: (dict[str, Text] if isinstance(default, dict) else Text, default)
            for name, default in dataclasses.asdict(phrases.Phrases()).items()
        },
    )


class Lookup(Part):
    """A question about a call before it is answered: to one of `url` and `python`."""

    url: str | None = Field(default=None, repr=False)
    """Address that takes JSON with call_sid, caller, called and agent, and answers an object."""

    python: Annotated[str, Field(pattern=r"^[^:]+\.py:[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """`file.py:function`, relative to the agent file. It is given the Call of offhook.tools."""

    timeout_ms: int = Field(default=1000, ge=50, le=5000)
    """Milliseconds to wait for the answer, during which the caller hears ringing."""

    secret_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """The variable of the environment whose value is sent as `Authorization: Bearer`."""

    @pydantic.field_validator("url")
    @classmethod
    def _web(cls, value: str | None) -> str | None:
        if value is None:
            return None
        url = urlsplit(value)
        if url.scheme not in ("http", "https") or not url.hostname or re.search(r"\s", value):
            raise yamlfile.refuse("This is not a web address.", "Write https:// and a host.")
        if url.username or url.password:
            raise yamlfile.refuse(
                "This address has a secret in it, and this file is meant to be shared.",
                "Put the secret into the environment, and name it in secret_env.",
            )
        return value

    @pydantic.model_validator(mode="after")
    def _one(self) -> "Lookup":
        if (self.url is None) == (self.python is None):
            raise yamlfile.refuse("lookup must have one of url and python.", "Keep one.")
        if self.secret_env is not None and self.url is None:
            raise yamlfile.refuse("secret_env goes with url only.", "Remove it.")
        return self


class Placing(Part):
    """Settings of the calls that an agent places."""

    answering_machine: Literal["hang_up", "leave_message", "talk"] = "hang_up"
    """Action for a call that a machine answers."""

    message: Annotated[Announcement | None, BeforeValidator(said)] = None
    """Words that Twilio says to a machine after the tone; `leave_message` needs them."""

    ring_seconds: int = Field(default=30, ge=5, le=600)
    """Seconds for which the call may ring; Twilio may add about 5 s."""

    call_reason: Annotated[str, Field(min_length=1, max_length=50)] | None = None
    """Reason shown to the called person, where carriers do that."""

    caller_id: PhoneNumber | None = None
    """The number that people see; None is `outbound.caller_id` of offhook.yaml."""

    hours: str = "09:00-20:00"
    """Hours in which people of lists may be rung, in their own time zone."""

    days: Annotated[tuple[Day, ...], Field(min_length=1)] = DAYS
    """Days on which people of lists may be rung."""

    @pydantic.field_validator("hours")
    @classmethod
    def _range(cls, value: str) -> str:
        if read_hours(value, DAYS) is None:
            raise yamlfile.refuse(
                "These are no hours of a day.", 'Write from and until: "09:00-20:00".'
            )
        return value

    @pydantic.model_validator(mode="after")
    def _something_to_say(self) -> "Placing":
        if self.answering_machine == "leave_message" and self.message is None:
            raise yamlfile.refuse(
                "answering_machine is leave_message, and there is no message.",
                "Add message: with what a machine is told.",
            )
        return self

    @property
    def calling_hours(self) -> Hours:
        """The calling hours that `hours` and `days` mean."""
        found = read_hours(self.hours, self.days)
        assert found is not None, "it was validated"
        return found


class TransferDestination(Part):
    """A destination of `transfer_call`: a person, or another agent."""

    to: Destination | None = None
    """A number in E.164, or a sip: address."""

    agent: Path | None = None
    """The agent file to change to, in place of `to`; relative to this one."""

    describe: str = ""
    """Description of the destination for the agent: who is there, and for what."""

    warm: bool = False
    """True if the person first hears what the call is about, and may decline."""

    timeout_seconds: int = Field(default=25, ge=5, le=600)
    """Seconds for which the destination rings."""

    caller_id: PhoneNumber | None = None
    """The number that the person sees; None is the caller's, if warm the line that was called."""

    @pydantic.model_validator(mode="after")
    def _one(self) -> "TransferDestination":
        if (self.to is None) == (self.agent is None):
            raise yamlfile.refuse("A destination must have one of to and agent.", "Keep one.")
        if self.agent is not None and (self.warm or self.caller_id):
            raise yamlfile.refuse(
                "warm and caller_id go with to: no telephone rings at another agent.", "Remove it."
            )
        return self


class Transfer(Part):
    """Destinations of `transfer_call`, by the names that the agent has for them."""

    destinations: dict[DestinationName, TransferDestination] = Field(min_length=1)


class KeyAction(Part):
    """An action of a key, which is then not told to the agent: one of the three."""

    transfer: DestinationName | None = None
    """Name of one of `transfer.destinations`."""

    hang_up: Annotated[str, BeforeValidator(speakable)] | None = None
    """Words before the call ends. The bare word `hang_up` has none."""

    say: Text | None = None
    """Words that the agent says when the key is pressed."""

    @pydantic.model_validator(mode="after")
    def _one(self) -> "KeyAction":
        if [self.transfer, self.hang_up, self.say].count(None) != 2:
            raise yamlfile.refuse(
                "A key must have one of transfer, hang_up and say.", "Keep one of them."
            )
        return self

    @property
    def action(self) -> keypad.Action:
        """The action in the form that the call core uses."""
        if self.transfer is not None:
            return keypad.TransferByKey(self.transfer)
        return (
            keypad.HangUpByKey(self.hang_up or "")
            if self.say is None
            else keypad.SayByKey(self.say)
        )


class KeypadSettings(Part):
    """Settings of the keypad. The agent gets what is entered, unless it is an action."""

    timeout_seconds: float = Field(default=2, ge=0.2, le=30)
    """Seconds to wait for the next key of an entry; `#` ends an entry at once."""

    actions: Annotated[
        dict[Key, Annotated[KeyAction, BeforeValidator(action)]], BeforeValidator(or_empty)
    ] = Field(default={})
    """Action of an entry of one key, by that key."""


class BargeInSettings(Part):
    """Sounds that do not cut the agent off, although Deepgram takes them for speech."""

    echo_guard: bool = False
    """True if the agent's own speech, when it comes back from the caller's side, does not."""

    min_speech_ms: int = Field(default=0, ge=0, le=2000)
    """Milliseconds that a sound must go on to cut the agent off; 0: any does, at once."""

    protect_greeting: bool = False
    """True if nothing that is said during the greeting cuts it off. Keys count as ever."""


class TextDestination(Part):
    """A recipient that `send_sms` may reach beside the caller."""

    to: PhoneNumber
    describe: str = ""
    """Description of the recipient for the agent."""


class Texts(Part):
    """Settings of `send_sms`."""

    model_config = pydantic.ConfigDict(populate_by_name=True)

    from_: PhoneNumber = Field(alias="from")
    """A number of the account that can send texts."""

    destinations: Annotated[dict[DestinationName, TextDestination], BeforeValidator(or_empty)] = (
        Field(default={})
    )

    @pydantic.field_validator("destinations")
    @classmethod
    def _not_the_caller(cls, value: dict[str, TextDestination]) -> dict[str, TextDestination]:
        if CALLER in value:
            raise yamlfile.refuse(
                f'"{CALLER}" is the other party of the call.', "Give this one another name."
            )
        return value


class Agent(Part):
    """An agent: the content of an agent file."""

    name: Text = ""
    """The agent's name; the file's stem if it is left out."""

    settings: SkipValidation[Settings] = Field(repr=False)
    """A Settings message, its agent block or a stored agent's UUID, checked by `read_agent`."""

    speech: TwilioSpeech | None = None
    """Language and voice of all that Twilio says for this agent; None is the announcement's."""

    announcement: Annotated[Announcement | None, BeforeValidator(said)] = None
    recording: bool = False
    """True if calls are recorded. It needs an announcement, which says so to the caller."""

    fallback: Fallback = Fallback()
    busy: Annotated[Busy, BeforeValidator(said)] = Busy(
        say="All our lines are busy. Please call again later."
    )
    limits: LimitSettings = LimitSettings()
    phrases: Phrases = Phrases()
    outbound: Placing = Placing()

    tier: Text = "standard"
    """Tier of Deepgram's price of a minute: a key of `records.prices.deepgram_minute`."""
    variables: Annotated[dict[Name, Default], BeforeValidator(or_empty)] = Field(default={})
    """Defaults of variables, which fill `{{name}}` when nothing else gives it: variables.py."""

    timezone: Zone | None = None
    """Time zone of `{{date}}` and `{{time}}`; None is this machine's."""

    lookup: Lookup | None = None

    tools: tuple[Text, ...] = ()
    """Python files with functions for the agent, relative to this file; and built-in tools."""

    transfer: Transfer | None = None
    texts: Texts | None = None
    keypad: KeypadSettings = KeypadSettings()
    barge_in: BargeInSettings = BargeInSettings()

    _tool_files: ToolFiles = pydantic.PrivateAttr(default_factory=ToolFiles)
    _lookup_function: modules.Latest[Callable[..., Any]] | None = pydantic.PrivateAttr(None)
    _places: _Places = pydantic.PrivateAttr(default_factory=dict)

    @pydantic.field_validator("announcement")
    @classmethod
    def _in_its_language(
        cls, value: Announcement | None, info: pydantic.ValidationInfo
    ) -> Announcement | None:
        return value and value.by_default(info.data.get("speech"))

    @pydantic.field_validator("outbound")
    @classmethod
    def _message_in_its_language(cls, value: Placing, info: pydantic.ValidationInfo) -> Placing:
        message = value.message and value.message.by_default(info.data.get("speech"))
        return value.model_copy(update={"message": message})

    @pydantic.field_validator("phrases")
    @classmethod
    def _complete(cls, value: Phrases) -> Phrases:
        for key, count in phrases.LISTS.items():
            found = len(phrases.listed(getattr(value, key)))
            if found != count:
                raise yamlfile.refuse(
                    f"phrases.{key} has {found} names, not {count}.", "Put commas between them."
                )
        return value

    @pydantic.field_validator("recording")
    @classmethod
    def _announced(cls, value: bool, info: pydantic.ValidationInfo) -> bool:
        if value and "announcement" in info.data and info.data["announcement"] is None:
            raise yamlfile.refuse(
                "recording is on, and no announcement tells callers so.",
                "Add announcement: with what they are told, or remove this line.",
            )
        return value

    @property
    def tool_files(self) -> ToolFiles:
        """The tools that `tools` names, loaded by `read_agent`."""
        return self._tool_files

    @property
    def lookup_function(self) -> Callable[..., Any] | None:
        """The function that `lookup.python` names, loaded by `read_agent` and the file watch."""
        return self._lookup_function.current if self._lookup_function is not None else None

    @property
    def python_files(self) -> Iterator[modules.Latest[Any]]:
        """Objects loaded from users' Python files for this agent."""
        yield self._tool_files.toolbox
        if self._lookup_function is not None:
            yield self._lookup_function

    def templates(self) -> Iterator[tuple[Loc, str]]:
        """Return every text in which `{{name}}` is filled, with the way to it in the agent file."""
        yield from _said_in(self, ())
        yield from ((("settings", *loc), text) for loc, text in self.settings.texts())

    def filled(self, values: Mapping[str, str]) -> "Agent":
        """Return the agent with a call's variables in its set phrases.

        Its settings stay as they are: they are filled when they are sent.
        """
        return _fill(self, self._places, values) if self._places else self

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with other values, in whose set phrases variables are found anew."""
        copied = super().model_copy(update=update, deep=deep)
        copied._places = _places_in(copied)
        return copied

    def model_post_init(self, context: Any, /) -> None:
        """Find the variables in the set phrases, once for all calls."""
        self._places = _places_in(self)


def _said_in(part: Part, way: Loc) -> Iterator[tuple[Loc, str]]:
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, Part):
            yield from _said_in(value, (*way, name))
        elif isinstance(value, dict):
            for key, each in value.items():
                if isinstance(each, Part):
                    yield from _said_in(each, (*way, name, key))
        elif isinstance(value, str) and _is_said(part, name):
            yield (*way, name), value


def _is_said(part: Part, name: str) -> bool:
    return name in ("say", "hang_up") or isinstance(part, Phrases)


_P = TypeVar("_P", bound=Part)


def _places_in(part: Part) -> _Places:
    """Return the set phrases that hold variables, by the way to each."""
    found: _Places = {}
    for way, text in _said_in(part, ()):
        if any(variables.places(text)):
            inside = found
            for step in way[:-1]:
                inside = inside.setdefault(step, {})
            inside[way[-1]] = {}
    return found


def _fill(part: _P, places: _Places, values: Mapping[str, str]) -> _P:
    update: dict[str, Any] = {}
    for name, inside in places.items():
        value = getattr(part, str(name))
        if isinstance(value, str):
            update[str(name)] = variables.fill(value, values)
        elif isinstance(value, Part):
            update[str(name)] = _fill(value, inside, values)
        else:
            filled = {key: _fill(value[key], within, values) for key, within in inside.items()}
            update[str(name)] = {**value, **filled}
    # Not Agent's own, which would look for variables again.
    return pydantic.BaseModel.model_copy(part, update=update)
