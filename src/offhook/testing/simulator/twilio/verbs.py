"""Parsing of TwiML as Twilio parses it, for the verbs that a voice agent needs.

Source: twilio.md §2. Unknown verbs and attributes are ignored with a warning, as by Twilio (12200).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree

MAX_BYTES: Final = 64 * 1024

_DIGITS_MAX: Final = 9
"""Digits of a number; a longer one is as large as the largest of so many."""

_TYPES: Final = frozenset({"text/xml", "application/xml", "text/html"})

_PLAIN: Final = "text/plain"

_CALLBACK: Final = (
    "recordingStatusCallback recordingStatusCallbackMethod recordingStatusCallbackEvent"
)
_PROGRESS: Final = """
    amdStatusCallback amdStatusCallbackMethod machineDetection
    machineDetectionSilenceTimeout machineDetectionSpeechEndThreshold
    machineDetectionSpeechThreshold machineDetectionTimeout method statusCallback
    statusCallbackEvent statusCallbackMethod url
"""
_ATTRIBUTES: Final[Mapping[str, frozenset[str]]] = {
    verb: frozenset(names.split())
    for verb, names in {
        "Say": "language loop voice",
        "Play": "digits loop",
        "Pause": "length",
        "Connect": "action method",
        "Stream": "connectorName name statusCallback statusCallbackMethod track url",
        "Parameter": "name value",
        "Redirect": "method",
        "Hangup": "",
        "Reject": "reason",
        "Record": _CALLBACK + " action finishOnKey maxLength method playBeep timeout transcribe"
        " transcribeCallback trim",
        "Dial": _CALLBACK + " action answerOnBridge callReason callerId events hangupOnStar method"
        " passports record recordingTrack referMethod referUrl ringTone sequential"
        " timeLimit timeout trim",
        "Gather": "action actionOnEmptyResult bargeIn enhanced finishOnKey hints input language"
        " method numDigits partialResultCallback partialResultCallbackMethod"
        " profanityFilter speechModel speechTimeout timeout",
        "Number": _PROGRESS + " byoc sendDigits",
        "Sip": _PROGRESS + " password username",
        "Conference": _CALLBACK
        + " beep coach endConferenceOnExit jitterBufferSize maxParticipants muted"
        " participantLabel record region startConferenceOnEnter statusCallback"
        " statusCallbackEvent statusCallbackMethod trim waitMethod waitUrl",
    }.items()
}
_CHILDREN: Final = {
    "Connect": frozenset({"Stream"}),
    "Stream": frozenset({"Parameter"}),
    "Gather": frozenset({"Say", "Play", "Pause"}),
}
_NOUNS: Final = frozenset({"Stream", "Parameter", "Number", "Sip", "Conference"})
_OPAQUE: Final = frozenset({"Dial", "Say"})
"""Verbs whose children (kinds of destination, SSML) are not checked."""


class MalformedTwimlError(ValueError):
    """Answer that is not TwiML, with the code that Twilio's debugger shows."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Verb:
    """Element of a document: a verb, or a noun inside a verb."""

    name: str
    attributes: dict[str, str]
    text: str
    nouns: tuple["Verb", ...]


def read(body: bytes, content_type: str | None) -> tuple[list[Verb], list[str]]:
    """Return the verbs of a document in order, and a warning (12200) for each mistake in it.

    Raises MalformedTwimlError: 12300 (content type), 11750 (too long) or 12100 (not a document).
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind.startswith("audio/"):
        return [Verb("Play", {}, "", ())], []  # and the call ends (§2.1)
    if kind not in _TYPES and kind != _PLAIN:
        raise MalformedTwimlError(12300, f"content type {kind or 'missing'}: TwiML is text/xml")
    if len(body) > MAX_BYTES:
        raise MalformedTwimlError(11750, f"{len(body)} bytes: TwiML has 64 kB at most")
    if kind == _PLAIN and not _is_document(body):
        # Text that is not TwiML is read aloud, and the call ends (§2.1).
        return [Verb("Say", {}, body.decode("utf-8", "replace").strip(), ())], []
    try:
        # The document is short; expat stops entity bombs itself.
        root = ElementTree.fromstring(body)  # noqa: S314
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # or its encoding is none
        raise MalformedTwimlError(12100, f"not XML: {error}") from None
    if root.tag != "Response":
        raise MalformedTwimlError(12100, f"the document is <{root.tag}>, not <Response>")
    warnings: list[str] = []
    verbs = frozenset(_ATTRIBUTES) - _NOUNS
    return [_verb(child, warnings) for child in _known(root, verbs, warnings)], warnings


def _is_document(body: bytes) -> bool:
    """Return True if a text is meant as TwiML, even if it has mistakes."""
    return b"<Response" in body


def _known(
    parent: ElementTree.Element, names: frozenset[str], warnings: list[str]
) -> list[ElementTree.Element]:
    known = []
    for child in parent:
        if child.tag in names:
            known.append(child)
        else:
            warnings.append(f"<{child.tag}> in <{parent.tag}> is ignored")
    return known


def _verb(element: ElementTree.Element, warnings: list[str]) -> Verb:
    name = element.tag
    children: tuple[Verb, ...]
    if name in _OPAQUE:
        # Not what is in them: a document may be nested as deep as it is long.
        children = tuple(Verb(child.tag, dict(child.attrib), _text(child), ()) for child in element)
    else:
        known = _known(element, _CHILDREN.get(name, frozenset()), warnings)
        children = tuple(_verb(child, warnings) for child in known)
    if name in _ATTRIBUTES:
        warnings += [
            f"attribute {attribute} of <{name}> is ignored"
            for attribute in element.attrib.keys() - _ATTRIBUTES[name]
        ]
    return Verb(
        name,
        dict(element.attrib),
        "".join(element.itertext()).strip() if name == "Say" else _text(element),
        children,
    )


def _text(element: ElementTree.Element) -> str:
    return (element.text or "").strip()


def method(verb: Verb, attribute: str) -> str:
    """Return the HTTP method that an attribute names; POST if it names none."""
    return "GET" if verb.attributes.get(attribute, "").upper() == "GET" else "POST"


def number(verb: Verb, attribute: str) -> int | None:
    """Return the whole number that an attribute holds; None if it holds none."""
    value = verb.attributes.get(attribute, "")
    if not value.isdecimal():
        return None
    return int(value) if len(value) <= _DIGITS_MAX else 10**_DIGITS_MAX - 1
