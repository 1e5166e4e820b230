"""Errors of the API: UserErrors with their HTTP status, as problem details (RFC 9457)."""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import JSONResponse

from offhook.api.models import ProblemResponse
from offhook.errors import UserError
from offhook.outbound.errors import TryLaterError

MEDIA_TYPE: Final = "application/problem+json"


class ApiError(Exception):
    """A UserError with its HTTP status and headers."""

    def __init__(
        self, status: int, problem: UserError, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(problem.code)
        self.status = status
        self.problem = problem
        self.headers = dict(headers or {})

    @classmethod
    def of(cls, problem: UserError, status: Mapping[str, int]) -> "ApiError":
        """Return a UserError with its status: by its code, else 422, or 503 when it is temporary.

        One that is temporary says in `Retry-After` when the request may be repeated.
        """
        if isinstance(problem, TryLaterError):
            after = {"Retry-After": str(math.ceil(problem.after_s))}
            return cls(status.get(problem.code, 503), problem, after)
        return cls(status.get(problem.code, 422), problem)


STATUS: Final = {
    "E-AGENT-01": 404,
    "E-AGENT-02": 404,
    "E-AGENT-03": 409,  # to be confirmed
    "E-AGENT-04": 503,
    "E-AGENT-05": 503,
    "E-AGENT-06": 503,
    "E-API-15": 500,  # a fault in the call process
    "E-CFG-07": 409,  # the files are right, but this server cannot use them
    "E-REC-05": 503,
    "E-ASK-04": 404,
    "E-AUD-03": 500,  # the record's entry of the recording is wrong, or its file is
    "E-AUD-04": 404,
    "E-AUD-05": 500,
    "E-AUD-06": 404,
    "E-ERA-03": 500,
    "E-USR-03": 409,
    "E-USR-04": 404,
    "E-LINK-03": 503,
    "E-LINK-04": 503,
}
"""HTTP statuses of UserErrors from other parts; every other code is the client's mistake: 422."""


class ProblemJson(JSONResponse):
    """A response that holds problem details."""

    media_type = MEDIA_TYPE


def response(refused: ApiError | UserError) -> ProblemJson:
    """Return the response for an error: its problem details, with `code` and `fix`."""
    if isinstance(refused, UserError):
        refused = ApiError.of(refused, STATUS)
    problem = refused.problem
    body = {
        "type": f"urn:offhook:error:{problem.code}",
        "title": HTTPStatus(refused.status).phrase,
        "status": refused.status,
        "detail": problem.what,
        "code": problem.code,
        "fix": problem.fix,
    }
    return ProblemJson(body, refused.status, refused.headers)


def documented(schema: dict[str, Any]) -> dict[str, Any]:
    """Return an OpenAPI document in which each error has problem details."""
    shapes = schema["components"]["schemas"]
    shapes[ProblemResponse.__name__] = ProblemResponse.model_json_schema()
    schema["components"]["schemas"] = dict(sorted(shapes.items()))
    body = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{ProblemResponse.__name__}"}}}
    for path in schema["paths"].values():
        for operation in path.values():
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    answer["content"] = body
    return schema
