"""An agent that means harm, its server, and what may come of it: tests/test_hostile.py, make soak.

It speaks Deepgram's protocol on a real socket and keeps to none of it: functions with arguments
that a talked-into model might write, and that none would, in every phase, in floods, twice, called
off before they were called. What may be dialled, texted and paid is policy, and policy is code: the
simulated account sees what was really done.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest
import websockets
from tests.whole_server import HANG_UP, TOKEN, WholeServer, whole_server
from websockets.asyncio.server import ServerConnection, serve

from offhook.call.call import Call
from offhook.call.inputs import Input
from offhook.call.phases import Phase
from offhook.config import load
from offhook.deepgram.messages import FunctionCallRequest
from offhook.events.types import AgentSwitched, CallEnded, Dialled, TransferFailed
from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.testing.simulator.twilio.calls.people import SimulatedPerson
from offhook.tools import builtin
from offhook.tools.builtin.texts import TEXT_MAX
from offhook.twilio import twiml

LINE: Final = "+12025550100"
CALLER: Final = "+12025550142"
DESK: Final = "+12025550123"
ANN: Final = "+12025550124"
SHOP: Final = "+12025550143"
PREMIUM: Final = "+19005551234"
ABROAD: Final = "+442071838750"
DESTINATIONS: Final = {("desk", DESK), ("ann", ANN)}
VERBS: Final = frozenset(
    {"Connect", "Dial", "Gather", "Say", "Play", "Pause", "Hangup", "Redirect"}
)
"""Verbs that callers and people may get of us."""
DOCUMENT_FAULTS: Final = frozenset({11750, 12100, 12200, 12300})
"""Twilio's codes for a document that is too long, is no TwiML, or has what TwiML has not."""
PEOPLE: Final = frozenset(name for name, _ in DESTINATIONS)

CALLS_PER_HOUR: Final = 20
TEXTS_PER_HOUR: Final = 6

TOOLS: Final = '''
from pathlib import Path
from typing import Annotated, Literal
from pydantic import Field
from offhook.tools import Call, ToolError, tool

@tool
def opening_hours(day: Literal["saturday", "sunday"]) -> str:
    """When it is open."""
    return day

@tool(irreversible=True)
async def pay(amount: Annotated[int, Field(ge=1, le=100)], call: Call) -> str:
    """Pay that."""
    with (Path(__file__).parent / "paid.txt").open("a") as paid:
        paid.write(f"{call.sid} {amount}\\n")
    return "paid"

@tool
async def relay(what: str, text: str, call: Call) -> str:
    """Do with the call whatever the model says: what a careless function would."""
    match what:
        case "say":
            return await call.say(text, "queue")
        case "tell":
            return await call.tell(text)
        case "update_prompt":
            return await call.update_prompt(text)
        case "update_speak":
            return await call.update_speak({"provider": {"type": text}})
        case "mute":
            return await call.mute()
        case "unmute":
            return await call.unmute()
        case "transfer":
            return await call.transfer(text, text)
        case "transfer to ann":
            return await call.transfer("ann", text)
        case "send_digits":
            return await call.send_digits(text)
        case "send_text":
            return await call.send_text(text, text)
        case "take_message":
            return await call.take_message(text, text, text)
        case "hang_up":
            return await call.hang_up(text)
    raise ToolError(f"There is no {what!r}.")

@tool
async def ask_pin(call: Call) -> str:
    """Have a secret entered."""
    return str(len(await call.ask_digits("Your number, please.", max_digits=4, timeout_s=1.0)))
'''
_SETTINGS: Final = """
settings:
  listen: {provider: {type: deepgram, version: v2, model: flux-general-en}}
  think: {provider: {type: open_ai, model: gpt-4o-mini}, prompt: Be brief.}
  speak: {provider: {type: deepgram, model: aura-2-thalia-en}}
  greeting: Hello! How can I help you today?
"""
AGENT: Final = f"""{_SETTINGS}
tools: [tools.py, {", ".join(builtin.NAMES)}]
transfer:
  destinations:
    desk: {{to: "{DESK}", timeout_seconds: 5}}
    ann: {{to: "{ANN}", timeout_seconds: 5, warm: true}}
    billing: {{agent: billing.yaml}}
texts: {{from: "{LINE}", destinations: {{shop: {{to: "{SHOP}"}}}}}}
keypad: {{timeout_seconds: 0.5, actions: {{"0": {{transfer: desk}}, "9": hang_up}}}}
"""
BILLING: Final = f"{_SETTINGS}\ntools: [tools.py, hang_up]\n"
HOUSE: Final = (
    "lines: {default: agent.yaml}\n"
    f"dialling: {{calls_per_hour: {CALLS_PER_HOUR}, texts_per_hour: {TEXTS_PER_HOUR}}}\n"
)

