"""Every parser of what somebody else wrote, as a target for fuzzers.

`bench/fuzz.py` searches with coverage as its guide; `tests/test_parsers.py` replays the seeds and
what crashed once. A target may answer or raise its own error, and nothing else.
"""

import json
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from urllib.parse import parse_qsl

from starlette.requests import Request
from tests import fuzzing_own
from tests.fuzzing_target import Target
from tests.wire import samples

from offhook import variables, yamlfile
from offhook.api import auth
from offhook.capture.masking import Masks
from offhook.capture.writer import VERSION
from offhook.config import AppConfigFile, read_agent
from offhook.config.parts import phone_number
from offhook.deepgram import messages as deepgram
from offhook.errors import UserError
from offhook.events.types import CallerSaid, CallEvent, CallStarted
from offhook.journal import entries
from offhook.net import addresses, handshakes, request_head
from offhook.outbound import contacts
from offhook.outbound.zones import NumberZones
from offhook.policy import dial_policy
from offhook.recordings import wav
from offhook.records import filters, pages
from offhook.testing.replay import captured
from offhook.testing.scenarios import scenario
from offhook.testing.simulator.deepgram import script
from offhook.testing.simulator.dialogue import file as dialogue
from offhook.testing.simulator.twilio import verbs
from offhook.text import urls
from offhook.twilio import errors as refusals
from offhook.twilio import fields, rest
from offhook.twilio import messages as media
from offhook.twilio.signature import sign
from offhook.webhooks import auth as webhooks_auth
from offhook.webhooks import routes

ROOT = Path(__file__).parents[1]
CRASHES = samples.CRASHES


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="offhook-fuzz-"))


def _from_file(read: Callable[[Path], object], name: str) -> Callable[[bytes], object]:
    """A parser of files as one of bytes."""

    def from_bytes(data: bytes) -> object:
        path = _folder() / name
        path.write_bytes(data)
        return read(path)

    return from_bytes


def _text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    """A parser of text, given whatever text those bytes can be."""
    return lambda data: read(data.decode("utf-8", "surrogateescape"))


def _examples(*patterns: str) -> list[bytes]:
    return [
        path.read_bytes()
        for pattern in patterns
        for path in sorted(ROOT.glob(pattern))
        if path.is_file()
    ]


def _form(data: bytes) -> None:
    """A webhook's body, as the webhooks read it."""
    fields = parse_qsl(
        data.decode(), keep_blank_values=True, strict_parsing=bool(data), errors="strict"
    )
    sign("token", "https://h/twilio/voice", fields)


def _fields(data: bytes) -> None:
    """A signed form, of which every field is wanted that a webhook reads."""
    form = parse_qsl(data.decode(), keep_blank_values=True, errors="strict")
    fields.read("/twilio/voice", form, ("From", "To", "CallStatus", "StreamError", "Digits"))


