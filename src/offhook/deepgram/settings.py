"""The Settings message: pasted by the user, completed for the phone, sent as it was meant.

Source: deepgram.md §2.1 to §2.9. Settings stay the user's own JSON. Deepgram adds
fields every few weeks, so none is lost or reordered for being unknown here; what would end the
session is found by `checks` before any call.
"""

import importlib.resources
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from offhook.deepgram import settings_checks
from offhook.deepgram.changes import Change, applied
from offhook.deepgram.messages import History, UpdateListen, UpdateSpeak, UpdateThink
from offhook.deepgram.settings_findings import Locate, nowhere
from offhook.errors import UserError
from offhook.yamlfile import Finding, InvalidFileError, Loc

Part: TypeAlias = Literal["think", "speak", "listen"]
"""Name of a part of a session that can be replaced while it lasts."""


class Settings:
    """The Settings of an agent: a value that never changes.

    Its text may hold credentials (`endpoint.headers`), so its repr shows none of it.
    """

    __slots__ = ("_message",)

    def __init__(self, pasted: Any) -> None:
        """Complete settings that `accept` has checked."""
        message = settings_checks.whole(pasted)
        audio = message.get("audio") or {}
        # For Twilio; a container around the audio is heard as clicks (§2.2).
        line = {"encoding": "mulaw", "sample_rate": 8000}
        self._message: Final[dict[str, Any]] = {
            "type": "Settings",
            **message,
            "audio": {
                **audio,
                "input": {**line, **(audio.get("input") or {})},
                "output": {**line, "container": "none", **(audio.get("output") or {})},
            },
        }

    def message(
        self,
        *,
        greeting: bool = True,
        context: Sequence[History] | None = None,
        functions: Sequence[Mapping[str, Any]] = (),
        fill: Callable[[str], str] | None = None,
        changes: Sequence[Change] = (),
    ) -> bytes:
        """Return the message for the wire; `fill` returns its prompts and its greeting (`texts`).

        `functions` are added to those of every think provider, unless one of that name is there.

        A resumed session has no `greeting`, and the conversation so far as `context`, which
        follows whatever context the settings have of their own. Prompt, think, speak and listen
        are as `changes` left them (§5.4). A stored agent takes none of these (§2.9): its message
        is always the same.
        """
        agent = self._message["agent"]
        if isinstance(agent, str):
            return msgspec.json.encode(self._message)
        if fill is not None:
            agent = _filled(agent, fill)
        # A session that goes on has no greeting (§5.4): the caller has heard it.
        if not greeting:
            agent = {key: value for key, value in agent.items() if key != "greeting"}
        if context:
            own = agent.get("context") or {}
            agent = {**agent, "context": {**own, "messages": [*own.get("messages", ()), *context]}}
        if functions:
            agent = {**agent, "think": _with_functions(agent.get("think") or {}, functions)}
        # Last, as the changes were made of all the rest: a think block names its functions itself.
        if changes:
            agent = applied(agent, changes)
        return msgspec.json.encode({**self._message, "agent": agent})

    def change(self, part: Part, block: Any, functions: Sequence[Mapping[str, Any]] = ()) -> Change:
        """Return the message that changes a part of a session that was begun with these settings.

        A think block replaces the functions too (§2.11): one that does not name any gets those of
        these settings, and `functions`. Nothing is filled in it. Raises InvalidFileError E-SET-01
        for a block that Deepgram would refuse, which ends the session; and UserError E-SET-02 when
        the functions are not known here.
        """
        block, findings = settings_checks.change(part, block)
        errors = [finding for finding in findings if finding.level == "error"]
        if errors:
            raise InvalidFileError("E-SET-01", errors)
        match part:
            case "speak":
                return UpdateSpeak(block)
            case "listen":
                return UpdateListen(block)
            case "think":
                return UpdateThink(self._keeping_functions(block, functions))

    def _keeping_functions(self, think: Any, functions: Sequence[Mapping[str, Any]]) -> Any:
        if isinstance(think, list):
            return [self._keeping_functions(each, functions) for each in think]
        if "functions" in think:
            return think
        agent = self._message["agent"]
        if isinstance(agent, str):
            raise UserError(
                "E-SET-02",
                "This agent is stored at Deepgram: which functions a think block would take from"
                " it is not known here.",
                'Write "functions" into the block: all that it is to have, [] for none.',
            )
        own = agent.get("think") or {}
        # Of a list the first is in use unless it fails (§2.3).
        first = own[0] if isinstance(own, list) else own
        kept = _with_functions({"functions": first.get("functions")}, functions)["functions"]
        return {**think, "functions": kept} if kept else think

    def texts(self) -> Iterator[tuple[Loc, str]]:
        """Return every prompt and greeting with its location: texts that may hold `{{name}}`."""
        agent = self._message["agent"]
        if isinstance(agent, str):
            return
        if isinstance(agent.get("greeting"), str):
            yield ("agent", "greeting"), agent["greeting"]
        think = agent.get("think")
        several = isinstance(think, list)
        for index, block in enumerate(think if several else [think]):
            if isinstance(block, dict) and isinstance(block.get("prompt"), str):
                yield ("agent", "think", *([index] if several else []), "prompt"), block["prompt"]

    @property
    def stored(self) -> bool:
        """True if Deepgram stores the agent, of which only the UUID is known here."""
        return isinstance(self._message["agent"], str)

    @property
    def greeting(self) -> str | None:
        """The agent's first words; None when unknown, as for an agent stored at Deepgram."""
        agent = self._message["agent"]
        return None if isinstance(agent, str) else agent.get("greeting") or None

    @property
    def listens_with_flux(self) -> bool:
        """True if Flux finds the turns, which takes ForceEndTurn (§2.17)."""
        agent = self._message["agent"]
        if isinstance(agent, str):
            return False
        provider = (agent.get("listen") or {}).get("provider") or {}
        return bool(provider.get("version") == "v2")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and self._message == other._message

    def __hash__(self) -> int:
        return hash(self.message())

    def __repr__(self) -> str:
        return f"Settings(stored={self.stored})"


