"""Streams with wrong, expired, foreign and replayed tokens, at every node of a fleet."""

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import httpx2
from bench.fleet_checks import RowOutcome
from tests.fleet.harness import KEY, NUMBER, Fleet
from tests.fleet.node import FleetNode
from tests.fleet.twilio import PUBLIC
from tests.waiting import GIVEN_UP_AFTER_S, until
from tests.whole_server import ACCOUNT, STREAM, TOKEN, RawStream, fresh_sid

from offhook.fleet.tokens import StreamTokens
from offhook.net import websocket
from offhook.testing.simulator.twilio.webhooks import Request
from offhook.twilio import messages
from offhook.twilio.signature import HEADER, sign

OTHER_KEY: Final = "another-key-that-is-just-as-long-as-ours"
REFUSED: Final = 1008


async def tokens(fleet: Fleet) -> RowOutcome:
    """Try every wrong token at every node, then the right one, and that once more everywhere."""
    outcome = RowOutcome()
    tried = 0
    for node in fleet.nodes.values():
        tried += await tokens_at(fleet, node, outcome)
    outcome.text = f"{tried} tried at {len(fleet.nodes)} nodes, {len(outcome.wrong)} not refused"
    return outcome


async def tokens_at(fleet: Fleet, node: FleetNode, outcome: RowOutcome) -> int:
    """Try the tokens of one call at a node, and return how many wrong ones."""
    sid, other = fresh_sid(), fresh_sid()
    token, foreign = await announced(fleet, sid), await announced(fleet, other)
    wrong = list(wrong_tokens(token, foreign))
    for kind, text in wrong:
        code = await refused(node, sid, text)
        outcome.check(code == REFUSED, f"{kind} at node {node.name}: {code}")
    stream = await opened(node)
    stream.start(sid, token)
    stream.speak(5)
    await until(lambda: len(stream.received) > 5 or stream.closed.done())
    outcome.check(not stream.closed.done(), f"the right token at node {node.name} is refused")
    for again in fleet.nodes.values():
        code = await refused(again, sid, token)
        outcome.check(code == REFUSED, f"replayed at node {again.name}: {code}")
    count = len(stream.received)
    await until(lambda: len(stream.received) > count + 5 or stream.closed.done())
    outcome.check(not stream.closed.done(), f"a replay at node {node.name} ended the call")
    sessions = sum(one.open for one in fleet.agent.of(sid))
    outcome.check(sessions == 1, f"a call has {sessions} agents")
    if not stream.closed.done():
        stream.send(messages.Stop(stream_sid=STREAM, stop=messages.StopDetails()))
        await stream.end()
    for one in (sid, other):
        await asked(fleet, "status", one, CallStatus="completed", CallDuration="1")
    return len(wrong) + len(fleet.nodes)


def wrong_tokens(token: str, foreign: str) -> Iterator[tuple[str, str | None]]:
    """Return tokens that must be refused for a call whose token is `token`."""
    ours = StreamTokens([KEY], "", "", lambda: None)
    content = ours.read(token)
    body, _, signature = token.partition(".")
    yield "no token", None
    yield "garbage", "garbage"
    yield (
        "a token that was changed",
        f"{body}.{signature[:-1]}{'0' if signature[-1] != '0' else '1'}",
    )
    yield "a token of another call", foreign
    yield "an expired token", ours.signed(replace(content, expires_ms=1))
    theirs = StreamTokens([OTHER_KEY], "", "", lambda: None)
    yield "a token of another key", theirs.signed(content)
    yield "a token with another nonce", ours.signed(replace(content, nonce="x" * 24))


async def announced(fleet: Fleet, sid: str) -> str:
    """Ask the voice webhook, and return the token of the call's stream."""
    answer = await asked(fleet, "voice", sid, CallStatus="ringing")
    found = re.search(r'name="token" value="([^"]+)"', answer.text)
    assert found is not None, answer.text
    return found[1]


async def asked(fleet: Fleet, name: str, sid: str, **form: str) -> httpx2.Response:
    whole = {"CallSid": sid, "AccountSid": ACCOUNT, "From": "+12025550142", "To": NUMBER, **form}
    request = Request(f"{PUBLIC}/twilio/{name}", parameters=whole)
    return await fleet.front.send(fleet.account.network.http, request)


async def opened(node: FleetNode) -> RawStream:
    """Open a media stream at a node, as the balancer hands it on."""
    stream = RawStream()
    headers = {
        HEADER.lower(): sign(TOKEN, f"{PUBLIC.replace('https', 'wss')}/twilio"),
        "Host": PUBLIC.removeprefix("https://"),
        "X-Forwarded-Proto": "https",
    }
    await websocket.connect(
        f"ws://{node.netloc}/twilio",
        stream,
        headers=headers,
        timeout=GIVEN_UP_AFTER_S,
        max_size=2**20,
    )
    return stream


async def refused(node: FleetNode, sid: str, token: str | None) -> int | None:
    """Open a stream with a token; return the code with which it is closed."""
    stream = await opened(node)
    stream.start(sid, token)
    stream.speak(2)
    began = time.monotonic()
    await until(lambda: stream.closed.done() or time.monotonic() - began > 30)
    if not stream.closed.done():
        stream.channel.abort()
        return None
    return stream.closed.result().received
