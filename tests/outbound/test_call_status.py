"""Reports of a call in any order, repeated and late, end in one status."""

from hypothesis import given
from hypothesis import strategies as st

from offhook.outbound.call_status import UNANSWERED, CallStatus

WAY = ["initiated", "ringing", "in-progress"]
FINALS = ["completed", *UNANSWERED]


@given(
    st.sampled_from(FINALS),
    st.integers(0, 3),
    st.lists(st.integers(0, 100), max_size=12),
    st.randoms(use_true_random=False),
)
def test_whatever_the_order_the_final_status_is_the_truth(
    final: str, told: int, repeats: list[int], random: object
) -> None:
    reports = [*WAY[:told], final]
    reports += [reports[n % len(reports)] for n in repeats]
    random.shuffle(reports)  # type: ignore[attr-defined]
    reported = CallStatus()
    news = [status for status in reports if reported.hear(status)]
    assert reported.status == final
    assert reported.final
    assert news.count(final) == 1
    assert news[-1] == final


def test_what_is_final_stays() -> None:
    reported = CallStatus()
    assert reported.hear("busy")
    assert not reported.hear("completed")
    assert not reported.hear("in-progress")
    assert reported.status == "busy"


def test_a_late_report_moves_nothing_back() -> None:
    reported = CallStatus()
    assert reported.hear("in-progress")
    assert not reported.hear("ringing")
    assert not reported.final


def test_words_that_twilio_may_invent_are_no_news() -> None:
    reported = CallStatus()
    assert not reported.hear("teleported")
    assert not reported.hear("")
    assert reported.status == "queued"


def test_the_first_verdict_stays() -> None:
    reported = CallStatus()
    assert not reported.hear_answered_by("")
    assert reported.hear_answered_by("human")
    assert not reported.hear_answered_by("machine_end_beep")
    assert reported.answered_by == "human"
