"""Findings about Settings (deepgram.md §2), and the checks that several blocks of them share."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final, TypeAlias

from offhook.deepgram import model_names, settings_fields
from offhook.deepgram.model_names import AS_IS, NameCheck
from offhook.text.spelling import meant_key
from offhook.yamlfile import Finding, Loc, Place

Locate: TypeAlias = Callable[[Loc, bool], Place | None]
"""Function that returns the place of a value in the settings by its location, or of its key."""


def nowhere(loc: Loc, key: bool) -> None:
    """Return None: a Locate for settings that did not come from a file."""


IN_PROVIDER: Final = frozenset({"type", "model", "voice", "version", "temperature", "speed"})
"""Fields that belong under `provider`."""

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


class SettingsFindings:
    """Findings about one Settings message, in the order of the message."""

    def __init__(self, locate: Locate) -> None:
        self._locate = locate
        self.found: Final[list[Finding]] = []

    def error(self, loc: Loc, text: str, fix: str, *, key: bool = False) -> None:
        """Report what ends or cripples a session: at a value, or at its key."""
        self.found.append(Finding("error", text, fix, self._locate(loc, key)))

    def mistake(self, loc: Loc, text: str, fix: str, *, key: bool = False) -> None:
        """Report what looks like a misspelling: at a value, or at its key."""
        self.found.append(Finding("mistake", text, fix, self._locate(loc, key)))

    def remark(self, loc: Loc, text: str, fix: str, *, key: bool = False) -> None:
        """Report what may be as it should: at a value, or at its key."""
        self.found.append(Finding("remark", text, fix, self._locate(loc, key)))

    def blocks(self, name: str, value: Any) -> Iterator[tuple[Loc, dict[str, Any]]]:
        """Return the entries of a fallback array, or the one block that stands for it."""
        loc: Loc = ("agent", name)
        if isinstance(value, dict) or (isinstance(value, list) and len(value) == 1):
            text = f"{name} has no fallback: if its provider fails, the call is lost."
            self.remark(loc, text, f'Make "{name}" a list of two providers.', key=True)
        if isinstance(value, dict):
            yield loc, value
        elif isinstance(value, list):
            if not value:
                self.error(loc, f"{name} is an empty list.", "Give it an entry, or remove it.")
            for index, entry in enumerate(value):
                if isinstance(entry, dict):
                    yield (*loc, index), entry

    def fields(
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
                    self.error(here, text, "Correct this value.")
            elif name in _NOT_A_FIELD:
                why, fix = _NOT_A_FIELD[name]
                self.error(here, f'"{name}" {why}.', fix, key=True)
            elif name not in but and not (loc == () and name in settings_fields.AGENT):
                self._unknown_field(here, known, mapping)

    def _unknown_field(self, loc: Loc, known: Collection[str], given: Mapping[Any, Any]) -> None:
        """Report a field that is not known at `loc`. What is `given` there too is not meant."""
        name = str(loc[-1])
        text = f'"{name}" is not a field known here.'
        homes = settings_fields.HOMES.keys() - given.keys() | {name} & settings_fields.HOMES.keys()
        if (meant := meant_key(name, set(known) - given.keys())) is not None:
            self.mistake(loc, text, f'Did you mean "{meant}"?', key=True)
        elif (elsewhere := meant_key(name, homes)) is not None:
            fix = f'Did you mean "{elsewhere}", under "{settings_fields.HOMES[elsewhere]}"?'
            self.mistake(loc, text, fix, key=True)
        else:
            self.remark(loc, text, AS_IS, key=True)

    def not_in_provider(self, loc: Loc, block: dict[str, Any]) -> None:
        """Check that no field of a provider stands beside it."""
        for name in sorted(IN_PROVIDER.intersection(block)):
            text = f'"{name}" stands beside "provider", where Deepgram does not look.'
            self.error((*loc, name), text, 'Move it under "provider".', key=True)

    def provider_type(self, loc: Loc, provider: dict[str, Any], known: Any) -> str:
        """Check the type of a provider. Return the one that was probably meant."""
        kind = provider.get("type")
        if kind is None:
            self.error(loc, f"{loc[1]}.provider has no type.", f'Add "type": "{min(known)}".')
        elif isinstance(kind, str) and kind not in known:
            text = f'{loc[1]}.provider.type "{kind}" is not a provider known here.'
            meant = model_names.PROVIDERS.get(kind.lower()) or meant_key(kind, known)
            if meant is not None and meant in known:
                self.mistake((*loc, "type"), text, f'Did you mean "{meant}"?')
                return meant
            fix = f"Known here: {', '.join(sorted(known))}. It is sent as is."
            self.remark((*loc, "type"), text, fix)
        return str(kind)

    def named(self, loc: Loc, check: NameCheck) -> str:
        """Report what was found about a name. Return the name that was probably meant."""
        if check.finding is not None:
            level, text, fix = check.finding
            self.found.append(Finding(level, text, fix, self._locate(loc, False)))
        return check.meant

    def endpoint(self, loc: Loc, endpoint: Any, known: settings_fields.Fields) -> bool:
        """Return whether there is an endpoint."""
        if not isinstance(endpoint, dict):
            return False
        self.fields(loc, endpoint, known)
        if "url" not in endpoint:
            self.error(loc, "An endpoint has no url.", 'Add "url".')
        return True

    def in_range(self, loc: Loc, mapping: dict[str, Any], low: float, high: float) -> bool:
        """Check the range of a number. Return whether there is one, within its range."""
        value: Any = mapping.get(str(loc[-1]))
        if not settings_fields.fits(value, "a number"):
            return False
        if not low <= value <= high:
            path = ".".join(str(step) for step in loc[1:])
            text = f"{path} is outside {low:g} to {high:g}, which Deepgram refuses."
            self.error(loc, text, f"Write a number from {low:g} to {high:g}.")
            return False
        return True
