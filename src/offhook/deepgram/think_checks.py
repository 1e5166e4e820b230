"""Checks of the block `think` of Settings, and of its functions (deepgram.md §2.5, §4.1)."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from offhook.deepgram import model_names, settings_fields
from offhook.deepgram.settings_findings import IN_PROVIDER, SettingsFindings
from offhook.yamlfile import Loc

PROMPT_LIMIT: Final = 25_000
"""Characters of a prompt that Deepgram's managed models take; the rest is cut off (§1.3)."""


_TEMPERATURE: Final[Mapping[str, tuple[float, float]]] = {
    "open_ai": (0, 2),
    "anthropic": (0, 1),
    "google": (0, 2),
    "groq": (0, 2),
    "deepgram": (0, 2),
}
_THINK_TYPES: Final = frozenset({*_TEMPERATURE, "nvidia", "aws_bedrock"})
_THINK_NEEDS_ENDPOINT: Final = frozenset({"groq", "aws_bedrock"})


def check_think(
    found: SettingsFindings, loc: Loc, block: dict[str, Any], tools: Collection[str] | None
) -> None:
    """Check one entry. `tools` are the functions that we run; None: they are not known."""
    found.fields(loc, block, settings_fields.THINK, but=IN_PROVIDER)
    found.not_in_provider(loc, block)
    own = found.endpoint((*loc, "endpoint"), block.get("endpoint"), settings_fields.ENDPOINT)
    provider = block.get("provider")
    if "provider" not in block:
        found.error(loc, "think has no provider.", 'Add "provider" with type and model.')
    elif isinstance(provider, dict):
        _think_provider(found, (*loc, "provider"), provider, own)
    prompt = block.get("prompt")
    if not own and isinstance(prompt, str) and len(prompt) > PROMPT_LIMIT:
        text = f"The prompt has {len(prompt)} characters; Deepgram cuts it at {PROMPT_LIMIT}."
        found.error((*loc, "prompt"), text, "Shorten it, or bring your own endpoint.")
    if "context_length" in block:
        length = block["context_length"]
        if not own:
            text = "context_length works with an endpoint of your own only."
            found.error((*loc, "context_length"), text, "Remove it.", key=True)
        elif length != "max" and not (settings_fields.fits(length, "a number") and length >= 2):
            text = "context_length is neither max nor a number of characters from 2."
            found.error((*loc, "context_length"), text, 'Write "max", or a number.')
    if isinstance(functions := block.get("functions"), list):
        _functions(found, (*loc, "functions"), functions, tools)


def _think_provider(
    found: SettingsFindings, loc: Loc, provider: dict[str, Any], own_endpoint: bool
) -> None:
    kind = found.provider_type(loc, provider, _THINK_TYPES)
    if kind in _THINK_TYPES:
        found.fields(loc, provider, settings_fields.THINK_PROVIDER)
        # With Google and an own endpoint the model is part of the URL.
        if "model" not in provider and not (kind == "google" and own_endpoint):
            found.error(loc, "think.provider has no model.", 'Add "model".')
    if kind in _THINK_NEEDS_ENDPOINT and not own_endpoint:
        text = f"Deepgram does not run {kind} itself: think needs an endpoint."
        fix = 'Add "endpoint" with url and headers beside provider.'
        found.error((*loc, "type"), text, fix)
    if kind in _TEMPERATURE:
        found.in_range((*loc, "temperature"), provider, *_TEMPERATURE[kind])
    model = str(provider.get("model", ""))
    if kind in model_names.THINKERS and not own_endpoint:
        model = found.named((*loc, "model"), model_names.thinker(model, kind))
    if "voice_prompt_opt_out" in provider and kind != "deepgram":
        text = "voice_prompt_opt_out is for models of Deepgram's own."
        found.error((*loc, "voice_prompt_opt_out"), text, "Remove it.", key=True)
    if kind == "deepgram" and "phonellm" in model.lower() and "reasoning_mode" in provider:
        text = f'The model "{model}" says aloud what it reasons.'
        found.remark((*loc, "reasoning_mode"), text, "Remove it.", key=True)
    if kind == "open_ai" and model.startswith("gpt-5") and "temperature" in provider:
        text = f'The model "{model}" has no temperature.'
        found.remark((*loc, "temperature"), text, "Remove it.", key=True)
    if model == "claude-sonnet-4-20250514":
        text = f'The model "{model}" is deprecated.'
        found.remark((*loc, "model"), text, 'Consider "claude-sonnet-4-6".')


def _functions(
    found: SettingsFindings, loc: Loc, functions: list[Any], tools: Collection[str] | None
) -> None:
    names: set[str] = set()
    for index, function in enumerate(functions):
        here = (*loc, index)
        if not isinstance(function, dict):
            found.error(here, "A function is not a mapping.", "Give it name and parameters.")
            continue
        found.fields(here, function, settings_fields.FUNCTION)
        found.in_range((*here, "agent_filler_interval_ms"), function, 1000, 60_000)
        if "function" in function:
            continue
        name = function.get("name")
        if not name:
            found.error(here, "A function has no name.", 'Add "name".')
        elif isinstance(name, str) and name in names:
            text = f'There are two functions named "{name}".'
            found.error((*here, "name"), text, "Rename one.")
        elif isinstance(name, str):
            names.add(name)
        if "parameters" not in function:
            text = f'The function "{name or index}" has no parameters.'
            fix = 'Add "parameters": {"type": "object", "properties": {}} if it takes none.'
            found.remark(here, text, fix)
        given, known = function.get("endpoint"), settings_fields.FUNCTION_ENDPOINT
        called_by_deepgram = found.endpoint((*here, "endpoint"), given, known)
        if tools is None:
            continue
        ours = isinstance(name, str) and name in tools
        if called_by_deepgram and ours:
            text = (
                f'The function "{name}" has an endpoint, and "tools" has one of its name, which'
                " would never run."
            )
            found.error((*here, "name"), text, "Rename one, or remove one.")
        if not called_by_deepgram and not ours:
            text = (
                f'The function "{name or index}" has no endpoint, so Deepgram asks us to run'
                ' it, and "tools" has none of that name: it is answered with an error.'
            )
            found.remark(here, text, "Give it an endpoint, or write it: docs/tools.md.")


def check_inherited(found: SettingsFindings, think: Any) -> None:
    """Check that fallback entries are complete: no page says that they inherit (§0)."""
    if not isinstance(think, list) or not think or not isinstance(think[0], dict):
        return
    for index, entry in enumerate(think[1:], 1):
        for name in ("prompt", "functions"):
            if isinstance(entry, dict) and name in think[0] and name not in entry:
                text = f"think entry {index + 1} has no {name}, and may not inherit the first's."
                found.remark(("agent", "think", index), text, f"Repeat {name} in it.")


def check_no_fillers(found: SettingsFindings, loc: Loc, functions: Any) -> None:
    """Check that no function has fields that close a session without think_live (§4.1)."""
    for index, function in enumerate(functions if isinstance(functions, list) else ()):
        for name in settings_fields.FILLERS:
            if isinstance(function, dict) and name in function:
                text = f"{name} of a function ends a session that has no think_live."
                fix = "Remove it, or add think_live if Deepgram has invited you."
                found.error((*loc, index, name), text, fix, key=True)
