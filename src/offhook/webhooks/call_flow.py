"""Twilio's requests about a call, answered with TwiML: /twilio/voice and /twilio/after.

Every request is answered at once, except that a new call may wait for its lookup and for Deepgram's
first message, 6 s at most: Twilio gives up after 15 s (twilio.md §4.1).
"""

import asyncio
import contextlib
import logging
from typing import Final

from starlette.responses import Response

from offhook.call import inputs
from offhook.call.handoff_actions import JoinConference, SendDigits
from offhook.calls import responses
from offhook.calls.agent_session import values_for
from offhook.calls.call_entry import CallEntry
from offhook.calls.call_limits import CallLimit
from offhook.calls.compose import CallHandling
from offhook.calls.forwarded import ForwardedWebhook, WebhookAnswer
from offhook.calls.intake import NotBegunError
from offhook.calls.places import TakenCall
from offhook.config import Agent, Announcement
from offhook.observability.metrics.meter import Metrics
from offhook.outbound.outbound_calls import OutboundCalls
from offhook.twilio import twiml
from offhook.webhooks.after_request import (
    AfterAnswer,
    AfterRequest,
    KnownCall,
    News,
    answer_to,
    news_of,
)
from offhook.webhooks.auth import Form, wss
from offhook.webhooks.callbacks import PERSON

_log: Final = logging.getLogger("offhook.webhooks")

VERDICT_S: Final = 1.0
"""Seconds that the caller hears ringing while Deepgram answers our dial.

A refusal within that time is answered without picking up; later refusals reach /twilio/after.
"""


