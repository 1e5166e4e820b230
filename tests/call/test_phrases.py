"""An agent of another language is that language throughout: no sentence of ours is English."""

import ast
import dataclasses
import inspect
import re
from collections.abc import Iterator
from datetime import datetime
from types import ModuleType
from typing import Any, Final, Literal, cast

import pytest
from tests.call.playbook import (
    APPLIED,
    AUDIO_DONE,
    START,
    STOP,
    WELCOME,
    Given,
    Playbook,
    Wait,
    agent,
    caller,
    key,
    mark,
    speech,
)
from tests.sources import syntax_tree

from offhook.call import phrases, requests
from offhook.call.call_settings import CallSettings
from offhook.call.commands import Command, Reply, TellAgent
from offhook.call.functions import ARGUMENTS_MAX, CALLS_MAX
from offhook.call.handoff_actions import Dial, SendDigits
from offhook.call.inputs import (
    HandoffDone,
    LegLost,
    OperatorLost,
    ProcessDied,
    RequestCancelled,
    Requested,
    ServerStopped,
    ToolBegan,
)
from offhook.call.phrases import Phrases
from offhook.call.resumed import ResumedCall
from offhook.calls import control, messaging, refusal_words, transfers
from offhook.calls.messaging import Messaging
from offhook.deepgram import messages as deepgram
from offhook.errors import UserError
from offhook.events.types import CallStarted, FunctionCalled
from offhook.policy.dial_policy import DialRefusal
from offhook.tools import declare, runner, tool
from offhook.tools.declare import Call, ToolArgumentsError, ToolError, Variable
from offhook.twilio.errors import REASONS, WORDS, TwilioRefusedError

ENGLISH: Final = {
    name: text for name, text in dataclasses.asdict(Phrases()).items() if isinstance(text, str)
}
_GERMAN: Final[dict[str, Any]] = {
    name: " ".join([f"«{name}»", *re.findall(r"{\w+}", text)]) for name, text in ENGLISH.items()
}
_REFUSALS: Final = {key: f"«{key}»" for key in refusal_words.ENGLISH}
GERMAN: Final = Phrases(**_GERMAN, refusals=_REFUSALS)
"""No words at all, so that none is in another language by chance."""

SETTINGS: Final = CallSettings(phrases=GERMAN, silence_s=20, answer_s=0, max_s=300)
TALKING: Final[list[Given]] = [START, WELCOME, APPLIED]
DESK: Final = Dial("desk", "+12025550123")
INJECTION_REFUSED: Final = deepgram.InjectionRefused("")


def interrupted() -> ResumedCall:
    """Return a call whose process died while a function ran."""
    resumed = ResumedCall()
    resumed.take(CallStarted(), 0)
    resumed.take(FunctionCalled("1", "pay", "{}"), 500)
    return resumed


def function(call_id: str, arguments: str = "{}") -> deepgram.FunctionCallRequest:
    return deepgram.FunctionCallRequest([deepgram.FunctionCall(call_id, "pay", arguments)])


