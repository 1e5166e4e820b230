"""Whole calls with the example of a German agent: what is heard or told is in its file, or said."""

import asyncio
import dataclasses
import functools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import yaml
from tests.waiting import until
from tests.whole_server import (
    ACCOUNT,
    ASK,
    GREET,
    HANG_UP,
    TOKEN,
    WholeServer,
    voice,
    whole_server,
)

from offhook.call.phrases import Phrases, listed
from offhook.calls import refusal_words
from offhook.config import Config, load
from offhook.deepgram.messages import (
    FunctionCallResponse,
    InjectAgentMessage,
    InjectUserMessage,
)
from offhook.testing.scenarios.caller import CallReport, SimulatedCaller
from offhook.testing.scenarios.expectation import ExpectTurn
from offhook.testing.scenarios.scenario import ScenarioStep
from offhook.testing.simulator.deepgram.script import Script, ScriptFunctionCall, ScriptTurn
from offhook.testing.simulator.deepgram.standin import StandIn
from offhook.testing.simulator.twilio.calls.people import SimulatedPerson
from offhook.testing.simulator.twilio.phone import place_call
from offhook.testing.simulator.twilio.verbs import Verb
from offhook.tools.files import ToolFiles
from offhook.twilio.errors import TwilioRefusedError

FOLDER: Final = Path(__file__).parents[2] / "examples/german"
COLLEAGUE: Final = "+12025550124"
STAY: Final = ScenarioStep(wait=60)
FAREWELL: Final = "Gern geschehen. Auf Wiederhören!"
SUMMARY: Final = "Ein Termin."
WHISPER: Final = (
    "Jemand möchte mit Ihnen sprechen. Es geht um: Ein Termin. Drücken Sie die 1, um anzunehmen."
)
DECLINED: Final = (
    "(Mit kollegin konnte nicht verbunden werden: der Anruf wurde abgelehnt. Sag das, und hilf"
    " weiter.)"
)
LOST_IN: Final = "Einen Augenblick, ich sehe nach."
"""What the agent says when its session is lost, and again in the next one."""
TIMES: Final = {LOST_IN: 2}


def said(values: object) -> Iterator[str]:
    """Every text of the agent's file."""
    match values:
        case str():
            yield values
        case dict():
            for each in values.values():
                yield from said(each)
        case list():
            for each in values:
                yield from said(each)


def sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?]) ", text)


def pattern(template: str) -> re.Pattern[str]:
    """A phrase, with a group in place of each `{name}` and `{{name}}`."""
    parts = re.split(r"\{\{?\w+\}?\}", template.strip())
    return re.compile(r"(.*)".join(map(re.escape, parts)), re.DOTALL)


class Known(NamedTuple):
    """The German texts of the example."""

    names: frozenset[str]
    """Names of days and months; sentences; descriptions of functions."""
    data: re.Pattern[str]
    """Values that fill phrases: digits, keys, and the names of destinations and functions."""
    templates: Sequence[re.Pattern[str]]


@functools.cache
def file() -> dict[str, Any]:
    """The example's agent file, as it is written."""
    read: dict[str, Any] = yaml.safe_load((FOLDER / "empfang.yaml").read_text("utf-8"))
    return read


@functools.cache
def known() -> Known:
    own = ToolFiles([FOLDER / "werkzeuge.py"]).current
    phrases = file()["phrases"]
    names = {*listed(phrases["weekdays"]), *listed(phrases["months"])}
    # A greeting is said sentence by sentence.
    names |= {each for text in said(file()) for each in sentences(text)}
    names |= {text for tool in own.values() for text in described(tool.definition)}
    return Known(
        frozenset(names),
        re.compile(rf"\d*|[1-9*#w]+|'?(kollegin|buche)'?|{', '.join(own)}|name|string_too_short"),
        [
            pattern(phrases["no_function"] + phrases["functions_are"]),
            *(pattern(text) for text in said(file()) if re.search(r"\w{2}", text)),
        ],
    )


def is_german(text: str, script: Iterable[str] = ()) -> bool:
    """Whether a text is a phrase of the file whose parts are, or what the test itself says."""
    text = text.strip()
    if text in known().names or text in script or known().data.fullmatch(text):
        return True
    return any(
        all(is_german(part, script) for part in found.groups())
        for template in known().templates
        if (found := template.fullmatch(text))
    )


def words(turn: ScriptTurn) -> Iterator[str]:
    yield turn.hear
    yield from turn.say
    for called in turn.function_calls:
        for value in called.arguments.values():
            yield value
            yield from sentences(value)


def spoken_by_twilio(verbs: Iterable[Verb]) -> Iterator[Verb]:
    for verb in verbs:
        if verb.name == "Say":
            yield verb
        yield from spoken_by_twilio(verb.nouns)


