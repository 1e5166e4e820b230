"""Media stream of a leg, with its status callbacks (twilio.md §1.2, §1.7, §1.10)."""

import asyncio
import re
from typing import Final

from offhook.net import websocket
from offhook.testing.simulator.twilio import stream_socket
from offhook.testing.simulator.twilio.calls import dates
from offhook.testing.simulator.twilio.calls.leg import Leg, new_sid
from offhook.testing.simulator.twilio.stream import EndedBy, SimulatedStream, StreamEvent
from offhook.testing.simulator.twilio.verbs import Verb, method
from offhook.testing.simulator.twilio.webhooks import Request, joined

UNKNOWN_STREAM_ERROR: Final = 31900
UNREACHABLE: Final = 31904
UPGRADE_REFUSED: Final = 31920
NOT_WSS: Final = 31922


async def stream(leg: Leg, noun: Verb, base: str) -> EndedBy | None:
    """Run a <Stream> to its end. Return who ended it; None if it never began.

    On cancellation, `stop` is sent, and the function returns when the socket is closed.
    """
    host = leg.network.host
    url = joined(base, noun.attributes.get("url", ""))
    if "://" not in noun.attributes.get("url", ""):
        url = re.sub("^http", "ws", url)  # a relative URL: a socket on the document's host
    url, _, query = url.partition("?")
    if query:
        leg.note(None, "the query string of a stream's URL is not delivered")
    sid = new_sid("MZ")
    ended = asyncio.Event()

    def report(event: StreamEvent, code: int | None, text: str) -> None:
        if code is not None:
            leg.note(code, text)
        _tell(leg, noun, base, sid, event, f"{code} {text}" if code else "")

    dialled = host.dialled(url)
    if not url.startswith("wss://"):
        report("stream-error", NOT_WSS, f"{url} is no wss URL")
        return None
    if dialled is None:
        report("stream-error", UNREACHABLE, f"{url} is another host's: not contacted")
        return None
    headers = {"User-Agent": "Twilio.TmeWs/1.0", "Accept-Encoding": "gzip", **host.proxied(url)}
    headers |= {name.lower(): value for name, value in host.signature(url).items()}
    one = SimulatedStream(
        leg.report.caller,
        leg.network.clock,
        account_sid=leg.report.account_sid,
        call_sid=leg.sid,
        stream_sid=sid,
        parameters={
            parameter.attributes.get("name", ""): parameter.attributes.get("value", "")
            for parameter in noun.nouns
        },
        report=report,
        on_end=ended.set,
    )
    try:
        await stream_socket.connect(dialled, one, headers)
    except websocket.UpgradeRefusedError as refused:
        report("stream-error", UPGRADE_REFUSED, f"the upgrade was answered {refused.status}")
        return None
    except websocket.UnreachableError as unreachable:
        report("stream-error", UNKNOWN_STREAM_ERROR, str(unreachable))
        return None
    leg.report.streams.append(one)
    with leg.hears("stream"):
        try:
            await ended.wait()
        finally:
            # After a cancellation, send `stop` and wait for net/websocket.py to close the socket.
            one.stop("twilio")
            await ended.wait()
    return one.ended_by


def _tell(leg: Leg, noun: Verb, base: str, sid: str, event: StreamEvent, error: str) -> None:
    url = noun.attributes.get("statusCallback")
    if url is None:
        return
    form = {
        "AccountSid": leg.report.account_sid,
        "CallSid": leg.sid,
        "StreamSid": sid,
        "StreamName": noun.attributes.get("name", sid),
        "StreamEvent": event,
        "Timestamp": dates.iso(dates.now()),
    }
    if error:
        form["StreamError"] = error
    leg.post(Request(joined(base, url), method(noun, "statusCallbackMethod"), form))