CONVERSATIONS: Final[dict[str, list[Given]]] = {
    "a process that died": [
        ProcessDied(interrupted(), unrepeatable=frozenset({"pay"})),
        *TALKING,
    ],
    "silence": [*TALKING, Wait(60)],
    "time": [*TALKING, *[each for _ in range(40) for each in (key("1"), Wait(9))]],
    "slow functions": [*TALKING, function("1"), function("2"), ToolBegan("2"), Wait(11)],
    "too much of a function": [*TALKING, function("1", "x" * (ARGUMENTS_MAX + 1))],
    "too many functions": [*TALKING, *(function(str(number)) for number in range(CALLS_MAX + 1))],
    "transfers that come to nothing": [
        *TALKING,
        *(
            each
            for outcome in ("busy", "no-answer", "failed", "canceled", "declined", "hung-up")
            for each in (
                Requested(len(outcome), requests.Leave(DESK)),
                Wait(2),
                HandoffDone(outcome),
                *TALKING,
            )
        ),
    ],
    "keys that are sent": [
        *TALKING,
        Requested(1, requests.Leave(SendDigits("1"))),
        Wait(2),
        *TALKING,
    ],
    "keys that are pressed": [*TALKING, key("1"), key("2"), Wait(3)],
    "what is said and told": [
        *TALKING,
        Requested(1, requests.Say("Eins.")),
        agent("Eins."),
        Requested(2, requests.Tell("Zwei.")),
        caller("Zwei."),
        Requested(3, requests.Update(deepgram.UpdatePrompt("Drei."))),
        deepgram.PromptUpdated(),
        Requested(4, requests.Say("Vier.")),
        INJECTION_REFUSED,
        Requested(5, requests.Say("Fünf.")),
        Wait(11),
    ],
    "mute": [*TALKING, Requested(1, requests.Mute(True)), Requested(2, requests.Mute(False))],
    "an operator who takes over": [
        *TALKING,
        Requested(1, requests.HandBack()),
        Requested(2, requests.TakeOver("Ann")),
        Requested(3, requests.Say("Eins.")),
        Requested(4, requests.HandBack("Zwei.")),
        Requested(5, requests.TakeOver("Ann")),
        OperatorLost(),
        Wait(4),
    ],
    "an operator who takes over too early": [Requested(1, requests.TakeOver("Ann"))],
    "requests without an agent": [START, Requested(1, requests.Say("Eins."))],
    "requests in last words": [
        *TALKING,
        Requested(1, requests.HangUp("agent", "Tschüs.")),
        Requested(2, requests.Say("Eins.")),
        INJECTION_REFUSED,
        Requested(3, requests.HangUp("agent", "Tschüs.")),
        RequestCancelled(3),
        Requested(4, requests.HangUp("operator")),
    ],
    "a goodbye that is heard": [
        *TALKING,
        Requested(1, requests.HangUp("agent", "Tschüs.")),
        agent("Tschüs."),
        AUDIO_DONE,
    ],
    "secrets": [
        *TALKING,
        Requested(1, requests.AskDigits("Nummer?", 4, 5)),
        Requested(2, requests.AskDigits("Nummer?", 4, 5)),
        INJECTION_REFUSED,
        Requested(3, requests.AskDigits("", 4, 5)),
        Wait(6),
        Requested(4, requests.AskDigits("", 4, 5)),
        RequestCancelled(4),
        Requested(5, requests.AskDigits("", 4, 5)),
        Requested(6, requests.HangUp("agent", "Tschüs.")),
    ],
    "the end of a call that somebody waits for": [
        *TALKING,
        Requested(1, requests.AskDigits("", 4, 5)),
        Requested(2, requests.Say("Eins.")),
        STOP,
    ],
    "an agent that is lost": [
        *TALKING,
        agent("Eins."),
        speech(400),
        mark("0:160"),
        LegLost("agent"),
        Wait(1),
        *TALKING[1:],
        Wait(10),
    ],
    "an agent that is lost while the caller speaks": [
        *TALKING,
        deepgram.UserStartedSpeaking(),
        LegLost("agent"),
        Wait(1),
        *TALKING[1:],
        Wait(1),
    ],
    "the end of an agent that somebody waits for": [
        *TALKING,
        Requested(1, requests.Say("Eins.", "interrupt")),
        Requested(2, requests.SwitchAgent("billing", CallSettings(phrases=GERMAN))),
        Wait(2),
        *TALKING[1:],
        LegLost("agent"),
        ServerStopped(),
    ],
}


def told(commands: list[Command]) -> Iterator[str]:
    """All that goes to the caller, the agent, or whoever asked."""
    for command in commands:
        match command:
            case TellAgent(deepgram.InjectAgentMessage(message=text)):
                yield text
            case TellAgent(deepgram.InjectUserMessage(content=text)):
                yield text
            case TellAgent(deepgram.FunctionCallResponse(content=text)):
                yield text
            case Reply(what=text):
                yield text


def heard(conversation: list[Given], settings: CallSettings) -> list[str]:
    call = Playbook(settings)
    commands: list[Command] = []
    call.listeners.append(commands.append)
    for number, each in enumerate(conversation):
        if isinstance(each, Requested) and each.id > 8:
            each = dataclasses.replace(each, id=100 + number)
        call >> each << ...
    return list(told(commands))


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_nothing_of_ours_is_english(name: str) -> None:
    said = heard(CONVERSATIONS[name], SETTINGS)
    assert said
    for text in said:
        for english in ENGLISH.values():
            fixed = english.partition("{")[0]
            assert not (len(fixed) > 5 and fixed in text), text


def test_every_phrase_is_told_in_some_conversation() -> None:
    said = " ".join(
        text for conversation in CONVERSATIONS.values() for text in heard(conversation, SETTINGS)
    )
    names = list(ENGLISH)
    by_the_core = [*names[: names.index("function_done")]]
    by_the_core.remove("transferring")  # which whoever asks for a transfer has said
    assert [name for name in by_the_core if f"«{name}»" not in said] == []


@pytest.mark.parametrize("module", [control, declare, messaging, runner, transfers])
def test_what_tools_come_to_is_told_in_phrases(module: ModuleType) -> None:
    calls = (n for n in ast.walk(syntax_tree(inspect.getsource(module))) if isinstance(n, ast.Call))
    for call in calls:
        if getattr(call.func, "id", "") in ("ToolError", "_error"):
            is_literal = isinstance(call.args[0], ast.JoinedStr | ast.Constant)
            assert not is_literal, f"{module.__name__}:{call.lineno}"


