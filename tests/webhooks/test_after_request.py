"""/twilio/after as a table: what each request tells of the call, and which document answers it."""

import itertools

import pytest

from offhook.webhooks.after_request import (
    AfterRequest,
    CallState,
    Document,
    News,
    answer_to,
    news_of,
)

LIVE, AWAY, ENDED = CallState(2), CallState(3, is_away=True), CallState(2, has_ended=True)
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
        (AfterRequest(is_over=True), None, [News.CALL_OVER], Document.NOTHING),
        (AfterRequest(is_over=True), LIVE, [News.CALL_OVER], Document.NOTHING),
        (
            AfterRequest(is_over=True, left=2, outcome="busy"),
            LIVE,
            [News.HANDOFF_DONE, News.CALL_OVER],
            Document.NOTHING,
        ),
        (
            AfterRequest(is_over=True, left=1, outcome="busy"),
            LIVE,
            [News.CALL_OVER],
            Document.NOTHING,
        ),
        # A farewell has been said, dialled or recorded.
        (AfterRequest(is_last=True), LIVE, [], Document.HANG_UP),
        (AfterRequest(is_last=True), None, [], Document.HANG_UP),
        (AfterRequest(is_last=True, outcome="reached"), ENDED, [], Document.HANG_UP),
        (AfterRequest(is_last=True, outcome="no-answer"), ENDED, [], Document.APOLOGY),
        # This server does not know the call.
        (AfterRequest(), None, [], Document.FALLBACK),
        (MET, None, [], Document.HANG_UP),
        (BACK, None, [], Document.APOLOGY),
        # A dial is over.
        (BACK, LIVE, [News.HANDOFF_DONE], Document.CONTINUE),
        (BACK, CallState(3), [], Document.CONTINUE),
        (BACK, ENDED, [News.HANDOFF_DONE], Document.FAREWELL),
        (MET, ENDED, [News.HANDOFF_DONE], Document.HANG_UP),
        (MET, LIVE, [News.HANDOFF_DONE], Document.CONTINUE),
        # A stream is over.
        (STREAM_2, LIVE, [News.STREAM_LOST], Document.CONTINUE),
        (STREAM_2, AWAY, [News.STREAM_LEFT], Document.CONTINUE),
        (AfterRequest(stream=1), LIVE, [], Document.CONTINUE),
        (AfterRequest(stream=3), AWAY, [], Document.CONTINUE),
        (STREAM_2, ENDED, [], Document.FAREWELL),
    ],
)
def test_requests(
    request_: AfterRequest, call: CallState | None, news: list[News], document: Document
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
        assert answer_to(request, None) not in (Document.FAREWELL, Document.CONTINUE)
