"""Checks of Settings before any call: Deepgram reports mistakes by closing the socket.

Source: deepgram.md, by section: §2.1 root, §2.2 audio, §2.3 agent, §2.8 context, §5.3 usual
mistakes. listen_checks.py, think_checks.py and speak_checks.py have those of the blocks.

An `error` is what ends or cripples a session: Deepgram refuses the message, or ignores the very
thing that was configured. A `mistake` is a name that is not known here and looks like one that is:
probably a misspelling. Everything else is a `remark`, above all any other name that is not known
here: Deepgram adds fields, models, voices and providers faster than this file can follow.
"""

import re
from collections.abc import Collection, Iterator
from typing import Any, Final

import msgspec

from offhook.deepgram import settings_fields
from offhook.deepgram.listen_checks import check_listen
from offhook.deepgram.settings_findings import Locate, SettingsFindings, nowhere
from offhook.deepgram.speak_checks import check_speak
from offhook.deepgram.think_checks import check_inherited, check_no_fillers, check_think
from offhook.net.addresses import is_outside
from offhook.yamlfile import Finding, Loc

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

_ROOT_ONLY: Final = frozenset({"tags", "flags", "mip_opt_out", "experimental", "audio"})

_PHONE_AUDIO: Final = {"encoding": "mulaw", "sample_rate": 8000, "container": "none"}


def whole(pasted: Any) -> dict[str, Any]:
    """Return a Settings message from any of the three forms that may be pasted."""
    if isinstance(pasted, dict) and not pasted.keys().isdisjoint({"type", "agent", "audio"}):
        return pasted
    return {"agent": pasted}


def check(
    pasted: Any, locate: Locate = nowhere, tools: Collection[str] | None = ()
) -> list[Finding]:
    """Return all findings about pasted settings, in the order of the message.

    `tools` are the names of the functions that we run for this agent; None: they are not known.
    """
    message = whole(pasted)
    if message is pasted:
        return _Check(locate, tools).settings(message)
    return _Check(lambda loc, key: locate(loc[1:], key), tools).settings(message)


def change(part: str, block: Any) -> tuple[Any, list[Finding]]:
    """Return a block that replaces `part` of a session as plain JSON, with the findings about it.

    Of the listener each change names type and version, and of Flux the model (§2.13).
    """
    try:
        block = msgspec.json.decode(msgspec.json.encode(block))
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        text = f"The {part} block holds what is no JSON."
        return None, [Finding("error", text, "Give it texts, numbers, lists and mappings alone.")]
    findings = check({"agent": {part: block}})
    for url in _endpoint_urls(block):
        if not is_outside(url):
            text = f"The endpoint of the {part} block is not a host of the internet."
            fix = "Write such an endpoint into the agent file: what is there is trusted."
            findings.append(Finding("error", text, fix))
    if part == "listen" and isinstance(block, dict):
        provider = block.get("provider")
        if provider is None:
            text = "listen has no provider."
            findings.append(Finding("error", text, 'Add "provider" with type, version and model.'))
        elif isinstance(provider, dict) and "version" not in provider:
            text = "listen.provider has no version, which each change of it needs."
            findings.append(Finding("error", text, 'Add "version": "v2" for Flux, "v1" for Nova.'))
    return block, findings


def _endpoint_urls(block: Any) -> Iterator[str]:
    """Return every URL that Deepgram would be made to ask."""
    if isinstance(block, list):
        for each in block:
            yield from _endpoint_urls(each)
    elif isinstance(block, dict):
        endpoint = block.get("endpoint")
        if isinstance(endpoint, dict) and isinstance(endpoint.get("url"), str):
            yield endpoint["url"]
        yield from _endpoint_urls(block.get("functions"))


