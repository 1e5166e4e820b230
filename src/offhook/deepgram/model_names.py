"""Names of models and voices that Deepgram had on `AS_OF`: deepgram.md §2.4 to §2.6.

The lists are there to find misspellings. They are no limits: Deepgram adds names every few weeks,
so a name that is not in them is sent as it is, with a remark.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Literal, NamedTuple

from offhook.text.spelling import meant_name

AS_OF: Final = "2026-11-28"
"""The day on which the lists were last compared with what Deepgram publishes."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_AURA_1: Final = "angus arcas asteria athena helios hera luna orion orpheus perseus stella zeus"
_AURA_2: Final[Mapping[str, str]] = {
    "en": (
        "amalthea andromeda apollo arcas aries asteria athena atlas aurora callista cora cordelia"
        " delia draco electra harmonia helena hera hermes hyperion iris janus juno jupiter luna"
        " mars minerva neptune odysseus ophelia orion orpheus pandora phoebe pluto saturn selene"
        " thalia theia vesta zeus"
    ),
    "es": (
        "agustina alvaro antonia aquila carina celeste diana estrella gloria javier luciano nestor"
        " olivia selena silvia sirio valerio"
    ),
    "de": "aurelia elara fabian julius kara lara viktoria",
    "nl": "beatrix cornelia daphne hestia lars leda rhea roman sander",
    "fr": "agathe hector",
    "it": "cesare cinzia demetra dionisio elio flavio livia maia melia perseo",
    "ja": "ama ebisu fujin izanami uzume",
}
_FLUX_EN: Final = (
    "alexis bree brittany brooke bruce cliff cole colin conor donovan drew elise gemma haley hannah"
    " heather jack kai kelsey kit maeve marcelo marcus meena meghan miles naveen paige priya renee"
    " rufus sean sharon sienna tanner wade wes"
)

VOICES: Final = frozenset(
    {
        *(f"aura-{name}-en" for name in _AURA_1.split()),
        *(f"aura-2-{name}-{code}" for code, names in _AURA_2.items() for name in names.split()),
        *(f"flux-{name}-en" for name in _FLUX_EN.split()),
    }
)
"""Deepgram's voices. Of Flux there are more, in 41 languages, all named alike."""

_FLUX_ABROAD: Final = re.compile(r"flux-[a-z]+-(?!en$)[a-z]{2,3}")
"""Names of Flux voices whose language is not English: none of them is in VOICES."""

LISTENERS: Final = _names(
    """
    flux-general-en flux-general-multi
    nova-3 nova-3-general nova-3-medical
    nova-2 nova-2-general nova-2-meeting nova-2-phonecall nova-2-finance nova-2-conversationalai
    nova-2-voicemail nova-2-video nova-2-medical nova-2-drivethru nova-2-automotive nova-2-atc
    nova nova-general nova-phonecall nova-medical
    enhanced enhanced-general enhanced-meeting enhanced-phonecall enhanced-finance
    base meeting phonecall finance conversationalai voicemail video custom
        """
)
"""Models that transcribe."""

THINKERS: Final[Mapping[str, frozenset[str]]] = {
    "open_ai": _names(
        """
        gpt-4o gpt-4o-mini gpt-4.1 gpt-4.1-mini gpt-4.1-nano gpt-5 gpt-5-mini gpt-5-nano
        gpt-5.1 gpt-5.1-chat-latest gpt-5.2 gpt-5.2-instant gpt-5.2-chat-latest gpt-5.3-chat-latest
        gpt-5.4 gpt-5.4-mini gpt-5.4-nano gpt-5.5
        """
    ),
    "anthropic": _names(
        """
        claude-haiku-4-5 claude-sonnet-4-5 claude-sonnet-4-6 claude-sonnet-5
        claude-3-5-haiku-latest claude-sonnet-4-20250514
        """
    ),
    "google": _names(
        """
        gemini-2.0-flash gemini-2.0-flash-lite gemini-2.5-flash gemini-2.5-flash-lite
        gemini-3-flash-preview gemini-3-pro-preview gemini-3.1-flash-lite
        gemini-3.1-flash-lite-preview gemini-3.5-flash
        """
    ),
    "nvidia": frozenset({"nemotron-3-nano-30B-A3B"}),
    "deepgram": frozenset({"think-fast", "phonellm-mini-alpha-2-fp8"}),
}
"""Language models that Deepgram runs, by provider. With an endpoint of its own any name will do."""