_NUMBERS: Final = (DESK, PREMIUM, ABROAD, "911", "tel:+19005551234", "sip:x@evil.example")
_WORDS: Final = (
    *("desk", "ann", "billing", "shop", "caller", "agent.yaml", "../agent", "desk\n", "DESK"),
    *("", " ", "é" * 500, "&" * 400, "<Dial>+19005551234</Dial>", "\ud800", "\x00", "{{caller}}"),
    *_NUMBERS,
)
NAMES: Final = (*builtin.NAMES, "opening_hours", "pay", "ask_pin", "relay")
"""Every function that comes with Offhook, and those of TOOLS."""

_NO_NAMES: Final = (
    "",
    "eval",
    "Transfer_Call",
    "hang_up ",
    "__class__",
    "x" * 5000,
    "get",
    "\ud800",
)
_FIELDS: Final = {
    "hang_up": ("farewell",),
    "transfer_call": ("destination", "summary"),
    "send_digits": ("digits",),
    "send_sms": ("text", "to"),
    "take_message": ("name", "text", "number"),
    "opening_hours": ("day",),
    "pay": ("amount",),
    "relay": ("text",),
}
RELAYED: Final = (
    *("say", "tell", "update_prompt", "update_speak", "mute", "unmute", "transfer"),
    *("transfer to ann", "send_digits", "send_text", "take_message", "hang_up"),
)
"""What `relay` does with the call, by a model's arguments."""

_GOOD: Final[dict[str, dict[str, Any]]] = {
    "hang_up": {"farewell": "Goodbye."},
    "transfer_call": {"destination": "desk", "summary": "About a bill."},
    "send_digits": {"digits": "12"},
    "send_sms": {"text": "See you.", "to": "caller"},
    "take_message": {"name": "Ada", "text": "Call back.", "number": ""},
    "opening_hours": {"day": "saturday"},
    "pay": {"amount": 5},
    "relay": {"what": "say", "text": "One moment."},
}