def _head(data: bytes) -> None:
    """A head; what passes is read once more alike, so nothing in it can be read in two ways."""
    head = request_head.read(data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    again = request_head.read(head.with_length(0) if head.chunked else head.raw)
    assert again.raw.count(b"\r\n\r\n") == 1
    assert (again.length, again.upgrade) == (head.length, head.upgrade)


def _chunks(data: bytes) -> None:
    """A body in chunks, which says the same whether it comes at once or byte by byte."""
    outcomes = []
    for pieces in ([data], [data[n : n + 1] for n in range(len(data))]):
        chunks, received, whole = request_head.ChunkedBody(), bytearray(), False
        try:
            for piece in pieces:
                received += piece
                whole = whole or chunks.take(received)
        except request_head.BadRequestError as error:
            outcomes.append((False, str(error.status).encode()))
        else:
            outcomes.append((whole, chunks.body))
    assert outcomes[0] == outcomes[1]


def _refusal(data: bytes) -> None:
    refused = refusals.read(400, data, data[:8].decode("latin-1"))
    assert str(refused)


def _capture(path: Path) -> None:
    read = captured.read(path)
    captured.caller_side(read)
    captured.told(read.lines)
    for _ in captured.to_caller(read):
        pass


def _destination(text: str) -> None:
    dial_policy.is_number(text)
    dial_policy.country_of(text)
    dial_policy.refusal(dial_policy.DialRules(sip_hosts=frozenset({"h"})), text)
    phone_number(text)


def _origin(text: str) -> None:
    """Headers that name a host: of a page, and of a request for this machine or its address."""
    auth._netloc(text)
    webhooks_auth._is_local({"host": text})
    for server in ("127.0.0.1", "::ffff:127.0.0.1", text):
        name = webhooks_auth.host_name({"host": text})
        scope = {"type": "http", "server": (server, 80)}
        routes._is_own_address(Request(scope), name)


def _address(text: str) -> None:
    """What a URL of the API's leads to, as far as it is written in it."""
    addresses.is_outside(text)
    addresses.is_this_machine(text)


def _moment(text: str) -> None:
    with suppress(UserError):
        filters.age_ms(text)
    filters.moment(text, datetime(2026, 3, 1, tzinfo=UTC))


def _masked(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    masks = Masks(("0123456789abcdef",))
    urls.masked_in(text)
    urls.secrets_in(text)
    masks.message({"url": text, "headers": {"x": text}})
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        return
    masks.message(message)
    if isinstance(message, dict):
        variables.taken(message)


def _wavs() -> list[bytes]:
    head = wav.stereo_header(4)
    clip = b"RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00@\x1f\x00\x00"
    clip += b"\x80>\x00\x00\x02\x00\x10\x00data\x04\x00\x00\x00\x00\x00\x01\x00"
    return [head + bytes(8), clip]


_CALL = "CA" + "0" * 32
_SIDS = f"CallSid={_CALL}&AccountSid=AC{'0' * 32}"
_LINES = [
    entries.encode(CallEvent(_CALL, 1, event), 1_700_000_000_000)
    for event in (CallStarted(), CallerSaid("Two, please."))
]
_CAPTURE = [
    {
        "offhook_capture": VERSION,
        "offhook": "1.0",
        "date": "2026-11-24T12:00:00.000+00:00",
        "call_sid": _CALL,
        "agent": "desk",
        "webhook": True,
        "from": "+1",
        "to": "+1",
    },
    {"at": 1000, "leg": "caller", "dir": "in", "message": {"event": "start"}},
    {"at": 1020, "leg": "caller", "dir": "in", "audio": "EBAQ" * 53 + "EA==", "ms": 20},
    {"at": 1030, "leg": "agent", "dir": "in", "message": {"type": "Welcome", "request_id": "1"}},
    {"at": 1040, "leg": "caller", "dir": "out", "audio": "EBAQ"},
    {"at": 9000, "leg": "caller", "dir": "in", "message": {"event": "stop"}},
]
_CURSOR = pages.cursor_of(pages.PagePosition(1_700_000_000_000, _CALL))
_YAML = (UserError,)

TARGETS: dict[str, Target] = {
    "twilio.media.read": Target(
        media.read, (media.MalformedTwilioMessageError,), samples.FROM_TWILIO
    ),
    "twilio.media.read_ours": Target(
        media.read_ours, (media.MalformedTwilioMessageError,), samples.TO_TWILIO
    ),
    "deepgram.messages.read": Target(
        deepgram.read, (deepgram.MalformedAgentMessageError,), samples.FROM_DEEPGRAM
    ),
    "deepgram.messages.read_ours": Target(
        deepgram.read_ours, (deepgram.MalformedAgentMessageError,), samples.TO_DEEPGRAM
    ),
    "form": Target(_form, (ValueError,), [b"CallSid=CA1&From=%2B12025550142&Digits="]),
    "fields": Target(
        _fields,
        (ValueError,),
        [
            f"{_SIDS}&From=%2B12025550142&CallStatus=ringing".encode(),
            f"{_SIDS}&StreamError=a&To=sip%3Aada%40h&Digits=".encode(),
        ],
    ),
    "hello": Target(
        handshakes.is_whole, (handshakes.SplitHelloError,), [b"\x16\x03\x01\0\x06\x01\0\0\x02hi"]
    ),
    "request.head": Target(
        _head,
        (request_head.BadRequestError,),
        [
            b"POST /twilio/voice HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n",
            b"POST /a?b=c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"GET /twilio HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n",
            b"GET / HTTP/1.0\r\n\r\n",
        ],
    ),
    "request.chunks": Target(
        _chunks, (), [b"5\r\nhello\r\n3\r\n  t\r\n0\r\n\r\n", b"0\r\n\r\n", b"1f\r\n" + bytes(31)]
    ),
    "twiml": Target(
        lambda data: verbs.read(data, "text/xml"),
        (verbs.MalformedTwimlError,),
        [b"<Response><Say>Hi</Say><Connect><Stream url='wss://h/t'/></Connect></Response>"],
    ),
    "rest.answer": Target(
        lambda data: rest._read(data, rest.RestCall),
        (refusals.TwilioUnreachableError,),
        [json.dumps({"sid": _CALL, "status": "queued", "to": "+1", "from": "+1"}).encode()],
    ),
    "rest.refusal": Target(_refusal, (), [b'{"code": 21211, "message": "no", "status": 400}']),
    "yaml": Target(
        lambda data: yamlfile.parse(data.decode(), Path("x.yaml")),
        (*_YAML, UnicodeDecodeError),
        _examples("examples/*.yaml", "examples/*/*.yaml"),
    ),
    "offhook.yaml": Target(
        _from_file(
            lambda path: yamlfile.validate(AppConfigFile, yamlfile.read(path)), "offhook.yaml"
        ),
        _YAML,
        _examples("examples/offhook.yaml", "examples/*/offhook.yaml"),
    ),
    "agent": Target(
        _from_file(read_agent, "agent.yaml"), _YAML, _examples("examples/agents/*.yaml")
    ),
    "dialogue": Target(
        _from_file(dialogue.read, "dialogue.yaml"), _YAML, _examples("examples/*/dialogue.yaml")
    ),
    "script": Target(
        _from_file(script.read, "script.yaml"),
        _YAML,
        _examples("src/offhook/testing/demo.yaml", "src/offhook/testing/front_desk.yaml"),
    ),
    "scenario": Target(
        _from_file(scenario.load, "scenario.yaml"),
        _YAML,
        _examples("examples/rehearse/*.yaml", "examples/acting/scenarios/*.yaml"),
    ),
    "wav.stereo": Target(_from_file(wav.read_stereo, "call.wav"), _YAML, _wavs()),
    "wav.clip": Target(_from_file(wav.read_clip, "clip.wav"), _YAML, _wavs()),
    "journal": Target(lambda data: entries.decode(1, data), (entries.MalformedEntryError,), _LINES),
    "capture": Target(
        _from_file(_capture, "call.jsonl"),
        _YAML,
        [b"".join(json.dumps(line).encode() + b"\n" for line in _CAPTURE)],
    ),
    "destination": Target(
        _text(_destination),
        (ValueError,),
        [b"+12025550142", b"sip:ada@h", b"+442079460000", b"911"],
    ),
    "cursor": Target(_text(pages.position_of), _YAML, [_CURSOR.encode()]),
    "moment": Target(
        _text(_moment), _YAML, [b"90m", b"2026-03-01", b"2026-03-01T12:00:00+01:00", b"30d"]
    ),
    "people": Target(
        _from_file(contacts.read, "people.csv"),
        _YAML,
        [
            b"number,consent,name\n+12025550142,yes,Ada\n",
            b"number;zone;consent\n+4930;Europe/Berlin;\n",
        ],
    ),
    "masking": Target(
        _masked, (), [b"https://u:p@h/a?b=c#d", b'{"api_key": "0123456789abcdef", "url": "ws://h"}']
    ),
    "origin": Target(
        _text(_origin),
        (),
        [b"https://console.example.com", b"[::1]:8080", b"127.0.0.1", b"https://[::1"],
    ),
    "address": Target(
        _text(_address),
        (),
        [
            b"https://[fe80::1%25eth0]/",
            b"http://127.1/",
            b"https://h.internal",
            b"//[::ffff:7f00:1]",
        ],
    ),
    "zones": Target(_text(NumberZones().of), (), [b"+12025550142", b"+44", b"+1900", b"12"]),
    **fuzzing_own.TARGETS,
}


def crashes() -> Iterable[Path]:
    """Every input that was ever found to break a target."""
    return sorted(path for path in CRASHES.iterdir() if path.is_file())
