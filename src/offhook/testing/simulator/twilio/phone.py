"""Places a rehearsed call: somebody rings the server that is rehearsed.

It requests the voice webhook, executes the TwiML that it gets, opens the stream and posts the
callbacks; all of which is done in calls/. Source: twilio.md §1.2, §1.7, §1.10, §2 and §4.

It speaks to one host, as webhooks.py says; a URL of another host is noted and never contacted.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
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
"""Simulated seconds that a dialled call takes, where nobody in particular is dialled."""

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
) -> LegReport[_PartyT]:
    """Call a number whose voice webhook (http, https) or media stream (ws, wss) is `to_url`.

    `auth_token` signs, or a shared key in its place; without it nothing is signed. `public_url` is
    the origin that a server behind a plain `to_url` takes itself to have, if another (webhooks.py).
    `parameters` are the stream's, when `to_url` is one. `dial_status` is what becomes of every
    <Dial>, unless there is a `network`: its people are dialled, its account can redirect and end
    the call. The caller hangs up `hang_up_after_s` after the answer, whatever is going on.
    A call that is not over after `time_limit_s` simulated seconds is hung up, which its report
    calls a fault. Cancelling it hangs up; then, as after a normal end, no connection and no task is
    left. Raises UserError E-REH-02 for another `to_url`.
    """
    front = RehearsedHost(to_url, auth_token, public_url)
    report = LegReport(account_sid, call_sid or new_sid("CA"), caller)
    async with _network(network, front, clock, account_sid, dial_status) as at:
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
            if not front.is_stream:
                return await follow(leg, Request(front.url), fallback_url)
            leg.answer()
            nouns = tuple(
                Verb("Parameter", {"name": name, "value": value}, "", ())
                for name, value in (parameters or {}).items()
            )
            noun = Verb("Stream", {"url": front.url}, "", nouns)
            return _end_of_stream(await stream(leg, noun, front.url))

        if time_limit_s is not None:
            leg.at(time_limit_s, lambda: leg.end("given_up"))
        ending = await leg.run(work)
        leg.finish(ending, final_status(ending))
    return report


@asynccontextmanager
async def _network(
    network: SimulatedNetwork | None,
    front: RehearsedHost,
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
    async with simulated_network(account_sid, front, clock, lambda to: dialled) as own:
        yield own


def _end_of_stream(ended_by: EndedBy | None) -> Ending:
    if ended_by == "caller":
        return "caller_hung_up"
    return "stream_closed" if ended_by == "server" else "stream_failed"
