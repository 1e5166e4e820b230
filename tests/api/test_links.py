"""Signed links: what they open, for how long, and what forgeries do."""

import pytest
from pydantic import SecretStr

from offhook.api.links import Links

SID = "CA" + "1" * 32
PATH = f"/api/v1/calls/{SID}/audio"


class Wall:
    now = 1_800_000_000.5

    def __call__(self) -> float:
        return self.now


def opens(links: Links, url: str, method: str = "GET", path: str | None = None) -> bool:
    at, _, query = url.partition("?")
    return links.opens(method, path or at, query.encode("latin-1"))


def test_a_link_opens_its_file_until_it_expires() -> None:
    wall = Wall()
    links = Links(SecretStr("a token"), wall)
    url, expires = links.make(SID, 60)
    assert url.startswith(PATH + "?")
    assert expires == 1_800_000_060
    for method in ("GET", "HEAD"):
        assert opens(links, url, method)
        assert opens(links, url + "&format=pcm16", method)
    wall.now += 59.4
    assert opens(links, url)
    wall.now += 0.1
    assert not opens(links, url)


def test_forgeries_open_nothing() -> None:
    links = Links(SecretStr("a token"), Wall())
    url, expires = links.make(SID, 60)
    _, _, signature = url.partition("signature=")
    for forged in (
        PATH,
        f"{PATH}?expires={expires}",
        f"{PATH}?signature={signature}",
        f"{PATH}?expires={expires + 1}&signature={signature}",
        f"{PATH}?expires=0{expires}&signature={signature[:-1]}",
        f"{PATH}?expires={expires}&signature={signature[:-1]}",
        f"{PATH}?expires={expires}&signature={signature}x",
        f"{PATH}?expires={expires}&signature=",
        f"{PATH}?expires={expires}&signature={signature}&signature={signature}",
        f"{PATH}?expires={expires}&expires={expires + 9}&signature={signature}",
        f"{PATH}?expires=-1&signature={signature}",
        f"{PATH}?expires=1e12&signature={signature}",
        f"{PATH}?expires={'9' * 500}&signature={signature}",
        f"{PATH}?expires={expires}&signature=\xff%00",
        f"{PATH}?" + "&".join(f"a{n}=1" for n in range(50)),
    ):
        assert not opens(links, forged), forged


@pytest.mark.parametrize(
    "path",
    [
        f"/api/v1/calls/{SID[:-1]}2/audio",
        f"/api/v1/calls/{SID}/peaks",
        f"/api/v1/calls/{SID}",
        f"/api/v1/calls/{SID}/audio/",
        f"/api/v1/calls/x/../{SID}/audio",
        "/api/v1/calls",
        "/api/v1/live",
        "/metrics",
    ],
)
def test_it_opens_nothing_else(path: str) -> None:
    links = Links(SecretStr("a token"), Wall())
    url, _ = links.make(SID, 60)
    assert not opens(links, url, path=path)


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "OPTIONS"])
def test_it_changes_nothing(method: str) -> None:
    links = Links(SecretStr("a token"), Wall())
    url, _ = links.make(SID, 60)
    assert not opens(links, url, method)


def test_another_token_makes_other_links() -> None:
    url, _ = Links(SecretStr("a token"), Wall()).make(SID, 60)
    assert not opens(Links(SecretStr("another token"), Wall()), url)


def test_a_strange_call_sid_stays_in_its_place() -> None:
    links = Links(SecretStr("a token"), Wall())
    url, _ = links.make("a?b#c d%", 60)
    assert url.startswith("/api/v1/calls/a%3Fb%23c%20d%25/audio?")
    assert opens(links, url, path="/api/v1/calls/a?b#c d%/audio")
