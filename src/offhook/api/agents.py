"""Routes of agents: those in use, their files and functions, trials, check and reload."""

import json

from fastapi import APIRouter

from offhook.api import routers
from offhook.api.models import (
    AgentsResponse,
    CheckResponse,
    ReloadResponse,
    TryFunctionRequest,
)
from offhook.api.operator import Operator
from offhook.api.principal import needs
from offhook.link.agent_records import AgentDetails, TrialRequest
from offhook.tools.trials import FunctionTrial
from offhook.users.principal import Role


def router(operator: Operator) -> APIRouter:
    """Return the routes of agents."""
    made = routers.for_users("agents")
    unknown = {"description": "There is no such agent or function."}

    @made.get(
        "/agents",
        operation_id="listAgents",
        summary="List the agents in use",
        response_model=AgentsResponse,
    )
    async def list_agents() -> AgentsResponse:
        """List the agents that new calls get, with their lines and variables."""
        return AgentsResponse(agents=await operator.processes.newest().agents())

    @made.post(
        "/agents/reload",
        operation_id="reloadAgents",
        summary="Read the agent files again",
        dependencies=[needs(Role.ADMIN)],
        response_model=ReloadResponse,
        responses={
            409: {"description": "These files need a restart."},
            422: {
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

    @made.post(
        "/agents/check",
        operation_id="checkAgents",
        summary="Check the files as they are now",
        response_model=CheckResponse,
    )
    async def check_agents() -> CheckResponse:
        """Return what `offhook check` says of offhook.yaml, the agent files and the tool files.

        Nothing changes; the tool files are loaded, as Python files that run.
        """
        findings = await operator.processes.newest().check_files()
        errors = sum(finding.level == "error" for finding in findings)
        return CheckResponse(errors=errors, findings=findings)

    @made.get(
        "/agents/{name:path}",
        operation_id="showAgent",
        summary="Show an agent",
        response_model=AgentDetails,
        responses={404: unknown},
    )
    async def show_agent(name: str) -> AgentDetails:
        """Return an agent's file as it was loaded, secrets masked, and its functions."""
        return await operator.processes.newest().agent(name)

    @made.post(
        "/agents/{name:path}/functions/{function}",
        operation_id="tryFunction",
        summary="Try a function",
        dependencies=[needs(Role.ADMIN)],
        response_model=FunctionTrial,
        responses={
            404: unknown,
            409: {
                "description": "It cannot be taken back, and was not confirmed.",
            },
        },
    )
    async def try_function(name: str, function: str, asked: TryFunctionRequest) -> FunctionTrial:
        """Run a function of an agent without a call, under the limits of one.

        The answer has what the agent of a call would have been told, and the time that it took. The
        function is told of a call that has no numbers, and to which nothing can be done.
        """
        arguments = json.dumps(asked.arguments)
        request = TrialRequest(name, function, arguments, asked.variables, asked.confirmed)
        return await operator.processes.newest().try_function(request)

    return made
