"""Twilio's refusals of REST requests, and failures of what they started, in words.

Source: twilio.md §1.9 and §5.2. Twilio's own texts quote numbers and are never repeated.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from offhook.errors import UserError


@dataclass(frozen=True, slots=True)
class Explanation:
    """The meaning of a code, as the end of "Twilio refused: …", and what fixes it."""

    what: str
    fix: str


_CONSOLE: Final = "Look at the account in the Twilio Console."
_LATER: Final = "Try again later, or have Twilio raise the account's limit."
_CREDENTIALS: Final = "Compare TWILIO_ACCOUNT_SID, TWILIO_API_KEY and TWILIO_API_SECRET in .env."
_TO: Final = 'Correct the number that is called: + and digits alone, "+1…".'
_FROM: Final = "Name a number of this account, or one that it has verified, as the caller."
_GEO: Final = "Allow the country: Twilio Console, Voice, Settings, Geo permissions."
_REACH: Final = "Run: offhook check"
_OURS: Final = "This is a fault of Offhook: please report it with the code."

WORDS: Final = {
    10002: Explanation(
        "a trial account may not do or set this", "Upgrade the account in the Twilio Console."
    ),
    10004: Explanation("as many calls as the account may have at once are running", _LATER),
    11100: Explanation("a URL is not valid", _REACH),
    11200: Explanation("our server answered its request with an error, or not in time", _REACH),
    11205: Explanation("it could not connect to our server", _REACH),
    11206: Explanation("our server did not answer in HTTP", _REACH),
    11210: Explanation("it does not find the host of our server", _REACH),
    11215: Explanation("our server redirects it too often", _REACH),
    11220: Explanation("TLS with our server failed", _REACH),
    11235: Explanation("our server's certificate is not for its name", _REACH),
    11236: Explanation("our server's certificate has been revoked", _REACH),
    11237: Explanation("our server's certificate is not trusted", _REACH),
    11750: Explanation("the TwiML is longer than 64 kB", _OURS),
    11770: Explanation("the answer to its request was empty", _OURS),
    12100: Explanation("the TwiML is not XML", _OURS),
    12200: Explanation("the TwiML has an unknown element or attribute", _OURS),
    12300: Explanation("the TwiML came with a wrong content type", _OURS),
    12400: Explanation("Twilio had an internal error while it ran the TwiML", "Try again."),
    13201: Explanation("a leg that was dialled cannot dial itself", _OURS),
    13214: Explanation("the caller id of the dialled call is not usable", _FROM),
    13223: Explanation("the number that is dialled has no valid form", _TO),
    13224: Explanation("the number that is dialled does not exist", _TO),
    13225: Explanation("the number that is dialled is blocked", _CONSOLE),
    13227: Explanation("the account may not call that country", _GEO),
    15003: Explanation("our server refused a status callback", _REACH),
    20003: Explanation("the credentials are not accepted", _CREDENTIALS),
    20404: Explanation("there is nothing of that name in this account and region", _CONSOLE),
    20429: Explanation("too many requests at once", _LATER),
    21205: Explanation("a URL is not valid", _REACH),
    21210: Explanation(
        "the calling number does not belong to the account and is not verified", _FROM
    ),
    21211: Explanation("the number that is called is not valid", _TO),
    21212: Explanation("the calling number is not valid", _FROM),
    21213: Explanation("no calling number was given", _FROM),
    21214: Explanation("the number that is called cannot be reached", _TO),
    21215: Explanation("the account may not call that country", _GEO),
    21216: Explanation("the account may not call that number: it is blocked", _CONSOLE),
    21217: Explanation("the number that is called does not look like a phone number", _TO),
    21219: Explanation(
        "a trial account may only call numbers that it has verified",
        "Verify the number in the Twilio Console, or upgrade the account.",
    ),
    21220: Explanation("the call is over, or has not begun", "Nothing is left to be done."),
    21262: Explanation("answering-machine detection has nowhere to report to", _OURS),
    21263: Explanation("answering-machine detection is not possible here", _OURS),
    21610: Explanation(
        "the recipient has opted out of texts from this number", "Do not text them."
    ),
    21614: Explanation("the number that is texted cannot receive texts", "Text a mobile number."),
    21617: Explanation("the text is longer than 1600 characters", "Shorten it."),
    30003: Explanation(
        "the telephone that is texted is switched off or out of reach", "Text it later."
    ),
}

_BY_STATUS: Final = {
    400: Explanation("it does not understand the request", _OURS),
    401: WORDS[20003],
    403: Explanation("the credentials do not allow this", "Give the API key more permissions."),
    404: WORDS[20404],
    413: Explanation("what is to be said makes more than 4000 characters of TwiML", "Shorten it."),
    429: WORDS[20429],
}
_ITSELF: Final = Explanation("it has a fault of its own", "Try again; see status.twilio.com.")
_ELSE: Final = Explanation("it gives a reason that Offhook does not know", _CONSOLE)

REASONS: Final = {
    **{str(code): said.what for code, said in WORDS.items()},
    **{f"http_{status}": said.what for status, said in _BY_STATUS.items()},
    "http_5xx": _ITSELF.what,
    "other": _ELSE.what,
}
"""Words of every reason that TwilioRefusedError can have, by its `reason`."""

_MORE_INFO: Final = "https://www.twilio.com/docs/"


class TwilioRefusedError(Exception):
    """Error: Twilio refused a request.

    `status` is HTTP's, `code` Twilio's own, where there is one. `reason` is a key of REASONS,
    `words` are its words, `fix` is the remedy, `more_info` Twilio's page about the code.
    `retry_after_s` are the seconds that Twilio asks to wait, if it does.
    """

    def __init__(
        self,
        status: int,
        code: int | None,
        more_info: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        said, reason = _ELSE, "other"
        if code in WORDS:
            said, reason = WORDS[code], str(code)
        elif status >= 500:
            said, reason = _ITSELF, "http_5xx"
        elif status in _BY_STATUS:
            said, reason = _BY_STATUS[status], f"http_{status}"
        super().__init__(f"Twilio refused: {said.what} ({code or f'HTTP {status}'})")
        self.status = status
        self.code = code
        self.reason = reason
        self.words = said.what
        self.fix = said.fix
        self.more_info = more_info
        self.retry_after_s = retry_after_s

    def problem(self) -> UserError:
        """Return the error that a user sees."""
        what = f"Twilio refused: {self.words} ({self.code or f'HTTP {self.status}'})."
        return UserError("E-TW-03", what, self.fix)


class CallMovedError(TwilioRefusedError):
    """Error: Twilio was not asked, as another process has the call that the request is about."""

    def __init__(self) -> None:
        super().__init__(409, None)
        self.words = "another process has this call"
        self.args = (f"Twilio was not asked: {self.words}",)


class TwilioUnreachableError(Exception):
    """Error: Twilio gave no usable answer.

    `sent` is True if Twilio may have carried the request out all the same.
    """

    def __init__(self, why: str, *, sent: bool) -> None:
        super().__init__(f"Twilio gave no answer: {why}")
        self.why = why
        self.sent = sent

    def problem(self) -> UserError:
        """Return the error that a user sees."""
        done = "It may have been carried out." if self.sent else "Nothing was carried out."
        return UserError(
            "E-TW-04",
            f"Twilio gave no answer: {self.why}. {done}",
            "Look at the calls in the Twilio Console before you repeat it."
            if self.sent
            else "Check this machine's connection, and try again.",
        )


def read(status: int, body: bytes, retry_after: str | None) -> TwilioRefusedError:
    """Return a refusal from a body in either of Twilio's formats (§5.2), or any other.

    `retry_after` is the header, of which only seconds are understood.
    """
    told: dict[str, Any] = {}
    # Of a proxy's page only the status counts.
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        told = msgspec.json.decode(body, type=dict[str, Any])
    code = told.get("code")
    code = code if isinstance(code, int) and not isinstance(code, bool) else None
    page = told.get("more_info", told.get("type"))
    if not isinstance(page, str) or not page.startswith(_MORE_INFO):
        page = None if code is None else f"{_MORE_INFO}errors/{code}"
    seconds = retry_after if retry_after is not None and retry_after.isdecimal() else None
    return TwilioRefusedError(status, code, page, None if seconds is None else float(seconds))
