"""Placing of a rehearsed call to the server that is rehearsed.

A call requests the voice webhook, executes the TwiML of its answer, opens the stream and posts the
callbacks; calls/ does all of this. Source: twilio.md §1.2, §1.7, §1.10, §2 and §4.

A call contacts one host only (webhooks.py). A URL of another host is noted and never contacted.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, TypeVar

from offhook.clock import Clock
from offhook.testing.simulator.twilio.call_report import CallParty, LegReport
from offhook.testing.simulator.twilio.calls.executing import follow
from offhook.testing.simulator.twilio.calls.leg import (
    Leg,
    StatusSubscription,
    final_status,
    new_sid,
)
from offhook.testing.simulator.twilio.calls.media_stream import stream
from offhook.testing.simulator.twilio.calls.network import SimulatedNetwork, simulated_network
from offhook.testing.simulator.twilio.calls.people import SimulatedPerson
from offhook.testing.simulator.twilio.ending import Ending
from offhook.testing.simulator.twilio.stream import EndedBy
from offhook.testing.simulator.twilio.verbs import Verb
from offhook.testing.simulator.twilio.webhooks import RehearsedHost, Request
from offhook.twilio.signature import SharedKey

DIAL_S: Final = 3.0
"""Simulated seconds that a dialled call takes in a call without a `network`."""

_PartyT = TypeVar("_PartyT", bound=CallParty)

DialStatus: TypeAlias = Literal["completed", "busy", "no-answer", "failed"]


async def place_call(
    to_url: str,
    caller: _PartyT,
    *,
    clock: Clock,
    auth_token: str | SharedKey | None,
    account_sid: str,
    from_: str,
    to: str,
    call_sid: str | None = None,
    parameters: Mapping[str, str] | None = None,
    public_url: str | None = None,
    status_callback: str | None = None,
    fallback_url: str | None = None,
    dial_status: DialStatus = "completed",
    time_limit_s: float | None = None,
    network: SimulatedNetwork | None = None,
    hang_up_after_s: float | None = None,
    bins: Mapping[str, str] = MappingProxyType({}),
) -> LegReport[_PartyT]:
    """Call a number whose voice webhook (http, https) or media stream (ws, wss) is `to_url`.

    `auth_token`, an Auth Token or a shared key, signs the requests; with None nothing is signed.
    `public_url` is the public origin of a server behind a plain `to_url`, if it has another
    (webhooks.py). `parameters` are those of the stream, if `to_url` is one. `dial_status` is the
    result of every <Dial>, unless there is a `network`: then its people are dialled, and its
    account can redirect and end the call. `bins` are TwiML documents that Twilio hosts, by URL,
    such as that of `fallback_url`. The caller hangs up `hang_up_after_s` seconds after the answer.
    A call that is not over after `time_limit_s` simulated seconds is hung up, which is a fault in
    its report. Cancelling this function hangs up; then, as after a normal end, no connection and no
    task is left. Raises UserError E-REH-02 for any other `to_url`.
    """
    host = RehearsedHost(to_url, auth_token, public_url)
    report = LegReport(account_sid, call_sid or new_sid("CA"), caller)
    async with _network(network, host, clock, account_sid, dial_status) as at:
        at.bins.update(bins)
        leg = Leg(
            at,
            report,
            from_=from_,
            to=to,
            direction="inbound",
            person=SimulatedPerson(talks_s=None, hang_up_after_s=hang_up_after_s),
            told=StatusSubscription(status_callback) if status_callback is not None else None,
        )
        leg.status = "ringing"

        async def work() -> Ending:
            if not host.is_stream:
                return await follow(leg, Request(host.url), fallback_url)
            leg.answer()
            nouns = tuple(
                Verb("Parameter", {"name": name, "value": value}, "", ())
                for name, value in (parameters or {}).items()
            )
            noun = Verb("Stream", {"url": host.url}, "", nouns)
            return _end_of_stream(await stream(leg, noun, host.url))

        if time_limit_s is not None:
            leg.at(time_limit_s, lambda: leg.end("given_up"))
        ending = await leg.run(work)
        leg.finish(ending, final_status(ending))
    return report


@asynccontextmanager
async def _network(
    network: SimulatedNetwork | None,
    host: RehearsedHost,
    clock: Clock,
    account_sid: str,
    dial_status: DialStatus,
) -> AsyncIterator[SimulatedNetwork]:
    if network is not None:
        yield network
        return
    dialled = (
        SimulatedPerson(after_s=0.0, talks_s=DIAL_S)
        if dial_status == "completed"
        else SimulatedPerson(dial_status, after_s=DIAL_S)
    )
    async with simulated_network(account_sid, host, clock, lambda to: dialled) as own:
        yield own


def _end_of_stream(ended_by: EndedBy | None) -> Ending:
    if ended_by == "caller":
        return "caller_hung_up"
    return "stream_closed" if ended_by == "server" else "stream_failed"
