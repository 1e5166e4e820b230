"""Targets for fuzzers: what browsers, other processes, other nodes and files of ours may say.

`tests/fuzzing.py` has the others, and says what a target is.
"""

import io
import json
import tempfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import msgspec
from picows import WSCloseCode, WSMsgType
from pydantic import SecretStr
from tests.fuzzing_target import Target

from offhook import variables
from offhook.api.auth import _credentials
from offhook.api.client_address import ClientAddresses
from offhook.api.links import Links
from offhook.calls import interrupted, live_facts, lookup
from offhook.calls.live_facts import LiveFacts
from offhook.calls.operations import OPERATIONS
from offhook.calls.operators import OperatorStream
from offhook.calls.places import TakenCall
from offhook.clock import MachineClocks
from offhook.config import RedactionSettings
from offhook.config.environment import read_environment
from offhook.errors import UserError
from offhook.events.types import CallerSaid, CallEvent, CallStarted
from offhook.fleet.tokens import StreamToken, StreamTokens, TokenRefusedError
from offhook.journal import entries, legacy, segments
from offhook.journal.folders import PROCESS, read_process_info
from offhook.link import client, messages, node_credential
from offhook.link.channel import JoinStream, LinkChannel
from offhook.link.node_credential import NodeCredentials, NodeRefusedError
from offhook.link.orders import arguments_of
from offhook.link.server import _ServedConnection
from offhook.net.websocket import Socket
from offhook.policy.dial_count import DialCount, Spent
from offhook.redaction.redactor import Redactor
from offhook.tools import process_messages
from offhook.tools.declare import Call, ToolArgumentsError, tool
from offhook.tools.process_messages import FunctionReply, receive
from offhook.twilio.signature import Signatures, UnknownKeyError

CALL: Final = "CA" + "0" * 32
PROCESS_ID: Final = "0123456789abcdef" * 2


def ignore(*_: Any, **__: Any) -> Any:
    return None


