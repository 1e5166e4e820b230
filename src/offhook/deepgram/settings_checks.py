"""Checks of Settings before any call: Deepgram reports mistakes by closing the socket.

Source: deepgram.md, by section: §2.1 root, §2.2 audio, §2.3 agent, §2.4 listen,
§2.5 think, §2.6 speak, §2.8 context, §4.1 functions, §5.3 usual mistakes.

An `error` is what ends or cripples a session: Deepgram refuses the message, or ignores the very
thing that was configured. A `mistake` is a name that is not known here and looks like one that is:
probably a misspelling. Everything else is a `remark`, above all any other name that is not known
here: Deepgram adds fields, models, voices and providers faster than this file can follow.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs, urlsplit

import msgspec

from offhook.deepgram import model_names, settings_fields
from offhook.deepgram.model_names import AS_IS, NameCheck
from offhook.net.addresses import is_outside
from offhook.text.spelling import meant_key
from offhook.yamlfile import Finding, Loc, Place

Locate: TypeAlias = Callable[[Loc, bool], Place | None]
"""Function that returns the place of a value in the settings by its location, or of its key."""


def nowhere(loc: Loc, key: bool) -> None:
    """Return None: a Locate for settings that did not come from a file."""


PROMPT_LIMIT: Final = 25_000
"""Characters of a prompt that Deepgram's managed models take; the rest is cut off (§1.3)."""

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

_NOT_A_FIELD: Final[Mapping[str, tuple[str, str]]] = {
    # Names that Deepgram once had or has elsewhere, which do nothing or end the session (§2.4,
    # §4.6, §5.3, §9): why, and what to write.
    "instructions": ("is a name from early access", 'Write "prompt", under "think".'),
    "session_id": ("is a name from early access", "Remove it."),
    "keyterm": ("belongs to the transcription sockets", 'Write "keyterms", a list.'),
    "language_hint": ("was never honoured", 'Write "language_hints", a list.'),
    "tools": ("is what language models call them", 'Write "functions".'),
    "client_side": ("is decided by Deepgram: a function without endpoint is", "Remove it."),
    "function": ("is one level too many", 'Move what is under "function" one level up.'),
    "think_conversational": ("is the former name of think_live", 'Write "think_live".'),
}
_ROOT_ONLY: Final = frozenset({"tags", "flags", "mip_opt_out", "experimental", "audio"})
_IN_PROVIDER: Final = frozenset({"type", "model", "voice", "version", "temperature", "speed"})

_PHONE_AUDIO: Final = {"encoding": "mulaw", "sample_rate": 8000, "container": "none"}

