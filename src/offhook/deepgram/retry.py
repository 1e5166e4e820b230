"""Failures of an agent's leg after which another leg is worth a try.

Source: deepgram.md §3.4 for Error codes, §1.3 and §1.4 for HTTP statuses and close codes, whose
meaning is that of RFC 6455. The vendor documents no close codes and calls the list of Errors open,
so what neither table holds is tried once.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final


class Retry(Enum):
    """Whether another leg is dialled after a failure."""

    NEVER = "never"
    """The next leg would fail as this one did: our own mistake, or the account's."""
    ONCE = "once"
    """Perhaps our own mistake: it is tried again, but not a second time within a minute."""
    YES = "yes"
    """A failure of the network or of Deepgram's, which the next leg need not meet."""


AFTER_ERROR: Final[Mapping[str, Retry]] = {
    "INTERNAL_SERVER_ERROR": Retry.YES,
    "CLIENT_MESSAGE_TIMEOUT": Retry.YES,
    "ASR_CONNECTION_CLOSED": Retry.YES,
    "FAILED_TO_START_LISTENING": Retry.YES,
    "SERVER_GOING_AWAY": Retry.YES,
    "MAXIMUM_SESSION_LENGTH_REACHED": Retry.YES,
    "FAILED_TO_THINK": Retry.YES,
    # Settings can cause these two, such as a speed that the voice does not take (§2.6).
    "ASR_DRIVER_TIMEOUT": Retry.ONCE,
    "FAILED_TO_SPEAK": Retry.ONCE,
    "UNPARSABLE_CLIENT_MESSAGE": Retry.NEVER,
    "INVALID_SETTINGS": Retry.NEVER,
    "BINARY_MESSAGE_BEFORE_SETTINGS": Retry.NEVER,
    "NON_SETTINGS_MESSAGE_BEFORE_SETTINGS": Retry.NEVER,
    "SETTINGS_ALREADY_APPLIED": Retry.NEVER,
    "USER_AUDIO_FORMAT": Retry.NEVER,
    "NON_EXISTENT_FUNCTION_CALLED": Retry.NEVER,
    "AGENT_ID_NOT_SUPPORTED": Retry.NEVER,
    "INVALID_AGENT_ID": Retry.NEVER,
    "DATA-0002": Retry.NEVER,
}
"""Error codes of Deepgram's; one that is not here is tried once."""

AFTER_CLOSE: Final[Mapping[int | None, Retry]] = {
    None: Retry.YES,  # cut off, without a close frame
    1000: Retry.YES,
    1001: Retry.YES,
    1005: Retry.YES,
    1006: Retry.YES,
    1011: Retry.YES,
    1012: Retry.YES,
    1013: Retry.YES,
    1014: Retry.YES,
    1002: Retry.NEVER,
    1003: Retry.NEVER,
    1007: Retry.NEVER,
    1008: Retry.NEVER,
    1009: Retry.NEVER,
    1010: Retry.NEVER,
}
"""Close codes of a socket that ends without an Error; one that is not here is tried once."""


def after_error(code: str) -> Retry:
    """Return whether another leg is dialled after an Error of that code."""
    return AFTER_ERROR.get(code, Retry.ONCE)


def after_close(code: int | None) -> Retry:
    """Return whether another leg is dialled after a close code; None: the socket was cut off."""
    return AFTER_CLOSE.get(code, Retry.ONCE)


def after_status(status: int, *, may_be_ours: bool) -> Retry:
    """Return whether another leg is dialled after an HTTP answer to the upgrade.

    429 says that Deepgram has no room. `may_be_ours`: it may count a session of this call's that is
    over, whose place becomes free at any moment.
    """
    if status == 429:
        return Retry.YES if may_be_ours else Retry.NEVER
    return Retry.YES if status >= 500 else Retry.NEVER
