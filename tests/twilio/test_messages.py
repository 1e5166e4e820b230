"""Media Streams messages: what Twilio sends, what we send, and whatever else may arrive."""

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.wire.samples import FROM_TWILIO, TO_TWILIO

from offhook.twilio import messages
from offhook.twilio.messages import (
    MalformedTwilioMessageError,
    MediaWriter,
    UnknownTwilioMessage,
    read,
    read_ours,
    write,
)

MZ, CA, AC = (prefix + "0123456789abcdef" * 2 for prefix in ("MZ", "CA", "AC"))
FRAME = bytes((37 * n + 11) % 256 for n in range(160))

READ: list[messages.FromTwilio] = [
    messages.Connected("Call", "1.0.0"),
    messages.Start(
        MZ,
        messages.StartDetails(
            AC, CA, MZ, ["inbound"], {"token": "k3v", "agent": "front-desk"}, messages.MediaFormat()
        ),
        "1",
    ),
    messages.Start(
        MZ,
        messages.StartDetails(
            AC, CA, MZ, ["inbound"], {}, messages.MediaFormat("audio/x-mulaw", "8000", "1")
        ),
        1,
    ),
    messages.Media(MZ, messages.MediaDetails(FRAME, "inbound", "1", "20"), "2"),
    messages.Media(MZ, messages.MediaDetails(FRAME, "inbound", 2, 40), 3),
    messages.Media(MZ, messages.MediaDetails(FRAME, "outbound", "1", "40"), "4"),
    messages.Dtmf(MZ, messages.DtmfDetails("5"), "5"),
    messages.Dtmf(MZ, messages.DtmfDetails("#"), "6"),
    messages.Mark(MZ, messages.MarkName("3:1600"), "7"),
    messages.Stop(MZ, messages.StopDetails(AC, CA), "8"),
]
"""What tests/wire/from_twilio.jsonl says."""

OURS: list[messages.ToTwilio] = [
    messages.PlayMessage(MZ, messages.PlayDetails(FRAME)),
    messages.PlayMessage(MZ, messages.PlayDetails(b"")),
    messages.SetMark(MZ, messages.SetMarkDetails("3:1600")),
    messages.Clear(MZ),
]
"""What tests/wire/to_twilio.jsonl says."""


def text(**message: Any) -> bytes:
    return json.dumps(message).encode()


def a_media(**details: Any) -> bytes:
    return text(event="media", streamSid="MZ1", media=details)


# --- From Twilio -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sample", "message"), list(zip(FROM_TWILIO, READ, strict=True)), ids=lambda v: str(v)[:24]
)
def test_every_message_of_twilio_is_read(sample: bytes, message: messages.FromTwilio) -> None:
    assert read(sample) == message


@pytest.mark.parametrize("message", READ, ids=lambda m: type(m).__name__)
def test_a_message_survives_the_wire(message: messages.FromTwilio) -> None:
    assert read(write(message)) == message


def add_fields(value: Any) -> Any:
    """The same with one more field in each object, but for the parameters, whose names are ours."""
    if isinstance(value, dict):
        more = {
            name: inner if name == "customParameters" else add_fields(inner)
            for name, inner in value.items()
        }
        return {"new": {"deep": [1, None]}, **more, "newer": "field"}
    return value


@pytest.mark.parametrize(
    ("sample", "message"), list(zip(FROM_TWILIO, READ, strict=True)), ids=lambda v: str(v)[:24]
)
def test_unknown_fields_are_ignored_at_every_depth(
    sample: bytes, message: messages.FromTwilio
) -> None:
    assert read(json.dumps(add_fields(json.loads(sample))).encode()) == message


def test_what_twilio_may_leave_out_has_a_default() -> None:
    start = text(event="start", streamSid="MZ1", start={"accountSid": "AC1", "callSid": "CA1"})
    message = read(start)
    assert isinstance(message, messages.Start)
    assert message.start.custom_parameters == {}
    assert read(a_media(payload="/w==")) == messages.Media("MZ1", messages.MediaDetails(b"\xff"))
    assert read(text(event="stop", streamSid="MZ1")) == messages.Stop("MZ1")
    assert read(text(event="connected")) == messages.Connected()


