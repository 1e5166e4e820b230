"""Models of the API's requests and responses, beyond records/models.py, for OpenAPI."""

import ast
import functools
import inspect
import itertools
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from offhook.link.agent_records import AgentFinding, AgentSummary
from offhook.records.filters import FILTER_FIELDS, CallFilter
from offhook.twilio.call_status import Status

_NOTES = {"TIME": " A time without a zone is UTC.", "+…": " In a URL, + is %2B."}
"""Additions to a query parameter's description, by its metavar."""


class ApiModel(pydantic.BaseModel):
    """Base of the API's models. The docstring of a field is its description."""

    model_config = pydantic.ConfigDict(extra="forbid")

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = cls.__annotations__
        for name, said in _docstrings(cls.__module__).get(cls.__name__, {}).items():
            own[name] = Annotated[own[name], Field(description=said)]


@functools.cache  # pydantic would look for the source of each model: a fifth of the start
def _docstrings(module: str) -> Mapping[str, Mapping[str, str]]:
    """Return the docstrings of the attributes of a module's classes, by their names."""
    classes = {}
    for statement in ast.parse(inspect.getsource(sys.modules[module])).body:
        if isinstance(statement, ast.ClassDef):
            classes[statement.name] = {
                field.target.id: inspect.cleandoc(said.value.value)
                for field, said in itertools.pairwise(statement.body)
                if isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(said, ast.Expr)
                and isinstance(said.value, ast.Constant)
                and isinstance(said.value.value, str)
            }
    return classes


class ProblemResponse(ApiModel):
    """An error as problem details (RFC 9457), with the code of docs/errors.md and a remedy."""

    type: str = Field(examples=["urn:offhook:error:E-ASK-04"])
    """URI of this kind of error; it has the code."""
    title: str = Field(examples=["Not Found"])
    """Phrase of the HTTP status."""
    status: int = Field(examples=[404])
    detail: str = Field(examples=["There is no call with that CallSid."])
    """Description of the error and its reason."""
    code: str = Field(examples=["E-ASK-04"])
    fix: str = Field(examples=["See which there are: GET /api/v1/calls"])
    """The one step that fixes it."""


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
    """Filter of calls: those that meet all given conditions."""

    def filter(self, now: datetime) -> CallFilter:
        """Return the filter. Raises UserError E-ASK-01 and E-ASK-03 for impossible values."""
        return CallFilter.of(self.model_dump(), now)


class ListCallsRequest(CallsRequest):
    """Filter of calls, and a page of them."""

    limit: int = Field(default=50, json_schema_extra={"minimum": 1, "maximum": 500})
    """Number of calls on a page."""
    cursor: str | None = None
    """`next_cursor` of the previous page."""


class SumCallsRequest(CallsRequest):
    """Filter of calls, and the key by which they are summed."""

    by: Literal["agent", "day"] | None = None
    """Key of the sums; without it there is one sum of all calls."""


class LoadResponse(ApiModel):
    """Live calls, and the capacity of all that takes calls."""

    load: float = Field(examples=[0.24])
    """`live` divided by `capacity`; more than 1 is possible while something drains."""
    live: int = Field(examples=[36])
    capacity: int = Field(examples=[150])
    """Sum of `server.capacity`, without what drains."""
    nodes: int = Field(examples=[3])
    """Nodes that take calls."""


class PricesResponse(ApiModel):
    """Prices of a minute, as `records.prices` has them; null: no prices."""

    currency: str = Field(examples=["USD"])
    twilio_minute: float | None
    """The price of a call at Twilio, for each begun minute."""
    stream_minute: float | None
    """The price of a media stream, for each begun minute."""
    deepgram_minute: dict[str, float] = Field(examples=[{"standard": 0.075}])
    """The price of a minute of connection, by tier."""


_QualityFilters = pydantic.create_model(
    "_QualityFilters",
    __base__=ApiModel,
    **{name: _FILTERS[name] for name in ("since", "until", "agent")},
)


class QualityRequest(_QualityFilters):  # type: ignore[valid-type, misc]  # made from the table
    """Filter of calls, and the key by which their figures are grouped."""

    by: Literal["agent", "day"] = "day"
    """Key of the groups."""

    def filter(self, now: datetime) -> CallFilter:
        """Return the filter. Raises UserError E-ASK-01 and E-ASK-03 for impossible values."""
        nothing = dict.fromkeys(field.name for field in FILTER_FIELDS)
        return CallFilter.of(nothing | self.model_dump(exclude={"by"}), now)


class LinkResponse(ApiModel):
    """A link to a call's audio that needs no token."""

    url: str
    """Path and query, to be put behind this server's address. `&format=pcm16` may be added."""
    expires: int
    """Time at which the link expires, in seconds since 1970 (UTC)."""


class LinkRequest(ApiModel):
    """Lifetime of a link."""

    lasts_s: int = Field(default=3600, ge=1, le=7 * 24 * 3600)
    """Seconds until the link expires; a week at most."""


class DoneResponse(ApiModel):
    """Result of a request to a call that was carried out."""

    done: Literal[True]
    what: str = Field(examples=["it is being said"])
    """Description of what happened."""


class RecordingResponse(DoneResponse):
    """Result of pausing or resuming a recording."""

    call_sid: str
    state: Literal["paused", "recording"]


class PlaceCallRequest(ApiModel):
    """A call that is to be placed."""

    to: str = Field(examples=["+12025550142"])
    """Number to call, in E.164."""
    agent: str = Field(examples=["reminder"])
    """Name of the agent that talks."""
    variables: dict[str, str] = Field(default={}, examples=[{"name": "Ada"}])
    """Values of `{{name}}` in the agent file."""
    timezone: str | None = Field(default=None, examples=["Europe/Berlin"])
    """Time zone of the person. Without it, every time zone in which the number may be counts."""
    within_hours: bool = False
    """True to call only within the agent's calling hours, in that time zone."""


