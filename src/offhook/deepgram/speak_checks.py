"""Checks of the block `speak` of Settings (deepgram.md §2.6)."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from offhook.deepgram import model_names, settings_fields
from offhook.deepgram.settings_findings import IN_PROVIDER, SettingsFindings
from offhook.yamlfile import Loc

_SPEAK_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "deepgram": ("model",),
    "open_ai": ("model", "voice"),
    "eleven_labs": ("model_id",),
    "cartesia": ("model_id", "voice"),
    "aws_polly": ("voice", "language", "engine", "credentials"),
}
_SPEAK_NEEDS_ENDPOINT: Final = frozenset({"open_ai", "eleven_labs", "aws_polly"})


def check_speak(found: SettingsFindings, loc: Loc, block: dict[str, Any]) -> None:
    """Check one entry, which may be a fallback."""
    found.fields(loc, block, settings_fields.SPEAK, but=IN_PROVIDER)
    found.not_in_provider(loc, block)
    own = found.endpoint((*loc, "endpoint"), block.get("endpoint"), settings_fields.ENDPOINT)
    provider = block.get("provider")
    if "provider" not in block:
        found.error(loc, "speak has no provider.", 'Add "provider" with type and model.')
    if not isinstance(provider, dict):
        return
    loc = (*loc, "provider")
    kind = found.provider_type(loc, provider, _SPEAK_NEEDS.keys())
    if kind not in _SPEAK_NEEDS:
        return
    found.fields(loc, provider, settings_fields.SPEAK_PROVIDER)
    for name in _SPEAK_NEEDS[kind]:
        if name not in provider:
            found.error(loc, f"speak.provider has no {name}.", f'Add "{name}".')
    if kind in _SPEAK_NEEDS_ENDPOINT and not own:
        text = f"Deepgram does not run {kind} itself: speak needs an endpoint."
        fix = 'Add "endpoint" with url and headers beside provider.'
        found.error((*loc, "type"), text, fix)
    if kind == "deepgram":
        _voice(found, loc, provider)
    elif kind == "cartesia":
        found.in_range((*loc, "volume"), provider, 0.5, 2.0)
    elif kind == "eleven_labs":
        _eleven_labs(found, (*loc[:-1], "endpoint", "url"), block.get("endpoint"))
    if "language_code" in provider:
        text = "speak.provider.language_code is deprecated."
        found.remark((*loc, "language_code"), text, 'Write "language".', key=True)


def _eleven_labs(found: SettingsFindings, loc: Loc, endpoint: Any) -> None:
    """Check that the URL leaves to Deepgram what Deepgram adds to it (§2.6)."""
    url = endpoint.get("url") if isinstance(endpoint, dict) else None
    try:
        query = parse_qs(urlsplit(url).query) if isinstance(url, str) else {}
    except ValueError:  # it is no URL at all
        return
    for name in ("output_format", "model_id"):
        if name in query:
            text = f"The URL of ElevenLabs has {name}, which Deepgram adds itself."
            found.error(loc, text, f"Remove {name} from it; model_id goes under provider.")


def _voice(found: SettingsFindings, loc: Loc, provider: dict[str, Any]) -> None:
    model = found.named((*loc, "model"), model_names.voice(provider.get("model", "")))
    flux = provider.get("version", "v1") == "v2"
    if model.startswith("flux") and not flux:
        text = f'The voice "{model}" is Flux, which is version v2.'
        found.error((*loc, "model"), text, 'Add "version": "v2" beside it.')
    elif flux and model and not model.startswith("flux"):
        text = f'The voice "{model}" is not Flux, but version v2 is.'
        found.error((*loc, "model"), text, 'Write "version": "v1", or a Flux voice.')
    flux = flux or model.startswith("flux")
    # A speed that the family does not take ends the session at the first word, not at Settings.
    speed = provider.get("speed", 1.0)
    if not settings_fields.fits(speed, "a number"):
        text = "speak.provider.speed must be a number."
        found.error((*loc, "speed"), text, "Correct this value.")
    elif found.in_range((*loc, "speed"), provider, 0.5 if flux else 0.7, 1.5) and flux:
        step = round(speed * 20) / 20
        if abs(speed - step) > 1e-9:
            text = "speak.provider.speed is not a multiple of 0.05, as Flux voices need."
            found.error((*loc, "speed"), text, f"Write {step:g}.")
    if "expressivity" in provider and not flux:
        text = "speak.provider.expressivity is for Flux voices only."
        found.error((*loc, "expressivity"), text, "Remove it, or take a Flux voice.", key=True)
    found.in_range((*loc, "expressivity"), provider, -2, 2)
    language = provider.get("language")
    named = model.split("-")
    if isinstance(language, str) and language.partition("-")[0] not in named:
        text = f'speak.provider.language is "{language}", and the voice "{model}" has its own.'
        found.remark((*loc, "language"), text, "Remove it, or take a voice of that language.")