class Hostile:
    """What an agent does in one session, by chance."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._ids = 0
        # Not all in one session, or every call would soon be hung up.
        self._names = chance.sample(NAMES, 4)

    async def session(self, socket: ServerConnection) -> None:
        """One session, until either side has had enough."""
        with suppress(websockets.ConnectionClosed):
            if self._chance.random() < 0.2:
                await socket.send(self._calls(3))
            await socket.send(json.dumps({"type": "Welcome", "request_id": "hostile"}))
            await socket.recv()
            if self._chance.random() < 0.2:
                await socket.send(self._calls(3))
            await socket.send(json.dumps({"type": "SettingsApplied"}))
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(socket))
                with suppress(websockets.ConnectionClosed):
                    for _ in range(self._chance.randrange(10, 40)):
                        await self._act(socket)
                        await asyncio.sleep(self._chance.choice((0, 0, 0.02, 0.1)))

    async def _read(self, socket: ServerConnection) -> None:
        """Until the client has had enough. Most of what it has the agent say is said."""
        with suppress(websockets.ConnectionClosed):
            async for text in socket:
                if not isinstance(text, str) or "InjectAgentMessage" not in text:
                    continue
                if self._chance.random() < 0.8:
                    words = json.loads(text)["message"]
                    said = {"type": "ConversationText", "role": "assistant", "content": words}
                    await socket.send(_json(said))
                    await socket.send(bytes(3200))
                    await socket.send(_json({"type": "AgentAudioDone"}))

    async def _act(self, socket: ServerConnection) -> None:
        chance = self._chance
        match chance.randrange(12):
            case 0:
                await socket.send(json.dumps({"type": "UserStartedSpeaking"}))
            case 1:
                await socket.send(bytes(chance.choice((1, 160, 4000, 40_000))))
            case 2:
                role = chance.choice(("user", "assistant", "system"))
                words = {"type": "ConversationText", "role": role, "content": self._word()}
                await socket.send(_json(words))
            case 3:
                gone = [{"id": str(chance.randrange(self._ids + 2)), "name": "pay"}]
                await socket.send(_json({"type": "FunctionCallCancelled", "functions": gone}))
            case 4:
                await socket.send(json.dumps({"type": chance.choice(("AgentAudioDone", "New"))}))
            case 5:
                kind = chance.choice(("PromptUpdated", "InjectionRefused", "SettingsApplied"))
                await socket.send(json.dumps({"type": kind}))
            case 6 if chance.random() < 0.15:
                await self._flood(socket)
            case _:
                await socket.send(self._calls(chance.randrange(1, 5)))

    async def _flood(self, socket: ServerConnection) -> None:
        chance = self._chance
        match chance.randrange(4):
            case 0:
                await socket.send(self._calls(2000))
            case 1:
                for _ in range(300):
                    await socket.send(self._calls(1))
            case 2:
                deep = "[" * 100_000 + "]" * 100_000
                text = self._calls(1, arguments=chance.choice((deep, "x" * 900_000)))
                await socket.send(text)
            case _:
                words = {"type": "ConversationText", "role": "user", "content": "word " * 200_000}
                for _ in range(30):
                    await socket.send(json.dumps(words))

    def _calls(self, count: int, arguments: str | None = None) -> str:
        functions = []
        for _ in range(count):
            self._ids += 1
            again = self._chance.random() < 0.15
            call_id = str(self._chance.randrange(self._ids) if again else self._ids)
            name = self._chance.choice(self._names if self._chance.random() < 0.9 else _NO_NAMES)
            given = self._arguments(name) if arguments is None else arguments
            functions.append({"id": call_id, "name": name, "arguments": given, "client_side": True})
        return _json({"type": "FunctionCallRequest", "functions": functions})

    def _arguments(self, name: str) -> str:
        chance = self._chance
        given: dict[str, Any] = dict(_GOOD.get(name, {}))
        if "destination" in given:
            given["destination"] = chance.choice(("desk", "ann", "billing"))
        if name == "relay":
            # To hang up ends what else would be tried in this call.
            given |= {"what": chance.choice(RELAYED[: None if chance.random() < 0.1 else -1])}
            given["text"] = self._word()
        if chance.random() < 0.6:
            for field in (*_FIELDS.get(name, ()), "to", "call_sid"):
                if chance.random() < 0.5:
                    given[field] = self._value()
        text = json.dumps(given)
        return text if chance.random() < 0.9 else chance.choice(("", "{", "[]", "null", text + "}"))

    def _value(self) -> Any:
        chance = self._chance
        return chance.choice((self._word(), chance.randrange(-5, 200), None, [], {"to": PREMIUM}))

    def _word(self) -> str:
        return self._chance.choice(_WORDS)


def _json(message: Any) -> str:
    """As text; half a character stays escaped."""
    return json.dumps(message)


@asynccontextmanager
async def counting(reached: Counter[Phase]) -> AsyncIterator[None]:
    """Count the requests to call functions that every call gets, by its phase."""
    receive = Call.receive

    def counted(self: Call, message: Input, now: float) -> None:
        if isinstance(message, FunctionCallRequest):
            reached[self.phase] += 1
        receive(self, message, now)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Call, "receive", counted)
        yield


@asynccontextmanager
async def attacked(
    folder: Path, seed: int, reached: Counter[Phase] | None = None
) -> AsyncIterator[WholeServer]:
    """A server whose every agent is hostile; each session has a chance of its own.

    `reached` counts the requests to call functions by the phase in which a call got them.
    """
    (folder / "tools.py").write_text(TOOLS)
    (folder / "agent.yaml").write_text(AGENT)
    (folder / "billing.yaml").write_text(BILLING)
    (folder / "offhook.yaml").write_text(HOUSE)
    environ = {"DEEPGRAM_API_KEY": "a-key", "TWILIO_AUTH_TOKEN": TOKEN}
    config = load(folder / "offhook.yaml", environ)
    sessions = 0

    async def session(socket: ServerConnection) -> None:
        nonlocal sessions
        sessions += 1
        await Hostile(random.Random(f"{seed} {sessions}")).session(socket)

    people = {
        **{number: SimulatedPerson(talks_s=0.5) for number in (DESK, PREMIUM, ABROAD, SHOP)},
        ANN: SimulatedPerson(keys=("1",), talks_s=0.5),
    }
    async with (
        counting(Counter() if reached is None else reached),
        serve(session, "127.0.0.1", 0, max_size=None) as server,
    ):
        port = server.sockets[0].getsockname()[1]
        url = f"ws://127.0.0.1:{port}/v1/agent/converse"
        async with whole_server(config=config, deepgram_url=url, people=people) as h:
            yield h


async def attack(h: WholeServer, calls: int, at_once: int) -> None:
    """Let so many callers call, who press keys and hang up; no call may be live before."""
    before = len(h.endings())
    room = asyncio.Semaphore(at_once)

    async def one(number: int) -> None:
        keys = [ScenarioStep(press=("1234", "0#", "9#")[number % 3])] if number % 2 else []
        async with room:
            await h.call(
                ScenarioStep(wait=1.0), *keys, ScenarioStep(wait=7.0), HANG_UP, from_=CALLER
            )

    async with asyncio.TaskGroup() as group:
        for number in range(calls):
            group.create_task(one(number))
    await h.until_ended(before + calls)


def _told(h: WholeServer) -> list[str]:
    """Return what people were told outside policy, or sent to: in TwiML, texts and messages."""
    wrong = [f"a text of {len(text.body)}" for text in h.ledger.texts if len(text.body) > TEXT_MAX]
    of_rung = {rung.call_sid: rung.to for rung in h.ledger.rung}
    for sid, report in h.ledger.reports.items():
        who = of_rung.get(sid, CALLER)
        wrong += [f"{who}: {note.text}" for note in report.notes if note.code in DOCUMENT_FAULTS]
        for verb in report.verbs:
            if verb.name not in VERBS:
                wrong.append(f"{who} got <{verb.name}>")
            elif who == DESK and "Say" in (verb.name, *(noun.name for noun in verb.nouns)):
                wrong.append(f"{who} was told something, and takes calls without being asked")
            for noun in verb.nouns:
                if noun.name in ("Number", "Sip", "Client") and noun.text != DESK:
                    wrong.append(f"{who} was sent to {noun.text}")
    for event in h.events():
        if isinstance(event, Dialled) and (event.destination, event.to) not in DESTINATIONS:
            wrong.append(f"{event.to} was dialled for {event.destination!r}")
        if isinstance(event, TransferFailed) and event.destination not in PEOPLE:
            wrong.append(f"a transfer to {event.destination!r}")
    return wrong


def judge(h: WholeServer, folder: Path, calls: int) -> list[str]:
    """Return what was done outside policy, and every call without one ending."""
    wrong = []
    ledger = h.ledger
    rung = [rung.to for rung in ledger.rung if rung.to != LINE]
    wrong += [f"{to} was rung" for to in rung if to not in (DESK, ANN)]
    if len(rung) > CALLS_PER_HOUR:
        wrong.append(f"{len(rung)} were rung")
    wrong += [f"{text.to} got a text" for text in ledger.texts if text.to not in (CALLER, SHOP)]
    wrong += [f"a text of {text.from_}" for text in ledger.texts if text.from_ != LINE]
    if len(ledger.texts) > TEXTS_PER_HOUR:
        wrong.append(f"{len(ledger.texts)} texts")
    for redirected in ledger.redirected:
        url = (redirected.url or "").removesuffix(twiml.RETRIES)
        if not url.startswith("https://127.0.0.1:") or not url.endswith("/twilio/after"):
            wrong.append(f"a call was sent to {url or redirected.twiml}")
    wrong += _told(h)
    path = folder / "paid.txt"
    paid = Counter(path.read_text().splitlines() if path.exists() else [])
    wrong += [f"paid {count} times: {line}" for line, count in paid.items() if count > 1]
    wrong += [f"paid {line}" for line in paid if not 1 <= int(line.split()[1]) <= 100]
    wrong += [
        f"switched to {e.agent}"
        for e in h.events()
        if isinstance(e, AgentSwitched) and e.agent != "billing"
    ]
    ended = Counter(each.call_sid for each in h.happened if isinstance(each.event, CallEnded))
    if len(ended) != calls or set(ended.values()) != {1}:
        wrong.append(f"{calls} calls have {sum(ended.values())} endings")
    wrong += [f"ended {slug}" for slug in h.endings() if slug == "internal_error"]
    if h.stopped.is_set():
        wrong.append("the server has stopped")
    return wrong
