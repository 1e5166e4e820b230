"""Calls whose webhook, stream and next question come to different nodes, of real processes."""

from pathlib import Path

from sqlalchemy.engine import URL
from tests.fleet.harness import Fleet, fleet


def everything_to(fleet: Fleet, name: str) -> None:
    fleet.front.pick = lambda path: fleet.node(name).netloc


def webhooks_and_streams(fleet: Fleet, webhooks: str, streams: str) -> None:
    def pick(path: str) -> str:
        is_webhook = path.rpartition("/")[2] in ("voice", "after", "status", "stream-status")
        return fleet.node(webhooks if is_webhook else streams).netloc

    fleet.front.pick = pick


async def test_a_call_is_had_by_the_node_of_its_stream_and_outlives_it(
    tmp_path: Path, database: URL
) -> None:
    async with fleet(tmp_path, database, nodes=("a", "b"), balancer=None, routed=False) as them:
        # The stream comes to another node than the webhook.
        webhooks_and_streams(them, "a", "b")
        call = await them.call()
        assert await them.owner(call) is them.node("b")
        assert len(call.sessions) == 1, "no leg was dialled for nothing"
        # The owner dies, and Twilio asks the other one.
        everything_to(them, "a")
        them.node("b").kill()
        await call.back(2)
        assert await them.owner(call) is them.node("a")
        assert [session.greets for session in call.sessions] == [True, False]
        # Another call's owner lives, and is asked by way of the other node.
        await them.node("b").start()
        everything_to(them, "b")
        second = await them.call()
        assert await them.owner(second) is them.node("b")
        everything_to(them, "a")
        report = await second.hang_up()
        assert not report.faults
        await call.hang_up()
        assert not [one for one in them.front.wrong() if one.failures or one.status is not None]
