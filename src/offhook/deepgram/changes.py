"""Changes of a running session (`Update*`), and the agent block that results from them.

Source: deepgram.md §2.10 to §2.13. A later session of the same call must begin as the earlier one
had become (§5.4), so the changes are kept, at most one of each kind, and applied to its Settings.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from offhook.deepgram.messages import UpdateListen, UpdatePrompt, UpdateSpeak, UpdateThink
from offhook.deepgram.settings_fields import FLUX_ONLY, NOVA_ONLY

Change: TypeAlias = UpdatePrompt | UpdateThink | UpdateSpeak | UpdateListen


def kept(changes: Sequence[Change], change: Change) -> tuple[Change, ...]:
    """Return the changes that bring a new session to where the latest `change` left the old one.

    A later change of think, speak or listen takes the place of an earlier one; think takes that of
    the prompts, too (§2.11). Prompts are joined, as each is appended (§2.10).
    """
    replaced = (UpdateThink, UpdatePrompt) if isinstance(change, UpdateThink) else (type(change),)
    for earlier in changes:
        if isinstance(earlier, UpdatePrompt) and isinstance(change, UpdatePrompt):
            change = UpdatePrompt(_joined(earlier.prompt, change.prompt))
        elif isinstance(earlier, UpdateListen) and isinstance(change, UpdateListen):
            change = UpdateListen(_merged(earlier.listen, change.listen))
    return (*(each for each in changes if not isinstance(each, replaced)), change)


def applied(agent: Mapping[str, Any], changes: Sequence[Change]) -> dict[str, Any]:
    """Return the agent block of a new session: `agent` after all `changes`, in their order."""
    changed = dict(agent)
    for change in changes:
        match change:
            case UpdateThink():
                changed["think"] = change.think
            case UpdateSpeak():
                changed["speak"] = change.speak
            case UpdateListen():
                changed["listen"] = _merged(changed.get("listen") or {}, change.listen)
            case UpdatePrompt():
                changed["think"] = _prompted(changed.get("think") or {}, change.prompt)
    return changed


def _prompted(think: Any, prompt: str) -> Any:
    """Return a think block, or several, with a text appended to each prompt."""
    if isinstance(think, list):
        return [_prompted(each, prompt) for each in think]
    return {**think, "prompt": _joined(think.get("prompt"), prompt)}


def _joined(prompt: str | None, added: str) -> str:
    return f"{prompt}\n\n{added}" if prompt else added


def _merged(listen: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    """Return a listen block after UpdateListen: what it leaves out keeps its value (§2.13).

    `language_hints` is cleared when left out. Fields of the other family of models are, too, when
    the version changes: Settings that mix them are refused (§2.4).
    """
    before, new = listen.get("provider") or {}, update.get("provider") or {}
    after = {**before, **new}
    dropped = {"language_hints"}
    is_flux = after.get("version") == "v2"
    if is_flux != (before.get("version") == "v2"):
        dropped.update(NOVA_ONLY if is_flux else FLUX_ONLY)
    for name in dropped - set(new):
        after.pop(name, None)
    return {**listen, **update, "provider": after}
