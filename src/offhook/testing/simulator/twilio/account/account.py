"""Simulated account: REST requests are checked as Twilio checks them and act on calls."""

import base64
import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from offhook.testing.simulator.twilio.account import calling, resources
from offhook.testing.simulator.twilio.account.parameters import (
    BAD_PARAMETER,
    CREATE_CALL,
    CREATE_MESSAGE,
    LIST_CALLS,
    LIST_NUMBERS,
    UPDATE_CALL,
    UPDATE_NUMBER,
    Given,
    RequestRefusedError,
)
from offhook.testing.simulator.twilio.account.resources import VERSION, AccountNumber
from offhook.testing.simulator.twilio.calls.ledger import EndRequest, Redirected, RestAnswer, Texted
from offhook.testing.simulator.twilio.calls.leg import Leg
from offhook.testing.simulator.twilio.calls.network import SimulatedNetwork
from offhook.testing.simulator.twilio.webhooks import Request
from offhook.text.phone_numbers import E164

TOO_MANY_CALLS: Final = 10004
UNAUTHORIZED: Final = 20003
NOT_FOUND: Final = 20404
FROM_NOT_OURS: Final = 21210
TO_INVALID: Final = 21211
FROM_INVALID: Final = 21212
FROM_MISSING: Final = 21213
TO_MISSING: Final = 21201
NOT_IN_PROGRESS: Final = 21220
TEXT_TOO_LONG: Final = 21617
TEXT_MISSING: Final = 21602

MESSAGE_S: Final = 1.0
"""Seconds until a text message is reported as delivered."""

_OTHER: Final = re.compile(r"(sips?:[^\s@]+@[^\s@]+|client:\S+)")


@dataclass(frozen=True, slots=True)
class RestFault:
    """Fault that a request gets in place of its answer.

    With `acted`, the request is carried out nevertheless. With `new_format`, the error has Twilio's
    newer format.
    """

    status: int
    code: int | None = None
    retry_after_s: int | None = None
    acted: bool = False
    new_format: bool = False