@pytest.mark.parametrize("refusal", DialRefusal)
def test_a_number_that_may_not_be_dialled_is_told_in_the_agents_words(refusal: DialRefusal) -> None:
    assert refusal_words.refusal_words(GERMAN, refusal) == f"«{refusal.slug}»"
    assert refusal_words.refusal_words(Phrases(), refusal) == refusal.words


def test_what_twilio_refuses_is_told_in_the_agents_words() -> None:
    told = set()
    for code in (None, 0, 99999, *WORDS):
        for status in (400, 401, 403, 404, 409, 413, 429, 500, 503):
            refused = TwilioRefusedError(status, code)
            told.add(refusal_words.refusal_words(GERMAN, refused))
            assert refusal_words.refusal_words(Phrases(), refused) == refused.words
    assert told == {f"«{key}»" for key in REASONS}


def test_an_agent_may_have_words_for_a_code_that_offhook_does_not_know() -> None:
    phrases_ = Phrases(refusals={"99999": "Sonderfall", "other": "Unbekannt"})
    for code, words in ((99999, "Sonderfall"), (99998, "Unbekannt")):
        refused = TwilioRefusedError(409, code)
        assert refusal_words.refusal_words(phrases_, refused) == words


def test_default_words_stand_for_every_reason_that_an_agent_leaves_out() -> None:
    phrases_ = Phrases(refusals={"country": "Land", "21610": "Stopp", "default": "Nein"})
    for refused, words in (
        (DialRefusal.COUNTRY, "Land"),
        (DialRefusal.PREMIUM_RATE, "Nein"),
        (TwilioRefusedError(400, 21610), "Stopp"),
        (TwilioRefusedError(400, 21211), "Nein"),
        (TwilioRefusedError(500, None), "Nein"),
    ):
        assert refusal_words.refusal_words(phrases_, refused) == words


def test_a_date_is_told_in_the_agents_words() -> None:
    day = datetime(2026, 3, 6)
    assert phrases.date_words(Phrases(), day) == "Friday, 6 March 2026"
    german = Phrases(
        date="{weekday}, der {day}. {month} {year}",
        weekdays="Mo, Di, Mi, Do, Fr, Sa, So",
        months="1, 2, März, 4, 5, 6, 7, 8, 9, 10, 11, 12",
    )
    assert phrases.date_words(german, day) == "Fr, der 6. März 2026"


def test_wrong_arguments_are_told_in_the_agents_words() -> None:
    @tool
    def book(day: Literal["samstag"], people: int, plan: Variable) -> str:
        """Reserviert einen Tisch."""
        return f"{day} {people} {plan}"

    german = Phrases(
        argument_wrong="{field} ist ungültig ({kind})", variable_missing="{name} ist unbekannt"
    )
    call = Call("CA1", "laden", None, None)
    for arguments, told in {
        "{": "arguments ist ungültig (json_invalid)",
        '{"day": "montag"}': "day ist ungültig (literal_error); people ist ungültig (missing)",
        '{"day": "samstag", "people": 2}': "plan ist unbekannt",
    }.items():
        with pytest.raises(ToolArgumentsError) as wrong:
            book.bind(arguments, call)
        assert wrong.value.words(german) == told


async def test_what_a_function_asks_in_vain_is_told_in_the_agents_words() -> None:
    async def perform(_: object) -> str:
        raise UserError("E-SET-01", "think has no provider.", "Name one.")

    call = Call("CA1", "laden", None, None, _perform=perform, _phrases=GERMAN)
    with pytest.raises(ToolError, match="«no_words»"):
        await call.say(" ")
    with pytest.raises(ToolError, match="«behavior_unknown»"):
        await call.say("Ja.", cast("Any", "soon"))
    with pytest.raises(ToolError, match="«settings_refused»"):
        await call.update_think({})


async def test_a_text_that_cannot_be_sent_is_refused_in_the_agents_words() -> None:
    none = cast("Any", None)
    office = Messaging(none, none, none, recorded=False)
    with pytest.raises(ToolError, match="«texts_off»"):
        await office.send_text(None, "CA0", "", "Hallo", "caller", none, GERMAN)
    with pytest.raises(ToolError, match="«message_impossible»"):
        office.take_message("Ann", "", "Hallo", none, GERMAN)


def test_words_in_braces_are_filled_in_and_others_stay() -> None:
    assert phrases.fill("{a} and {b}", a="1") == "1 and {b}"
    failed = phrases.transfer_failed(Phrases(), "sales", "busy")
    assert failed.startswith("(The transfer to sales did not work: the line is busy.")
