"""The dial policy: which numbers may be dialled and texted, and how many calls and texts an hour.

Voice agents are talked into dialling. Fraudsters earn from each minute to numbers that cost much:
premium-rate, satellite, islands that share +1 or +44 with a cheap country. So a destination is
judged here by what its number is, from libphonenumber's metadata, for every requester: a model, a
caller, an API client or a configuration file. Reasons: docs/design/dial-policy.md.

Nothing here reads a clock: `now` is seconds, on any clock that never jumps. Nothing here waits but
for the disk that keeps the count (dial_count.py).
"""

import re
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

import phonenumbers
from phonenumbers import PhoneNumberType

from offhook.policy.dial_count import HOUR_S, DialCount, Kind, Spent, call_tag, number_tag
from offhook.text.phone_numbers import E164

TRANSFERS_PER_CALL: Final = 5

DEFAULT_COUNTRIES: Final = frozenset({"US", "CA"})
"""Countries that may be dialled when none is configured and no line has a known one."""

_SHORT: Final = re.compile(r"\+?[0-9]{2,6}")
_SIP: Final = re.compile(
    r"sips?:(?P<user>[A-Za-z0-9._~+\-]{1,64})@(?P<host>[A-Za-z0-9.\-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])"
    r"(?::[0-9]{1,5})?(?:;transport=(?:udp|tcp|tls))?",
    re.IGNORECASE,
)
"""Pattern of SIP addresses (RFC 3261) to dial: no headers or escapes, `transport` alone."""

_ORDINARY: Final = frozenset(
    {
        PhoneNumberType.FIXED_LINE,
        PhoneNumberType.MOBILE,
        PhoneNumberType.FIXED_LINE_OR_MOBILE,
        PhoneNumberType.VOIP,
    }
)
_COSTLY: Final = ("+1600", "+6114")
"""Prefixes of satellite telephones that are ordinary in the metadata: Canada, Australia."""


@unique
class DialRefusal(Enum):
    """Reasons not to dial or text: a slug that never changes, and words without a number."""

    MALFORMED = "malformed", "it is neither a phone number in E.164 nor a SIP address"
    NO_SUCH_NUMBER = "no_such_number", "there is no such phone number"
    COUNTRY = "country", "its country is not one that may be dialled"
    NO_COUNTRY = "no_country", "it belongs to no country: a satellite or private network"
    SATELLITE = "satellite", "it is of a satellite telephone"
    PREMIUM_RATE = "premium_rate", "it is a premium-rate number"
    SHARED_COST = "shared_cost", "it is a shared-cost number"
    TOLL_FREE = "toll_free", "it is a toll-free number of another country"
    SPECIAL = "special", "it is a number with a price of its own: personal, pager or company-wide"
    SHORT_NUMBER = "short_number", "it is an emergency or short number"
    UNKNOWN_KIND = "unknown_kind", "the kind of the number is unknown"
    SIP_HOST = "sip_host", "its SIP host is not one that the configuration names"
    NOT_TEXTABLE = "not_textable", "a SIP address gets no texts"
    CALLS_PER_HOUR = "calls_per_hour", "the calls of this hour are used up"
    TEXTS_PER_HOUR = "texts_per_hour", "the texts of this hour are used up"
    TEXTS_OF_CALL = "texts_of_call", "the texts of this call are used up"
    TEXTS_OF_NUMBER = "texts_of_number", "this number has had its texts of this hour"
    SPEND_PER_HOUR = "spend_per_hour", "the money of this hour is used up"
    TRANSFERS_OF_CALL = "transfers_of_call", "the transfers of this call are used up"
    TRANSFER_UNDER_WAY = "transfer_under_way", "another transfer of this call is under way"
    NOT_COUNTED = "not_counted", "the disk does not keep the count of this hour's calls"

    def __init__(self, slug: str, words: str) -> None:
        self.slug = slug
        self.words = words


@dataclass(frozen=True, slots=True)
class DialRules:
    """The rules of a policy. Countries are ISO 3166 codes; money is in the configured currency."""

    countries: frozenset[str] = DEFAULT_COUNTRIES
    home: frozenset[str] = DEFAULT_COUNTRIES
    """Countries whose toll-free numbers may be dialled: those of one's own lines."""

    sip_hosts: frozenset[str] = frozenset()
    """Hosts whose SIP addresses may be dialled, in lower case."""

    calls_per_hour: int = 60
    """Calls within an hour, transfers among them."""

    texts_per_hour: int = 60
    texts_per_call: int = 5
    """Texts that a call may send, however long it lasts."""

    texts_per_number: int = 10
    """Texts to one number within an hour, from whichever call."""

    spend_per_hour: float = 20.0
    price_per_call: float = 0.2
    price_per_text: float = 0.01
    """The price of one segment (twilio.md §5.6)."""


