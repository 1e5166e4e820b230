"""The fields of a webhook, read so that one signature stands for one meaning.

The text that Twilio signs is the URL, then each field's name and value, sorted by name, with
nothing between them (twilio.md §3.1). So it does not say where a field ends: `CallSid=CA1` and
`From=x` have the signature of `CallSid=CA1Fromx`. With one recorded request an attacker could
cut its text into other fields, which then have the same valid signature.

Hence a rule that looks at the signed text instead of the fields. For each field that is read here,
name and shape of its value have one place in the text: the first at which both are found. A request
is refused unless its fields are cut at exactly those places. What is read is so a function of the
signed text, and two requests with the same signature say the same. Twilio's longer names that end
like a field's, such as ForwardedFrom, are passed over. `docs/security.md` says for which values the
shape has no end of its own.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from offhook.twilio import sids
from offhook.twilio.signature import in_order


class MisreadFieldError(ValueError):
    """Error: a field is missing, has another shape, or is cut out of other fields.

    The message names the field, and never holds its value.
    """


class _Field(NamedTuple):
    """The form of a field: patterns for its place in the signed text and for its value."""

    found: re.Pattern[str]
    """Pattern of the name, and of the value as far as its shape tells where it ends."""

    value: re.Pattern[str]
    """Pattern of the whole value."""

    ends: bool
    """True if the shape of the value tells where it ends."""


def _exact(name: str, value: str) -> _Field:
    """Return a field whose value ends where its shape does: names begin with capitals.

    Twilio's do; names of one's own, of a Voice SDK's client, come after them by the sort.
    """
    return _Field(re.compile(f"{name}(?P<value>{value})"), re.compile(value), ends=True)


def _open(name: str, begin: str, value: str) -> _Field:
    """Return a field that is known by how its value begins."""
    return _Field(re.compile(f"{name}(?P<value>{begin})"), re.compile(value), ends=False)


_WORD: Final = "[a-z]+(?:[-_][a-z]+)*"
"""Pattern of a status. All the words that Twilio documents have this form."""

_NUMBER: Final = r"\+[0-9]{5,15}"
_ADDRESS: Final = "(?:sips?|client):"
_TEXT: Final = r"[^\x00-\x1f\x7f]{0,256}"

CALL_SID: Final = "CallSid"
ACCOUNT_SID: Final = "AccountSid"

_FIELDS: Final[Mapping[str, _Field]] = {
    CALL_SID: _exact("CallSid", sids.CALL.pattern),
    ACCOUNT_SID: _exact("AccountSid", sids.ACCOUNT.pattern),
    "AnsweredBy": _exact("AnsweredBy", _WORD),
    "CallDuration": _exact("CallDuration", "[0-9]{1,6}"),
    "CallStatus": _exact("CallStatus", _WORD),
    "DialCallStatus": _exact("DialCallStatus", _WORD),
    "Digits": _exact("Digits", "hangup|[0-9*#]*"),
    "Direction": _exact("Direction", _WORD),
    "From": _open("From", f"{_NUMBER}|{_ADDRESS}", _TEXT),
    "RecordingSid": _exact("RecordingSid", sids.RECORDING.pattern),
    "RecordingUrl": _open("RecordingUrl", "https?://", r"https?://[!-~]{1,512}"),
    "SipResponseCode": _exact("SipResponseCode", "[0-9]{3}"),
    "StirVerstat": _open("StirVerstat", "(?:No-)?TN-Validation", _TEXT),
    "StreamError": _open("StreamError", "", r"(?s).*"),
    "StreamEvent": _exact("StreamEvent", _WORD),
    "StreamSid": _exact("StreamSid", sids.STREAM.pattern),
    "To": _open("To", f"{_NUMBER}|{_ADDRESS}", _TEXT),
}
_IDENTITY: Final = (CALL_SID, ACCOUNT_SID)

_LONGER: Final = {
    "From": re.compile("(?:Forwarded|SipHeader_[A-Za-z0-9_-]*)From"),
    "To": re.compile("SipHeader_[A-Za-z0-9_-]*To"),
}
"""Twilio's longer names that come before these in the signed text (twilio.md §4.1)."""


def read(target: str, fields: Iterable[tuple[str, str]], names: Iterable[str]) -> dict[str, str]:
    """Return the fields of a signed form: of CallSid, AccountSid and `names` those that are there.

    `target` is the path and query that were signed with them. Raises MisreadFieldError.
    """
    wanted = (*_IDENTITY, *names)
    form = in_order(fields)
    if form and form[0][0].startswith("?"):
        raise MisreadFieldError("a part of the URL is a field")
    values: dict[str, str] = {}
    names_at: dict[int, str] = {}
    parts = [target]
    place = len(target)
    for name, value in form:
        if name in values:
            raise MisreadFieldError(f"{name} is there twice")
        if name in wanted:
            values[name] = value
        names_at[place + len(name)] = name
        parts += name, value
        place += len(name) + len(value)
    text = "".join(parts)
    for name in wanted:
        if name not in values:
            if name in _IDENTITY:
                raise MisreadFieldError(f"{name} is missing")
        elif _FIELDS[name].value.fullmatch(values[name]) is None:
            raise MisreadFieldError(f"{name} has another shape")
        if not _is_in_place(name, values.get(name), text, names_at):
            raise MisreadFieldError(f"{name} is cut out of another field, or into one")
    return values


def _is_in_place(name: str, value: str | None, text: str, names_at: Mapping[int, str]) -> bool:
    """Return whether a field, None if it is not there, is cut at its one place in the signed text.

    `names_at` are the names of all fields by where their values begin.
    """
    field, longer = _FIELDS[name], _LONGER.get(name)
    is_own = False
    for found in field.found.finditer(text):
        at = names_at.get(found.start("value"), "")
        if at == name:
            is_own = found["value"] == value or not (field.ends or found["value"].startswith("+"))
            if not is_own or longer is None:
                return is_own
        elif longer is None or not (at.endswith(name) if is_own else longer.fullmatch(at)):
            return False
    return True
