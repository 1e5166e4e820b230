"""The TwiML documents of Offhook's answers. ElementTree writes them, which escapes every text.

Source: twilio.md §2. Every document ends the call or hands it on; none leaves it silent.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal
from xml.etree.ElementTree import Element, SubElement, tostring
from xml.sax.saxutils import escape

from offhook.text.clean import for_xml

TWIML_MAX: Final = 4000
"""Characters of TwiML in a request (twilio.md §1.8)."""

RETRIES: Final = "#rc=5&rp=ct,rt,5xx"
"""Connection overrides of every address that Offhook gives to Twilio (twilio.md §4.2): a request
that finds no server, or one that is starting, is sent five times more. Repetitions are answered
alike. Twilio neither sends nor signs them."""

_CUT: Final = " …"


@dataclass(frozen=True, slots=True)
class Speech:
    """A text that Twilio speaks, with language and voice; None: the account's default."""

    text: str
    language: str | None = None
    """Language by its BCP-47 tag."""

    voice: str | None = None
    """A voice of Twilio's, such as Polly.Joanna-Neural (twilio.md §2.5)."""


def retried(url: str) -> str:
    """Return an address of ours with the connection overrides that Twilio shall use for it."""
    return url + RETRIES


def connect(
    *,
    stream_url: str,
    after_url: str | None,
    stream_status_url: str | None,
    token: str | None,
    announcement: Speech | None,
    apology: Speech | None,
    keys: str = "",
) -> str:
    """Return TwiML that says the announcement, presses `keys`, then opens a stream.

    Twilio says `apology` if `after_url` does not answer.
    Without the URLs and the token it is the content of a TwiML Bin.
    """
    document = Element("Response")
    _say(document, announcement)
    if keys:
        _add(document, "Play", digits=keys)
    verb = _add(document, "Connect", **_post_to(after_url))
    status = retried(stream_status_url) if stream_status_url else None
    stream = _add(verb, "Stream", url=stream_url, statusCallback=status)
    # A URL's query is not delivered to the server of a stream (twilio.md §1.1): a parameter is.
    if token is not None:
        _add(stream, "Parameter", name="token", value=token)
    # Runs only if `action` cannot be requested (twilio.md §2.2).
    if apology is not None:
        _say(document, apology)
        _add(document, "Hangup")
    return _text(document)


def dial(
    destination: str,
    after_url: str | None,
    *,
    say: Speech | None = None,
    timeout_s: int = 30,
    caller_id: str | None = None,
) -> str:
    """Return TwiML that speaks, rings `destination` and reports the outcome to `after_url`.

    The destination is a number in E.164 or a SIP address. `caller_id` None shows the caller's.
    Without `after_url` the call ends after the dial, whatever its outcome.
    """
    document = Element("Response")
    _say(document, say)
    verb = _add(
        document,
        "Dial",
        **_post_to(after_url),
        # Without it a caller on the line hears nothing while it rings (twilio.md §2.6).
        answerOnBridge="true",
        callerId=caller_id,
        timeout=str(timeout_s),
    )
    is_sip = destination.startswith(("sip:", "sips:"))
    _add(verb, "Sip" if is_sip else "Number", destination)
    # Without `action` Twilio goes on with what stands behind the <Dial> (twilio.md §2.6).
    if after_url is None:
        _add(document, "Hangup")
    return _text(document)


def record(*prompts: Speech | None, max_seconds: int, after_url: str) -> str:
    """Return TwiML that speaks, records the caller after a tone, and ends the call."""
    document = Element("Response")
    for prompt in prompts:
        _say(document, prompt)
    _add(
        document,
        "Record",
        **_post_to(after_url),
        maxLength=str(max_seconds),
        playBeep="true",
        trim="do-not-trim",
    )
    _add(document, "Hangup")
    return _text(document)


def wait_in(conference: str, after_url: str) -> str:
    """Return TwiML that puts a leg into a conference of two, which ends with either."""
    document = Element("Response")
    # Both attributes on both legs (twilio.md §2.6): whoever comes second meets the first, and
    # nobody is left alone.
    _add(
        _add(document, "Dial", **_post_to(after_url)),
        "Conference",
        conference,
        beep="false",
        endConferenceOnExit="true",
        startConferenceOnEnter="true",
    )
    return _text(document)


def whisper(words: Callable[[str], Speech], summary: str, answer_url: str) -> str:
    """Return TwiML that says twice what a call is about, and asks for a key, sent to `answer_url`.

    `words` makes the speech from a summary. The document is part of a request: the summary is cut
    to what fits into TWIML_MAX.
    """
    summary = for_xml(summary)
    document = _whisper(words(summary), answer_url)
    if len(document) <= TWIML_MAX:
        return document
    room = (TWIML_MAX - len(_whisper(words(_CUT), answer_url))) // 2
    return _whisper(words(_cut(summary, room) + _CUT), answer_url)


def _cut(text: str, room: int) -> str:
    """Return the beginning of a text that fits into `room` once escaped, in whole words."""
    end = 0
    for character in text:
        room -= len(escape(character))
        if room < 0:
            break
        end += 1
    words = text[:end].rpartition(" ")[0]
    return words if len(words) > end // 2 else text[:end]


def _whisper(speech: Speech, answer_url: str) -> str:
    document = Element("Response")
    gather = _add(document, "Gather", **_post_to(answer_url), numDigits="1", timeout="8")
    for _ in range(2):
        _say(gather, speech)
        _add(gather, "Pause", length="2")
    # Without a key Twilio goes on with the next verb (twilio.md §2.5): the answer without `Digits`
    # declines.
    _add(document, "Redirect", retried(answer_url), method="POST")
    return _text(document)


def ask_again(url: str, seconds: int) -> str:
    """Return TwiML that asks `url` what comes next after some seconds of silence."""
    document = Element("Response")
    _add(document, "Pause", length=str(seconds))
    _add(document, "Redirect", retried(url), method="POST")
    return _text(document)


def hang_up(say: Speech | None = None) -> str:
    """Return TwiML that ends the call, after `say`, if it is given."""
    document = Element("Response")
    _say(document, say)
    _add(document, "Hangup")
    return _text(document)


def reject(reason: Literal["rejected", "busy"] = "rejected") -> str:
    """Return TwiML that declines: the caller hears that the number is out of service, or busy."""
    # Only as the first verb it declines without answering and without charge (twilio.md §2.5).
    document = Element("Response")
    _add(document, "Reject", reason=reason)
    return _text(document)


def nothing() -> str:
    """Return an empty document, for a call that is over."""
    return _text(Element("Response"))


def _say(parent: Element, speech: Speech | None) -> None:
    if speech is not None:
        text = for_xml(speech.text)
        _add(parent, "Say", text, language=speech.language, voice=speech.voice)


def _post_to(url: str | None) -> dict[str, str]:
    """Return the attributes of a verb after which Twilio asks `url` how to go on."""
    return {} if url is None else {"action": retried(url), "method": "POST"}


def _add(parent: Element, tag: str, text: str | None = None, **attributes: str | None) -> Element:
    """Return a new last child of `parent`; an attribute that is None is left out."""
    given = {name: value for name, value in attributes.items() if value is not None}
    child = SubElement(parent, tag, given)
    child.text = text
    return child


def _text(document: Element) -> str:
    return '<?xml version="1.0" encoding="UTF-8"?>' + tostring(document, encoding="unicode")
