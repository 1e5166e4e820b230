"""Live calls, as the operator acts on them: each answer says what happened (docs/control.md)."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body

from offhook.api.models import (
    DigitsRequest,
    DoneResponse,
    HangUpRequest,
    ListenRequest,
    MuteRequest,
    ProblemResponse,
    PromptRequest,
    SayRequest,
    SpeakRequest,
    TellRequest,
    ThinkRequest,
    TransferRequest,
)
from offhook.api.operator import Operator
from offhook.api.problems import ApiError
from offhook.call.requests import CallRequest, HangUp, Mute, Say, Tell, Update
from offhook.deepgram.messages import UpdatePrompt
from offhook.deepgram.settings import Part
from offhook.errors import UserError
from offhook.tools.declare import ToolError

_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    404: {"model": ProblemResponse, "description": "No such call is live."},
    409: {"model": ProblemResponse, "description": "It was not done; `what` says what happened."},
}


def router(operator: Operator) -> APIRouter:
    """What can be asked of a call while it is live."""
    made = APIRouter(tags=["live calls"])
    calls = operator.calls

    def post(what: str, operation: str, summary: str) -> Callable[[Any], Any]:
        path = f"/calls/{{sid}}/{what}"
        return made.post(
            path,
            operation_id=operation,
            summary=summary,
            response_model=DoneResponse,
            responses=_RESPONSES,
        )

    def need_live(sid: str) -> None:
        entry = calls.find(sid)
        if entry is None or entry.session is None:
            raise ApiError(
                404,
                UserError(
                    "E-API-18",
                    "No call with that CallSid is live.",
                    "See which are: GET /api/calls?live=true, or offhook calls --live.",
                ),
            )

    async def ask(sid: str, wish: CallRequest) -> DoneResponse:
        need_live(sid)
        done, what = await calls.ask(sid, wish)
        if not done:
            raise _refused(what)
        return DoneResponse(done=True, what=what)

    async def have(sid: str, asked: Callable[[], Awaitable[str]]) -> DoneResponse:
        need_live(sid)
        try:
            return DoneResponse(done=True, what=await asked())
        except ToolError as error:
            raise _refused(str(error)) from None

    async def change(sid: str, part: Part, block: Any) -> DoneResponse:
        need_live(sid)
        return await ask(sid, Update(calls.change(sid, part, block)))

    @post("hang-up", "hangUp", "Hang up")
    async def hang_up(
        sid: str, asked: Annotated[HangUpRequest | None, Body()] = None
    ) -> DoneResponse:
        """End the call: at once, or when the farewell was heard. One that is over is no error."""
        entry = calls.find(sid)
        if entry is not None and entry.session is None:
            return DoneResponse(done=True, what="the call was over already")
        farewell = asked.farewell if asked is not None else None
        return await ask(sid, HangUp("operator", farewell or ""))

    @post("say", "say", "Have the agent say something")
    async def say(sid: str, asked: SayRequest) -> DoneResponse:
        """Answered when the agent says it, or when it was refused."""
        return await ask(sid, Say(asked.text, asked.behavior))

    @post("tell", "tell", "Tell the agent something")
    async def tell(sid: str, asked: TellRequest) -> DoneResponse:
        """The agent answers to it as if the caller had said it."""
        return await ask(sid, Tell(asked.text))

    @post("prompt", "updatePrompt", "Add to the agent's prompt")
    async def prompt(sid: str, asked: PromptRequest) -> DoneResponse:
        """Answered when Deepgram has acknowledged it, or not within 10 s."""
        return await ask(sid, Update(UpdatePrompt(asked.prompt)))

    @post("think", "updateThink", "Replace what the agent thinks with")
    async def think(sid: str, asked: ThinkRequest) -> DoneResponse:
        """All of it: a block without `functions` keeps the agent's own. Answered as `prompt`."""
        return await change(sid, "think", asked.think)

    @post("speak", "updateSpeak", "Replace the agent's voice")
    async def speak(sid: str, asked: SpeakRequest) -> DoneResponse:
        """Answered as `prompt`."""
        return await change(sid, "speak", asked.speak)

    @post("listen", "updateListen", "Change how the agent listens")
    async def listen(sid: str, asked: ListenRequest) -> DoneResponse:
        """What is left out stays as it is, but for `language_hints`. Answered as `prompt`."""
        return await change(sid, "listen", asked.listen)

    @post("transfer", "transfer", "Put the caller through")
    async def transfer(sid: str, asked: TransferRequest) -> DoneResponse:
        """To one of the destinations that the agent's file names; no number is taken."""
        return await have(sid, lambda: calls.transfer(sid, asked.destination, asked.summary or ""))

    @post("digits", "sendDigits", "Press keys")
    async def digits(sid: str, asked: DigitsRequest) -> DoneResponse:
        """The agent is away while they are pressed, and goes on with the same conversation."""
        return await have(sid, lambda: calls.send_digits(sid, asked.digits))

    @post("mute", "mute", "Mute the agent, or let it be heard again")
    async def mute(sid: str, asked: MuteRequest) -> DoneResponse:
        """The caller hears nothing of it; it hears the caller, and goes on talking."""
        return await ask(sid, Mute(asked.on))

    return made


def _refused(what: str) -> ApiError:
    return ApiError(
        409,
        UserError(
            "E-API-19",
            f"It was not done: {what.rstrip('.')}.",
            "docs/control.md says when what can be asked.",
        ),
    )