def described(schema: Any) -> Iterator[str]:
    """The descriptions in a function's definition."""
    match schema:
        case dict():
            for key, value in schema.items():
                if key == "description" and isinstance(value, str):
                    yield value
                else:
                    yield from described(value)
        case list():
            for each in schema:
                yield from described(each)


def told(session: StandIn) -> Iterator[str]:
    """What the agent's model is told in one session."""
    assert session.settings is not None
    agent = session.settings.message["agent"]
    for think in agent["think"]:
        yield from (text for each in think["functions"] for text in described(each))
    yield agent.get("greeting", "")
    for think in agent["think"]:
        yield think["prompt"]
    for message in agent.get("context", {}).get("messages", ()):
        yield message.get("content", "")
        for called in message.get("function_calls", ()):
            yield from answered(called["response"])
    for received in session.received:
        match received:
            case InjectAgentMessage(message=text) | InjectUserMessage(content=text):
                yield text
            case FunctionCallResponse(content=text):
                yield from answered(text)
    yield from (line.content for line in session.lines)


def answered(content: str) -> Iterator[str]:
    """The texts of a function's result, which may be JSON."""
    try:
        yield from said(json.loads(content))
    except ValueError:
        yield content


def everything(h: WholeServer) -> list[str]:
    """All that the caller, the colleague and the model heard, saw or were told."""
    reports = h.ledger.reports.values()
    verbs = [verb for report in reports for verb in spoken_by_twilio(report.verbs)]
    assert {verb.attributes.get("language") for verb in verbs} == {"de-DE"}
    assert {verb.attributes.get("voice") for verb in verbs} == {"Polly.Vicki-Neural"}
    return [
        *(verb.text for verb in verbs),
        *(text for session in h.sessions if session.settings is not None for text in told(session)),
        *(sent.body for sent in h.ledger.texts),
    ]


def call(name: str, /, **arguments: Any) -> ScriptFunctionCall:
    return ScriptFunctionCall(name=name, arguments=arguments)


def played(*turns: ScriptTurn) -> Script:
    nothing = ScriptTurn(hear="Wie bitte?", say=["Das habe ich nicht verstanden."])
    return Script(
        turns=list(turns), fallback=nothing, interrupted=nothing, silence_ms=300, reply_ms=50
    )


CONVERSATION: Final = played(
    ScriptTurn(
        hear="Bitte bestätigen Sie das.",
        function_calls=[
            call("sms", text="Ihr Termin ist morgen."),
            call("nachricht", name="", text="Bitte anrufen."),
            call("nachricht", name="Ada", text="Bitte anrufen."),
            call("buche"),
        ],
        say=["Die SMS ist unterwegs."],
    ),
    ScriptTurn(hear="(Tasten)", say=["Danke für die Nummer."]),
    ScriptTurn(hear="Und weiter?", say=[LOST_IN]),
    ScriptTurn(hear="Danke.", function_calls=[call("auflegen", abschied=FAREWELL)]),
)
TRANSFER: Final = played(
    ScriptTurn(
        hear="Kann ich mit jemandem sprechen?",
        function_calls=[call("verbinden", ziel="kollegin", anliegen=SUMMARY)],
        say=["Ich frage die Kollegin.", "Einen Augenblick noch."],
    ),
    ScriptTurn(hear="(Bescheid)", say=["Leider nimmt niemand ab."]),
)
KEYS: Final = played(
    ScriptTurn(hear="Bitte wählen Sie.", function_calls=[call("tasten", ziffern="12#")]),
    ScriptTurn(hear="(Bescheid)", say=["Die Tasten sind gedrückt."]),
)
LOST: Final = played(ScriptTurn(hear="Hallo?", say=["Guten Tag."], fault="close")).model_copy(
    update={"upgrade_status": 500}
)


async def lose_the_agent(h: WholeServer) -> None:
    """Cut the agent's first session in the middle of a certain sentence."""
    await until(lambda: any(line.content == LOST_IN for each in h.sessions for line in each.lines))
    h.sessions[0].fault("cut")


def german() -> Config:
    environ = {"DEEPGRAM_API_KEY": "a-key", "TWILIO_AUTH_TOKEN": TOKEN}
    loaded = load(FOLDER / "offhook.yaml", environ)
    server = loaded.server.model_copy(update={"max_lag_ms": 60_000})
    return dataclasses.replace(loaded, server=server)


def hears(sentence: str) -> ScenarioStep:
    """The caller waits until the agent has said a sentence, and is quiet."""
    return ScenarioStep.model_validate({"expect": {"says": sentence, "timeout": 40}})