class _Check:
    """Checks of the root, of audio, and of what is in `agent` beside listen, think and speak."""

    def __init__(self, locate: Locate, tools: Collection[str] | None) -> None:
        self._found = SettingsFindings(locate)
        self._tools = tools

    def settings(self, message: dict[str, Any]) -> list[Finding]:
        self._found.fields((), message, settings_fields.ROOT)
        kind = message.get("type", "Settings")
        if kind == "SettingsConfiguration":
            why = "is a name from early access; Deepgram does not know it any more"
            self._found.error(("type",), f'type "{kind}" {why}.', 'Write "Settings".')
        elif kind != "Settings":
            self._found.error(
                ("type",), "type is not that of a Settings message.", 'Write "Settings".'
            )
        for name in ("listen", "think", "speak", "greeting"):
            if name in message:
                text = f'"{name}" stands beside "agent", where Deepgram does not look.'
                self._found.error((name,), text, 'Move it under "agent".', key=True)
        if isinstance(flags := message.get("flags"), dict):
            self._found.fields(("flags",), flags, settings_fields.FLAGS)
        if isinstance(audio := message.get("audio"), dict):
            self._audio(audio)
        agent = message.get("agent")
        if isinstance(agent, dict):
            self._agent(agent)
        elif isinstance(agent, str):
            if not _UUID.fullmatch(agent):
                text = "agent is neither a mapping nor the UUID of a stored agent."
                self._found.error(("agent",), text, "Paste the agent block, or the UUID alone.")
        elif "agent" not in message:
            self._found.error(
                (), 'There is no "agent".', 'Add "agent" with listen, think and speak.'
            )
        return self._found.found

    def _audio(self, audio: dict[str, Any]) -> None:
        """Check that audio is mu-law at 8000 Hz, as Twilio's is: nothing here transcodes."""
        self._found.fields(("audio",), audio, settings_fields.AUDIO)
        for side, known in (
            ("input", settings_fields.AUDIO_INPUT),
            ("output", settings_fields.AUDIO_OUTPUT),
        ):
            part = audio.get(side)
            if not isinstance(part, dict):
                continue
            self._found.fields(("audio", side), part, known)
            for name, value in _PHONE_AUDIO.items():
                if name in known and part.get(name, value) != value:
                    text = f"audio.{side}.{name} is not what a phone line has; callers hear noise."
                    fix = f'Write "{value}"' if isinstance(value, str) else f"Write {value}"
                    self._found.error(
                        ("audio", side, name), text, f"{fix}, or remove audio altogether."
                    )
        output = audio.get("output")
        if isinstance(output, dict) and "bitrate" in output:
            text = "audio.output.bitrate is for compressed audio, and refused with Flux voices."
            self._found.error(("audio", "output", "bitrate"), text, "Remove it.", key=True)

    def _agent(self, agent: dict[str, Any]) -> None:
        for name in sorted(_ROOT_ONLY.intersection(agent)):
            text = f'"{name}" stands under "agent", where Deepgram refuses it.'
            self._found.error(
                ("agent", name), text, 'Move it to the top, beside "agent".', key=True
            )
        self._found.fields(("agent",), agent, settings_fields.AGENT, but=_ROOT_ONLY)
        flux = check_listen(self._found, agent.get("listen"))
        if "language" in agent:
            text = "agent.language is deprecated."
            fix = "Remove it, and set listen.provider.language and speak.provider.language."
            if flux:
                text = "agent.language is deprecated, and with Flux it may end the session."
                fix = "Remove it; the Flux model says the language."
            self._found.remark(("agent", "language"), text, fix, key=True)
        if "think_live" in agent:
            text = "think_live is by invitation; other projects are refused for it."
            self._found.remark(("agent", "think_live"), text, "Remove it unless invited.", key=True)
            self._think_live(agent["think_live"])
        if agent.get("greeting") == "":
            text = "agent.greeting is empty; whether Deepgram takes that is not documented."
            self._found.remark(
                ("agent", "greeting"), text, "Remove it: the caller then speaks first."
            )
        if isinstance(context := agent.get("context"), dict):
            self._context(context)
        for loc, block in self._found.blocks("think", agent.get("think")):
            check_think(self._found, loc, block, self._tools)
            if "think_live" not in agent:
                check_no_fillers(self._found, (*loc, "functions"), block.get("functions"))
        for loc, block in self._found.blocks("speak", agent.get("speak")):
            check_speak(self._found, loc, block)
        check_inherited(self._found, agent.get("think"))

    def _think_live(self, think_live: Any) -> None:
        loc: Loc = ("agent", "think_live")
        if isinstance(think_live, dict):
            self._found.fields(loc, think_live, settings_fields.THINK_LIVE)
            if isinstance(provider := think_live.get("provider"), dict):
                self._found.fields(
                    (*loc, "provider"), provider, settings_fields.THINK_LIVE_PROVIDER
                )

    def _context(self, context: dict[str, Any]) -> None:
        loc: Loc = ("agent", "context")
        self._found.fields(loc, context, settings_fields.CONTEXT)
        messages = context.get("messages")
        for index, entry in enumerate(messages if isinstance(messages, list) else ()):
            talk = isinstance(entry, dict) and {"role", "content"} <= entry.keys()
            if not talk and not (isinstance(entry, dict) and "function_calls" in entry):
                text = "A message of the context has neither role and content nor function_calls."
                self._found.error((*loc, "messages", index), text, "Complete or remove it.")
            elif entry.get("type") != "History":
                text = "A message of the context has another type than History."
                self._found.error((*loc, "messages", index), text, 'Add "type": "History" to it.')
            if isinstance(entry, dict):
                self._found.fields((*loc, "messages", index), entry, settings_fields.HISTORY)
