"""Checks of the block `listen` of Settings (deepgram.md §2.4)."""

from typing import Any, Final

from offhook.deepgram import model_names, settings_fields
from offhook.deepgram.settings_findings import IN_PROVIDER, SettingsFindings
from offhook.yamlfile import Loc

_EVERYDAY: Final = frozenset(
    {"hello", "hi", "hey", "goodbye", "bye", "yes", "no", "okay", "ok", "please", "thanks", "help"}
)


def check_listen(found: SettingsFindings, listen: Any) -> bool:
    """Check the block. Return whether Flux listens."""
    if not isinstance(listen, dict):
        return False
    found.fields(("agent", "listen"), listen, settings_fields.LISTEN, but=IN_PROVIDER)
    found.not_in_provider(("agent", "listen"), listen)
    provider = listen.get("provider")
    if not isinstance(provider, dict):
        return False
    loc: Loc = ("agent", "listen", "provider")
    found.fields(loc, provider, settings_fields.LISTEN_PROVIDER)
    found.provider_type(loc, provider, {"deepgram"})
    model = found.named((*loc, "model"), model_names.listener(provider.get("model", "")))
    flux = provider.get("version") == "v2"
    if model.startswith("flux") and not flux:
        text = f'The model "{model}" is Flux, which is version v2; v1 does not know it.'
        found.error((*loc, "model"), text, 'Add "version": "v2" beside it.')
    elif flux and not model:
        found.error(loc, "Flux (version v2) needs a model.", 'Add "model": "flux-general-en".')
    elif flux and not model.startswith("flux"):
        text = f'The model "{model}" is not Flux, but version v2 is.'
        found.error((*loc, "model"), text, 'Remove "version", or write "flux-general-en".')
    elif not flux:
        text = "listen uses Nova; Deepgram's guidance for agents: Flux, which ends turns better."
        fix = 'Consider "version": "v2" with "model": "flux-general-en".'
        found.remark((*loc, "model"), text, fix)
    if flux or model.startswith("flux"):
        _flux(found, loc, provider, model)
    else:
        for name in settings_fields.FLUX_ONLY:
            if name in provider:
                text = f"listen.provider.{name} is for Flux only."
                found.error((*loc, name), text, "Remove it, or listen with Flux.", key=True)
    _keyterms(found, (*loc, "keyterms"), provider.get("keyterms"))
    return flux


def _flux(found: SettingsFindings, loc: Loc, provider: dict[str, Any], model: str) -> None:
    for name in settings_fields.NOVA_ONLY:
        if name in provider:
            text = f"listen.provider.{name} is not allowed with Flux."
            found.error((*loc, name), text, "Remove it.", key=True)
    if "language_hints" in provider and model != "flux-general-multi":
        text = "listen.provider.language_hints works with flux-general-multi only."
        fix = 'Remove it, or write "model": "flux-general-multi".'
        found.error((*loc, "language_hints"), text, fix, key=True)
    if (
        found.in_range((*loc, "eot_threshold"), provider, 0.5, 1.0)
        and provider["eot_threshold"] == 1
    ):
        text = "eot_threshold 1 ends no turn by itself; eot_timeout_ms still does, after 5 s."
        fix = "Set eot_timeout_ms to the pause that a turn may have."
        found.remark((*loc, "eot_threshold"), text, fix)
    found.in_range((*loc, "eot_timeout_ms"), provider, 500, 60_000)
    if found.in_range((*loc, "eager_eot_threshold"), provider, 0.3, 0.9):
        usual = provider.get("eot_threshold", 0.7)
        if settings_fields.fits(usual, "a number") and provider["eager_eot_threshold"] > usual:
            text = f"eager_eot_threshold is above eot_threshold ({usual:g})."
            found.error((*loc, "eager_eot_threshold"), text, f"Write {usual:g} or less.")


def _keyterms(found: SettingsFindings, loc: Loc, keyterms: Any) -> None:
    if not settings_fields.fits(keyterms, "a list of texts"):
        return
    everyday = [term for term in keyterms if term.lower() in _EVERYDAY]
    if everyday:
        words = ", ".join(f'"{term}"' for term in everyday)
        text = f"keyterms has everyday words ({words}), which are recognised anyway."
        found.remark(loc, text, "Keep it for names and terms of your trade.")
    if len(keyterms) > 100:
        found.remark(loc, "keyterms has more than 100 terms.", "Keep the 100 that matter.")
