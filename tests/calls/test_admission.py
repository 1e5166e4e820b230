"""Admission rules, by table: which stream may be which call, and why another may not."""

import pytest

from offhook.calls.admission import ExpectedStream, StreamAdmission, StreamClaim
from offhook.calls.call_limits import CallLimit

OURS, FOREIGN = "AC" + "1" * 32, "AC" + "2" * 32
TOKEN, OTHER = "the-token-of-the-call", "a-token-of-another"

CALL = ExpectedStream(OURS, TOKEN)
OVER = ExpectedStream(OURS, TOKEN, is_over=True)
TAKEN = ExpectedStream(OURS, TOKEN, has_stream=True)
BIN = ExpectedStream(OURS, None)

UNKNOWN, WRONG = "an unknown token", "a token of another call"
ACCOUNT, SEEN = "a foreign account", "this CallSid was seen before, or owes a token"


@pytest.mark.parametrize(
    ("claim", "call", "pending", "refusal"),
    [
        (StreamClaim(OURS, TOKEN), CALL, None, None),
        (StreamClaim(OURS, TOKEN), None, None, UNKNOWN),
        (StreamClaim(OURS, TOKEN), BIN, None, UNKNOWN),
        (StreamClaim(OURS, OTHER), CALL, None, WRONG),
        (StreamClaim(OURS, ""), CALL, None, WRONG),
        (StreamClaim(OURS, "ü"), CALL, None, WRONG),
        (StreamClaim(OURS, TOKEN), OVER, None, "the call is over"),
        (StreamClaim(OURS, OTHER), OVER, None, WRONG),
        (StreamClaim(OURS, TOKEN), TAKEN, None, "a used token"),
        (StreamClaim(OURS, OTHER), TAKEN, None, WRONG),
        (StreamClaim(FOREIGN, TOKEN), CALL, None, ACCOUNT),
        # A call that we place, whose stream comes before Twilio's answer.
        (StreamClaim(OURS, TOKEN), None, CALL, None),
        (StreamClaim(FOREIGN, TOKEN), None, CALL, UNKNOWN),
        (StreamClaim(OURS, TOKEN), ExpectedStream(OURS, OTHER), CALL, WRONG),
        (StreamClaim(OURS, OTHER), CALL, ExpectedStream(OURS, OTHER), WRONG),
    ],
)
def test_a_stream_with_a_token(
    claim: StreamClaim,
    call: ExpectedStream | None,
    pending: ExpectedStream | None,
    refusal: str | None,
) -> None:
    for takes_bins in (False, True):
        admission = StreamAdmission(None, takes_bins)
        for limit in (None, *CallLimit):  # its place is taken since the call was announced
            told = admission.refusal(
                claim, call, pending, was_seen=True, limit=limit, has_default_agent=False
            )
            assert told == refusal


@pytest.mark.parametrize(
    ("takes_bins", "call", "was_seen", "limit", "has_default_agent", "refusal"),
    [
        (True, None, False, None, True, None),
        (False, None, False, None, True, "no token, and twilio.bin is off"),
        (True, BIN, False, None, True, SEEN),
        (True, CALL, False, None, True, SEEN),
        (True, OVER, False, None, True, SEEN),
        (True, None, True, None, True, SEEN),
        (True, None, False, CallLimit.CAPACITY, True, "at capacity"),
        (True, None, False, CallLimit.SESSIONS, True, "no agent session left"),
        (True, None, False, CallLimit.LAG, True, "the event loop is late"),
        (True, None, False, None, False, "no default line"),
    ],
)
def test_a_stream_without_a_token(
    takes_bins: bool,
    call: ExpectedStream | None,
    was_seen: bool,
    limit: CallLimit | None,
    has_default_agent: bool,
    refusal: str | None,
) -> None:
    told = StreamAdmission(OURS, takes_bins).refusal(
        StreamClaim(OURS),
        call,
        was_seen=was_seen,
        limit=limit,
        has_default_agent=has_default_agent,
    )
    assert told == refusal


@pytest.mark.parametrize("token", [None, TOKEN])
def test_a_foreign_account_is_refused_before_all_else(token: str | None) -> None:
    told = StreamAdmission(OURS, True).refusal(
        StreamClaim(FOREIGN, token),
        ExpectedStream(FOREIGN, TOKEN) if token else None,
        was_seen=False,
        limit=None,
        has_default_agent=True,
    )
    assert told == ACCOUNT


def test_no_token_is_shown() -> None:
    for one in (StreamClaim(OURS, TOKEN), CALL):
        assert TOKEN not in repr(one)