class _Lines:
    """An end of a link in a test's hands: a Lines that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.is_open = True
        self.abort = self.end = self.limit_writing = ignore

    def send(self, line: bytes) -> None:
        assert b"\n" not in line
        self.sent.append(line)


# --- links between processes and nodes -----------------------------------------------------------


def _request(data: bytes) -> None:
    """The first line of a connection, and the same as a later one."""
    lines: Any = _Lines()
    tasks: Any = SimpleNamespace(start=_begin)
    streams: Any = SimpleNamespace(take=ignore)
    nothing: Any = None
    connection = _ServedConnection(nothing, tasks, streams, ignore, lambda: 0)
    connection.lines = lines
    connection.on_first_line(data)
    connection._on_line(data)
    for line in lines.sent:
        if not line.startswith(b"\x00"):
            msgspec.json.decode(line.removeprefix(b"!"), type=Any)


def _begin(name: str, work: Any) -> Any:
    work.close()
    return SimpleNamespace(add_done_callback=ignore, cancel=ignore)


RESULTS: Final = (
    *(messages.CallProcessState, messages.PerformedOperation, messages.OpenedStream, type(None)),
    *(str, bool, dict[str, str]),
)
"""Kinds of results, of which each may come in the place of another."""


class _Waiting:
    """A future of a request, without a loop."""

    def __init__(self) -> None:
        self.is_done = False

    def done(self) -> bool:
        return self.is_done

    def set_exception(self, error: Exception) -> None:
        self.is_done = True
        str(error)

    def set_result(self, raw: bytes) -> None:
        self.is_done = True
        for kind in RESULTS:
            with suppress(UserError):
                client.result_of(raw, kind)


def _reply(data: bytes) -> None:
    connection = client._OpenConnection(None)
    lines: Any = _Lines()
    waiting: Any = _Waiting()
    connection.lines = lines
    connection._open[1] = waiting
    connection.on_line(data)
    connection.on_line(data)


def _stream(data: bytes) -> None:
    """A line of a stream, and its end, of which a page is told."""
    ended: list[Any] = []
    lines: Any = _Lines()
    receiver: Any = SimpleNamespace(on_open=ignore, on_text=ignore, on_close=ended.append)
    channel = LinkChannel(lines, receiver)
    channel._on_line(data)
    channel._on_lost()
    [closed] = ended
    assert closed.received is None or 1000 <= closed.received < 5000
    closed.reason.encode()


def _arguments(text: str) -> None:
    for operation in OPERATIONS:
        with suppress(UserError):
            operation.request(arguments_of(operation, text))


def _credential(text: str) -> None:
    checks = NodeCredentials([b"k" * 32], PROCESS_ID, lambda: ["a"], lambda: _NOW_MS)
    checks.check(text)


def _token(text: str) -> None:
    StreamTokens(["k" * 32], PROCESS_ID, "a", lambda: _NOW_MS).read(text)


_NOW_MS: Final = 1_700_000_000_000


# --- what a browser, Twilio and a user's own server send ----------------------------------------


def _operator(data: bytes) -> None:
    owner: Any = SimpleNamespace(speak=ignore)
    stream = OperatorStream(owner, "ada", speaks=True)
    channel: Any = SimpleNamespace(close=ignore)
    stream._channel = channel
    stream.on_text(data)


def _lookup(data: bytes) -> None:
    answer = lookup.read_answer(data)
    if isinstance(answer, dict):
        taken, left_out = variables.taken(answer)
        assert left_out >= 0
        json.dumps(taken)


def _settings(text: str) -> None:
    signatures = Signatures(["token"], {"k1": "secret"})
    assert not signatures.webhook("https://h", "/twilio/voice", [("a", "b")], text, text)
    signatures.upgrade("wss://h", "/twilio", text, text)


KINDS: Final = (
    *(WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION, WSMsgType.PING, WSMsgType.PONG),
    WSMsgType.CLOSE,
)
MESSAGE_MAX: Final = 1024


class _FuzzedSocket(Socket):
    """A Socket without a loop."""

    def close(self, code: int = 1000, reason: str = "", *, hears_out: bool = False) -> None:
        self._sent_code = code


def _frames(data: bytes) -> None:
    """Frames in any order: one byte of kind and end, one of length, and its content."""
    got: list[bytes] = []
    receiver: Any = SimpleNamespace(on_text=got.append, on_binary=got.append)
    transport: Any = SimpleNamespace(send_close=ignore, disconnect=ignore)
    socket = _FuzzedSocket(receiver, MESSAGE_MAX)
    sizes = 0
    at = 0
    while at + 2 <= len(data) and socket._sent_code is None:
        content = data[at + 2 : at + 2 + data[at + 1]]
        frame: Any = SimpleNamespace(
            msg_type=KINDS[(data[at] & 127) % len(KINDS)],
            fin=data[at] > 127,
            payload_size=len(content),
            get_payload_as_bytes=lambda content=content: content,
            get_close_code=lambda: WSCloseCode.OK,
        )
        socket._transport = transport
        socket.on_ws_frame(transport, frame)
        if socket._sent_code is None:
            assert socket._parts_size == sum(map(len, socket._parts))
        sizes += len(content)
        at += 2 + len(content)
    assert sum(map(len, got)) <= sizes
    assert max(map(len, got), default=0) <= MESSAGE_MAX


def _authorization(text: str) -> None:
    for basic in (True, False):
        _credentials(text, basic=basic)


def _link(text: str) -> None:
    links = Links(SecretStr("t"), lambda: 0.0)
    path = f"/api/v1/calls/{CALL}/audio"
    links.opens("GET", path, text.encode("utf-8", "surrogateescape"))
    links.opens("GET", text, b"expires=1&signature=a")


@tool
def book(day: str, people: int, *, notes: list[str] | None = None, price: float = 0.0) -> str:
    """Book a table."""
    return f"{day} {people} {notes} {price}"


def _tool(text: str) -> None:
    """What a model has sent as the arguments of a function."""
    bound, canonical = book.bind(text, Call(CALL, "desk", None, None))
    bound().encode()
    canonical.encode()


def _redacted(text: str) -> None:
    redactor = Redactor(RedactionSettings(cards=True, phone_numbers=True, emails=True))
    redactor.json(text)


def _environment(text: str) -> None:
    read_environment({"OFFHOOK_SERVER__CAPACITY": text, "TWILIO_AUTH_TOKEN": text})


# --- our own files, which another version, a crash or a full disk may have left ------------------


@cache
def _file() -> Path:
    return Path(tempfile.mkdtemp(prefix="offhook-fuzz-")) / PROCESS


def _live_file(data: bytes) -> None:
    facts, _ = interrupted.read(TakenCall(CALL, data.split(b"\n")))
    if facts is not None:
        with suppress(msgspec.MsgspecError):
            facts.handoff_action  # noqa: B018 - it is read


def _segment(data: bytes) -> None:
    """A segment as it is, and one whose check sums are right, so that the rest is read."""
    seed = segments.seed_of(PROCESS_ID)
    head = data[: segments._HEADER.size].ljust(segments._HEADER.size, b"\0")
    place = data[: segments._PLACE.size].ljust(segments._PLACE.size, b"\0")
    size = max(len(data) - segments.HEAD_BYTES, 0)
    whole = bytearray(data)
    if size:
        whole[:4] = segments._MARK
        text = bytes(whole[segments.HEAD_BYTES :])
        whole[: segments.HEAD_BYTES] = segments._HEAD.pack(
            segments._MARK, 0, size, int.from_bytes(data[:1]), int.from_bytes(data[1:5])
        )
        checked = bytes(whole[segments._CHECKED_AT : segments.HEAD_BYTES])
        check = zlib.crc32(text, zlib.crc32(checked, seed))
        whole[4:8] = segments._CHECK.pack(check)
    for content in (
        data,
        head + segments._CHECK.pack(zlib.crc32(head)),
        bytes(segments._PLACE_AT) + place + segments._CHECK.pack(zlib.crc32(place)),
        bytes(whole),
    ):
        _file().write_bytes(content)
        with _file().open("rb") as file:
            fd = file.fileno()
            segments.read_header(fd, PROCESS_ID)
            segments.read_place(fd)
            segments.is_begun(fd, 0)
            segments.find_batch(fd, 0, seed)
            batch = segments.read_batch(fd, 0, seed)
            assert batch is None or batch.end > 0


def _dial_count(data: bytes) -> None:
    """A line as it is, and one whose check sum is right."""
    count = object.__new__(DialCount)
    count._clocks = MachineClocks(lambda: 5.0, lambda: 1_700_000_000.0, "0" * 8)
    checked = data[:-10]
    for line in (data, checked + b" %08x\n" % zlib.crc32(checked)):
        count._read(line)


def _legacy(data: bytes) -> None:
    """Records of a journal of an older version, as they are, and one with a right check sum."""
    line = data[4:]
    right = legacy._RECORD.pack(len(line), zlib.crc32(line, 1)) + line
    for content in (data, right):
        [*legacy._lines(bytes(legacy._BEGIN) + content, 1)]


def _from_process(data: bytes) -> None:
    """What a process of a user's functions writes, and the same with its size before it."""
    for content in (data, process_messages._SIZE.pack(len(data)) + data):
        receive(io.BytesIO(content), FunctionReply)


