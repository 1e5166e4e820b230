"""Proof of the process that answers a public URL, for `offhook doctor`.

A request to /twilio/stream-status that is signed like Twilio's, and has this event, is answered
with a header that only a process with that journal can make. So the public host serves no further
path, and who cannot sign learns nothing.
"""

import hashlib
import hmac
from typing import Final

EVENT: Final = "offhook-probe"
"""Value of StreamEvent that asks for the proof. Twilio's own begin with `stream-`."""

HEADER: Final = "Offhook-Process"


def proof(process_id: str, call_sid: str) -> str:
    """Return the proof of the process with that journal, for the CallSid of one request.

    The id is known to who may read the folder of journals, so it is a key; the CallSid is made for
    the one request, so an answer that was seen before is worth nothing.
    """
    return hmac.digest(process_id.encode(), call_sid.encode(), hashlib.sha256).hex()
