"""Agent files as people write them who have not seen one: what was meant, and how it is written.

Such a file has the prompt, the greeting and the voice at its top, or a whole Settings message
there, or one tool file in place of a list. It cannot be used; the error shows what to write.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from offhook.config.agent_file import Agent
from offhook.config.app_config import AppConfigFile
from offhook.deepgram import model_names, settings_fields
from offhook.text.spelling import meant_key
from offhook.yamlfile import Document, Finding

_PLACES: Final[Mapping[str, tuple[str, ...]]] = {
    **{name: (name,) for name in settings_fields.AGENT},
    "prompt": ("think", "prompt"),
    "system_prompt": ("think", "prompt"),
    "instructions": ("think", "prompt"),
    "first_message": ("greeting",),
    "welcome_message": ("greeting",),
    "functions": ("think", "functions"),
    "model": ("think", "provider", "model"),
    "llm": ("think", "provider", "model"),
    "temperature": ("think", "provider", "temperature"),
    "voice": ("speak", "provider", "model"),
    "speed": ("speak", "provider", "speed"),
    "keyterms": ("listen", "provider", "keyterms"),
}
"""Keys that people write at the top of an agent file, to their place under `settings`."""

AGENT_KEYS: Final = frozenset(Agent.model_fields)
"""Keys of an agent file."""

_THINK: Final = {"type": "open_ai", "model": "gpt-4o-mini"}
_SPEAK: Final = {"type": "deepgram", "version": "v2", "model": "flux-kit-en"}
_LISTEN: Final = {"type": "deepgram", "version": "v2", "model": "flux-general-en"}


def kind_of(document: Document) -> Literal["app", "agent", "settings"]:
    """Return what a file is: an offhook.yaml, an agent file, or Settings as Deepgram takes them."""
    value = document.value
    keys = {str(key) for key in value} if isinstance(value, dict) else set()
    if "settings" in keys:
        return "agent"
    if document.path.suffix == ".json":
        return "settings"
    if keys and keys <= settings_fields.AGENT.keys() | settings_fields.ROOT.keys():
        return "settings" if not isinstance(value.get("agent"), str) else "app"
    own = set(AppConfigFile.model_fields)
    if keys & (own - AGENT_KEYS):
        return "app"
    is_agent = any(key in AGENT_KEYS - own or meant_setting(key) for key in keys)
    return "agent" if is_agent else "app"


def meant_setting(key: str) -> str | None:
    """Return the key of the Settings that a key at the top of an agent file means, if any."""
    return key if key in _PLACES else meant_key(key, _PLACES)


def understood(document: Document) -> list[Finding]:
    """Return the errors for what a newcomer wrote, and put what was meant into the document."""
    value = document.value
    if not isinstance(value, dict):
        return []
    if "settings" not in value and value.keys() & {"type", "agent", "audio"}:
        document.value = {"settings": value}
        text = "This is a Settings message; an agent file has one under its key settings."
        fix = "Write settings: in a line above it, and indent it."
        return [Finding("error", text, fix, document.place(()))]
    flat = {
        key: meant
        for key in value
        if isinstance(key, str) and key not in AGENT_KEYS and meant_key(key, AGENT_KEYS) is None
        if (meant := meant_setting(key)) is not None
    }
    findings = [*_tools(document, value), *_flat(document, value, flat)]
    rest = {key: inner for key, inner in value.items() if key not in flat}
    if flat and "settings" not in value:
        # What stands there as in Settings is checked as such, at the place where it stands.
        rest["settings"] = {key: value[key] for key in flat if key in settings_fields.AGENT}
    document.value = rest
    return findings


def _flat(
    document: Document, value: Mapping[str, Any], flat: Mapping[str, str]
) -> Iterator[Finding]:
    """Return the errors for keys at the top of the file that are part of the settings."""
    if not flat:
        return
    settings = _flow(_written({meant: value[key] for key, meant in flat.items()}))
    written = f"settings: {settings}"
    places = {key: document.place((key,), key=True) for key in flat}
    if "settings" in value:
        for key, place in places.items():
            text = f'"{key}" stands at the top of the file, and is part of settings.'
            yield Finding("error", text, f"Move it: {written}", place)
    else:
        names = ", ".join(f'"{key}"' for key in flat)
        text = f"settings is missing; at the top of the file is what is part of it: {names}."
        yield Finding("error", text, f"Write: {written}", min(places.values()))
    for key, meant in flat.items():
        check = model_names.voice(value[key]) if meant == "voice" else None
        if check is not None and check.finding is not None:
            level, text, fix = check.finding
            yield Finding(level, text, fix, document.place((key,)))


def _tools(document: Document, value: dict[Any, Any]) -> Iterator[Finding]:
    tools = value.get("tools")
    if isinstance(tools, str):
        fix = f"Write tools: [{tools}]"
        yield Finding("error", "tools is a list.", fix, document.place(("tools",)))
        value["tools"] = [tools]


def _written(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with a place for each given key; texts are left out, names are kept."""
    settings: dict[str, Any] = {}
    for name, value in given.items():
        place = _PLACES[name]
        part, block = place[0], settings
        if len(place) > 1:
            block = settings.setdefault(part, {"provider": _provider(part, given)})
        if "provider" in place:
            block = block["provider"]
        if place[-1] != "model":
            block[place[-1]] = value if isinstance(value, bool | int | float) else "…"
    return settings


def _provider(part: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the provider of a part, with the model or voice that was given."""
    if part == "listen":
        return dict(_LISTEN)
    if part == "speak":
        voice = model_names.voice(given.get("voice")).meant
        if voice not in model_names.VOICES:
            return dict(_SPEAK)
        return {**_SPEAK, "version": "v2" if voice.startswith("flux") else "v1", "model": voice}
    model = given.get("model", given.get("llm"))
    for maker, models in model_names.THINKERS.items():
        if model in models or model_names.thinker(model, maker).meant in models:
            return {"type": maker, "model": model_names.thinker(model, maker).meant}
    return dict(_THINK)


def _flow(value: Any) -> str:
    """Return a value as YAML in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}"
    return str(value).lower() if isinstance(value, bool) else str(value)