def _filled(agent: dict[str, Any], fill: Callable[[str], str]) -> dict[str, Any]:
    if isinstance(agent.get("greeting"), str):
        agent = {**agent, "greeting": fill(agent["greeting"])}
    return {**agent, "think": _filled_think(agent["think"], fill)} if "think" in agent else agent


def _filled_think(think: Any, fill: Callable[[str], str]) -> Any:
    if isinstance(think, list):
        return [_filled_think(each, fill) for each in think]
    if not isinstance(think, dict) or not isinstance(think.get("prompt"), str):
        return think
    return {**think, "prompt": fill(think["prompt"])}


def _with_functions(think: Any, functions: Sequence[Mapping[str, Any]]) -> Any:
    if isinstance(think, list):
        return [_with_functions(each, functions) for each in think]
    own = think.get("functions") or []
    names = {function.get("name") for function in own}
    added = [function for function in functions if function["name"] not in names]
    return {**think, "functions": [*own, *added]}


def accept(
    pasted: Any,
    locate: Locate = nowhere,
    tools: Collection[str] | None = (),
) -> tuple[Settings, tuple[Finding, ...]]:
    """Return Settings from what the user pasted, with the remarks about them.

    That is a whole Settings message, its `agent` block alone, or the UUID of a stored agent;
    `locate` tells where a part of it was written; `tools` are the functions that we run for it, by
    name, None if that is not known. Raises InvalidFileError E-SET-01 if there is an error.
    """
    findings = settings_checks.check(pasted, locate, tools)
    if any(finding.level == "error" for finding in findings):
        raise InvalidFileError("E-SET-01", findings)
    return Settings(pasted), tuple(findings)


def tutorial() -> tuple[Settings, tuple[Finding, ...]]:
    """Return the settings of Deepgram's tutorial: the default agent."""
    text = importlib.resources.files("offhook.deepgram").joinpath("tutorial.json").read_bytes()
    return accept(msgspec.json.decode(text))