async def talk(h: WholeServer, steps: Sequence[ScenarioStep]) -> CallReport:
    def is_said(expected: ExpectTurn, *_: object) -> bool:
        said = [line.content for session in h.sessions for line in session.lines]
        return all(said.count(each) >= TIMES.get(each, 1) for each in expected.says)

    assert h.account is not None
    report = await place_call(
        f"{h.origin}/twilio/voice",
        SimulatedCaller(steps, voice, satisfied=is_said),
        clock=h.clock,
        auth_token=TOKEN,
        account_sid=ACCOUNT,
        from_="+12025550142",
        to="+12025550100",
        network=h.account.network,
    )
    assert report.caller.failed == []
    return report


CALLS: Final = {
    "a conversation whose agent is lost and comes back": (
        CONVERSATION,
        SimulatedPerson(),
        [
            GREET,
            ASK,
            hears("Die SMS ist unterwegs."),
            ScenarioStep(press="7"),
            hears("Wir haben von acht bis achtzehn Uhr geöffnet."),
            ScenarioStep(press="4217#"),
            hears("Danke für die Nummer."),
            ASK,
            hears(LOST_IN),
            ASK,
            STAY,
        ],
        "agent_hung_up",
        [
            "Wir haben von acht bis achtzehn Uhr geöffnet.",
            "(Auf der Tastatur wurde 4217 gewählt.)",
            "die SMS ist unterwegs",
            "name ist ungültig (string_too_short)",
            "Ihr Termin ist morgen.",
            FAREWELL,
        ],
    ),
    "a colleague who takes the call": (
        TRANSFER,
        SimulatedPerson(after_s=0.5, keys=("1",), talks_s=0.5),
        [GREET, ASK, STAY],
        "transferred",
        [WHISPER],
    ),
    "a colleague who declines": (
        TRANSFER,
        SimulatedPerson(after_s=0.5, keys=("2",)),
        [GREET, ASK, hears("Leider nimmt niemand ab."), HANG_UP],
        "caller_hung_up",
        [DECLINED],
    ),
    "keys that are pressed for the agent": (
        KEYS,
        SimulatedPerson(),
        [GREET, ASK, hears("Die Tasten sind gedrückt."), HANG_UP],
        "caller_hung_up",
        ["(Die Tasten wurden gedrückt. Mach weiter.)"],
    ),
    "an agent that cannot be reached": (
        LOST,
        SimulatedPerson(),
        [STAY],
        "agent_unreachable",
        ["Leider können wir das Gespräch nicht fortsetzen.", "Bitte sprechen Sie nach dem Ton."],
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("name", CALLS)
async def test_nothing_that_anybody_hears_or_is_told_is_english(name: str) -> None:
    script, colleague, steps, ending, some = CALLS[name]
    people = {COLLEAGUE: colleague, "+12025550142": SimulatedPerson()}
    async with (
        whole_server(script, config=german(), people=people) as h,
        asyncio.TaskGroup() as group,
    ):
        losing = group.create_task(lose_the_agent(h))
        report = await talk(h, steps)
        losing.cancel()
        await h.until_ended()
        await until(lambda: all(leg.ended_at == leg.ended_at for leg in h.ledger.reports.values()))
        h.ledger.reports.setdefault(report.call_sid, report)
        found = everything(h)
        assert h.endings() == [ending]
    ours = [text for turn in (*script.turns, script.fallback) for text in words(turn)]
    assert [text for text in found if not is_german(text, ours)] == []
    assert [text for text in some if text not in found] == []


def test_every_phrase_has_its_german_words() -> None:
    english = {
        name: text for name, text in dataclasses.asdict(Phrases()).items() if name != "refusals"
    }
    phrases = file()["phrases"]
    assert english.keys() | {"refusals"} == phrases.keys()
    assert [name for name in english if phrases[name].strip() == english[name].strip()] == []
    for name, text in english.items():
        extra = set(re.findall(r"\{\w+\}", phrases[name])) - set(re.findall(r"\{\w+\}", text))
        assert extra <= {"{kind}"}, name
    assert phrases["refusals"].keys() - {refusal_words.LEFT_OUT} <= refusal_words.ENGLISH.keys()
    loaded = german().lines["+12025550100"]
    for twilio in (10002, 21610, None, 99999):
        refused = TwilioRefusedError(400, twilio)
        assert is_german(refusal_words.refusal_words(loaded.phrases, refused))


def test_english_is_found() -> None:
    english = [*dataclasses.asdict(Phrases()).values(), *refusal_words.ENGLISH.values()]
    assert [text for text in english if isinstance(text, str) and is_german(text)] == []
    assert not is_german("niemand wurde angerufen: there are no credentials for it")
    assert is_german("niemand wurde angerufen: die Zugangsdaten fehlen")
