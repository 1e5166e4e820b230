"""What may be asked, and what is refused before any query."""

import base64
import dataclasses
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from offhook.errors import UserError
from offhook.records.filters import CallFilter, moment, when_ms
from offhook.records.pages import PagePosition, check_limit, cursor_of, position_of

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "asked",
    [
        {"number": "15550100100"},
        {"number": " 15550100100"},  # a plus sign in a URL
        {"number": "+1 555 0100100"},
        {"number": "+0155501001"},
        {"number": ""},
        {"direction": "in"},
        {"fault": "someone"},
        {"slug": "Caller hung up"},
        {"slug": "x" * 65},
        {"slug": "caller_hung_upp"},
        {"text": ""},
        {"text": "   "},
        {"text": "x" * 201},
        {"text": "a\0b"},
        {"agent": ""},
        {"agent": "a\0b"},
        {"min_ms": -1},
        {"figure": "barge_in"},
        {"since_ms": -1},
        {"until_ms": 2**63},
        {"since_ms": 2000, "until_ms": 2000},
    ],
)
def test_what_no_call_can_meet_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(UserError) as refused:
        CallFilter(**asked)
    assert refused.value.code == "E-ASK-01"
    if asked.get("slug") == "caller_hung_upp":
        assert refused.value.fix == 'Did you mean "caller_hung_up"?'
    for private in ("number", "text"):
        given = str(asked.get(private, "")).strip()
        assert not given or given not in refused.value.what


@pytest.mark.parametrize(
    "asked",
    [
        {"number": "+12025550142"},
        {"number": "sip:alice@example.com"},
        {"number": "client:alice"},
        {"number": "anonymous"},
        {"since_ms": 0, "until_ms": 1},
        {"min_ms": 0},
        {"figure": "barge_ins"},
        {"text": "%"},
    ],
)
def test_what_a_call_can_meet_is_not(asked: dict[str, Any]) -> None:
    meant = dataclasses.asdict(CallFilter(**asked))
    assert {name: value for name, value in meant.items() if value is not None} == asked


@pytest.mark.parametrize("limit", [0, -1, 501])
def test_a_page_has_its_size(limit: int) -> None:
    with pytest.raises(UserError, match="E-ASK-01"):
        check_limit(limit)


@given(
    st.integers(0, 253_402_300_799_000), st.text(max_size=64).filter(lambda sid: "\0" not in sid)
)
def test_a_cursor_stands_for_its_place(started_ms: int, sid: str) -> None:
    try:
        sid.encode()
    except UnicodeEncodeError:
        return
    assert position_of(cursor_of(PagePosition(started_ms, sid))) == (started_ms, sid)


@given(st.text(max_size=80))
def test_any_other_text_is_no_cursor(text: str) -> None:
    with pytest.raises(UserError, match="E-ASK-02"):
        position_of(text)


@given(st.binary(max_size=80))
@example(b'[1,"\xff"]')
def test_bytes_in_a_cursors_form_are_no_cursor(data: bytes) -> None:
    with pytest.raises(UserError, match="E-ASK-02"):
        position_of(base64.urlsafe_b64encode(data).decode().rstrip("="))


@pytest.mark.parametrize("place", [b'[-1,"CA1"]', b'[1e30,"CA1"]', b'[1,"a\\u0000"]', b"[1]"])
def test_a_place_that_cannot_be_is_no_cursor(place: bytes) -> None:
    with pytest.raises(UserError, match="E-ASK-02"):
        position_of(base64.urlsafe_b64encode(place).decode())


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-11-29", datetime(2026, 11, 29, tzinfo=UTC)),
        ("2026-11-29T14:00", datetime(2026, 11, 29, 14, tzinfo=UTC)),
        ("2026-11-29T14:00:01.250Z", datetime(2026, 11, 29, 14, 0, 1, 250_000, tzinfo=UTC)),
        ("2026-11-29T14:00+02:00", datetime(2026, 11, 29, 12, tzinfo=UTC)),
        ("90m", NOW - timedelta(minutes=90)),
        ("24h", NOW - timedelta(hours=24)),
        ("7d", NOW - timedelta(days=7)),
        ("2w", NOW - timedelta(weeks=2)),
    ],
)
def test_moments(text: str, meant: datetime) -> None:
    assert moment(text, NOW) == when_ms(meant) == round(meant.timestamp() * 1000)


def test_a_moment_without_a_zone_is_of_the_one_that_is_named() -> None:
    zone = timezone(timedelta(hours=5))
    assert moment("2026-11-29T14:00", NOW, zone) == moment("2026-11-29T09:00Z", NOW)
    here = datetime(2026, 11, 29, 14).astimezone()
    assert moment("2026-11-29T14:00", NOW, None) == when_ms(here)


@pytest.mark.parametrize("text", ["", "yesterday", "7", "7x", "-7d", "2026-13-01", "1e3h"])
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(UserError, match="E-ASK-03"):
        moment(text, NOW)
