"""Twilio's stream errors in plain words, with the usual remedy (twilio.md §1.9)."""

import re
from typing import Final

STREAM_ERRORS: Final[dict[str, str]] = {
    "31900": "An unknown stream error at Twilio. Try the call again.",
    "31901": "Twilio's connection to us timed out. Is the public URL's host up, and port 443 open?",
    "31902": "Twilio's connection was refused. Is Offhook running behind that host and port?",
    "31903": "The socket broke off in mid-call. A proxy or tunnel was restarted, or timed out.",
    "31904": "Twilio cannot reach the host. Is it a public name, not a private address?",
    "31910": "TLS failed. The certificate must be publicly trusted, with its whole chain.",
    "31920": "The upgrade was not answered with 101. Is the path /twilio? Is the signature valid"
    " (TWILIO_AUTH_TOKEN, server.public_url)? Does the proxy pass WebSockets?",
    "31921": "Our side closed the socket. That is how a call ends when the agent hangs up.",
    "31922": "The stream's URL is not wss. Write wss://HOST/twilio in the TwiML.",
    "31923": "The stream's URL is malformed. Write wss://HOST/twilio in the TwiML.",
    "31924": "The WebSocket protocol was violated. A proxy may be changing frames.",
    "31930": "Caller audio was thrown away at Twilio: this machine reads too slowly.",
    "31931": "Agent audio was thrown away at Twilio: more than 10 minutes were waiting.",
    "31940": "The stream names a connector, which Offhook does not use. Remove connectorName.",
    "31941": "The stream's track is not allowed here. Remove the track attribute.",
    "31942": "The stream's connector is misconfigured, and Offhook uses none. Remove it.",
    "31950": "Twilio could not decode a message of ours. Please report this.",
    "31951": "Twilio refused a message of ours as invalid. Please report this.",
    "31952": "The stream names an extension that does not exist. Remove it.",
    "31960": "A quota of a connector is used up, and Offhook uses none.",
}


def explain(stream_error: str) -> tuple[str, str]:
    """Return the code in a StreamError text and its meaning; ("", the text) without a code."""
    found = re.search(r"\b(319\d\d)\b", stream_error)
    if found is None:
        return "", stream_error[:200]
    return found[1], STREAM_ERRORS.get(found[1], "A stream error that is not in our list.")