@dataclass(frozen=True, slots=True)
class RestReply:
    """Answer to a REST request."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class SimulatedAccount:
    """Simulated account on its network of calls.

    `numbers` are the account's own, `verified` others that it may call from. `refused` maps
    numbers to the code that a call or text message to them gets (21215, 21610, …). Calls beyond
    `calls_at_once` are refused; calls beyond `calls_per_second` wait in the queue (twilio.md §5.2).
    """

    network: SimulatedNetwork
    auth_token: str = field(repr=False)
    api_key: str | None = None
    api_secret: str | None = field(default=None, repr=False)
    numbers: Sequence[AccountNumber] = ()
    verified: frozenset[str] = frozenset()
    refused: Mapping[str, int] = field(default_factory=dict)
    status: str = "active"
    type: str = "Full"
    countries: frozenset[str] | None = None
    """ISO codes of the countries that the account may call; None for all."""
    calls_at_once: int | None = None
    calls_per_second: float | None = None
    faults: deque[RestFault] = field(default_factory=deque)
    """Faults for the next requests, one each."""
    _queue_free_at: float = 0.0

    def answer(
        self, method: str, path: str, query: str, body: str, authorization: str | None
    ) -> RestReply:
        """Carry out a request, and return the answer to it."""
        fault = self.faults.popleft() if self.faults else None
        try:
            if fault is not None and not fault.acted:
                raise RequestRefusedError(fault.status, fault.code or 0, "a fault that was ordered")
            status, told = self._act(method, path, query, body, authorization)
            if fault is not None:
                raise RequestRefusedError(fault.status, fault.code or 0, "a fault that was ordered")
            reply = RestReply(status, told)
            code = None
        except RequestRefusedError as refuse:
            code = refuse.code or None
            reply = _refusal(refuse, fault)
        self.network.ledger.answers.append(RestAnswer(method, path, reply.status, code))
        return reply

    def _act(
        self, method: str, path: str, query: str, body: str, authorization: str | None
    ) -> tuple[int, Any]:
        account_sid = self.network.account_sid
        user = self._known_user(authorization)
        if user is None:
            raise RequestRefusedError(401, UNAUTHORIZED, "Authenticate")
        if method == "GET" and path == f"/{VERSION}/Accounts/{account_sid}.json":
            # Of API keys only a main one may; ours is a standard one (twilio.md §5.1).
            if user != account_sid:
                raise RequestRefusedError(401, UNAUTHORIZED, "Authenticate")
            return 200, resources.account(account_sid, self.status, self.type)
        country = re.fullmatch(r"/v1/DialingPermissions/Countries/([A-Z]{2})", path)
        if method == "GET" and country is not None:
            is_allowed = self.countries is None or country[1] in self.countries
            return 200, resources.country(country[1], is_allowed)
        found = re.fullmatch(rf"/{VERSION}/Accounts/(AC\w+)/(\w+)(?:/(\w+))?\.json", path)
        if found is None or found[1] != account_sid:
            raise RequestRefusedError(
                404, NOT_FOUND, f"The requested resource {path} was not found"
            )
        form = parse_qsl(body, keep_blank_values=True)
        asked = parse_qsl(query, keep_blank_values=True)
        match (method, found[2], found[3]):
            case ("POST", "Calls", None):
                return 201, self._create_call(Given(form, CREATE_CALL))
            case ("GET", "Calls", None):
                return 200, self._list_calls(Given(asked, LIST_CALLS))
            case ("POST", "Calls", sid) if sid in self.network.legs:
                return 200, self._update_call(self.network.legs[sid], Given(form, UPDATE_CALL))
            case ("POST", "Calls", sid):
                self._missed(sid, Given(form, UPDATE_CALL))
            case ("GET", "Calls", sid) if sid in self.network.legs:
                return 200, resources.call(self.network.legs[sid])
            case ("POST", "Messages", None):
                return 201, self._create_message(Given(form, CREATE_MESSAGE))
            case ("GET", "IncomingPhoneNumbers", None):
                return 200, self._list_numbers(Given(asked, LIST_NUMBERS))
            case ("GET" | "POST", "IncomingPhoneNumbers", sid):
                for number in self.numbers:
                    if number.sid == sid:
                        if method == "POST":
                            number.update(Given(form, UPDATE_NUMBER).items())
                        return 200, number.json(account_sid)
        raise RequestRefusedError(404, NOT_FOUND, f"The requested resource {path} was not found")

    def _known_user(self, authorization: str | None) -> str | None:
        """Return the account or the key that makes a request; None for wrong credentials."""
        scheme, _, encoded = (authorization or "").partition(" ")
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except ValueError:
            return None
        known = {self.network.account_sid: self.auth_token}
        if self.api_key is not None and self.api_secret is not None:
            known[self.api_key] = self.api_secret
        return user if scheme.lower() == "basic" and known.get(user) == password else None

    # --- calls ---

    def _create_call(self, given: Given) -> dict[str, Any]:
        self._check_ends(given, E164, _OTHER)
        live = sum(not leg.over for leg in self.network.legs.values())
        if self.calls_at_once is not None and live >= self.calls_at_once:
            raise RequestRefusedError(429, TOO_MANY_CALLS, "Call concurrency limit exceeded")
        now, waits_s = self.network.clock.now(), 0.0
        if self.calls_per_second is not None:
            self._queue_free_at = max(now, self._queue_free_at)
            waits_s = self._queue_free_at - now
        leg = calling.ring(self.network, given, waits_s)
        if self.calls_per_second is not None:
            self._queue_free_at += 1 / self.calls_per_second
        return resources.call(leg)

    def _update_call(self, leg: Leg, given: Given) -> dict[str, Any]:
        now, ledger = self.network.clock.now(), self.network.ledger
        status, new = given.text("Status"), calling.instructions(given)
        if status and new is not None:
            raise RequestRefusedError(400, BAD_PARAMETER, "Status excludes Url and Twiml")
        done = True
        if status:
            answered = leg.status == "in-progress"
            done = not (status == "canceled" and answered) and leg.end("ended_by_rest")
            ledger.hang_ups.append(EndRequest(leg.sid, now, done))
        elif new is not None:
            done = leg.change(new.work(leg))
            ledger.redirected.append(Redirected(leg.sid, now, new.twiml, new.url, done))
        if not done or leg.over:
            raise RequestRefusedError(
                400, NOT_IN_PROGRESS, "Call is not in-progress. Cannot redirect."
            )
        if "StatusCallback" in given:
            leg.told = calling.told(given)
        if "TimeLimit" in given:
            leg.at(given.integer("TimeLimit", 0), lambda: leg.end("out_of_time"))
        return resources.call(leg)

    def _missed(self, sid: str | None, given: Given) -> None:
        """Note a request to end a call that does not exist."""
        now = self.network.clock.now()
        if given.text("Status"):
            self.network.ledger.hang_ups.append(EndRequest(sid or "", now, False))

    # --- texts and numbers ---

    def _create_message(self, given: Given) -> dict[str, Any]:
        if not given.text("MessagingServiceSid"):
            self._check_ends(given, E164, None)
        if not (given.text("Body") or given.text("ContentSid") or given.texts("MediaUrl")):
            raise RequestRefusedError(400, TEXT_MISSING, "Message body is required")
        if len(given.text("Body")) > 1600:
            raise RequestRefusedError(
                400, TEXT_TOO_LONG, "The message body exceeds 1600 characters"
            )
        network = self.network
        made = resources.message(network.account_sid, given)
        now = network.clock.now()
        text = Texted(made["sid"], made["to"], made["from"] or "", made["body"], now)
        network.ledger.texts.append(text)
        callback = given.text("StatusCallback")
        if callback:
            network.group.create_task(self._tell(callback, made), name=f"text {made['sid']}")
        return made

    async def _tell(self, url: str, made: Mapping[str, Any]) -> None:
        network = self.network
        for status in ("sent", "delivered"):
            await network.passed(MESSAGE_S / 2)
            form = {
                "AccountSid": network.account_sid,
                "MessageSid": made["sid"],
                "MessageStatus": status,
                "To": made["to"],
                "From": made["from"] or "",
                "ApiVersion": VERSION,
            }
            if network.host.dialled(url) is not None:
                await network.host.send(network.http, Request(url, "POST", form))

    def _list_calls(self, given: Given) -> dict[str, Any]:
        """List calls, newest first. Only To, From, Status and ParentCallSid filter the list."""
        wanted = {name: given.text(name) for name in ("To", "From", "Status", "ParentCallSid")}
        members = {"To": "to", "From": "from", "Status": "status"}
        found = [resources.call(leg) for leg in reversed(self.network.legs.values())]
        for name, value in wanted.items():
            member = members.get(name, "parent_call_sid")
            found = [one for one in found if value in ("", one[member])]
        return self._page("Calls", "calls", found, given, wanted)

    def _list_numbers(self, given: Given) -> dict[str, Any]:
        wanted = given.text("PhoneNumber")
        found = [
            one.json(self.network.account_sid)
            for one in self.numbers
            if wanted in ("", one.phone_number)
        ]
        name = "incoming_phone_numbers"
        return self._page("IncomingPhoneNumbers", name, found, given, {"PhoneNumber": wanted})

    def _page(
        self,
        resource: str,
        name: str,
        found: Sequence[dict[str, Any]],
        given: Given,
        wanted: Mapping[str, str],
    ) -> dict[str, Any]:
        size, page = given.integer("PageSize", 50), given.integer("Page", 0)
        shown = found[page * size : (page + 1) * size]
        base = f"/{VERSION}/Accounts/{self.network.account_sid}/{resource}.json"

        def uri(number: int) -> str:
            query = {name: value for name, value in wanted.items() if value}
            return f"{base}?{urlencode({**query, 'PageSize': size, 'Page': number})}"

        return {
            name: shown,
            "start": page * size,
            "end": page * size + max(0, len(shown) - 1),
            "page": page,
            "page_size": size,
            "uri": uri(page),
            "first_page_uri": uri(0),
            "previous_page_uri": uri(page - 1) if page else None,
            "next_page_uri": uri(page + 1) if (page + 1) * size < len(found) else None,
        }

    def _check_ends(
        self, given: Given, number: re.Pattern[str], other: re.Pattern[str] | None
    ) -> None:
        """Refuse a `From` that is not the account's, and a `To` that it may not reach."""
        to, from_ = given.text("To"), given.text("From")
        if not from_:
            raise RequestRefusedError(400, FROM_MISSING, "No 'From' number is specified")
        if not to:
            raise RequestRefusedError(400, TO_MISSING, "No 'To' number is specified")
        if not number.fullmatch(from_) and not (other and other.fullmatch(from_)):
            raise RequestRefusedError(400, FROM_INVALID, f"The 'From' number {from_} is not valid")
        if not number.fullmatch(to) and not (other and other.fullmatch(to)):
            raise RequestRefusedError(400, TO_INVALID, f"The 'To' number {to} is not valid")
        if from_ not in {one.phone_number for one in self.numbers} | self.verified:
            raise RequestRefusedError(
                400, FROM_NOT_OURS, f"The source phone number {from_} is not verified"
            )
        if to in self.refused:
            raise RequestRefusedError(400, self.refused[to], f"{to} is refused")


def _refusal(refuse: RequestRefusedError, fault: RestFault | None) -> RestReply:
    more = f"https://www.twilio.com/docs/errors/{refuse.code}"
    body: dict[str, Any] = {"status": refuse.status}
    if fault is not None and fault.new_format:
        body |= {"type": more, "title": refuse.message, "code": refuse.code}
    else:
        body |= {"code": refuse.code, "message": refuse.message, "more_info": more}
    headers = {}
    if fault is not None and fault.retry_after_s is not None:
        headers["Retry-After"] = str(fault.retry_after_s)
    if refuse.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="Twilio API"'
    return RestReply(refuse.status, body if refuse.code else "", headers)