def country_of(number: str) -> str | None:
    """Return the ISO code of an E.164 number's country; None for none, or no number.

    Not its calling code: +1 is 25 countries, and +44 four.
    """
    parsed = _parsed(number)
    region = None if parsed is None else phonenumbers.region_code_for_number(parsed)
    return None if region == phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY else region


def is_number(number: str) -> bool:
    """Return whether an E.164 number can exist; Twilio's stand-in for a withheld number cannot."""
    parsed = _parsed(number)
    return parsed is not None and phonenumbers.is_valid_number(parsed)


def is_country(code: str) -> bool:
    """Return whether that is the ISO code of a country with phone numbers."""
    return code in phonenumbers.SUPPORTED_REGIONS


def refusal(rules: DialRules, destination: str) -> DialRefusal | None:
    """Return why a destination may never be dialled; None: it may, within the limits.

    `destination` is a number in E.164, or a `sip:` or `sips:` address; anything else, such as a
    `tel:` URI, an extension or digits of another script, is refused as malformed.
    """
    sip = _SIP.fullmatch(destination)
    if sip is not None:
        if sip["host"].lower() not in rules.sip_hosts:
            return DialRefusal.SIP_HOST
        # A gateway would dial the number: the call costs what that number costs.
        return _judge(rules, sip["user"]) if sip["user"].startswith("+") else None
    return _judge(rules, destination)


def _judge(rules: DialRules, number: str) -> DialRefusal | None:
    if not E164.fullmatch(number):
        return DialRefusal.SHORT_NUMBER if _SHORT.fullmatch(number) else DialRefusal.MALFORMED
    parsed = _parsed(number)
    if parsed is None:
        return DialRefusal.NO_SUCH_NUMBER
    written = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    # The number has a national prefix in it, such as +44 (0)7…; networks treat it differently.
    if written != number or not phonenumbers.is_valid_number(parsed):
        short = phonenumbers.is_possible_short_number(parsed)
        return DialRefusal.SHORT_NUMBER if short else DialRefusal.NO_SUCH_NUMBER
    return _judge_valid(rules, number, parsed)


def _parsed(number: str) -> phonenumbers.PhoneNumber | None:
    """Return a number in E.164, parsed; None for other text and unknown calling codes."""
    if not E164.fullmatch(number):
        return None
    try:
        return phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return None


def _judge_valid(
    rules: DialRules, number: str, parsed: phonenumbers.PhoneNumber
) -> DialRefusal | None:
    region = phonenumbers.region_code_for_number(parsed)
    kind = phonenumbers.number_type(parsed)
    if region is None or region == phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY:
        return DialRefusal.NO_COUNTRY
    if kind == PhoneNumberType.TOLL_FREE:
        # Countries that share a calling code share these, and the region is one of them.
        near = any(phonenumbers.is_valid_number_for_region(parsed, home) for home in rules.home)
        return None if near else DialRefusal.TOLL_FREE
    if region not in rules.countries:
        return DialRefusal.COUNTRY
    if kind == PhoneNumberType.PREMIUM_RATE:
        return DialRefusal.PREMIUM_RATE
    if kind == PhoneNumberType.SHARED_COST:
        return DialRefusal.SHARED_COST
    if kind == PhoneNumberType.UNKNOWN:
        return DialRefusal.UNKNOWN_KIND
    if kind not in _ORDINARY:
        return DialRefusal.SPECIAL
    if number.startswith(_COSTLY):
        return DialRefusal.SATELLITE
    if phonenumbers.is_valid_short_number(parsed):
        return DialRefusal.SHORT_NUMBER
    return None