class PlaceCallResponse(ApiModel):
    """A placed call. Its status tells if anybody answers."""

    call_sid: str
    again: bool
    """True if the call was placed before, under the same idempotency key; nobody was rung now."""


class OpenStreamResponse(ApiModel):
    """A stream between a live call and a page of the console."""

    stream: str
    """Path of the WebSocket, which can be opened once and within 10 s."""


class OpenPhoneRequest(ApiModel):
    """A call from the browser."""

    agent: str = Field(default="", max_length=200, examples=["reminder"])
    """Name of the agent that answers; empty for that of the default line."""
    variables: dict[str, str] = Field(default={}, examples=[{"name": "Ada"}])
    """Values of `{{name}}` in the agent file."""


class AnnouncementResponse(ApiModel):
    """Words that a caller hears before the agent."""

    say: str
    language: str | None
    """BCP-47; null is en-US."""


class OpenPhoneResponse(ApiModel):
    """A call from the browser that has begun, with what its `start` message must have."""

    call_sid: str
    account_sid: str
    stream_sid: str
    stream: str
    """Path of the WebSocket, which can be opened once, and within 10 s of the announcement."""
    announcement: AnnouncementResponse | None
    """Announcement that the page shows before it opens the WebSocket; Twilio says it on a phone."""


class CallStatusResponse(ApiModel):
    """State of a placed call."""

    call_sid: str
    status: Status
    final: bool
    """True if the state cannot change any more."""
    answered_by: str | None
    """Twilio's verdict, such as human or machine_end_beep; null before there is a verdict."""
    slug: str | None
    """Slug of the ending in Offhook; null before the end."""
    words: str | None
    """Description of the ending."""


class PeaksResponse(ApiModel):
    """Peak loudness of each side, 0 to 255, in stretches of `bucket_ms`."""

    bucket_ms: int
    length_ms: int
    caller: list[int]
    agent: list[int]


class ReloadResponse(ApiModel):
    """Agents that new calls get since a reload."""

    agents: list[str] = Field(examples=[["reception", "billing"]])
    """Names of all agents in use."""
    lines: int
    """Number of lines that they answer."""
    restart: list[str] = Field(examples=[["server.port"]])
    """Settings that have changed, and that only a restart applies."""


class AgentsResponse(ApiModel):
    """Agents that new calls get, by name."""

    agents: list[AgentSummary]


class CheckResponse(ApiModel):
    """Findings of `offhook check` in the files as they are now."""

    errors: int
    """Number of findings that a reload would refuse, or that are probably mistakes."""
    findings: list[AgentFinding]


class TryFunctionRequest(ApiModel):
    """A function to run without a call."""

    arguments: dict[str, Any] = Field(default={}, examples=[{"day": "saturday"}])
    """Arguments, as an agent gives them."""
    variables: dict[str, str] = Field(default={}, examples=[{"name": "Ada"}])
    """Variables of the call that the function is told of; else the defaults of the agent file."""
    confirmed: bool = False
    """True to run a function that cannot be taken back; without it such a one is refused."""


class LatestWords(ApiModel):
    """The last words of a call."""

    who: Literal["caller", "agent"]
    text: str
    """Words of the latest utterance, which may still go on; a long text is cut."""


class LiveCallRow(ApiModel):
    """A live call as it is now. Long texts are cut."""

    call_sid: str
    node: str | None
    """Node of the fleet that has the call; null without a fleet."""
    agent: str
    tier: str
    """Tier of Deepgram's prices."""
    direction: Literal["inbound", "outbound"]
    by: str = Field(examples=["webhook"])
    """Way in which the call came, as in CallBegan."""
    from_: str = Field(alias="from")
    """Number that calls."""
    to: str
    """Number that is called."""
    began_ms: int
    """Time at which the call began, in ms since 1970 (UTC)."""
    speaking: Literal["caller", "agent", "nobody"]
    last_words: LatestWords | None
    turn_ms: int | None
    """Milliseconds from the caller's last turn to the first sound of its answer; null: none yet."""
    turns: int
    """Number of the caller's turns."""
    interruptions: int
    functions: int
    """Number of functions that were called."""
    trouble: str | None
    """Present trouble in words; null: no trouble."""
    agent_state: Literal["dialling", "connected", "muted", "lost"]
    """State of the agent's socket; muted: the caller hears nothing of the agent."""
    caller_state: Literal["ringing", "connected", "away", "transferred", "lost"]
    """State of the caller's stream; away: keys are pressed for the caller meanwhile."""
    taken_by: str | None
    """Operator who speaks with the caller in the agent's place."""
    listeners: list[str]
    """Operators who listen; one who listens in two windows stands twice."""


class LiveNode(ApiModel):
    """A node of the fleet."""

    name: str
    state: Literal["up", "draining", "away", "unknown"]
    """draining: it takes no new calls; away: it has not been heard of for 10 s, and its calls are
    shown as they were; unknown: the database, which would know, does not answer."""
    live: int
    """Number of its live calls, as it told last."""
    capacity: int
    """Number of calls that it takes at most."""


class LiveSnapshotResponse(ApiModel):
    """The live calls, and the last event that is in them."""

    last_event_id: str
    """Id of an event, for `after` of `/api/v1/live`."""
    calls: list[LiveCallRow]
    nodes: list[LiveNode]
    """The nodes of the fleet; empty without one."""


class EraseResponse(ApiModel):
    """Numbers of removed items: rows by their tables, and files."""

    removed: dict[str, int] = Field(examples=[{"calls": 1, "utterances": 12, "recordings": 1}])