@pytest.mark.parametrize("event", ["", "transcript", "Media", "media ", "\u2028", "x" * 9000])
def test_an_unknown_event_is_no_fault(event: str) -> None:
    assert read(text(event=event, streamSid="MZ1", media={"payload": 5})) == UnknownTwilioMessage(
        event
    )


MALFORMED: dict[str, bytes] = {
    "media without payload": a_media(track="inbound"),
    "media without details": text(event="media", streamSid="MZ1"),
    "media without streamSid": text(event="media", media={"payload": ""}),
    "payload null": a_media(payload=None),
    "payload a number": a_media(payload=7),
    "payload not base64": a_media(payload="CANARY!!"),
    "payload cut off": a_media(payload="CANARYCAN"),
    "payload with padding inside": a_media(payload="CA==NARY"),
    "payload with a space": a_media(payload="CAN ARYx"),
    "payload for URLs": a_media(payload="-_-_"),
    "payload with too much padding": a_media(payload="C==="),
    "chunk a fraction": a_media(payload="", chunk=1.5),
    "chunk true": a_media(payload="", chunk=True),
    "chunk null": a_media(payload="", chunk=None),
    "timestamp beyond all bounds": b'{"event":"media","streamSid":"MZ1","media":'
    b'{"payload":"","timestamp":' + b"9" * 5000 + b"}}",
    "timestamp infinite": b'{"event":"media","streamSid":"MZ1","media":'
    b'{"payload":"","timestamp":1e999}}',
    "streamSid null": text(event="media", streamSid=None, media={"payload": ""}),
    "streamSid invalid UTF-8": b'{"event":"media","streamSid":"\xff","media":{"payload":""}}',
    "streamSid a surrogate in UTF-8": b'{"event":"media","streamSid":"\xed\xa0\x80",'
    b'"media":{"payload":""}}',
    "streamSid half a surrogate pair": b'{"event":"media","streamSid":"\\ud800",'
    b'"media":{"payload":""}}',
    "start without callSid": text(event="start", streamSid="MZ1", start={"accountSid": "CANARY"}),
    "start without accountSid": text(event="start", streamSid="MZ1", start={"callSid": "CANARY"}),
    "start with a parameter that is no text": text(
        event="start",
        streamSid="MZ1",
        start={"accountSid": "A", "callSid": "C", "customParameters": {"CANARY": 5}},
    ),
    "dtmf without digit": text(event="dtmf", streamSid="MZ1", dtmf={"track": "CANARY"}),
    "dtmf digit a number": text(event="dtmf", streamSid="MZ1", dtmf={"digit": 5}),
    "mark without name": text(event="mark", streamSid="MZ1", mark={"CANARY": "x"}),
    "stop a string": text(event="stop", streamSid="MZ1", stop="CANARY"),
    "two events": b'{"event":"CANARY","event":"media","streamSid":"MZ1","media":{"payload":""}}',
    "no event": text(streamSid="CANARY"),
    "event null": text(event=None, streamSid="CANARY"),
    "event a list": text(event=["CANARY"]),
    "event invalid UTF-8": b'{"event":"CANARY\xff"}',
    "something behind an unknown event": b'{"event":"CANARY"} CANARY',
    "something behind a media": a_media(payload="") + b" CANARY",
    "an array": b'["CANARY"]',
    "a string": b'"CANARY"',
    "null": b"null",
    "nothing": b"",
    "a byte-order mark": b"\xef\xbb\xbf" + a_media(payload=""),
    "cut off": a_media(payload="CANARY")[:-3],
    "single quotes": b"{'event':'CANARY'}",
    "no JSON": b"CANARY\x00\xff",
    "nested too deeply": b'{"event":"CANARY","x":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "nested too deeply, and cut off": b'{"CANARY":' * 30_000,
}


@pytest.mark.parametrize("message", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_breaks_the_protocol_is_a_bad_message_that_quotes_nothing(message: bytes) -> None:
    with pytest.raises(MalformedTwilioMessageError) as bad:
        read(message)
    assert "CANARY" not in str(bad.value)
    assert len(str(bad.value)) < 200


def test_the_name_of_a_malformed_event_is_told() -> None:
    with pytest.raises(MalformedTwilioMessageError, match=r"malformed 'dtmf' message: .*digit"):
        read(text(event="dtmf", streamSid="MZ1", dtmf={}))


# --- One parser, held against another -----------------------------------------------------------


@st.composite
def json_strings(draw: st.DrawFn, value: str) -> str:
    """`value` as a JSON string, any of its characters escaped in any way that JSON has."""
    escaped = draw(st.sets(st.integers(0, max(len(value) - 1, 0)), max_size=5))
    parts = []
    for n, character in enumerate(value):
        if n not in escaped:
            parts.append(json.dumps(character, ensure_ascii=False)[1:-1])
        elif character == "/" and draw(st.booleans()):
            parts.append("\\/")
        else:
            units = character.encode("utf-16-be").hex()
            parts += ["\\u" + units[at : at + 4] for at in range(0, len(units), 4)]
    return '"' + "".join(parts) + '"'


@st.composite
def json_objects(draw: st.DrawFn, fields: dict[str, str]) -> str:
    """An object of these fields, whose values are JSON, in any order and with any white space."""
    space = st.text(" \t\r\n", max_size=2)
    names = draw(st.permutations(list(fields)))
    inner = ",".join(
        f"{draw(space)}{draw(json_strings(name))}{draw(space)}:{draw(space)}{fields[name]}{draw(space)}"
        for name in names
    )
    return draw(space) + "{" + inner + "}" + draw(space)


NAMES = st.sampled_from(["x", "new", "Payload", "payload ", "stream_sid", "é", ""])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=4,
)


@st.composite
def media_texts(draw: st.DrawFn, payload: str) -> bytes:
    """A media message with that payload, as any serializer might write it."""
    counter = st.integers(0, 10**20).flatmap(lambda n: st.sampled_from([str(n), f'"{n}"']))
    unknown = st.dictionaries(NAMES, VALUES.map(json.dumps), max_size=2)
    details = draw(unknown) | {"payload": draw(json_strings(payload))}
    for name in ("chunk", "timestamp"):
        if draw(st.booleans()):
            details[name] = draw(counter)
    if draw(st.booleans()):
        details["track"] = draw(json_strings(draw(st.sampled_from(["inbound", "outbound"]))))
    message = draw(unknown) | {
        "event": draw(json_strings("media")),
        "streamSid": draw(json_strings(draw(st.text(st.characters(codec="utf-8"), max_size=40)))),
        "media": draw(json_objects(details)),
    }
    if draw(st.booleans()):
        message["sequenceNumber"] = draw(counter)
    return draw(json_objects(message)).encode()


def by_the_standard_library(message: bytes) -> tuple[str, bytes, str]:
    """Stream SID, audio and track, without any code of ours or msgspec's."""
    parsed = json.loads(message)
    details = parsed["media"]
    audio = base64.b64decode(details["payload"], validate=True)
    return parsed["streamSid"], audio, details.get("track", "inbound")


@settings(deadline=None)
@given(st.binary(max_size=400).map(base64.b64encode).flatmap(lambda p: media_texts(p.decode())))
def test_audio_is_read_as_the_standard_library_reads_it(message: bytes) -> None:
    read_by_us = read(message)
    assert isinstance(read_by_us, messages.Media)
    details = read_by_us.media
    assert (read_by_us.stream_sid, details.payload, details.track) == by_the_standard_library(
        message
    )


@settings(deadline=None)
@given(st.text(st.sampled_from("AZaz09+/=-_ \n\u00e9"), max_size=12))
@example("AB==")  # the low bits of B say nothing, and nobody minds
@example("A===")
@example("AA=A")
def test_a_payload_is_base64_for_us_only_if_it_is_for_the_standard_library(payload: str) -> None:
    message = a_media(payload=payload)
    try:
        audio = read(message)
    except MalformedTwilioMessageError:
        # Ours is the stricter: "AAAA=" has one character too many.
        if len(payload) % 4 == 0:
            with pytest.raises((binascii.Error, ValueError)):
                by_the_standard_library(message)
        return
    assert isinstance(audio, messages.Media)
    assert audio.media.payload == by_the_standard_library(message)[1]


@settings(deadline=None)
@given(
    st.builds(
        messages.Media,
        st.text(st.characters(codec="utf-8")),
        st.builds(messages.MediaDetails, st.binary()),
    )
)
def test_any_audio_survives_the_wire(message: messages.Media) -> None:
    assert read(write(message)) == message


# --- To Twilio ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sample", "message"), list(zip(TO_TWILIO, OURS, strict=True)), ids=lambda v: str(v)[:24]
)
def test_our_three_kinds_are_read(sample: bytes, message: messages.ToTwilio) -> None:
    assert read_ours(sample) == message


