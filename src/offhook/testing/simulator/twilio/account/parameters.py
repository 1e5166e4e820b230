"""What Twilio's REST operations take, and requests that are checked against it.

The tables are those of Twilio's published OpenAPI description (`twilio_api_v2010.json`, twilio.md
§5), which a test compares them with. An unknown parameter, which Twilio ignores, is refused here:
nobody means one.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

from offhook.twilio import call_status

BAD_PARAMETER: Final = 20001
BAD_URL: Final = 21205

STATUSES: Final = tuple(status for status in call_status.STATUSES if status != "initiated")
"""Statuses of the Calls resource, which has `queued` for a call that was initiated."""

Kind: TypeAlias = Literal["text", "url", "method", "integer", "number", "boolean"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """What one parameter may be: of a kind, one of some words, or a SID that begins so."""

    kind: Kind = "text"
    required: bool = False
    many: bool = False
    words: tuple[str, ...] = ()
    sid: str = ""


Table: TypeAlias = Mapping[str, Parameter]

_TEXT: Final = Parameter()
_MANY: Final = Parameter(many=True)
_URL: Final = Parameter("url")
_METHOD: Final = Parameter("method", words=("GET", "POST"))
_INTEGER: Final = Parameter("integer")
_BOOLEAN: Final = Parameter("boolean")
_NEEDED: Final = Parameter(required=True)


def _sid(prefix: str) -> Parameter:
    return Parameter(sid=prefix)


_INSTRUCTIONS: Final = {
    "Url": _URL,
    "Method": _METHOD,
    "Twiml": _TEXT,
    "FallbackUrl": _URL,
    "FallbackMethod": _METHOD,
    "StatusCallback": _URL,
    "StatusCallbackMethod": _METHOD,
    "TimeLimit": _INTEGER,
}

CREATE_CALL: Final[Table] = _INSTRUCTIONS | {
    "To": _NEEDED,
    "From": _NEEDED,
    "ApplicationSid": _sid("AP"),
    "StatusCallbackEvent": _MANY,
    "SendDigits": _TEXT,
    "Timeout": _INTEGER,
    "Record": _BOOLEAN,
    "RecordingChannels": _TEXT,
    "RecordingStatusCallback": _TEXT,
    "RecordingStatusCallbackMethod": _METHOD,
    "RecordingStatusCallbackEvent": _MANY,
    "RecordingTrack": _TEXT,
    "Trim": _TEXT,
    "SipAuthUsername": _TEXT,
    "SipAuthPassword": _TEXT,
    "MachineDetection": _TEXT,
    "MachineDetectionTimeout": _INTEGER,
    "MachineDetectionSpeechThreshold": _INTEGER,
    "MachineDetectionSpeechEndThreshold": _INTEGER,
    "MachineDetectionSilenceTimeout": _INTEGER,
    "AsyncAmd": _TEXT,
    "AsyncAmdStatusCallback": _URL,
    "AsyncAmdStatusCallbackMethod": _METHOD,
    "CallerId": _TEXT,
    "CallReason": _TEXT,
    "CallToken": _TEXT,
    "Byoc": _sid("BY"),
    "ClientNotificationUrl": _URL,
}

UPDATE_CALL: Final[Table] = _INSTRUCTIONS | {"Status": Parameter(words=("canceled", "completed"))}

CREATE_MESSAGE: Final[Table] = {
    "To": _NEEDED,
    "From": _TEXT,
    "FallbackFrom": _TEXT,
    "MessagingServiceSid": _sid("MG"),
    "Body": _TEXT,
    "MediaUrl": _MANY,
    "ContentSid": _sid("HX"),
    "ContentVariables": _TEXT,
    "StatusCallback": _URL,
    "ApplicationSid": _sid("AP"),
    "MaxPrice": Parameter("number"),
    "ProvideFeedback": _BOOLEAN,
    "Attempt": _INTEGER,
    "ValidityPeriod": _INTEGER,
    "ForceDelivery": _BOOLEAN,
    "ContentRetention": Parameter(words=("retain", "discard")),
    "AddressRetention": Parameter(words=("retain", "obfuscate")),
    "SmartEncoded": _BOOLEAN,
    "PersistentAction": _MANY,
    "TrafficType": Parameter(words=("free",)),
    "ShortenUrls": _BOOLEAN,
    "ScheduleType": Parameter(words=("fixed",)),
    "SendAt": _TEXT,
    "SendAsMms": _BOOLEAN,
    "RiskCheck": Parameter(words=("enable", "disable")),
}

UPDATE_NUMBER: Final[Table] = {
    "AccountSid": _sid("AC"),
    "ApiVersion": _TEXT,
    "FriendlyName": _TEXT,
    "SmsApplicationSid": _sid("AP"),
    "SmsFallbackMethod": _METHOD,
    "SmsFallbackUrl": _URL,
    "SmsMethod": _METHOD,
    "SmsUrl": _URL,
    "StatusCallback": _URL,
    "StatusCallbackMethod": _METHOD,
    "VoiceApplicationSid": _sid("AP"),
    "VoiceCallerIdLookup": _BOOLEAN,
    "VoiceFallbackMethod": _METHOD,
    "VoiceFallbackUrl": _URL,
    "VoiceMethod": _METHOD,
    "VoiceUrl": _URL,
    "EmergencyStatus": Parameter(words=("Active", "Inactive")),
    "EmergencyAddressSid": _sid("AD"),
    "TrunkSid": _sid("TK"),
    "VoiceReceiveMode": Parameter(words=("voice", "fax")),
    "IdentitySid": _sid("RI"),
    "AddressSid": _sid("AD"),
    "BundleSid": _sid("BU"),
}

LIST_CALLS: Final[Table] = {
    "To": _TEXT,
    "From": _TEXT,
    "ParentCallSid": _sid("CA"),
    "Status": Parameter(words=STATUSES),
    "StartTime": _TEXT,
    "StartTime<": _TEXT,
    "StartTime>": _TEXT,
    "EndTime": _TEXT,
    "EndTime<": _TEXT,
    "EndTime>": _TEXT,
    "PageSize": _INTEGER,
    "Page": _INTEGER,
    "PageToken": _TEXT,
}

LIST_NUMBERS: Final[Table] = {
    "Beta": _BOOLEAN,
    "FriendlyName": _TEXT,
    "PhoneNumber": _TEXT,
    "Origin": _TEXT,
    "PageSize": _INTEGER,
    "Page": _INTEGER,
    "PageToken": _TEXT,
}

LIMITS: Final = {
    "Timeout": (1, 600),
    "TimeLimit": (60, 86400),
    "MachineDetectionTimeout": (3, 59),
    "MachineDetectionSpeechThreshold": (1000, 6000),
    "MachineDetectionSpeechEndThreshold": (500, 5000),
    "MachineDetectionSilenceTimeout": (2000, 10000),
    "PageSize": (1, 1000),
}
"""From and to (§5.3)."""


class RequestRefusedError(Exception):
    """A request is refused, with HTTP's status and Twilio's code."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class Given:
    """The parameters of one request, as they were sent."""

    def __init__(self, pairs: Sequence[tuple[str, str]], table: Table) -> None:
        """Raises Refuse for what is not in the table, or not as it says."""
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
        """One value; an empty one is as good as none."""
        return self._values.get(name, [""])[0] or default

    def texts(self, name: str) -> list[str]:
        """All values."""
        return self._values.get(name, [])

    def integer(self, name: str, default: int) -> int:
        """One whole number."""
        return int(self.text(name, str(default)))

    def items(self) -> dict[str, str]:
        """The first value of each."""
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
    url = urlsplit(value)
    return (
        url.scheme in ("http", "https") and bool(url.hostname) and "_" not in (url.hostname or "")
    )
