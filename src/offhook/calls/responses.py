"""TwiML documents with the words of an agent file."""

from typing import overload

from offhook.config import Agent, Announcement, Voicemail
from offhook.twilio import twiml
from offhook.twilio.callers import Refused
from offhook.twilio.twiml import Speech


def announced(announcement: Announcement | None) -> Speech | None:
    """Return an announcement as TwiML speech."""
    if announcement is None:
        return None
    return Speech(announcement.say, announcement.language, announcement.voice)


@overload
def spoken(agent: Agent, text: str) -> Speech: ...
@overload
def spoken(agent: Agent, text: str | None) -> Speech | None: ...
def spoken(agent: Agent, text: str | None) -> Speech | None:
    """Return a text in the agent's language and voice: of `speech`, else of its announcement."""
    if text is None:
        return None
    manner = agent.speech or agent.announcement
    return Speech(text) if manner is None else Speech(text, manner.language, manner.voice)


def apology(agent: Agent) -> str:
    """Return TwiML that apologises and ends the call."""
    return twiml.hang_up(spoken(agent, agent.fallback.say))


def fallback(agent: Agent, after_url: str | None) -> str:
    """Return TwiML that apologises, then dials, takes a message or hangs up, as the file says.

    `after_url` is where Twilio asks what comes after a dial or a message. Without it the call ends
    after the dial, and no message is taken: Twilio would run the same document again after it
    (twilio.md §2.5).
    """
    wanted = agent.fallback
    say = spoken(agent, wanted.say)
    if wanted.dial is not None:
        return twiml.dial(wanted.dial, after_url, say=say)
    if wanted.voicemail is not None and after_url is not None:
        return _take_message(agent, say, wanted.voicemail, after_url)
    return twiml.hang_up(say)


def busy(agent: Agent, after_url: str) -> str:
    """Return TwiML for a caller whom the server has no capacity for.

    It gives a busy signal, dials another number, takes a message, or says something, as the file
    says.
    """
    if agent.busy.reject:
        return twiml.reject("busy")
    if agent.busy.dial is not None:
        return twiml.dial(agent.busy.dial, after_url)
    if agent.busy.voicemail is not None:
        return _take_message(agent, None, agent.busy.voicemail, after_url)
    return twiml.hang_up(spoken(agent, agent.busy.say or ""))


def _take_message(agent: Agent, say: Speech | None, voicemail: Voicemail, after_url: str) -> str:
    prompt = spoken(agent, voicemail.say)
    return twiml.record(say, prompt, max_seconds=voicemail.max_seconds, after_url=after_url)


def refused(agent: Agent, answer: Refused, say: str) -> str:
    """Return TwiML for a caller whom the inbound policy refuses. `<Reject>` costs nothing."""
    if answer == "say":
        return twiml.hang_up(spoken(agent, say))
    return twiml.reject("busy" if answer == "busy" else "rejected")
