"""Errors of the API: UserErrors with their HTTP status."""

from collections.abc import Mapping
from typing import Final

from starlette.responses import JSONResponse

from offhook.errors import UserError


class ApiError(Exception):
    """A UserError with its HTTP status and headers."""

    def __init__(
        self, status: int, problem: UserError, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(problem.code)
        self.status = status
        self.problem = problem
        self.headers = dict(headers or {})


STATUS: Final = {
    "E-REC-05": 503,
    "E-ASK-04": 404,
    "E-AUD-03": 500,  # the record's entry of the recording is wrong, or its file is
    "E-AUD-04": 404,
    "E-AUD-05": 500,
    "E-ERA-03": 500,
}
"""HTTP statuses of UserErrors from other parts; every other code is the client's mistake: 422."""


def response(refused: ApiError | UserError) -> JSONResponse:
    """Return the response for an error: `{"code", "what", "fix"}`."""
    if isinstance(refused, UserError):
        refused = ApiError(STATUS.get(refused.code, 422), refused)
    problem = refused.problem
    body = {"code": problem.code, "what": problem.what, "fix": problem.fix}
    return JSONResponse(body, refused.status, refused.headers)
