"""Requests of Twilio's that another call process of the fleet is to answer.

A load balancer may bring each to any node. What concerns a live call belongs to the process that
has the call; what concerns a leg, or a call that the directory does not have, belongs to the node
in its path. A request about nobody's call is answered here, as on a server alone.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeAlias

from offhook.calls.compose import CallHandling
from offhook.calls.forwarded import ForwardedWebhook, WebhookAnswer
from offhook.fleet.places import CallPlace, DirectoryAwayError, FleetProcess
from offhook.outbound.outbound_calls import OutboundCalls
from offhook.webhooks.callbacks import PERSON

PLACING: Final = "placing"
"""Query parameter with the id of an attempt to place a call (outbound/outbound_calls.py)."""

NEW_CALL_TRIES: Final = 2
"""Other processes that are asked, one after the other, to take a new call."""

Forward: TypeAlias = Callable[[str, ForwardedWebhook], Awaitable[WebhookAnswer | None]]
"""Function that has the process of an id answer a request; None: it cannot, or is not reached."""


class KnownSubjects:
    """Decides whether this process knows what a request is about."""

    def __init__(self, calls: CallHandling, placing: OutboundCalls | None) -> None:
        self._calls = calls
        self._placing = placing

    def has(self, webhook: ForwardedWebhook) -> bool:
        """Return whether a request is this process's; that about a new call is anybody's.

        A process that drains takes no new call.
        """
        return self.knows(webhook) or (
            webhook.name == "voice" and not self._calls.registry.is_draining
        )

    def knows(self, webhook: ForwardedWebhook) -> bool:
        """Return whether this process has heard of what a request is about."""
        form = webhook.form
        if PERSON in form:
            return self._calls.transfers.knows(form[PERSON])
        if self.has_call(webhook):
            return True
        call_sid = form["CallSid"]
        following = None if self._placing is None else self._placing.following
        return following is not None and following.knows(call_sid, form.get(PLACING, ""))

    def has_call(self, webhook: ForwardedWebhook) -> bool:
        """Return whether this process has, or has just had, the call of a request."""
        registry, call_sid = self._calls.registry, webhook.form["CallSid"]
        return registry.find(call_sid) is not None or registry.pending_lookup(call_sid) is not None


class OtherNodes:
    """The other call processes of the fleet, as requests of Twilio's are brought to them.

    Args:
        node: The name of this node.
        calls: The calls of this process.
        known: Decides whether this process knows what a request is about.
        processes: Returns the processes of the fleet, the oldest of each node first.
        find: Returns the place of a call; raises DirectoryAwayError.
        forward: Has a process answer a request.
    """

    def __init__(
        self,
        node: str,
        calls: CallHandling,
        known: KnownSubjects,
        *,
        processes: Callable[[], Iterable[FleetProcess]],
        find: Callable[[str], Awaitable[CallPlace | None]],
        forward: Forward,
    ) -> None:
        self.node: Final = node
        self._calls = calls
        self._known = known
        self._processes = processes
        self._find = find
        self._forward = forward

    async def answer(self, webhook: ForwardedWebhook, node: str) -> WebhookAnswer | None:
        """Return the answer of another process to a request; None: this one is to answer.

        `node` is the node in the request's path.
        """
        if webhook.name == "voice":
            return await self._by_ready_process(webhook)
        is_placed, is_known = PLACING in webhook.form, self._known.has(webhook)
        if is_known and (not is_placed or self._known.has_call(webhook)):
            return None
        if PERSON in webhook.form:
            return await self._by_node(webhook, node)
        if webhook.name == "after":
            return None  # CallFlow may have to take the call
        try:
            place = await self._find(webhook.form["CallSid"])
        except DirectoryAwayError:
            place = None
        if place is None:  # one that is being placed has no CallSid yet
            return None if is_known else await self._by_node(webhook, node)
        if place.is_mine or not place.process_id:
            return None
        return await self._forward(place.process_id, webhook)

    async def _by_ready_process(self, webhook: ForwardedWebhook) -> WebhookAnswer | None:
        """Have a new call taken by the process with the most room, as this one takes none."""
        registry, call_sid = self._calls.registry, webhook.form["CallSid"]
        if not registry.is_draining or registry.find(call_sid) is not None:
            return None
        ready = [
            one
            for one in self._processes()
            if one.is_alive and not one.is_draining and not one.is_mine and one.live < one.capacity
        ]
        ready.sort(key=lambda one: one.live / one.capacity)
        return await self._by_one_of(ready[:NEW_CALL_TRIES], webhook)

    async def _by_node(self, webhook: ForwardedWebhook, node: str) -> WebhookAnswer | None:
        of_node = [one for one in self._processes() if one.node == node and not one.is_mine]
        alive = [one for one in of_node if one.is_alive]
        return await self._by_one_of(alive[::-1], webhook)

    async def _by_one_of(
        self, processes: Iterable[FleetProcess], webhook: ForwardedWebhook
    ) -> WebhookAnswer | None:
        """Return the answer of the first that has one."""
        for process in processes:
            answer = await self._forward(process.process_id, webhook)
            if answer is not None:
                return answer
        return None