def _process_info(data: bytes) -> None:
    _file().write_bytes(data)
    read_process_info(_file().parent)


_FACTS = LiveFacts(
    account_sid="AC" + "0" * 32,
    agent="desk",
    by="webhook",
    from_="+12025550142",
    to="+12025550100",
    values={"name": "Ada"},
    token="t",
    origin="https://h",
    boot="b",
    began_s=1.0,
    action={"SendDigits": {"digits": "1"}},
)


def _live_lines() -> bytes:
    told = (CallStarted(), CallerSaid("Two, please."))
    lines = [entries.encode(CallEvent(CALL, 1, event), _NOW_MS) for event in told]
    return b"\n".join((live_facts.encoded(_FACTS), *lines))


def _dial_line() -> bytes:
    count = object.__new__(DialCount)
    count._clocks = MachineClocks(lambda: 5.0, lambda: 1_700_000_000.0, "0" * 8)
    return count._line(1, count._entry(Spent(1.0, "call", 0.1, "a" * 12, "b" * 5)))


def _text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    """A parser of text, given whatever text those bytes can be."""
    return lambda data: read(data.decode("utf-8", "surrogateescape"))


def _orders() -> list[bytes]:
    orders: tuple[messages.LinkOrder, ...] = (
        messages.Ping(),
        messages.PerformOperation(CALL, "say", '{"text": "Hello."}', "ada"),
        messages.ReleaseCall(CALL, PROCESS_ID, "t"),
        messages.FenceCall(CALL, 2),
    )
    made = [messages.NumberedOrder(number, order) for number, order in enumerate(orders)]
    return [*map(msgspec.json.encode, made), msgspec.json.encode(JoinStream("t"))]


