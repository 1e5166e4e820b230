"""What reading one `media` message of Twilio costs, by every way of reading it.

The question: is a fast path that slices the payload out of the text worth having beside the full
parser? Run it on an idle machine; each figure is the median of REPEATS rounds, taken in turns, so
that whatever else the machine does meets all of them alike.
"""

import base64
import json
import re
import statistics
import time
from binascii import a2b_base64
from collections.abc import Callable

from offhook.twilio import messages

REPEATS = 51
MESSAGES = 20_000

AUDIO = bytes((37 * n + 11) % 256 for n in range(160))
TEXT = messages.write(
    messages.Media(
        stream_sid="MZ" + "0123456789abcdef" * 2,
        media=messages.MediaDetails(payload=AUDIO, chunk="1500", timestamp="30000"),
        sequence_number="1502",
    )
)
PAYLOAD = re.compile(rb'"payload":"([A-Za-z0-9+/]*={0,2})"')


def full_parse(text: bytes) -> bytes:
    """What Offhook does: every field checked, stream SID and track at hand."""
    message = messages.read(text)
    assert type(message) is messages.Media
    return message.media.payload


def slice_and_a2b(text: bytes) -> bytes:
    """Only the payload, for a message that is taken for a `media` one; nothing is checked."""
    begin = text.index(b'"payload":"') + 11
    return a2b_base64(text[begin : text.index(b'"', begin)])


def regex_and_a2b(text: bytes) -> bytes:
    """The same by a regular expression, which checks the payload's characters."""
    found = PAYLOAD.search(text)
    assert found is not None
    return a2b_base64(found[1])


def json_and_b64decode(text: bytes) -> bytes:
    """The standard library alone."""
    return base64.b64decode(json.loads(text)["media"]["payload"])


WAYS: dict[str, Callable[[bytes], bytes]] = {
    "full parse (msgspec)": full_parse,
    "slice + a2b_base64": slice_and_a2b,
    "regex + a2b_base64": regex_and_a2b,
    "json + b64decode": json_and_b64decode,
}


def microseconds(read: Callable[[bytes], bytes]) -> float:
    """Per message, in one round."""
    began = time.perf_counter()
    for _ in range(MESSAGES):
        read(TEXT)
    return (time.perf_counter() - began) / MESSAGES * 1e6


def main() -> None:
    for read in WAYS.values():
        assert read(TEXT) == AUDIO
    rounds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(REPEATS):
        for way, read in WAYS.items():
            rounds[way].append(microseconds(read))
    print(f"One media message: {len(AUDIO)} bytes of audio in {len(TEXT)} bytes of text.")
    print(f"µs per message; median of {REPEATS} rounds of {MESSAGES}, and the quickest.")
    for way, took in rounds.items():
        print(f"  {way:22} {statistics.median(took):6.2f} {min(took):6.2f}")


if __name__ == "__main__":
    main()
