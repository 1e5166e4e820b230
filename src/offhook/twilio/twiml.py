"""The TwiML documents that Offhook answers with, by the vendor's builder, which escapes.

Source: twilio.md §2. Every document ends the call or hands it on: none leaves a silent line.
"""

from typing import Final
from xml.sax.saxutils import escape

from twilio.twiml.voice_response import Connect, Dial, Gather, VoiceResponse

from offhook.call.handoff_actions import Dial as DialErrand
from offhook.call.handoff_actions import Meet
from offhook.config import Agent, Announcement
from offhook.written import for_xml

TWIML_MAX: Final = 4000
"""Characters of TwiML in a request (twilio.md §1.8)."""

_CUT: Final = " …"


def connect(
    *,
    stream_url: str,
    after_url: str | None,
    stream_status_url: str | None,
    token: str | None,
    announcement: Announcement | None,
    apology: str | None,
    keys: str = "",
) -> str:
    """Say the announcement, press `keys`, then open a stream.

    `apology` is spoken should `after_url` not answer.
    Without the URLs and the token it is what a TwiML Bin holds.
    """
    document = VoiceResponse()
    if announcement is not None:
        _say(document, announcement.say, announcement)
    if keys:
        document.play(digits=keys)
    verb = Connect(action=after_url, method="POST") if after_url else Connect()
    if stream_status_url is None:
        stream = verb.stream(url=stream_url)
    else:
        stream = verb.stream(url=stream_url, status_callback=stream_status_url)
    if token is not None:
        stream.parameter(name="token", value=token)
    document.append(verb)
    if apology is not None:
        _say(document, apology, announcement)
        document.hangup()
    return _text(document)


def message(manner: Announcement) -> str:
    """Leave a message, and end the call."""
    document = VoiceResponse()
    _say(document, manner.say, manner)
    document.hangup()
    return _text(document)


def put_through(errand: DialErrand, after_url: str) -> str:
    """Ring somebody and connect the caller; `after_url` is told what became of it."""
    document = VoiceResponse()
    _dial(document, errand.to, after_url, errand.timeout_s, errand.caller_id)
    return _text(document)


def meet(errand: Meet, after_url: str) -> str:
    """Put the caller into the conference in which somebody waits."""
    return wait_in(errand.conference, after_url)


def wait_in(conference: str, after_url: str) -> str:
    """Put a leg into a conference of two, which ends with either."""
    document = VoiceResponse()
    dial = Dial(action=after_url, method="POST")
    dial.conference(
        conference, beep=False, start_conference_on_enter=True, end_conference_on_exit=True
    )
    document.append(dial)
    return _text(document)


def whisper(summary: str, key: str, answer_url: str) -> str:
    """Tell a person what a call is about, twice, and ask for the key; `answer_url` is told.

    The document is part of a request: the summary is cut to what fits into TWIML_MAX.
    """
    document = _whisper(for_xml(summary), key, answer_url)
    if len(document) <= TWIML_MAX:
        return document
    room = (TWIML_MAX - len(_whisper(_CUT, key, answer_url))) // 2
    return _whisper(_cut(for_xml(summary), room) + _CUT, key, answer_url)


def _cut(text: str, room: int) -> str:
    """Return the beginning that takes so many characters once it is escaped, in whole words."""
    end = 0
    for character in text:
        room -= len(escape(character))
        if room < 0:
            break
        end += 1
    words = text[:end].rpartition(" ")[0]
    return words if len(words) > end // 2 else text[:end]


def _whisper(summary: str, key: str, answer_url: str) -> str:
    document = VoiceResponse()
    gather = Gather(action=answer_url, method="POST", num_digits=1, timeout=8)
    about = f" It is about: {summary}" if summary else ""
    for _ in range(2):
        gather.say(f"A caller would like to talk with you.{about} Press {key} to take the call.")
        gather.pause(length=2)
    document.append(gather)
    document.redirect(answer_url, method="POST")
    return _text(document)


def hang_up() -> str:
    """End the call."""
    document = VoiceResponse()
    document.hangup()
    return _text(document)


def reject() -> str:
    """Decline without answering: nobody is configured for this number."""
    document = VoiceResponse()
    document.reject(reason="rejected")
    return _text(document)


def nothing() -> str:
    """For a call that is over."""
    return _text(VoiceResponse())


def fallback(agent: Agent, after_url: str) -> str:
    """Say sorry, then dial, take a message, or hang up, as the agent's file wants it."""
    document = VoiceResponse()
    wanted = agent.fallback
    if wanted.say is not None:
        _say(document, wanted.say, agent.announcement)
    if wanted.dial is not None:
        _dial(document, wanted.dial, after_url)
    elif wanted.voicemail is not None:
        _say(document, wanted.voicemail.say, agent.announcement)
        document.record(
            action=after_url,
            method="POST",
            max_length=wanted.voicemail.max_seconds,
            play_beep=True,
            trim="do-not-trim",
        )
        document.hangup()
    else:
        document.hangup()
    return _text(document)


def busy(agent: Agent, after_url: str) -> str:
    """The house is full."""
    document = VoiceResponse()
    if agent.busy.reject:
        document.reject(reason="busy")
    elif agent.busy.dial is not None:
        _dial(document, agent.busy.dial, after_url)
    else:
        _say(document, agent.busy.say or "", agent.announcement)
        document.hangup()
    return _text(document)


def sorry(agent: Agent) -> str:
    """Nobody answered the number that was dialled instead: say so and end the call."""
    document = VoiceResponse()
    if agent.fallback.say is not None:
        _say(document, agent.fallback.say, agent.announcement)
    document.hangup()
    return _text(document)


def _dial(
    document: VoiceResponse,
    destination: str,
    after_url: str,
    timeout_s: int = 30,
    caller_id: str | None = None,
) -> None:
    # Without answerOnBridge a caller on the line hears nothing while it rings (twilio.md §2.6).
    dial = Dial(
        action=after_url,
        method="POST",
        timeout=timeout_s,
        answer_on_bridge=True,
        caller_id=caller_id,
    )
    if destination.startswith(("sip:", "sips:")):
        dial.sip(destination)
    else:
        dial.number(destination)
    document.append(dial)


def _say(document: VoiceResponse, text: str, manner: Announcement | None) -> None:
    language = manner.language if manner is not None else None
    voice = manner.voice if manner is not None else None
    document.say(for_xml(text), language=language, voice=voice)


def _text(document: VoiceResponse) -> str:
    text: str = document.to_xml()
    return text
