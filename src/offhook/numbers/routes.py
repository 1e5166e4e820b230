"""Routes of a number's calls, and other claims to the number.

Source: twilio.md §5.7. With a TwiML app or a SIP trunk, Twilio ignores a number's voice URL; so all
four values are one route. The fallback URL is never read or changed.
"""

from collections.abc import Iterable, Mapping
from enum import Enum, auto
from typing import Final
from urllib.parse import urlsplit

import msgspec

from offhook.text import urls
from offhook.twilio.rest import RestNumber

_FLOWS: Final = "/Flows/"
"""Part of a voice URL before the SID of the Studio flow."""


class Answerer(Enum):
    """Kind of server that answers the calls of a number."""

    NOTHING = auto()
    DEMO = auto()
    """Twilio's demonstration, with which Twilio sells a number."""
    TRUNK = auto()
    """A SIP trunk: the voice URL is ignored."""
    APP = auto()
    """A TwiML app: the voice URL is ignored."""
    STUDIO = auto()
    """A Studio flow."""
    BIN = auto()
    """A TwiML Bin."""
    WEBHOOK = auto()
    """A server, by its voice URL."""
    NO_URL = auto()
    """A voice URL that is not valid."""


_HOSTS: Final = {"demo.twilio.com": Answerer.DEMO, "handler.twilio.com": Answerer.BIN}


class VoiceRoute(msgspec.Struct, frozen=True):
    """Settings of a number that say what answers its calls. Empty: nothing does."""

    url: str = ""
    method: str = "POST"
    application_sid: str = ""
    trunk_sid: str = ""

    @property
    def answerer(self) -> Answerer:
        """Kind of the answering server, known by Twilio's own hosts (twilio.md §5.7)."""
        if self.trunk_sid:
            return Answerer.TRUNK
        if self.application_sid:
            return Answerer.APP
        if not self.url:
            return Answerer.NOTHING
        try:
            parts = urlsplit(self.url)
            host = parts.hostname or ""
        except ValueError:
            return Answerer.NO_URL
        if host == "webhooks.twilio.com" and _FLOWS in parts.path:
            return Answerer.STUDIO
        return _HOSTS.get(host, Answerer.WEBHOOK)


class StatusRoute(msgspec.Struct, frozen=True):
    """Status callback of a number: the URL that is told each call's end. Empty: no URL."""

    url: str = ""
    method: str = "POST"


class NumberRoute(msgspec.Struct, frozen=True):
    """Both routes of a number. Either may be changed by somebody else, without the other."""

    voice: VoiceRoute = VoiceRoute()
    status: StatusRoute = StatusRoute()

    @classmethod
    def of(cls, number: RestNumber) -> "NumberRoute":
        """Return the routes of a number as Twilio has them."""
        return cls(
            VoiceRoute(
                number.voice_url or "",
                (number.voice_method or "POST").upper(),
                number.voice_application_sid or "",
                number.trunk_sid or "",
            ),
            StatusRoute(
                number.status_callback or "", (number.status_callback_method or "POST").upper()
            ),
        )

    @classmethod
    def to(cls, public_url: str) -> "NumberRoute":
        """Return the routes of a number that Offhook answers at an https origin."""
        return cls(
            VoiceRoute(f"{public_url}/twilio/voice"), StatusRoute(f"{public_url}/twilio/status")
        )

    def changes(self, current: "NumberRoute") -> Mapping[str, str]:
        """Return what to change by REST, so that a number with the routes `current` has these.

        The names are parameters of TwilioRest.update_number.
        """
        wanted = {
            "voice_url": (self.voice.url, current.voice.url),
            "voice_method": (self.voice.method, current.voice.method),
            "voice_application_sid": (self.voice.application_sid, current.voice.application_sid),
            "trunk_sid": (self.voice.trunk_sid, current.voice.trunk_sid),
            "status_callback": (self.status.url, current.status.url),
            "status_callback_method": (self.status.method, current.status.method),
        }
        changed = {name: new for name, (new, old) in wanted.items() if new != old}
        for name, other in (
            ("voice_application_sid", "trunk_sid"),
            ("trunk_sid", "voice_application_sid"),
        ):
            if changed.get(name) and changed.get(other) == "":
                del changed[other]  # setting one deletes the other
        return changed


def claim(route: NumberRoute, ours: Iterable[NumberRoute]) -> str | None:
    """Return whose number it is, as the end of "The number is in use: …"; None if it is free.

    A number is free if nothing or Twilio's demo answers it, or one of the routes `ours`.
    """
    ours = tuple(ours)
    if route.voice not in {one.voice for one in ours} and (said := _voice_claim(route.voice)):
        return said
    status = route.status
    if status.url and status.url not in {one.status.url for one in ours}:
        return f"the end of each call is told to {urls.origin(status.url)}"
    return None


def answered_by(voice: VoiceRoute) -> str:
    """Return what answers the calls of a number, for a reader. No URL is told with its path."""
    return _voice_claim(voice) or ("Twilio's demo answers its calls" if voice.url else "nothing")


def _voice_claim(voice: VoiceRoute) -> str | None:
    match voice.answerer:
        case Answerer.NOTHING | Answerer.DEMO:
            return None
        case Answerer.TRUNK:
            return f"it belongs to the SIP trunk {voice.trunk_sid}"
        case Answerer.APP:
            return f"the TwiML app {voice.application_sid} answers its calls"
        case Answerer.STUDIO:
            flow = urlsplit(voice.url).path.rpartition(_FLOWS)[2]
            return f"the Studio flow {flow} answers its calls"
        case Answerer.BIN:
            return "a TwiML Bin answers its calls"
        case Answerer.WEBHOOK:
            return f"{urls.origin(voice.url)} answers its calls"
        case Answerer.NO_URL:
            return "an invalid URL answers its calls"
