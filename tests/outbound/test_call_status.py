"""Reports of a call in any order, repeated and late, end in one truth."""

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
    truth = CallStatus()
    news = [status for status in reports if truth.hear(status)]
    assert truth.status == final
    assert truth.final
    assert news.count(final) == 1
    assert news[-1] == final


def test_what_is_final_stays() -> None:
    truth = CallStatus()
    assert truth.hear("busy")
    assert not truth.hear("completed")
    assert not truth.hear("in-progress")
    assert truth.status == "busy"


def test_a_late_report_moves_nothing_back() -> None:
    truth = CallStatus()
    assert truth.hear("in-progress")
    assert not truth.hear("ringing")
    assert not truth.final


def test_words_that_twilio_may_invent_are_no_news() -> None:
    truth = CallStatus()
    assert not truth.hear("teleported")
    assert not truth.hear("")
    assert truth.status == "queued"


def test_the_first_verdict_stays() -> None:
    truth = CallStatus()
    assert not truth.hear_answered_by("")
    assert truth.hear_answered_by("human")
    assert not truth.hear_answered_by("machine_end_beep")
    assert truth.answered_by == "human"