_TEMPERATURE: Final[Mapping[str, tuple[float, float]]] = {
    "open_ai": (0, 2),
    "anthropic": (0, 1),
    "google": (0, 2),
    "groq": (0, 2),
    "deepgram": (0, 2),
}
_THINK_TYPES: Final = frozenset({*_TEMPERATURE, "nvidia", "aws_bedrock"})
_THINK_NEEDS_ENDPOINT: Final = frozenset({"groq", "aws_bedrock"})
_SPEAK_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "deepgram": ("model",),
    "open_ai": ("model", "voice"),
    "eleven_labs": ("model_id",),
    "cartesia": ("model_id", "voice"),
    "aws_polly": ("voice", "language", "engine", "credentials"),
}
_SPEAK_NEEDS_ENDPOINT: Final = frozenset({"open_ai", "eleven_labs", "aws_polly"})
_EVERYDAY: Final = frozenset(
    {"hello", "hi", "hey", "goodbye", "bye", "yes", "no", "okay", "ok", "please", "thanks", "help"}
)


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
    def __init__(self, locate: Locate, tools: Collection[str] | None) -> None:
        self._locate = locate
        self._tools = tools
        self._findings: list[Finding] = []

    def _error(self, loc: Loc, text: str, fix: str, *, key: bool = False) -> None:
        self._findings.append(Finding("error", text, fix, self._locate(loc, key)))

    def _mistake(self, loc: Loc, text: str, fix: str, *, key: bool = False) -> None:
        self._findings.append(Finding("mistake", text, fix, self._locate(loc, key)))

    def _remark(self, loc: Loc, text: str, fix: str, *, key: bool = False) -> None:
        self._findings.append(Finding("remark", text, fix, self._locate(loc, key)))

    # --- §2.1, §2.2 ---

    def settings(self, message: dict[str, Any]) -> list[Finding]:
        self._fields((), message, settings_fields.ROOT)
        kind = message.get("type", "Settings")
        if kind == "SettingsConfiguration":
            why = "is a name from early access; Deepgram does not know it any more"
            self._error(("type",), f'type "{kind}" {why}.', 'Write "Settings".')
        elif kind != "Settings":
            self._error(("type",), "type is not that of a Settings message.", 'Write "Settings".')
        for name in ("listen", "think", "speak", "greeting"):
            if name in message:
                text = f'"{name}" stands beside "agent", where Deepgram does not look.'
                self._error((name,), text, 'Move it under "agent".', key=True)
        if isinstance(flags := message.get("flags"), dict):
            self._fields(("flags",), flags, settings_fields.FLAGS)
        if isinstance(audio := message.get("audio"), dict):
            self._audio(audio)
        agent = message.get("agent")
        if isinstance(agent, dict):
            self._agent(agent)
        elif isinstance(agent, str):
            if not _UUID.fullmatch(agent):
                text = "agent is neither a mapping nor the UUID of a stored agent."
                self._error(("agent",), text, "Paste the agent block, or the UUID alone.")
        elif "agent" not in message:
            self._error((), 'There is no "agent".', 'Add "agent" with listen, think and speak.')
        return self._findings

    def _audio(self, audio: dict[str, Any]) -> None:
        """Check that audio is mu-law at 8000 Hz, as Twilio's is: nothing here transcodes."""
        self._fields(("audio",), audio, settings_fields.AUDIO)
        for side, known in (
            ("input", settings_fields.AUDIO_INPUT),
            ("output", settings_fields.AUDIO_OUTPUT),
        ):
            part = audio.get(side)
            if not isinstance(part, dict):
                continue
            self._fields(("audio", side), part, known)
            for name, value in _PHONE_AUDIO.items():
                if name in known and part.get(name, value) != value:
                    text = f"audio.{side}.{name} is not what a phone line has; callers hear noise."
                    fix = f'Write "{value}"' if isinstance(value, str) else f"Write {value}"
                    self._error(("audio", side, name), text, f"{fix}, or remove audio altogether.")
        output = audio.get("output")
        if isinstance(output, dict) and "bitrate" in output:
            text = "audio.output.bitrate is for compressed audio, and refused with Flux voices."
            self._error(("audio", "output", "bitrate"), text, "Remove it.", key=True)

    # --- §2.3, §2.8 ---

    def _agent(self, agent: dict[str, Any]) -> None:
        for name in sorted(_ROOT_ONLY.intersection(agent)):
            text = f'"{name}" stands under "agent", where Deepgram refuses it.'
            self._error(("agent", name), text, 'Move it to the top, beside "agent".', key=True)
        self._fields(("agent",), agent, settings_fields.AGENT, but=_ROOT_ONLY)
        flux = self._listen(agent.get("listen"))
        if "language" in agent:
            text = "agent.language is deprecated."
            fix = "Remove it, and set listen.provider.language and speak.provider.language."
            if flux:
                text = "agent.language is deprecated, and with Flux it may end the session."
                fix = "Remove it; the Flux model says the language."
            self._remark(("agent", "language"), text, fix, key=True)
        if "think_live" in agent:
            text = "think_live is by invitation; other projects are refused for it."
            self._remark(("agent", "think_live"), text, "Remove it unless invited.", key=True)
            self._think_live(agent["think_live"])
        if agent.get("greeting") == "":
            text = "agent.greeting is empty; whether Deepgram takes that is not documented."
            self._remark(("agent", "greeting"), text, "Remove it: the caller then speaks first.")
        if isinstance(context := agent.get("context"), dict):
            self._context(context)
        for loc, block in self._blocks("think", agent.get("think")):
            self._think(loc, block)
            if "think_live" not in agent:
                self._no_fillers((*loc, "functions"), block.get("functions"))
        for loc, block in self._blocks("speak", agent.get("speak")):
            self._speak(loc, block)
        self._inherited(agent.get("think"))

    def _think_live(self, think_live: Any) -> None:
        loc: Loc = ("agent", "think_live")
        if isinstance(think_live, dict):
            self._fields(loc, think_live, settings_fields.THINK_LIVE)
            if isinstance(provider := think_live.get("provider"), dict):
                self._fields((*loc, "provider"), provider, settings_fields.THINK_LIVE_PROVIDER)

    def _no_fillers(self, loc: Loc, functions: Any) -> None:
        """Check that no function has fields that close a session without think_live (§4.1)."""
        for index, function in enumerate(functions if isinstance(functions, list) else ()):
            for name in settings_fields.FILLERS:
                if isinstance(function, dict) and name in function:
                    text = f"{name} of a function ends a session that has no think_live."
                    fix = "Remove it, or add think_live if Deepgram has invited you."
                    self._error((*loc, index, name), text, fix, key=True)

    def _context(self, context: dict[str, Any]) -> None:
        loc: Loc = ("agent", "context")
        self._fields(loc, context, settings_fields.CONTEXT)
        messages = context.get("messages")
        for index, entry in enumerate(messages if isinstance(messages, list) else ()):
            talk = isinstance(entry, dict) and {"role", "content"} <= entry.keys()
            if not talk and not (isinstance(entry, dict) and "function_calls" in entry):
                text = "A message of the context has neither role and content nor function_calls."
                self._error((*loc, "messages", index), text, "Complete or remove it.")
            elif entry.get("type") != "History":
                text = "A message of the context has another type than History."
                self._error((*loc, "messages", index), text, 'Add "type": "History" to it.')
            if isinstance(entry, dict):
                self._fields((*loc, "messages", index), entry, settings_fields.HISTORY)

    # --- §2.4 ---

    def _listen(self, listen: Any) -> bool:
        """Return whether Flux listens."""
        if not isinstance(listen, dict):
            return False
        self._fields(("agent", "listen"), listen, settings_fields.LISTEN, but=_IN_PROVIDER)
        self._not_in_provider(("agent", "listen"), listen)
        provider = listen.get("provider")
        if not isinstance(provider, dict):
            return False
        loc: Loc = ("agent", "listen", "provider")
        self._fields(loc, provider, settings_fields.LISTEN_PROVIDER)
        self._type(loc, provider, {"deepgram"})
        model = self._named((*loc, "model"), model_names.listener(provider.get("model", "")))
        flux = provider.get("version") == "v2"
        if model.startswith("flux") and not flux:
            text = f'The model "{model}" is Flux, which is version v2; v1 does not know it.'
            self._error((*loc, "model"), text, 'Add "version": "v2" beside it.')
        elif flux and not model:
            self._error(loc, "Flux (version v2) needs a model.", 'Add "model": "flux-general-en".')
        elif flux and not model.startswith("flux"):
            text = f'The model "{model}" is not Flux, but version v2 is.'
            self._error((*loc, "model"), text, 'Remove "version", or write "flux-general-en".')
        elif not flux:
            text = (
                "listen uses Nova; Deepgram's guidance for agents: Flux, which ends turns better."
            )
            fix = 'Consider "version": "v2" with "model": "flux-general-en".'
            self._remark((*loc, "model"), text, fix)
        if flux or model.startswith("flux"):
            self._flux(loc, provider, model)
        else:
            for name in settings_fields.FLUX_ONLY:
                if name in provider:
                    text = f"listen.provider.{name} is for Flux only."
                    self._error((*loc, name), text, "Remove it, or listen with Flux.", key=True)
        self._keyterms((*loc, "keyterms"), provider.get("keyterms"))
        return flux

    def _flux(self, loc: Loc, provider: dict[str, Any], model: str) -> None:
        for name in settings_fields.NOVA_ONLY:
            if name in provider:
                text = f"listen.provider.{name} is not allowed with Flux."
                self._error((*loc, name), text, "Remove it.", key=True)
        if "language_hints" in provider and model != "flux-general-multi":
            text = "listen.provider.language_hints works with flux-general-multi only."
            fix = 'Remove it, or write "model": "flux-general-multi".'
            self._error((*loc, "language_hints"), text, fix, key=True)
        if (
            self._range((*loc, "eot_threshold"), provider, 0.5, 1.0)
            and provider["eot_threshold"] == 1
        ):
            text = "eot_threshold 1 ends no turn by itself; eot_timeout_ms still does, after 5 s."
            fix = "Set eot_timeout_ms to the pause that a turn may have."
            self._remark((*loc, "eot_threshold"), text, fix)
        self._range((*loc, "eot_timeout_ms"), provider, 500, 60_000)
        if self._range((*loc, "eager_eot_threshold"), provider, 0.3, 0.9):
            usual = provider.get("eot_threshold", 0.7)
            if settings_fields.fits(usual, "a number") and provider["eager_eot_threshold"] > usual:
                text = f"eager_eot_threshold is above eot_threshold ({usual:g})."
                self._error((*loc, "eager_eot_threshold"), text, f"Write {usual:g} or less.")

    def _keyterms(self, loc: Loc, keyterms: Any) -> None:
        if not settings_fields.fits(keyterms, "a list of texts"):
            return
        everyday = [term for term in keyterms if term.lower() in _EVERYDAY]
        if everyday:
            words = ", ".join(f'"{term}"' for term in everyday)
            text = f"keyterms has everyday words ({words}), which are recognised anyway."
            self._remark(loc, text, "Keep it for names and terms of your trade.")
        if len(keyterms) > 100:
            self._remark(loc, "keyterms has more than 100 terms.", "Keep the 100 that matter.")

    # --- §2.5, §4.1 ---

    def _think(self, loc: Loc, block: dict[str, Any]) -> None:
        self._fields(loc, block, settings_fields.THINK, but=_IN_PROVIDER)
        self._not_in_provider(loc, block)
        own = self._endpoint((*loc, "endpoint"), block.get("endpoint"), settings_fields.ENDPOINT)
        provider = block.get("provider")
        if "provider" not in block:
            self._error(loc, "think has no provider.", 'Add "provider" with type and model.')
        elif isinstance(provider, dict):
            self._think_provider((*loc, "provider"), provider, own)
        prompt = block.get("prompt")
        if not own and isinstance(prompt, str) and len(prompt) > PROMPT_LIMIT:
            text = f"The prompt has {len(prompt)} characters; Deepgram cuts it at {PROMPT_LIMIT}."
            self._error((*loc, "prompt"), text, "Shorten it, or bring your own endpoint.")
        if "context_length" in block:
            length = block["context_length"]
            if not own:
                text = "context_length works with an endpoint of your own only."
                self._error((*loc, "context_length"), text, "Remove it.", key=True)
            elif length != "max" and not (settings_fields.fits(length, "a number") and length >= 2):
                text = "context_length is neither max nor a number of characters from 2."
                self._error((*loc, "context_length"), text, 'Write "max", or a number.')
        if isinstance(functions := block.get("functions"), list):
            self._functions((*loc, "functions"), functions)

    def _think_provider(self, loc: Loc, provider: dict[str, Any], own_endpoint: bool) -> None:
        kind = self._type(loc, provider, _THINK_TYPES)
        if kind in _THINK_TYPES:
            self._fields(loc, provider, settings_fields.THINK_PROVIDER)
            # With Google and an own endpoint the model is part of the URL.
            if "model" not in provider and not (kind == "google" and own_endpoint):
                self._error(loc, "think.provider has no model.", 'Add "model".')
        if kind in _THINK_NEEDS_ENDPOINT and not own_endpoint:
            text = f"Deepgram does not run {kind} itself: think needs an endpoint."
            fix = 'Add "endpoint" with url and headers beside provider.'
            self._error((*loc, "type"), text, fix)
        if kind in _TEMPERATURE:
            self._range((*loc, "temperature"), provider, *_TEMPERATURE[kind])
        model = str(provider.get("model", ""))
        if kind in model_names.THINKERS and not own_endpoint:
            model = self._named((*loc, "model"), model_names.thinker(model, kind))
        if "voice_prompt_opt_out" in provider and kind != "deepgram":
            text = "voice_prompt_opt_out is for models of Deepgram's own."
            self._error((*loc, "voice_prompt_opt_out"), text, "Remove it.", key=True)
        if kind == "deepgram" and "phonellm" in model.lower() and "reasoning_mode" in provider:
            text = f'The model "{model}" says aloud what it reasons.'
            self._remark((*loc, "reasoning_mode"), text, "Remove it.", key=True)
        if kind == "open_ai" and model.startswith("gpt-5") and "temperature" in provider:
            text = f'The model "{model}" has no temperature.'
            self._remark((*loc, "temperature"), text, "Remove it.", key=True)
        if model == "claude-sonnet-4-20250514":
            text = f'The model "{model}" is deprecated.'
            self._remark((*loc, "model"), text, 'Consider "claude-sonnet-4-6".')

    def _functions(self, loc: Loc, functions: list[Any]) -> None:
        names: set[str] = set()
        for index, function in enumerate(functions):
            here = (*loc, index)
            if not isinstance(function, dict):
                self._error(here, "A function is not a mapping.", "Give it name and parameters.")
                continue
            self._fields(here, function, settings_fields.FUNCTION)
            self._range((*here, "agent_filler_interval_ms"), function, 1000, 60_000)
            if "function" in function:
                continue
            name = function.get("name")
            if not name:
                self._error(here, "A function has no name.", 'Add "name".')
            elif isinstance(name, str) and name in names:
                text = f'There are two functions named "{name}".'
                self._error((*here, "name"), text, "Rename one.")
            elif isinstance(name, str):
                names.add(name)
            if "parameters" not in function:
                text = f'The function "{name or index}" has no parameters.'
                fix = 'Add "parameters": {"type": "object", "properties": {}} if it takes none.'
                self._remark(here, text, fix)
            given, known = function.get("endpoint"), settings_fields.FUNCTION_ENDPOINT
            called_by_deepgram = self._endpoint((*here, "endpoint"), given, known)
            if self._tools is None:
                continue
            ours = isinstance(name, str) and name in self._tools
            if called_by_deepgram and ours:
                text = (
                    f'The function "{name}" has an endpoint, and "tools" has one of its name, which'
                    " would never run."
                )
                self._error((*here, "name"), text, "Rename one, or remove one.")
            if not called_by_deepgram and not ours:
                text = (
                    f'The function "{name or index}" has no endpoint, so Deepgram asks us to run'
                    ' it, and "tools" has none of that name: it is answered with an error.'
                )
                self._remark(here, text, "Give it an endpoint, or write it: docs/tools.md.")

    def _inherited(self, think: Any) -> None:
        """Check that fallback entries are complete: no page says that they inherit (§0)."""
        if not isinstance(think, list) or not think or not isinstance(think[0], dict):
            return
        for index, entry in enumerate(think[1:], 1):
            for name in ("prompt", "functions"):
                if isinstance(entry, dict) and name in think[0] and name not in entry:
                    text = (
                        f"think entry {index + 1} has no {name}, and may not inherit the first's."
                    )
                    self._remark(("agent", "think", index), text, f"Repeat {name} in it.")

    # --- §2.6 ---

    def _speak(self, loc: Loc, block: dict[str, Any]) -> None:
        self._fields(loc, block, settings_fields.SPEAK, but=_IN_PROVIDER)
        self._not_in_provider(loc, block)
        own = self._endpoint((*loc, "endpoint"), block.get("endpoint"), settings_fields.ENDPOINT)
        provider = block.get("provider")
        if "provider" not in block:
            self._error(loc, "speak has no provider.", 'Add "provider" with type and model.')
        if not isinstance(provider, dict):
            return
        loc = (*loc, "provider")
        kind = self._type(loc, provider, _SPEAK_NEEDS.keys())
        if kind not in _SPEAK_NEEDS:
            return
        self._fields(loc, provider, settings_fields.SPEAK_PROVIDER)
        for name in _SPEAK_NEEDS[kind]:
            if name not in provider:
                self._error(loc, f"speak.provider has no {name}.", f'Add "{name}".')
        if kind in _SPEAK_NEEDS_ENDPOINT and not own:
            text = f"Deepgram does not run {kind} itself: speak needs an endpoint."
            fix = 'Add "endpoint" with url and headers beside provider.'
            self._error((*loc, "type"), text, fix)
        if kind == "deepgram":
            self._voice(loc, provider)
        elif kind == "cartesia":
            self._range((*loc, "volume"), provider, 0.5, 2.0)
        elif kind == "eleven_labs":
            self._eleven_labs((*loc[:-1], "endpoint", "url"), block.get("endpoint"))
        if "language_code" in provider:
            text = "speak.provider.language_code is deprecated."
            self._remark((*loc, "language_code"), text, 'Write "language".', key=True)

    def _eleven_labs(self, loc: Loc, endpoint: Any) -> None:
        """Check that the URL leaves to Deepgram what Deepgram adds to it (§2.6)."""
        url = endpoint.get("url") if isinstance(endpoint, dict) else None
        try:
            query = parse_qs(urlsplit(url).query) if isinstance(url, str) else {}
        except ValueError:  # it is no URL at all
            return
        for name in ("output_format", "model_id"):
            if name in query:
                text = f"The URL of ElevenLabs has {name}, which Deepgram adds itself."
                self._error(loc, text, f"Remove {name} from it; model_id goes under provider.")

    def _voice(self, loc: Loc, provider: dict[str, Any]) -> None:
        model = self._named((*loc, "model"), model_names.voice(provider.get("model", "")))
        flux = provider.get("version", "v1") == "v2"
        if model.startswith("flux") and not flux:
            text = f'The voice "{model}" is Flux, which is version v2.'
            self._error((*loc, "model"), text, 'Add "version": "v2" beside it.')
        elif flux and model and not model.startswith("flux"):
            text = f'The voice "{model}" is not Flux, but version v2 is.'
            self._error((*loc, "model"), text, 'Write "version": "v1", or a Flux voice.')
        flux = flux or model.startswith("flux")
        # A speed that the family does not take ends the session at the first word, not at Settings.
        speed = provider.get("speed", 1.0)
        if not settings_fields.fits(speed, "a number"):
            text = "speak.provider.speed must be a number."
            self._error((*loc, "speed"), text, "Correct this value.")
        elif self._range((*loc, "speed"), provider, 0.5 if flux else 0.7, 1.5) and flux:
            step = round(speed * 20) / 20
            if abs(speed - step) > 1e-9:
                text = "speak.provider.speed is not a multiple of 0.05, as Flux voices need."
                self._error((*loc, "speed"), text, f"Write {step:g}.")
        if "expressivity" in provider and not flux:
            text = "speak.provider.expressivity is for Flux voices only."
            self._error((*loc, "expressivity"), text, "Remove it, or take a Flux voice.", key=True)
        self._range((*loc, "expressivity"), provider, -2, 2)
        language = provider.get("language")
        named = model.split("-")
        if isinstance(language, str) and language.partition("-")[0] not in named:
            text = f'speak.provider.language is "{language}", and the voice "{model}" has its own.'
            self._remark((*loc, "language"), text, "Remove it, or take a voice of that language.")

    # --- What several sections share ---

    def _blocks(self, name: str, value: Any) -> Iterator[tuple[Loc, dict[str, Any]]]:
        """Return the entries of a fallback array, or the one block that stands for it."""
        loc: Loc = ("agent", name)
        if isinstance(value, dict) or (isinstance(value, list) and len(value) == 1):
            text = f"{name} has no fallback: if its provider fails, the call is lost."
            self._remark(loc, text, f'Make "{name}" a list of two providers.', key=True)
        if isinstance(value, dict):
            yield loc, value
        elif isinstance(value, list):
            if not value:
                self._error(loc, f"{name} is an empty list.", "Give it an entry, or remove it.")
            for index, entry in enumerate(value):
                if isinstance(entry, dict):
                    yield (*loc, index), entry

    def _fields(
        self,
        loc: Loc,
        mapping: dict[str, Any],
        known: settings_fields.Fields,
        *,
        but: frozenset[str] = frozenset(),
    ) -> None:
        """Check the kind of each value, and that each name is known, but for those in `but`."""
        path = ".".join(str(step) for step in loc)
        for name, value in mapping.items():
            here = (*loc, name)
            if (kind := known.get(name)) is not None:
                if not settings_fields.fits(value, kind):
                    text = f"{path}.{name} must be {kind}.".lstrip(".")
                    self._error(here, text, "Correct this value.")
            elif name in _NOT_A_FIELD:
                why, fix = _NOT_A_FIELD[name]
                self._error(here, f'"{name}" {why}.', fix, key=True)
            elif name not in but and not (loc == () and name in settings_fields.AGENT):
                self._unknown_field(here, known, mapping)

    def _unknown_field(self, loc: Loc, known: Collection[str], given: Mapping[Any, Any]) -> None:
        """Report a field that is not known at `loc`. What is `given` there too is not meant."""
        name = str(loc[-1])
        text = f'"{name}" is not a field known here.'
        homes = settings_fields.HOMES.keys() - given.keys() | {name} & settings_fields.HOMES.keys()
        if (meant := meant_key(name, set(known) - given.keys())) is not None:
            self._mistake(loc, text, f'Did you mean "{meant}"?', key=True)
        elif (elsewhere := meant_key(name, homes)) is not None:
            fix = f'Did you mean "{elsewhere}", under "{settings_fields.HOMES[elsewhere]}"?'
            self._mistake(loc, text, fix, key=True)
        else:
            self._remark(loc, text, AS_IS, key=True)

    def _not_in_provider(self, loc: Loc, block: dict[str, Any]) -> None:
        for name in sorted(_IN_PROVIDER.intersection(block)):
            text = f'"{name}" stands beside "provider", where Deepgram does not look.'
            self._error((*loc, name), text, 'Move it under "provider".', key=True)

    def _type(self, loc: Loc, provider: dict[str, Any], known: Any) -> str:
        kind = provider.get("type")
        if kind is None:
            self._error(loc, f"{loc[1]}.provider has no type.", f'Add "type": "{min(known)}".')
        elif isinstance(kind, str) and kind not in known:
            text = f'{loc[1]}.provider.type "{kind}" is not a provider known here.'
            meant = model_names.PROVIDERS.get(kind.lower()) or meant_key(kind, known)
            if meant is not None and meant in known:
                self._mistake((*loc, "type"), text, f'Did you mean "{meant}"?')
                return meant
            fix = f"Known here: {', '.join(sorted(known))}. It is sent as is."
            self._remark((*loc, "type"), text, fix)
        return str(kind)

    def _named(self, loc: Loc, check: NameCheck) -> str:
        """Report what was found about a name. Return the name that was probably meant."""
        if check.finding is not None:
            level, text, fix = check.finding
            self._findings.append(Finding(level, text, fix, self._locate(loc, False)))
        return check.meant

    def _endpoint(self, loc: Loc, endpoint: Any, known: settings_fields.Fields) -> bool:
        """Return whether there is an endpoint."""
        if not isinstance(endpoint, dict):
            return False
        self._fields(loc, endpoint, known)
        if "url" not in endpoint:
            self._error(loc, "An endpoint has no url.", 'Add "url".')
        return True

    def _range(self, loc: Loc, mapping: dict[str, Any], low: float, high: float) -> bool:
        """Check the range of a number. Return whether there is one, within its range."""
        value: Any = mapping.get(str(loc[-1]))
        if not settings_fields.fits(value, "a number"):
            return False
        if not low <= value <= high:
            path = ".".join(str(step) for step in loc[1:])
            text = f"{path} is outside {low:g} to {high:g}, which Deepgram refuses."
            self._error(loc, text, f"Write a number from {low:g} to {high:g}.")
            return False
        return True
