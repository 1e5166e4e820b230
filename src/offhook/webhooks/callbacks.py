"""Twilio's reports about a call, which need no TwiML: status, stream status, answering machine."""

import logging
from collections import OrderedDict
from typing import Final

from starlette.responses import Response

from offhook.call import inputs
from offhook.calls.compose import CallHandling
from offhook.events.types import StreamTrouble
from offhook.outbound.outbound_calls import OutboundCalls
from offhook.twilio import stream_errors
from offhook.twilio.call_status import FINAL
from offhook.webhooks import process_proof
from offhook.webhooks.auth import Form

_log: Final = logging.getLogger("offhook.webhooks")

PERSON: Final = "person"
"""Query parameter with the id of a person who is called for a caller (calls/transfers.py)."""

_STREAM_CLOSED: Final = "31921"

TROUBLES_MAX: Final = 1000
"""Stream errors that are kept: Twilio repeats a callback within seconds (twilio.md §4.2)."""


class StatusCallbacks:
    """Callbacks of Twilio's, passed on to the calls and to the outbound calls.

    `process_id` names the journal of this process; empty without one.
    """

    def __init__(
        self, calls: CallHandling, placing: OutboundCalls | None, process_id: str = ""
    ) -> None:
        self._process_id = process_id
        self._registry = calls.registry
        self._transfers = calls.transfers
        self._placing = placing
        self._troubles: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        """CallSid, StreamSid and code of recent stream errors, oldest first."""

    async def status(self, form: Form, origin: str) -> Response:
        """Handle a call's status (twilio.md §4.3), or that of a person's leg."""
        call_sid, status = form["CallSid"], form.get("CallStatus", "")
        if PERSON in form:
            self._transfers.status(form[PERSON], call_sid, status)
            return _taken()
        news: bool | None = None
        if self._placing is not None:
            sip = form.get("SipResponseCode", "")
            news = await self._placing.following.on_status(
                call_sid, status, form.get("placing", ""), f"SIP {sip}" if sip else ""
            )
        if status in FINAL:
            # A report may come twice, or out of order (twilio.md §4.3): then it ends nothing.
            if news is not False:
                self._registry.send(call_sid, inputs.CallOver())
            self._registry.bill(call_sid, status, int(form.get("CallDuration", "0")))
        return _taken()

    async def answered_by(self, form: Form, origin: str) -> Response:
        """Handle the verdict of answering-machine detection (twilio.md §5.3)."""
        if self._placing is not None:
            verdict = form.get("AnsweredBy", "")
            await self._placing.following.on_answered_by(
                form["CallSid"], verdict, form.get("placing", "")
            )
        return _taken()

    async def stream_status(self, form: Form, origin: str) -> Response:
        """Log or record an error of a media stream (twilio.md §1.9); or prove who answers."""
        if form.get("StreamEvent") == process_proof.EVENT:
            told = process_proof.proof(self._process_id, form["CallSid"])
            return Response(status_code=204, headers={process_proof.HEADER: told})
        if form.get("StreamEvent") != "stream-error":
            return _taken()
        code, words = stream_errors.explain(form.get("StreamError", ""))
        if self._is_repeated(form["CallSid"], form.get("StreamSid", ""), code or words):
            return _taken()
        entry = self._registry.find(form["CallSid"])
        # 31921 also comes when we have closed the stream on purpose (twilio.md §1.9).
        if code == _STREAM_CLOSED and entry is not None and entry.ending is not None:
            return _taken()
        if entry is not None and entry.session is not None:
            entry.session.note(StreamTrouble(code, words))
        else:
            sid = {"call_sid": form["CallSid"]}
            _log.warning("stream error %s: %s", code, words, extra=sid)
        return _taken()

    def _is_repeated(self, call_sid: str, stream_sid: str, code: str) -> bool:
        """Return whether a stream error was told before, and keep it: one comes once a stream."""
        told = (call_sid, stream_sid, code)
        if told in self._troubles:
            return True
        self._troubles[told] = None
        if len(self._troubles) > TROUBLES_MAX:
            self._troubles.popitem(last=False)
        return False


def _taken() -> Response:
    return Response(status_code=204)
