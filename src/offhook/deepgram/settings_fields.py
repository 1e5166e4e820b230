"""The fields of Settings that are known here, and what kind of value each has.

Source: deepgram.md §2.1 to §2.6, §2.8, §4.1. This is where a field goes that Deepgram
adds; until then it is sent all the same, with a remark.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

Kind: TypeAlias = Literal[
    "text", "a number", "a whole number", "true or false", "a list of texts", "a list", "a mapping",
    "a mapping, or a list of mappings", "a mapping, or a UUID in quotes", "anything",
]  # fmt: skip
Fields: TypeAlias = Mapping[str, Kind]

ROOT: Final[Fields] = {
    "type": "text",
    "tags": "a list of texts",
    "experimental": "true or false",
    "mip_opt_out": "true or false",
    "flags": "a mapping",
    "audio": "a mapping",
    "agent": "a mapping, or a UUID in quotes",
}
FLAGS: Final[Fields] = {"history": "true or false"}
AUDIO: Final[Fields] = {"input": "a mapping", "output": "a mapping"}
AUDIO_INPUT: Final[Fields] = {"encoding": "text", "sample_rate": "a whole number"}
AUDIO_OUTPUT: Final[Fields] = {
    "encoding": "text",
    "sample_rate": "a whole number",
    "bitrate": "a whole number",
    "container": "text",
}
AGENT: Final[Fields] = {
    "language": "text",
    "context": "a mapping",
    "listen": "a mapping",
    "think": "a mapping, or a list of mappings",
    "speak": "a mapping, or a list of mappings",
    "greeting": "text",
    "think_live": "a mapping",
}
CONTEXT: Final[Fields] = {"messages": "a list"}
HISTORY: Final[Fields] = {
    "type": "text",
    "role": "text",
    "content": "text",
    "function_calls": "a list",
}
THINK_LIVE: Final[Fields] = {"provider": "a mapping"}
THINK_LIVE_PROVIDER: Final[Fields] = {
    "type": "text",
    "version": "text",
    "agent_backchannel_sensitivity": "anything",
    "presence_check_max_count": "a whole number",
    "presence_check_interval_ms": "a whole number",
    "frustration_max_count": "a whole number",
    "restricted_terms": "a list of texts",
}
LISTEN: Final[Fields] = {"provider": "a mapping"}
LISTEN_PROVIDER: Final[Fields] = {
    "type": "text",
    "version": "text",
    "model": "text",
    "language": "text",
    "keyterms": "a list of texts",
    "smart_format": "true or false",
    "language_hints": "a list of texts",
    "eot_threshold": "a number",
    "eager_eot_threshold": "a number",
    "eot_timeout_ms": "a whole number",
}
FLUX_ONLY: Final = ("eot_threshold", "eager_eot_threshold", "eot_timeout_ms", "language_hints")
"""Fields of a listener that only Flux (version v2) takes (§2.4)."""
NOVA_ONLY: Final = ("smart_format", "language")
"""Fields of a listener that Flux does not take (§2.4)."""
THINK: Final[Fields] = {
    "provider": "a mapping",
    "endpoint": "a mapping",
    "prompt": "text",
    "functions": "a list",
    "context_length": "anything",
}
THINK_PROVIDER: Final[Fields] = {
    "type": "text",
    "version": "text",
    "model": "text",
    "temperature": "a number",
    "reasoning_mode": "text",
    "voice_prompt_opt_out": "true or false",
    "credentials": "a mapping",
}
ENDPOINT: Final[Fields] = {"url": "text", "headers": "a mapping"}
FUNCTION: Final[Fields] = {
    "name": "text",
    "description": "text",
    "parameters": "a mapping",
    "endpoint": "a mapping",
    "defer_until_eot": "true or false",
    "initial_agent_filler": "true or false",
    "agent_filler_max_count": "a whole number",
    "agent_filler_interval_ms": "a whole number",
}
FILLERS: Final = tuple(name for name in FUNCTION if "filler" in name)
"""Fields of a function that only sessions with `think_live` take (§4.1)."""
FUNCTION_ENDPOINT: Final[Fields] = {**ENDPOINT, "method": "text"}
SPEAK: Final[Fields] = {"provider": "a mapping", "endpoint": "a mapping"}
SPEAK_PROVIDER: Final[Fields] = {
    "type": "text",
    "version": "text",
    "model": "text",
    "speed": "anything",  # a number, except where Cartesia takes words
    "expressivity": "a whole number",
    "voice": "anything",  # a name, or Cartesia's mapping
    "model_id": "text",
    "language": "text",
    "language_code": "text",
    "volume": "a number",
    "engine": "text",
    "credentials": "a mapping",
}

_PLACES: Final[tuple[tuple[str, Fields], ...]] = (
    ("agent", AGENT),
    ("agent.listen.provider", LISTEN_PROVIDER),
    ("agent.think", THINK),
    ("agent.think.provider", THINK_PROVIDER),
    ("agent.think.functions", FUNCTION),
    ("agent.speak.provider", SPEAK_PROVIDER),
)
HOMES: Final[Mapping[str, str]] = {
    name: place
    for place, fields in _PLACES
    for name in fields
    if [name in others for _, others in _PLACES].count(True) == 1
}
"""The only place of each field that has one place alone."""


def fits(value: Any, kind: Kind) -> bool:
    """Return whether a value is of that kind."""
    if kind == "text":
        return isinstance(value, str)
    if kind == "a number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "a whole number":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "true or false":
        return isinstance(value, bool)
    if kind == "a list of texts":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if kind == "a list":
        return isinstance(value, list)
    if kind == "a mapping":
        return isinstance(value, dict)
    if kind == "a mapping, or a list of mappings":
        items = value if isinstance(value, list) else [value]
        return all(isinstance(item, dict) for item in items)
    if kind == "a mapping, or a UUID in quotes":
        return isinstance(value, dict | str)
    return True