WRITTEN: list[Callable[[MediaWriter], bytes]] = [
    lambda writer: writer.play(FRAME),
    lambda writer: writer.play(b""),
    lambda writer: writer.mark("3:1600"),
    lambda writer: writer.clear,
]


@pytest.mark.parametrize(
    ("written", "sample"), list(zip(WRITTEN, TO_TWILIO, strict=True)), ids=["play", "0", "m", "c"]
)
def test_the_writer_writes_them_to_the_byte(
    written: Callable[[MediaWriter], bytes], sample: bytes
) -> None:
    assert written(MediaWriter(MZ)) == sample


def compact(**message: Any) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8")), st.binary(), st.text(st.characters(codec="utf-8")))
@example('MZ"\\\n\x00\x7f\u2028', b"\xff", '"}}{"event":"clear')
def test_nothing_in_a_sid_a_name_or_audio_breaks_out_of_its_place(
    sid: str, audio: bytes, name: str
) -> None:
    writer = MediaWriter(sid)
    payload = base64.b64encode(audio).decode()
    assert json.loads(writer.play(audio)) == {
        "event": "media",
        "streamSid": sid,
        "media": {"payload": payload},
    }
    assert json.loads(writer.mark(name)) == {
        "event": "mark",
        "streamSid": sid,
        "mark": {"name": name},
    }
    assert json.loads(writer.clear) == {"event": "clear", "streamSid": sid}
    assert read_ours(writer.play(audio)) == messages.PlayMessage(sid, messages.PlayDetails(audio))
    assert read_ours(writer.mark(name)) == messages.SetMark(sid, messages.SetMarkDetails(name))
    assert read_ours(writer.clear) == messages.Clear(sid)


