"""Checks of the account's numbers: do their calls come here, and by the right method."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from offhook.config import AppConfig
from offhook.doctor.check import Check, bad, good, remark
from offhook.numbers.routes import Answerer, NumberRoute
from offhook.twilio.rest import RestNumber

NAME: Final = "Twilio numbers"

SHOWN_MAX: Final = 5
"""Numbers that are told of one by one when none of them calls this server."""

_BUY: Final = "Buy one in the Twilio Console: Phone Numbers, Buy a number."


@dataclass(frozen=True, slots=True)
class _Here:
    """The addresses of this server, and whether streams of a TwiML Bin are taken."""

    origin: str
    takes_bins: bool

    @property
    def route(self) -> NumberRoute:
        """The route of a number that this server answers."""
        return NumberRoute.to(self.origin)


def check_numbers(
    config: AppConfig, lines: Iterable[str], numbers: Sequence[RestNumber]
) -> list[Check]:
    """Return how each number is that `lines` names; without one, all numbers of the account."""
    if not numbers:
        return [bad(NAME, "the account has no number", _BUY)]
    origin = config.server.public_url
    if origin is None:
        reason = f"the account has {len(numbers)}; without a public URL they cannot be compared"
        return [remark(NAME, reason, "Name it: offhook doctor --public-url https://YOUR-HOST")]
    here = _Here(origin, config.twilio.bin)
    by_number = {number.phone_number: number for number in numbers}
    named = [line for line in lines if line.startswith("+")]
    if named:
        return [_line(line, by_number.get(line), here) for line in named]
    checks = [_check(number, here) for number in numbers]
    ours = [check for check in checks if check.status != "bad"]
    if ours:
        return ours
    if len(checks) == 1:
        return checks
    fix = "Point one at it: offhook numbers set --number +…"
    none = bad(NAME, f"none of the {len(numbers)} numbers calls {here.route.voice.url}", fix)
    return [none, *checks[:SHOWN_MAX]]


def _line(line: str, number: RestNumber | None, here: _Here) -> Check:
    if number is not None:
        return _check(number, here)
    reason = "lines names it, and the account has no such number"
    return bad(line, reason, "Correct lines in offhook.yaml: offhook numbers list")


def _check(number: RestNumber, here: _Here) -> Check:
    """Return where a number's calls go (twilio.md §5.7)."""
    name, voice = number.phone_number, NumberRoute.of(number).voice
    fix = f"offhook numbers set --number {name}"
    forced = f"{fix} --force"  # something else answers it now
    match voice.answerer:
        case Answerer.TRUNK:
            return bad(name, "its calls go to a SIP trunk, and its webhook is ignored", forced)
        case Answerer.APP:
            return bad(name, "its calls go to a TwiML app, and its webhook is ignored", forced)
        case Answerer.NOTHING:
            return bad(name, "it has no webhook: every call fails at once", fix)
        case Answerer.STUDIO:
            return bad(name, "its calls go to a Studio flow", forced)
        case Answerer.DEMO:
            return bad(name, "its calls go to Twilio's demonstration", fix)
        case Answerer.BIN if not here.takes_bins:
            return bad(name, "a TwiML Bin answers it, and twilio.bin is off", forced)
        case Answerer.BIN:
            reason = "a TwiML Bin answers it, which cannot be read from here"
            return remark(name, reason, f"Compare it: offhook twiml --public-url {here.origin}")
        case Answerer.WEBHOOK | Answerer.NO_URL:
            return _webhook(number, here, fix, forced)


def _webhook(number: RestNumber, here: _Here, fix: str, forced: str) -> Check:
    name, url = number.phone_number, number.voice_url or ""
    if url.partition("?")[0].partition("#")[0] != here.route.voice.url:
        return bad(name, f"its calls go to {_shown(url)}, not to {here.route.voice.url}", forced)
    if number.voice_method not in (None, "POST"):
        return bad(name, f"its webhook is asked by {number.voice_method}, not by POST", forced)
    if (number.status_callback or "").partition("#")[0] != here.route.status.url:
        reason = "its calls come here; their last status does not, and neither do their costs"
        return remark(name, reason, forced if number.status_callback else fix)
    return good(name, "its calls come here, by POST")


def _shown(url: str) -> str:
    """Return a URL without what may be a secret, cut where it is long."""
    return url.partition("?")[0].partition("#")[0][:100]
