"""Route GET /api/v1/quality: how well calls went, by agent or by day."""

from datetime import UTC
from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import Connection
from starlette.responses import Response

from offhook.api import routers
from offhook.api.models import QualityRequest
from offhook.api.operator import Operator
from offhook.clock import wall_clock
from offhook.records.quality import Quality, quality


def router(operator: Operator) -> APIRouter:
    """Return the route of quality."""
    made = routers.for_users("calls")

    @made.get(
        "/quality",
        operation_id="showQuality",
        summary="Show the quality of calls",
        response_model=Quality,
    )
    async def show_quality(asked: Annotated[QualityRequest, Query()]) -> Response:
        """Return figures of all calls, and of each agent or day (UTC).

        Endings, latencies, barge-ins, silence and cost: docs/console.md says what each one means.
        """
        which = asked.filter(wall_clock(UTC))

        def question(connection: Connection) -> Quality:
            return quality(connection, which, asked.by, operator.prices.currency)

        return await operator.answer(question)

    return made