_MAKERS: Final = {model: maker for maker, models in THINKERS.items() for model in models}

PROVIDERS: Final[Mapping[str, str]] = {
    "gpt": "open_ai", "chatgpt": "open_ai", "azure": "open_ai", "azure_openai": "open_ai",
    "claude": "anthropic", "gemini": "google", "vertex": "google", "bedrock": "aws_bedrock",
    "amazon_bedrock": "aws_bedrock", "polly": "aws_polly", "amazon_polly": "aws_polly",
    "11labs": "eleven_labs", "aura": "deepgram", "flux": "deepgram", "nova": "deepgram",
}  # fmt: skip
"""Words that people write for a provider, to what Deepgram calls it."""


AS_IS: Final = "Check its spelling; it is sent as is."


class NameCheck(NamedTuple):
    """A name as it was written or, if it is probably misspelt, as it was meant."""

    meant: str
    finding: tuple[Literal["mistake", "remark"], str, str] | None = None
    """Level, text and fix of what there is to say of the name."""


def listener(name: Any) -> NameCheck:
    """Check the name of a model that transcribes."""
    if isinstance(name, str) and name in VOICES:
        fix = 'Write a model that listens, such as "flux-general-en".'
        return NameCheck(name, ("mistake", f'"{name}" is a voice; it does not listen.', fix))
    return _check(name, LISTENERS, _meant_listener)


def thinker(name: Any, provider: str) -> NameCheck:
    """Check the name of a language model of a provider whose models Deepgram runs."""
    known = THINKERS[provider]
    maker = _MAKERS.get(name, provider) if isinstance(name, str) else provider
    if maker != provider:
        text = f'The model "{name}" is not of the provider {provider}.'
        return NameCheck(name, ("mistake", text, f'Write "type": "{maker}" beside it.'))
    return _check(name, known, lambda name: meant_name(name, known, _no_proper_name))


def voice(name: Any) -> NameCheck:
    """Check the name of a voice of Deepgram's."""
    if isinstance(name, str) and name in LISTENERS:
        fix = 'Write a voice, such as "flux-kit-en".'
        return NameCheck(name, ("mistake", f'"{name}" listens; it is no voice.', fix))
    if isinstance(name, str) and _FLUX_ABROAD.fullmatch(name):
        return NameCheck(name)
    return _check(name, VOICES, _meant_voice)


def _check(name: Any, known: Collection[str], meant_by: Callable[[str], str | None]) -> NameCheck:
    if not isinstance(name, str) or not name or name in known:
        return NameCheck(str(name))
    text = f'"{name}" is not among the names that Deepgram had on {AS_OF}.'
    meant = meant_by(name)
    if meant is None:
        return NameCheck(name, ("remark", text, AS_IS))
    return NameCheck(meant, ("mistake", text, f'Did you mean "{meant}"?'))


def _meant_voice(written: str) -> str | None:
    named = [voice for voice in VOICES if voice.split("-")[-2] == written.lower()]
    if named:
        return max(named, key=lambda voice: (voice.startswith("flux"), voice))
    whole = [voice for voice in VOICES if voice.rpartition("-")[0] == written]
    if whole:
        return min(whole)
    if (second := written.replace("aura-", "aura-2-", 1)) in VOICES:
        return second
    return meant_name(written, VOICES, lambda runs, at: at == len(runs) - 2)


def _meant_listener(written: str) -> str | None:
    if written == "flux-general":
        return "flux-general-en"
    return meant_name(written, LISTENERS, _no_proper_name)


def _no_proper_name(runs: list[str], at: int) -> bool:
    return False