class DialPolicy:
    """The policy of one server, with its count of dials and texts within an hour.

    `earlier` is what an earlier run of the server handed out, and `keep` is where the next run
    finds what this one does. Without them the count is in memory alone: so it is in `offhook demo`
    and in rehearsals, which dial no one.

    A dial that is let through counts at once, also when Twilio then refuses it: a limit that
    failures did not use up would allow endless attempts.
    """

    def __init__(
        self, rules: DialRules, *, earlier: Iterable[Spent] = (), keep: DialCount | None = None
    ) -> None:
        self.rules = rules
        """Rules for the next check."""
        self._keep = keep
        self._spent: deque[Spent] = deque(earlier)
        """Entries of the last hour: no more than the limits let through."""
        self._transfers: set[str] = set()
        self._of_call = Counter[tuple[str, Kind]]()
        """Transfers and texts that each call has had, by its tag, while it lasts."""
        for spent in self._spent:
            self._of_call[spent.call, spent.kind] += 1

    def learn(self, news: Iterable[Spent]) -> None:
        """Count what other processes of this server have handed out meanwhile."""
        for spent in news:
            self._spent.append(spent)
            self._of_call[spent.call, spent.kind] += 1

    async def check(
        self,
        kind: Kind,
        destination: str,
        now: float,
        *,
        segments: int = 1,
        call_sid: str | None = None,
    ) -> DialRefusal | None:
        """Return why a destination may not be dialled or texted now; None: it may, and is counted.

        `segments` are those of a text, each of which has its price. `call_sid` is the call within
        which it is asked for.
        """
        text = kind == "text"
        if text and destination[:5].lower().startswith(("sip:", "sips:")):
            return DialRefusal.NOT_TEXTABLE
        refused = refusal(self.rules, destination)
        if refused is not None:
            return refused
        while self._spent and self._spent[0].at <= now - HOUR_S:
            self._spent.popleft()
        price = self.rules.price_per_text * segments if text else self.rules.price_per_call
        call = "" if call_sid is None else call_tag(call_sid)
        spent = Spent(now, kind, price, call, number_tag(destination))
        why = self._used_up(spent)
        if why is not None:
            return why
        # Counted before the wait: a check in the meantime must find it.
        self._spent.append(spent)
        if call:
            self._of_call[call, kind] += 1
        if self._keep is not None and not await self._keep.keep(spent):
            return DialRefusal.NOT_COUNTED
        return None

    def check_last_resort(self, destination: str) -> DialRefusal | None:
        """Return why the number that takes over a caller must not be dialled; None: it may be.

        The rules of numbers apply, but no limit, and the dial is not counted: a caller whose agent
        is lost must be taken over even if the hour's calls are used up.
        """
        return refusal(self.rules, destination)

    def _used_up(self, wanted: Spent) -> DialRefusal | None:
        """Return the limit that has no room for one more; None: all have."""
        rules, text = self.rules, wanted.kind == "text"
        count = sum((spent.kind == "text") == text for spent in self._spent)
        if count >= (rules.texts_per_hour if text else rules.calls_per_hour):
            return DialRefusal.TEXTS_PER_HOUR if text else DialRefusal.CALLS_PER_HOUR
        if sum(spent.price for spent in self._spent) + wanted.price > rules.spend_per_hour + 1e-9:
            return DialRefusal.SPEND_PER_HOUR
        if text:
            if wanted.call and self._of_call[wanted.call, "text"] >= rules.texts_per_call:
                return DialRefusal.TEXTS_OF_CALL
            had = sum(spent.kind == "text" and spent.to == wanted.to for spent in self._spent)
            if had >= rules.texts_per_number:
                return DialRefusal.TEXTS_OF_NUMBER
        return None

    async def begin_transfer(
        self, call_sid: str, destination: str, now: float
    ) -> DialRefusal | None:
        """Return why a call may not be transferred now; None: it has begun, until `end_transfer`.

        A model that is told of a failed transfer may try again and again: hence a limit a call.
        """
        if call_sid in self._transfers:
            return DialRefusal.TRANSFER_UNDER_WAY
        if self._of_call[call_tag(call_sid), "transfer"] >= TRANSFERS_PER_CALL:
            return DialRefusal.TRANSFERS_OF_CALL
        self._transfers.add(call_sid)
        begun = False
        try:
            refused = await self.check("transfer", destination, now, call_sid=call_sid)
            begun = refused is None
        finally:
            if not begun:
                self._transfers.discard(call_sid)
        return refused

    def end_transfer(self, call_sid: str) -> None:
        """Take note that a transfer is over. Harmless if none is under way."""
        self._transfers.discard(call_sid)

    def forget(self, call_sid: str) -> None:
        """Forget a call that is over."""
        self._transfers.discard(call_sid)
        for kind in ("transfer", "text"):
            self._of_call.pop((call_tag(call_sid), kind), None)
