"""Tokens of streams: forged, changed, expired, foreign and malformed ones are refused."""

import pytest

from offhook.fleet.tokens import StreamToken, StreamTokens, TokenRefusedError

KEY, OLD, OTHER = "k" * 32, "o" * 32, "x" * 32


class Clock:
    now: int | None = 1_000_000

    def read(self) -> int | None:
        return self.now


def tokens(
    *keys: str, process: str = "p", node: str = "a", clock: Clock | None = None
) -> StreamTokens:
    return StreamTokens(keys or (KEY,), process, node, (clock or Clock()).read)


def test_a_token_says_at_every_node_what_it_said() -> None:
    text, nonce = tokens().issue("CA1", 3, valid_s=300)
    read = tokens(process="q").read(text)
    assert read == StreamToken("CA1", "p", "a", 3, 1_300_000, nonce)
    assert nonce not in repr(read)
    assert tokens().issue("CA1", 3, valid_s=300)[1] != nonce
    assert len(text) < 300, "it stands in a URL"


def test_while_a_key_is_rotated_both_are_good() -> None:
    text, _ = tokens(OLD).issue("CA1", 1, valid_s=300)
    assert tokens(KEY, OLD).read(text).call_sid == "CA1"
    with pytest.raises(TokenRefusedError, match="forged"):
        tokens(KEY).read(text)


def test_what_is_not_ours_is_refused() -> None:
    text, _ = tokens().issue("CA1", 1, valid_s=300)
    body, _, signature = text.partition(".")
    other, _ = tokens(OTHER).issue("CA1", 1, valid_s=300)
    for wrong in (
        "",
        ".",
        body,
        f"{body}.",
        f"{body}.{signature[:-1]}",
        f"{body}.{signature.upper()}",
        f"{body[:-1]}.{signature}",
        f"{body}.{signature}.",
        other,
        f"{other.partition('.')[0]}.{signature}",
        f"{body}.\N{SNOWMAN}",
        f"\udcff.{signature}",
        "a" * 1_000_000,
    ):
        with pytest.raises(TokenRefusedError):
            tokens().read(wrong)


def test_an_expired_token_is_refused_by_the_databases_clock() -> None:
    clock = Clock()
    text, _ = tokens().issue("CA1", 1, valid_s=300)
    clock.now = 1_299_999
    tokens(clock=clock).read(text)
    clock.now = 1_300_000
    with pytest.raises(TokenRefusedError, match="expired"):
        tokens(clock=clock).read(text)


def test_without_the_databases_clock_only_its_node_takes_a_token() -> None:
    clock = Clock()
    clock.now = None
    text, _ = tokens(clock=clock).issue("CA1", 1, valid_s=300)
    assert tokens().read(text).expires_ms == 0
    assert tokens(process="q").read(text).expires_ms == 0, "a process beside it"
    with pytest.raises(TokenRefusedError, match="another node"):
        tokens(process="q", node="b").read(text)
