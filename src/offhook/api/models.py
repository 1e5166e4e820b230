"""What the API takes and gives beyond the answers of records/models.py, for OpenAPI."""

from datetime import datetime
from typing import Any, Literal

import pydantic
from pydantic import Field

from offhook.records.filters import FILTER_FIELDS, CallFilter
from offhook.twilio.call_status import Status

_NOTES = {"TIME": " A time without a zone is UTC.", "+…": " In a URL, + is %2B."}
"""What a query parameter's description adds, by its metavar."""


class ApiModel(pydantic.BaseModel):
    """What every one of them has in common."""

    model_config = pydantic.ConfigDict(extra="forbid", use_attribute_docstrings=True)


class ProblemResponse(ApiModel):
    """What went wrong and why, and the one thing that fixes it. Codes: docs/errors.md."""

    code: str = Field(examples=["E-ASK-04"])
    what: str = Field(examples=["There is no call with that CallSid."])
    fix: str = Field(examples=["See which there are: GET /api/calls"])


_FILTERS: dict[str, Any] = {
    field.name: (
        field.kind | None,
        Field(
            default=None,
            description=field.help + _NOTES.get(field.metavar or "", ""),
            examples=None if field.example is None else [field.example],
        ),
    )
    for field in FILTER_FIELDS
}


_Filters = pydantic.create_model("_Filters", __base__=ApiModel, **_FILTERS)


class CallsRequest(_Filters):  # type: ignore[valid-type, misc]  # made from the table
    """Which calls are meant: those that meet everything that is given."""

    def filter(self, now: datetime) -> CallFilter:
        """Return the filter. Raises UserError E-ASK-01 and E-ASK-03 for what cannot be."""
        return CallFilter.of(self.model_dump(), now)


class ListCallsRequest(CallsRequest):
    """Which calls, and which page of them."""

    limit: int = Field(default=50, json_schema_extra={"minimum": 1, "maximum": 500})
    """How many calls on a page."""
    cursor: str | None = None
    """`next_cursor` of the page before."""


class SumCallsRequest(CallsRequest):
    """Which calls, and what they are summed by."""

    by: Literal["agent", "day"] | None = None
    """Without it there is one sum, of all."""


class LinkResponse(ApiModel):
    """A link to a call's audio that needs no token."""

    url: str
    """Path and query, to be put behind this server's address. `&format=pcm16` may be added."""
    expires: int
    """When it stops to work, in seconds since 1970 (UTC)."""


class LinkRequest(ApiModel):
    """How long a link is to work."""

    lasts_s: int = Field(default=3600, ge=1, le=7 * 24 * 3600)
    """Seconds; a week at most."""


class DoneResponse(ApiModel):
    """It was done."""

    done: Literal[True]
    what: str = Field(examples=["it is being said"])
    """What happened."""


class RecordingResponse(DoneResponse):
    """What has become of it."""

    call_sid: str
    state: Literal["paused", "recording"]


class PlaceCallRequest(ApiModel):
    """A call that is to be placed."""

    to: str = Field(examples=["+12025550142"])
    """Whom to call, in E.164."""
    agent: str = Field(examples=["reminder"])
    """The name of the agent that is to talk."""
    variables: dict[str, str] = Field(default={}, examples=[{"name": "Ada"}])
    """What fills `{{name}}`."""
    timezone: str | None = Field(default=None, examples=["Europe/Berlin"])
    """Where the person is. Without it, every time zone in which the number may be counts."""

    """Of the called person; unless it is given, the agent's."""
    within_hours: bool = False
    """Whether to call only within the agent's calling hours, in that time zone."""


class PlaceCallResponse(ApiModel):
    """There is a call. Whether anybody answers, its status tells."""

    call_sid: str
    again: bool
    """It was placed before, under the same idempotency key; nobody was rung now."""


class CallStatusResponse(ApiModel):
    """What is known of a call that was placed."""

    call_sid: str
    status: Status
    final: bool
    """Whether nothing more can happen."""
    answered_by: str | None
    """Twilio's verdict, such as human or machine_end_beep; null: none has come."""
    slug: str | None
    """How it ended for Offhook; null: it has not."""
    words: str | None
    """The same in words."""


class PeaksResponse(ApiModel):
    """How loud each side is at its loudest, 0 to 255, in stretches of `bucket_ms`."""

    bucket_ms: int
    length_ms: int
    caller: list[int]
    agent: list[int]


class EraseResponse(ApiModel):
    """What was removed, by kind: rows by their tables, and files."""

    removed: dict[str, int] = Field(examples=[{"calls": 1, "utterances": 12, "recordings": 1}])
