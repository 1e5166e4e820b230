"""Admission rules: which stream may become the caller's leg of which call.

A stream is a caller's leg only if Twilio's signature was on its upgrade (webhooks/routes.py) *and*
it is admitted here. A signature alone is not enough: for a given stream URL it is a constant, so
anybody who once saw it can send it again (twilio.md §3.2). Hence the token, which our webhook makes
anew for each call; and for a TwiML Bin, which can hold none, a CallSid is admitted only once.
"""

import hmac
from dataclasses import dataclass, field

from offhook.calls.call_limits import CallLimit


@dataclass(frozen=True, slots=True)
class StreamClaim:
    """Data of a stream's `start` on which admission depends. `token` is None without one."""

    account_sid: str
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ExpectedStream:
    """A call that expects a stream or had one, as far as admission depends on it.

    Attributes:
        account_sid: Account of the call.
        token: Token that the stream must have; None for a TwiML Bin's call.
        is_over: True once the call is over.
        has_stream: True while an admitted stream is there.
    """

    account_sid: str
    token: str | None = field(default=None, repr=False)
    is_over: bool = False
    has_stream: bool = False


@dataclass(frozen=True, slots=True)
class StreamAdmission:
    """Admission of streams, decided without state, I/O or a clock.

    Attributes:
        account_sid: Our own account; None when none is configured.
        takes_bins: True if streams of a TwiML Bin are admitted (`twilio.bin`).
    """

    account_sid: str | None
    takes_bins: bool

    def refusal(
        self,
        claim: StreamClaim,
        call: ExpectedStream | None,
        pending: ExpectedStream | None = None,
        *,
        was_seen: bool,
        limit: CallLimit | None,
        has_default_agent: bool,
    ) -> str | None:
        """Return why a stream is refused; None when it is admitted.

        Args:
            claim: Data of the stream's `start`.
            call: The call with the stream's CallSid, if it is known.
            pending: The outbound call whose token the stream has, if there is one.
            was_seen: The CallSid was admitted before, or is being looked up.
            limit: Limit for which the server takes no further call.
            has_default_agent: An agent answers calls whose number is not known.
        """
        if self.account_sid is not None and claim.account_sid != self.account_sid:
            return "a foreign account"
        if claim.token is not None:
            if call is None and pending is not None and pending.account_sid == claim.account_sid:
                call = pending  # Twilio's answer to our request has not come yet (§5.1).
            return self._refusal_by_token(claim.account_sid, claim.token, call)
        if not self.takes_bins:
            return "no token, and twilio.bin is off"
        if call is not None or was_seen:
            return "this CallSid was seen before, or owes a token"
        if limit is not None:
            return limit
        if not has_default_agent:
            return "no default line"
        return None

    def _refusal_by_token(
        self, account_sid: str, token: str, call: ExpectedStream | None
    ) -> str | None:
        if call is None or call.token is None:
            return "an unknown token"
        if not hmac.compare_digest(call.token.encode(), token.encode()):
            return "a token of another call"
        if call.account_sid != account_sid:
            return "a foreign account"
        if call.is_over:
            return "the call is over"
        if call.has_stream:
            return "a used token"
        return None