class CallFlow:
    """Flow of a caller: decides whether to connect a stream, dial, say goodbye or hang up."""

    def __init__(
        self, calls: CallHandling, metrics: Metrics, placing: OutboundCalls | None
    ) -> None:
        self._agents = calls.agents
        self._registry = calls.registry
        self._intake = calls.intake
        self._transfers = calls.transfers
        self._farewells = calls.farewells
        self._inbound = calls.inbound
        self._interrupted = calls.interrupted
        self._fleet = calls.fleet
        self._path = calls.webhook_path
        self._metrics = metrics
        self._placing = placing

    async def voice(self, form: Form, origin: str) -> Response:
        """Answer a request about a new call, or its repetition."""
        call_sid, account_sid = form["CallSid"], form["AccountSid"]
        sid = {"call_sid": call_sid}
        agent = self._agents.agent_for(form.get("To"))
        if agent is None:
            self._metrics.refused("webhook", "no line")
            _log.warning(
                "a call to a number without a line, and there is no default: rejected", extra=sid
            )
            return xml(twiml.reject())
        if self._registry.is_long_over(call_sid):
            self._metrics.refused("webhook", "the call is over")
            _log.warning("the call is over, and its webhook was asked again: hung up", extra=sid)
            return xml(twiml.hang_up())
        from_, to = _numbers(form)
        entry = self._registry.find(call_sid)
        is_new = entry is None and not self._registry.pending_lookup(call_sid)
        refusal = (
            self._inbound.refusal(call_sid, from_, form.get("StirVerstat")) if is_new else None
        )
        if refusal is not None:
            why, _ = refusal
            self._metrics.refused("webhook", why.slug)
            _log.warning("%s: the call is refused", why.words, extra=sid)
            filled = self._filled(agent, form)
            return xml(self._intake.refuse(call_sid, account_sid, filled, from_, to, refusal))
        limit = self._registry.limit_reached if is_new else None
        if limit is not None:
            self._metrics.refused("webhook", limit)
            _log.warning("%s: the call gets the busy answer", limit, extra=sid)
            filled = self._filled(agent, form)
            return xml(
                self._intake.turn_away(
                    limit, call_sid, account_sid, filled, from_, to, self._last(origin)
                )
            )
        if entry is None:
            try:
                entry = await self._intake.arrive(call_sid, account_sid, agent, from_=from_, to=to)
            except NotBegunError as not_begun:
                return await self._not_begun(not_begun.why, agent, form, origin)
        if entry.is_interrupted:
            entry.receive(inputs.CallerReturning())
        entry.note_origin(origin)
        if entry.session is not None and entry.session.has_agent:
            with contextlib.suppress(TimeoutError):
                # Deepgram may need longer; the stream can be opened meanwhile.
                await asyncio.wait_for(entry.answered.wait(), VERDICT_S)
        if entry.ending is not None:
            return xml(self._farewell(call_sid, entry, origin))
        if self._fleet is not None:
            await self._fleet.store(entry)
        # A caller who was on a stream before has heard it.
        announcement = None if entry.is_after_due else entry.agent.announcement
        return xml(self._stream(entry, origin, announcement=announcement))

    async def after(self, form: Form, origin: str) -> Response:
        """Answer a request after a stream, a transfer's dial, a farewell, or a person's key."""
        call_sid = form["CallSid"]
        if PERSON in form:
            digits = form.get("Digits") if "DialCallStatus" not in form else None
            return xml(self._transfers.answer(form[PERSON], call_sid, digits))
        if self._fleet is None and self._registry.find(call_sid) is None:
            self._interrupted.take_over()  # Another process had the call, and may have died.
        entry = self._registry.find(call_sid)
        request = AfterRequest.of(form)
        for news in news_of(request, _state(entry)):
            self._tell(news, request, call_sid, entry)
            if news is News.STREAM_LOST:  # The call goes on without it, or is over.
                for further in news_of(request, _state(entry)):
                    self._tell(further, request, call_sid, entry)
        if self._fleet is not None and entry is not None and entry.ending is None:
            await self._fleet.store(entry)
        document = self._document(answer_to(request, _state(entry)), form, entry, origin)
        if entry is not None:
            self._registry.after_answered(entry)
        if self._placing is not None and request.is_over:
            # The callback that says the same may be late, or lost (twilio.md §4.3): whichever comes
            # first settles a call that we placed.
            await self._placing.following.on_status(call_sid, form["CallStatus"], "", "")
        return xml(document)

    async def resolve(self, webhook: ForwardedWebhook) -> WebhookAnswer | None:
        """Have the process that has a call answer about it; take the call if that one is gone.

        None: it is to be answered here.
        """
        call_sid = webhook.form["CallSid"]
        if (
            self._fleet is None
            or webhook.name not in ("voice", "after")
            or PERSON in webhook.form
            or self._registry.pending_lookup(call_sid) is not None
        ):
            return None
        live = self._registry.live.get(call_sid)
        if live is not None and webhook.name == "after" and not live.is_after_due:
            # Its stream was not opened here: perhaps it was elsewhere, and the call is there.
            await self._fleet.confirm(call_sid)
        if self._registry.find(call_sid) is not None:
            return None
        found = await self._fleet.resolve(webhook)
        if isinstance(found, TakenCall):
            self._interrupted.go_on(found)
            return None
        return found

    async def _not_begun(self, why: str, agent: Agent, form: Form, origin: str) -> Response:
        """Answer about a new call for which the fleet has no session, or that another has."""
        call_sid, account_sid = form["CallSid"], form["AccountSid"]
        if why == CallLimit.SESSIONS:
            limit = CallLimit.SESSIONS
            self._metrics.refused("webhook", limit)
            sid = {"call_sid": call_sid}
            _log.warning("%s in the fleet: the call gets the busy answer", limit, extra=sid)
            filled, after = self._filled(agent, form), self._last(origin)
            numbers = _numbers(form)
            return xml(
                self._intake.turn_away(limit, call_sid, account_sid, filled, *numbers, after)
            )
        answer = await self.resolve(ForwardedWebhook("voice", dict(form), origin))
        if answer is not None:
            return Response(answer.body, answer.status, media_type=answer.media_type)
        entry = self._registry.find(call_sid)
        if entry is None or entry.session is None:
            return xml(twiml.hang_up())
        entry.receive(inputs.CallerReturning())
        entry.note_origin(origin)
        if self._fleet is not None:
            await self._fleet.store(entry)
        return xml(self._stream(entry, origin))

    def apology(self, call_sid: str) -> Response:
        """Return the answer to a request whose handler failed."""
        entry = self._registry.find(call_sid)
        agent = entry.agent if entry is not None else self._agents.agent_for(None)
        return xml(twiml.hang_up() if agent is None else responses.apology(agent))

    def _tell(
        self,
        news: News,
        request: AfterRequest,
        call_sid: str,
        entry: CallEntry | None,
    ) -> None:
        if news is News.CALL_OVER:
            self._registry.send(call_sid, inputs.CallOver())
        elif news is News.STREAM_LOST:
            self._registry.send(call_sid, inputs.LegLost("caller", "Twilio left the stream"))
        elif entry is not None and news is News.CALLER_RETURNING:
            entry.handoff.expect_back(request.stream)
        elif entry is not None and news is News.STREAM_LEFT:
            entry.handoff.begin()
        elif entry is not None and request.outcome is not None:
            entry.handoff.finish(request.outcome)

    def _document(
        self, which: AfterAnswer, form: Form, entry: CallEntry | None, origin: str
    ) -> str:
        if which is AfterAnswer.NOTHING:
            return twiml.nothing()
        if entry is not None and which is AfterAnswer.FAREWELL:
            return self._farewell(form["CallSid"], entry, origin)
        if entry is not None and which is AfterAnswer.CONTINUE:
            return self._continue(entry, origin)
        agent = self._agent_of(entry, form)
        if agent is None or which is AfterAnswer.HANG_UP:
            return twiml.hang_up()
        if which is AfterAnswer.APOLOGY:
            return responses.apology(agent)
        return self._farewells.fallback(form["CallSid"], agent, self._last(origin))

    def _stream(
        self,
        entry: CallEntry,
        origin: str,
        *,
        announcement: Announcement | None = None,
        keys: str = "",
    ) -> str:
        return twiml.connect(
            stream_url=wss(origin) + self._path,
            after_url=entry.handoff.after_url,
            stream_status_url=f"{origin}{self._path}/stream-status",
            token=entry.token,
            announcement=responses.announced(announcement),
            apology=responses.spoken(entry.agent, entry.agent.fallback.say),
            keys=keys,
        )

    def _continue(self, entry: CallEntry, origin: str) -> str:
        """Return TwiML for a caller whose call goes on; a repeated request gets the same."""
        action = entry.handoff.action
        if action is None or entry.handoff.is_returning:
            return self._stream(entry, origin)
        url = f"{origin}{self._path}/after?left={entry.handoff.count}"
        match action:
            case SendDigits(digits):
                return self._stream(entry, origin, keys=digits)
            case JoinConference(conference=conference):
                return twiml.wait_in(conference, url)
            case dial:
                timeout_s, caller_id = dial.timeout_s, dial.caller_id
                return twiml.dial(dial.to, url, timeout_s=timeout_s, caller_id=caller_id)

    def _farewell(self, call_sid: str, entry: CallEntry, origin: str) -> str:
        farewells, ending = self._farewells, entry.ending
        if ending is None:
            return farewells.hang_up(call_sid)
        return farewells.after_ending(call_sid, entry.agent, ending, self._last(origin))

    def _last(self, origin: str) -> str:
        """Return the address that Twilio asks after a farewell, for which the answer is the end."""
        return f"{origin}{self._path}/after?last=1"

    def _agent_of(self, entry: CallEntry | None, form: Form) -> Agent | None:
        if entry is not None:
            return entry.agent
        is_outbound = form.get("Direction", "").startswith("outbound")
        agent = self._agents.agent_for(form.get("From" if is_outbound else "To"))
        return self._filled(agent, form) if agent is not None else None

    def _filled(self, agent: Agent, form: Form) -> Agent:
        """Return an agent with the variables of a call not taken in: without a lookup."""
        return agent.filled(values_for(agent, form["CallSid"], *_numbers(form)))


def xml(document: str) -> Response:
    """Return a response that holds a TwiML document."""
    return Response(document, media_type="text/xml")


def _state(entry: CallEntry | None) -> KnownCall | None:
    if entry is None:
        return None
    return KnownCall(
        entry.handoff.count,
        is_away=entry.handoff.action is not None,
        is_interrupted=entry.is_interrupted,
        has_ended=entry.ending is not None,
    )


def _numbers(form: Form) -> tuple[str, str]:
    """Return the caller's number and the called number; empty where Twilio does not tell."""
    return form.get("From", ""), form.get("To", "")
