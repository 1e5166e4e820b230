"""Parameters of Twilio's REST operations, and requests that are checked against them.

The tables are those of Twilio's published OpenAPI description (`twilio_api_v2010.json`, twilio.md
§5); a test compares them. An unknown parameter, which Twilio ignores, is refused here, because it
is always a mistake.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from offhook.twilio import call_status

BAD_PARAMETER: Final = 20001
BAD_URL: Final = 21205

STATUSES: Final = tuple(status for status in call_status.STATUSES if status != "initiated")
"""Statuses of the Calls resource, which has `queued` for a call that was initiated."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """Rules for a parameter: its kind, its permitted words, or the prefix of its SID."""

    kind: str = "text"
    required: bool = False
    many: bool = False
    words: frozenset[str] = frozenset()
    sid: str = ""


Table: TypeAlias = Mapping[str, Parameter]

_KINDS: Final = ("url", "method", "integer", "number", "boolean")
_DECLARED: Final = re.compile(r"([\w<>]+)(!?)(\*?)(?::(\w+))?(?:=(.+))?")


def _table(text: str) -> Table:
    """Return the parameters that a text declares.

    `To!` is required, `MediaUrl*` may be given several times, `Url:url` is of kind `url`, `Byoc:BY`
    is a SID that begins with `BY`, and `Status=canceled|completed` is one of these words.
    """
    table = {}
    for word in text.split():
        declared = _DECLARED.fullmatch(word)
        assert declared is not None  # the texts are below
        name, needed, many, of, words = (part or "" for part in declared.groups())
        kind, sid = (of, "") if of in _KINDS else ("text", of)
        chosen = "GET|POST" if kind == "method" else words
        table[name] = Parameter(
            kind, bool(needed), bool(many), frozenset(filter(None, chosen.split("|"))), sid
        )
    return table


_INSTRUCTIONS: Final = """
    Url:url Method:method Twiml FallbackUrl:url FallbackMethod:method StatusCallback:url
    StatusCallbackMethod:method TimeLimit:integer
"""
_PAGES: Final = " PageSize:integer Page:integer PageToken"

CREATE_CALL: Final = _table(
    _INSTRUCTIONS
    + """
    To! From! ApplicationSid:AP StatusCallbackEvent* SendDigits Timeout:integer Record:boolean
    RecordingChannels RecordingStatusCallback RecordingStatusCallbackMethod:method
    RecordingStatusCallbackEvent* RecordingTrack Trim SipAuthUsername SipAuthPassword
    MachineDetection MachineDetectionTimeout:integer MachineDetectionSpeechThreshold:integer
    MachineDetectionSpeechEndThreshold:integer MachineDetectionSilenceTimeout:integer AsyncAmd
    AsyncAmdStatusCallback:url AsyncAmdStatusCallbackMethod:method CallerId CallReason
    CallToken Byoc:BY ClientNotificationUrl:url
    """
)
UPDATE_CALL: Final = _table(_INSTRUCTIONS + "Status=canceled|completed")
CREATE_MESSAGE: Final = _table(
    """
    To! From FallbackFrom MessagingServiceSid:MG Body MediaUrl* ContentSid:HX ContentVariables
    StatusCallback:url ApplicationSid:AP MaxPrice:number ProvideFeedback:boolean
    Attempt:integer ValidityPeriod:integer ForceDelivery:boolean
    ContentRetention=retain|discard AddressRetention=retain|obfuscate SmartEncoded:boolean
    PersistentAction* TrafficType=free ShortenUrls:boolean ScheduleType=fixed SendAt
    SendAsMms:boolean RiskCheck=enable|disable
    """
)
UPDATE_NUMBER: Final = _table(
    """
    AccountSid:AC ApiVersion FriendlyName SmsApplicationSid:AP SmsFallbackMethod:method
    SmsFallbackUrl:url SmsMethod:method SmsUrl:url StatusCallback:url
    StatusCallbackMethod:method VoiceApplicationSid:AP VoiceCallerIdLookup:boolean
    VoiceFallbackMethod:method VoiceFallbackUrl:url VoiceMethod:method VoiceUrl:url
    EmergencyStatus=Active|Inactive EmergencyAddressSid:AD TrunkSid:TK
    VoiceReceiveMode=voice|fax IdentitySid:RI AddressSid:AD BundleSid:BU
    """
)
LIST_CALLS: Final = _table(
    f"To From ParentCallSid:CA Status={'|'.join(STATUSES)} StartTime StartTime< StartTime>"
    " EndTime EndTime< EndTime>" + _PAGES
)
LIST_NUMBERS: Final = _table("Beta:boolean FriendlyName PhoneNumber Origin" + _PAGES)

LIMITS: Final = {
    "Timeout": (1, 600),
    "TimeLimit": (60, 86400),
    "MachineDetectionTimeout": (3, 59),
    "MachineDetectionSpeechThreshold": (1000, 6000),
    "MachineDetectionSpeechEndThreshold": (500, 5000),
    "MachineDetectionSilenceTimeout": (2000, 10000),
    "PageSize": (1, 1000),
}
"""Least and greatest value of each integer parameter (§5.3)."""


class RequestRefusedError(Exception):
    """Refusal of a request, with HTTP status and Twilio's code."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class Given:
    """Parameters of one request, unchanged."""

    def __init__(self, pairs: Sequence[tuple[str, str]], table: Table) -> None:
        """Check a request. Raises RequestRefusedError for what `table` does not allow."""
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            if name not in table:
                raise RequestRefusedError(
                    400, BAD_PARAMETER, f"{name} is no parameter of this operation"
                )
            self._values.setdefault(name, []).append(value)
        for name, values in self._values.items():
            parameter = table[name]
            if len(values) > 1 and not parameter.many:
                raise RequestRefusedError(
                    400, BAD_PARAMETER, f"{name} is given {len(values)} times"
                )
            for value in values:
                _check(name, value, parameter)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, default: str = "") -> str:
        """Return the first value of a parameter; `default` if it is empty or missing."""
        return self._values.get(name, [""])[0] or default

    def texts(self, name: str) -> list[str]:
        """Return all values of a parameter."""
        return self._values.get(name, [])

    def integer(self, name: str, default: int) -> int:
        """Return a parameter as a whole number; `default` if it is empty or missing."""
        return int(self.text(name, str(default)))

    def items(self) -> dict[str, str]:
        """Return the first value of each parameter."""
        return {name: values[0] for name, values in self._values.items()}


def _check(name: str, value: str, parameter: Parameter) -> None:
    if value == "":
        return
    kind = parameter.kind
    if kind == "url" and not _is_url(value):
        raise RequestRefusedError(400, BAD_URL, f"{name} is no URL")
    wrong = (
        (parameter.words and (value.upper() if kind == "method" else value) not in parameter.words)
        or (parameter.sid and not re.fullmatch(f"{parameter.sid}[0-9a-fA-F]{{32}}", value))
        or (kind == "integer" and not re.fullmatch(r"\d+", value))
        or (kind == "number" and not re.fullmatch(r"\d+(\.\d+)?", value))
        or (kind == "boolean" and value not in ("true", "false"))
    )
    if not wrong and name in LIMITS:
        least, most = LIMITS[name]
        wrong = not least <= int(value) <= most
    if wrong:
        raise RequestRefusedError(400, BAD_PARAMETER, f"{name} is not what it may be")


def _is_url(value: str) -> bool:
    try:
        url = urlsplit(value)
    except ValueError:  # an invalid IPv6 address
        return False
    return (
        url.scheme in ("http", "https") and bool(url.hostname) and "_" not in (url.hostname or "")
    )
