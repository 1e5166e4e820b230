"""The notation of faults: every kind can be written, nothing else, and the page has them all."""

from pathlib import Path

import pytest

from offhook.testing.faults import fault
from offhook.testing.faults.fault import KINDS, MOMENTS, FaultError, FaultyEnd, read

README = Path(fault.__file__).with_name("README.md")
VALUES = {"none": "", "code": "=1011", "name": "=SERVER_GOING_AWAY", "status": "=503"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read_as_it_is_written(kind: str) -> None:
    about = KINDS[kind]
    for end in about.ends:
        spec = f"{end.value}:{kind}{VALUES.get(about.value, '=5')}"
        assert str(read(spec)) == spec
        at_dial = end is FaultyEnd.AGENT and about.at_dial
        moment = "dial" if at_dial else list(MOMENTS[end])[-1]
        for more in (f"@{moment}*3", f"@{moment}+300"):
            assert str(read(spec + more)) == spec + more


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("agent", "is no fault"),
        ("caller:close", "is no end"),
        ("agent:doubled", "is no fault of the agent"),
        ("webhook:close", "is no fault of the webhook"),
        ("agent:close=1006", "No close frame can carry 1006"),
        ("agent:close=x", "No close frame can carry x"),
        ("agent:close=5000", "No close frame can carry 5000"),
        ("agent:error", "error needs a code"),
        ("agent:status=200@dial", "is no HTTP status of a refusal"),
        ("agent:latency", "latency needs a number"),
        ("agent:stall=0", "is no number above 0"),
        ("agent:drop=1", "drop has no value"),
        ("agent:close@dial", "close cannot happen at dial"),
        ("agent:status=503@audio", "status cannot happen at audio"),
        ("agent:close@lunch", "is no moment of the agent"),
        ("webhook:late=3@8", "when a connection is opened"),
        ("agent:close*0", "0 times"),
    ],
)
def test_what_is_no_fault_is_refused_with_words(spec: str, why: str) -> None:
    with pytest.raises(FaultError, match=why) as error:
        read(spec)
    assert error.value.fix


def test_every_kind_and_moment_is_on_the_page() -> None:
    page = README.read_text("utf-8")
    for kind, about in KINDS.items():
        assert f"| `{kind}" in page
        assert about.about in page
    for moments in MOMENTS.values():
        for moment, about_moment in moments.items():
            assert f"`{moment}` ({about_moment})" in page