OBJECTS = [
    (sample, path)
    for sample in TO_TWILIO
    for path in ("", "media", "mark")
    if not path or path in json.loads(sample)
]


@pytest.mark.parametrize(("sample", "path"), OBJECTS, ids=lambda v: str(v)[:24])
@pytest.mark.parametrize("extra", ["sequenceNumber", "track", "chunk", "x", "stream_sid"])
def test_one_field_more_is_refused(sample: bytes, path: str, extra: str) -> None:
    message = json.loads(sample)
    (message[path] if path else message)[extra] = "1"
    with pytest.raises(MalformedTwilioMessageError):
        read_ours(json.dumps(message).encode())


@pytest.mark.parametrize(("sample", "path"), OBJECTS, ids=lambda v: str(v)[:24])
def test_one_field_less_is_refused(sample: bytes, path: str) -> None:
    for field in json.loads(sample)[path] if path else json.loads(sample):
        message = json.loads(sample)
        del (message[path] if path else message)[field]
        with pytest.raises(MalformedTwilioMessageError):
            read_ours(json.dumps(message).encode())


@pytest.mark.parametrize(
    "message",
    [
        text(event="stop", streamSid="MZ1"),
        text(event="dtmf", streamSid="MZ1", dtmf={"digit": "1"}),
        text(event="media", streamSid="MZ1", media={"payload": "no base64"}),
        text(event="mark", streamSid="MZ1", mark={"name": 5}),
        text(event="clear", streamSid=None),
        b"",
        b"[]",
        b'{"event":"clear","streamSid":"\xff"}',
        b'{"event":"clear","streamSid":' + b"[" * 30_000,
        b'{"x":' * 30_000,
    ],
)
def test_whatever_else_we_might_send_is_refused(message: bytes) -> None:
    with pytest.raises(MalformedTwilioMessageError):
        read_ours(message)
