"""Where Twilio's requests go, and what is signed (vectors: twilio.md §3.1)."""

import gzip
from collections.abc import AsyncIterator

import httpx2
import pytest

from offhook.errors import UserError
from offhook.testing.simulator.twilio.verbs import MAX_BYTES, MalformedTwimlError, read
from offhook.testing.simulator.twilio.webhooks import RehearsedHost, Request, WebhookError
from offhook.twilio.signature import HEADER, sign

KEY = "12345"


@pytest.mark.parametrize(
    ("url", "form", "signature"),
    [
        (
            "https://example.com/myapp.php?foo=1&bar=2",
            {
                "CallSid": "CA1234567890ABCDE",
                "Caller": "+14158675310",
                "Digits": "1234",
                "From": "+14158675310",
                "To": "+18005551212",
            },
            "L/OH5YylLD5NRKLltdqwSvS0BnU=",
        ),
        ("wss://voice.example.com/twilio/media", None, "PGLrn08/Ba1sEIuSwPQRBPD54PA="),
        ("wss://voice.example.com/twilio/media/", None, "/l2QA+p8VR0Ejy/AIlzbV7YZXIA="),
        # Neither the port nor the user nor the fragment is signed.
        ("wss://voice.example.com:443/twilio/media", None, "PGLrn08/Ba1sEIuSwPQRBPD54PA="),
        (
            "wss://u:p@voice.example.com:5000/twilio/media#rc=2",
            None,
            "PGLrn08/Ba1sEIuSwPQRBPD54PA=",
        ),
    ],
)
def test_signatures(url: str, form: dict[str, str] | None, signature: str) -> None:
    assert RehearsedHost("https://voice.example.com/", KEY).signature(url, form) == {
        HEADER: signature
    }


def test_plain_http_keeps_its_port_in_the_signature() -> None:
    front = RehearsedHost("http://h:5000/", KEY)
    assert front.signature("http://h:5000/a") != front.signature("http://h/a")
    assert front.signature("https://h:5000/a") == front.signature("https://h/a")


def test_without_a_token_there_is_no_signature() -> None:
    assert RehearsedHost("http://h/", None).signature("https://h/") == {}


@pytest.mark.parametrize(
    ("url", "dialled"),
    [
        (
            "https://127.0.0.1:5000/twilio/after?a=%20b&c=",
            "http://127.0.0.1:5000/twilio/after?a=%20b&c=",
        ),
        ("https://127.0.0.1/x#ct=2000", "http://127.0.0.1:5000/x"),
        ("wss://127.0.0.1/twilio", "ws://127.0.0.1:5000/twilio"),
        ("http://127.0.0.1:5000/x", "http://127.0.0.1:5000/x"),
        ("https://127.0.0.1:5001/x", None),
        ("https://127.0.0.1.example/x", None),
        ("https://127.0.0.1:5000@elsewhere.example/x", None),
        ("https://localhost:5000/x", None),
        ("https://[::1/x", None),
        ("https://127.0.0.1:99999/x", None),
        ("/x", None),
        ("", None),
    ],
)
def test_a_plain_server_is_reached_behind_a_proxy_that_is_not_there(
    url: str, dialled: str | None
) -> None:
    assert RehearsedHost("http://127.0.0.1:5000/twilio/voice", KEY).dialled(url) == dialled


def test_a_server_with_tls_is_reached_as_it_is() -> None:
    front = RehearsedHost("https://voice.example.com/twilio/voice", KEY, "https://ignored.example")
    assert front.url == "https://voice.example.com/twilio/voice"
    assert front.dialled("wss://voice.example.com/twilio") == "wss://voice.example.com/twilio"
    assert front.dialled("wss://ignored.example/twilio") is None


def test_a_public_origin_stands_for_the_plain_one() -> None:
    front = RehearsedHost(
        "http://127.0.0.1:5000/twilio/voice?a=1", KEY, "https://voice.example.com"
    )
    assert front.url == "https://voice.example.com/twilio/voice?a=1"
    assert front.dialled(front.url) == "http://127.0.0.1:5000/twilio/voice?a=1"
    assert front.dialled("wss://voice.example.com/twilio") == "ws://127.0.0.1:5000/twilio"
    assert front.dialled("wss://127.0.0.1:5000/twilio") == "ws://127.0.0.1:5000/twilio"


@pytest.mark.parametrize("public", [None, "https://voice.example.com"])
@pytest.mark.parametrize("path", ["/twilio/voice?a=1", "/twilio/after"])
def test_a_server_finds_the_signed_url_in_the_request(public: str | None, path: str) -> None:
    """As Twilio's validators do behind a proxy: scheme, host, path; with and without the port."""
    front = RehearsedHost(f"http://127.0.0.1:5000{path}", KEY, public)
    headers = front.proxied(front.url)
    seen = f"{headers['X-Forwarded-Proto']}://{headers['Host']}{path}"
    assert seen.startswith(public or "https://127.0.0.1:5000")
    assert front.signature(front.url) == {HEADER: sign(KEY, seen.replace(":5000", ""))}


def test_a_plain_callback_is_told_as_such_and_tls_needs_no_proxy() -> None:
    front = RehearsedHost("http://127.0.0.1:5000/voice", KEY, "https://voice.example.com")
    assert front.proxied("http://127.0.0.1:5000/status")["X-Forwarded-Proto"] == "http"
    assert front.proxied("wss://u:p@voice.example.com/media") == {
        "Host": "voice.example.com",
        "X-Forwarded-Proto": "https",
    }
    assert (
        RehearsedHost("https://voice.example.com/", KEY).proxied("https://voice.example.com/") == {}
    )


@pytest.mark.parametrize("packed", [False, True], ids=["as it is", "gzip"])
async def test_of_an_answer_without_an_end_no_more_is_read_than_twiml_may_have(
    packed: bool,
) -> None:
    taken = 0
    piece = gzip.compress(b"x" * 50_000_000) if packed else b"x" * 1024

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += len(piece)
            yield piece

    def answer(request: httpx2.Request) -> httpx2.Response:
        headers = {"Content-Type": "text/xml"} | ({"Content-Encoding": "gzip"} if packed else {})
        return httpx2.Response(200, headers=headers, content=endless())

    url = "https://voice.example.com/"
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as http:
        got = await RehearsedHost(url, KEY).send(http, Request(url))
    assert taken <= MAX_BYTES + len(piece)
    assert got.content == b"x" * (MAX_BYTES + 1)
    with pytest.raises(MalformedTwimlError, match="64 kB at most"):
        read(got.content, got.headers["content-type"])


async def test_a_packed_answer_is_read_and_one_that_only_says_so_is_refused() -> None:
    bodies = iter([gzip.compress(b"<Response/>"), b"<Response/>"])

    def answer(request: httpx2.Request) -> httpx2.Response:
        async def body() -> AsyncIterator[bytes]:
            yield next(bodies)

        return httpx2.Response(200, headers={"Content-Encoding": "gzip"}, content=body())

    url = "https://voice.example.com/"
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as http:
        assert (await RehearsedHost(url, KEY).send(http, Request(url))).content == b"<Response/>"
        with pytest.raises(WebhookError, match="gzip"):
            await RehearsedHost(url, KEY).send(http, Request(url))


def test_what_is_no_url_is_refused() -> None:
    for url in ("127.0.0.1:5000", "ftp://h/x", "http:///x", ""):
        with pytest.raises(UserError, match="E-REH-02"):
            RehearsedHost(url, KEY)