_AUDIO = b'{"event":"media","payload":"' + b"/w" * 107 + b'=="}'
_TOKEN = StreamToken(CALL, PROCESS_ID, "a", 1, _NOW_MS + 1000, "n")

TARGETS: dict[str, Target] = {
    "link.request": Target(_request, (), _orders()),
    "link.reply": Target(
        _reply,
        (),
        [
            msgspec.json.encode(messages.NumberedReply(1, msgspec.Raw(b'{"outcome":"done"}'))),
            b'{"number":1,"error":{"code":"E-LINK-01","what":"a","fix":"b"}}',
        ],
    ),
    "link.stream": Target(_stream, (), [b'{"event":"clear"}', b'\x00[1001,"gone"]', b"!"]),
    "link.arguments": Target(
        _text(_arguments), (), [b'{"text": "Hello."}', b'{"state": "paused"}', b'{"to": "desk"}']
    ),
    "node.credential": Target(
        _text(_credential),
        (NodeRefusedError,),
        [node_credential.make(b"k" * 32, "a", PROCESS_ID, _NOW_MS).header.encode()],
    ),
    "fleet.token": Target(
        _text(_token),
        (TokenRefusedError,),
        [StreamTokens(["k" * 32], PROCESS_ID, "a", lambda: _NOW_MS).signed(_TOKEN).encode()],
    ),
    "operator.audio": Target(_operator, (), [_AUDIO, b'{"event":"stop"}']),
    "lookup.answer": Target(
        _lookup, (lookup.LookupFailedError,), [b'{"name": "Ada", "visits": 3}', b"null"]
    ),
    "signature.settings": Target(
        _text(_settings), (UnknownKeyError,), [b"key=k1,algorithm=HMAC_SHA256", b"key=k2"]
    ),
    "websocket.frames": Target(
        _frames, (), [b"\x80\x02hi", b"\x00\x01a\x82\x01b", b"\x01\x03abc\x02\x01d\x82\x00\x85\x00"]
    ),
    "client.address": Target(
        _text(lambda text: ClientAddresses(("127.0.0.0/8",)).of("127.0.0.1", text)),
        (),
        [b"192.0.2.1, 127.0.0.1", b"[2001:db8::1]:80", b"192.0.2.1:80, unknown"],
    ),
    "authorization": Target(
        _text(_authorization), (UnicodeEncodeError,), [b"Bearer t", b"Basic dTpw"]
    ),
    "audio.link": Target(_text(_link), (), [b"expires=1764000000&signature=00ff", b"a=b"]),
    "tool.arguments": Target(
        _text(_tool),
        (ToolArgumentsError,),
        [b'{"day": "friday", "people": 2}', b'{"day": "a", "people": 1, "notes": ["b"]}'],
    ),
    "redaction.json": Target(
        _text(_redacted), (), [b'{"card": "4111 1111 1111 1111", "to": ["a@b.example", 7]}']
    ),
    "process.reply": Target(
        _from_process, (), [b'{"outcome":"returned","text":"booked"}', b'{"outcome":"raised"}']
    ),
    "journal.legacy": Target(_legacy, (), [b"    a line"]),
    "environment": Target(_text(_environment), (UserError,), [b"100", b'{"a": 1}']),
    "live.file": Target(_live_file, (), [_live_lines()]),
    "journal.segment": Target(_segment, (), [segments.pack(1, 1, [b"a line", b"another"])]),
    "dial.count": Target(_dial_count, (), [_dial_line()]),
    "process.info": Target(_process_info, (), [b'{"version":"1.0","control":"s"}']),
}
"""By name: what is read, the errors that it may raise, and what is read without one."""
