"""Route POST /api/v1/agents/reload: use the agent files as they are now."""

from fastapi import APIRouter

from offhook.api.models import ProblemResponse, ReloadResponse
from offhook.api.operator import Operator
from offhook.api.principal import needs
from offhook.users.principal import Role


def router(operator: Operator) -> APIRouter:
    """Return the route for reloading."""
    made = APIRouter(tags=["agents"])

    @made.post(
        "/agents/reload",
        operation_id="reloadAgents",
        summary="Read the agent files again",
        dependencies=[needs(Role.ADMIN)],
        response_model=ReloadResponse,
        responses={
            409: {"model": ProblemResponse, "description": "These files need a restart."},
            422: {
                "model": ProblemResponse,
                "description": "A file has a mistake; `detail` has its line and column.",
            },
        },
    )
    async def reload_agents() -> ReloadResponse:
        """Read offhook.yaml, the agent files and the tool files again, and check all of them.

        New calls get the agents, lines and transfers of now; live calls keep their agents. After
        a mistake in any file nothing has changed.
        """
        report = await operator.processes.reload()
        return ReloadResponse(
            agents=[*report.agents], lines=report.lines, restart=[*report.restart]
        )

    return made
