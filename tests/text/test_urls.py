"""URLs as they are shown: never with what lets one in."""

import time

import pytest

from offhook.errors import UserError
from offhook.text import urls

CANARY = "canary-0123456789"


@pytest.mark.parametrize(
    ("url", "shown", "origin"),
    [
        ("https://h.example/a/b?k=CANARY#f", "https://h.example/a/b?…", "https://h.example/…"),
        ("https://u:CANARY@h.example:8443/", "https://h.example:8443/", "https://h.example:8443"),
        ("wss://CANARY@[::1]:5000/twilio", "wss://[::1]:5000/twilio", "wss://[::1]:5000/…"),
        ("https://h.example/a#CANARY", "https://h.example/a?…", "https://h.example/…"),
        ("https://h.example:CANARY/", "https://…", "https://…"),
        ("https://[CANARY/", "https://…", "https://…"),
        ("https://", "https://", "https://"),
        ("postgresql+psycopg://u:CANARY@db/x", "postgresql+psycopg://db/x", None),
    ],
)
def test_a_url_is_shown_without_user_and_query(url: str, shown: str, origin: str | None) -> None:
    assert urls.without_secrets(url) == shown
    if origin is not None:
        assert urls.origin(url) == origin


def test_urls_in_a_text_are_found_and_the_rest_stays() -> None:
    text = f"See (https://u:{CANARY}@a/b?c={CANARY}), or 'wss://d?e={CANARY}'. 12:30 a://."
    assert urls.masked_in(text) == "See (https://a/b?…), or 'wss://d?…'. 12:30 a://."
    assert urls.masked_in(text, with_path=False) == "See (https://a/…), or 'wss://d/…'. 12:30 a://."


def test_an_error_that_a_user_sees_shows_no_query() -> None:
    problem = UserError("E-X-01", f"No server answers at http://h/x?token={CANARY}: gone.", "Wait.")
    assert problem.what == "No server answers at http://h/x?…: gone."
    assert CANARY not in str(problem)


def test_what_a_url_may_let_one_in_with_is_known() -> None:
    assert urls.secrets_in("https://u:p%40w@h/x?a=1&b=two%20words") == [
        *("1", "two words"),
        *("p%40w", "p@w"),
    ]
    assert urls.secrets_in("https://[") == []


@pytest.mark.parametrize("piece", ["a.", "a://", "://", "https://u@", "a+", "https://h/?"])
def test_no_text_takes_long(piece: str) -> None:
    """Quadratic work on this text would take minutes; linear work takes milliseconds."""
    began = time.process_time()
    urls.masked_in(piece * 100_000 + "://")
    assert time.process_time() - began < 10
