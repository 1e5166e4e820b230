"""The messages of this folder."""

from pathlib import Path

_HERE = Path(__file__).parent

CRASHES = _HERE / "crashes"


def _lines(name: str) -> list[bytes]:
    return (_HERE / name).read_bytes().splitlines()


FROM_TWILIO = _lines("from_twilio.jsonl")
TO_TWILIO = _lines("to_twilio.jsonl")
FROM_DEEPGRAM = _lines("from_deepgram.jsonl")
TO_DEEPGRAM = _lines("to_deepgram.jsonl")
