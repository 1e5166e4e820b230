"""/twilio/after as a table: what each request tells of the call, and which document answers it."""

import itertools

import pytest

from offhook.webhooks.after_request import (
    AfterAnswer,
    AfterRequest,
    KnownCall,
    News,
    answer_to,
    news_of,
)

LIVE, AWAY, ENDED = KnownCall(2), KnownCall(3, is_away=True), KnownCall(2, has_ended=True)
STREAM_2, BACK = AfterRequest(stream=2), AfterRequest(left=2, outcome="busy")
MET = AfterRequest(left=2, outcome="reached")


@pytest.mark.parametrize(
    ("form", "request_"),
    [
        ({}, AfterRequest()),
        ({"CallStatus": "in-progress", "stream": "4"}, AfterRequest(stream=4)),
        ({"CallStatus": "no-answer"}, AfterRequest(is_over=True)),
        ({"CallStatus": "a-new-word"}, AfterRequest()),
        ({"DialCallStatus": "answered", "left": "1"}, AfterRequest(outcome="reached", left=1)),
        ({"DialCallStatus": "a-new-word"}, AfterRequest(outcome="failed")),
        ({"last": "1"}, AfterRequest(is_last=True)),
        ({"RecordingSid": "RE"}, AfterRequest(is_last=True)),
        ({"RecordingUrl": "https://"}, AfterRequest(is_last=True)),
    ],
)
def test_a_form_is_read(form: dict[str, str], request_: AfterRequest) -> None:
    assert AfterRequest.of(form) == request_


@pytest.mark.parametrize(
    ("request_", "call", "news", "document"),
    [
        # The call has ended.
        (AfterRequest(is_over=True), None, [News.CALL_OVER], AfterAnswer.NOTHING),
        (AfterRequest(is_over=True), LIVE, [News.CALL_OVER], AfterAnswer.NOTHING),
        (
            AfterRequest(is_over=True, left=2, outcome="busy"),
            LIVE,
            [News.HANDOFF_DONE, News.CALL_OVER],
            AfterAnswer.NOTHING,
        ),
        (
            AfterRequest(is_over=True, left=1, outcome="busy"),
            LIVE,
            [News.CALL_OVER],
            AfterAnswer.NOTHING,
        ),
        # A farewell has been said, dialled or recorded.
        (AfterRequest(is_last=True), LIVE, [], AfterAnswer.HANG_UP),
        (AfterRequest(is_last=True), None, [], AfterAnswer.HANG_UP),
        (AfterRequest(is_last=True, outcome="reached"), ENDED, [], AfterAnswer.HANG_UP),
        (AfterRequest(is_last=True, outcome="no-answer"), ENDED, [], AfterAnswer.APOLOGY),
        # This server does not know the call.
        (AfterRequest(), None, [], AfterAnswer.FALLBACK),
        (MET, None, [], AfterAnswer.HANG_UP),
        (BACK, None, [], AfterAnswer.APOLOGY),
        # A dial is over.
        (BACK, LIVE, [News.HANDOFF_DONE], AfterAnswer.CONTINUE),
        (BACK, KnownCall(3), [], AfterAnswer.CONTINUE),
        (BACK, ENDED, [News.HANDOFF_DONE], AfterAnswer.FAREWELL),
        (MET, ENDED, [News.HANDOFF_DONE], AfterAnswer.HANG_UP),
        (MET, LIVE, [News.HANDOFF_DONE], AfterAnswer.CONTINUE),
        # A stream is over.
        (STREAM_2, LIVE, [News.STREAM_LOST], AfterAnswer.CONTINUE),
        (STREAM_2, AWAY, [News.STREAM_LEFT], AfterAnswer.CONTINUE),
        (AfterRequest(stream=1), LIVE, [], AfterAnswer.CONTINUE),
        (AfterRequest(stream=3), AWAY, [], AfterAnswer.CONTINUE),
        (STREAM_2, ENDED, [], AfterAnswer.FAREWELL),
    ],
)
def test_requests(
    request_: AfterRequest, call: KnownCall | None, news: list[News], document: AfterAnswer
) -> None:
    assert list(news_of(request_, call)) == news
    assert answer_to(request_, call) is document


def test_what_needs_a_known_call_is_said_of_none_other() -> None:
    known = {News.HANDOFF_DONE, News.STREAM_LEFT, News.STREAM_LOST}
    for over, last, outcome, left in itertools.product(
        (False, True), (False, True), (None, "reached", "failed"), (None, 0, 1)
    ):
        request = AfterRequest(over, last, outcome, left)  # type: ignore[arg-type]
        assert known.isdisjoint(news_of(request, None))
        assert answer_to(request, None) not in (AfterAnswer.FAREWELL, AfterAnswer.CONTINUE)
