"""The tables by which a call decides: complete, and as drawn in docs/design/call-tables.md."""

from itertools import product
from typing import Final, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.call.playbook import (
    APPLIED,
    AUDIO_DONE,
    BARGE_IN,
    CONNECTED,
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

from offhook.call import handlers, inputs, phases, requests
from offhook.call.ending import Slug
from offhook.call.handlers import HANDLERS, IGNORED, UnexpectedInputError
from offhook.call.handoff_actions import SendDigits
from offhook.call.inputs import CallAnnounced, Input, Requested, ServerStopped
from offhook.call.phases import LINK_IGNORED, LINK_TRANSITIONS, LinkState, LinkStep, Phase
from offhook.call.resumed import ResumedCall
from offhook.deepgram import messages as deepgram
from offhook.events.types import CallReleased
from offhook.twilio import messages as twilio

SAMPLES: Final[list[Input]] = [
    *(CONNECTED, START, STOP, WELCOME, APPLIED, BARGE_IN, AUDIO_DONE),
    *(mark("0:160"), key("1"), agent("Hello."), caller("Hello.")),
    twilio.Media("MZ0", twilio.MediaDetails(b"")),
    twilio.UnknownTwilioMessage("novelty"),
    deepgram.AgentThinking(""),
    deepgram.AgentStartedSpeaking(),
    deepgram.FunctionCallRequest([deepgram.FunctionCall("1", "weather", "{}")]),
    deepgram.FunctionCallCancelled([deepgram.CancelledFunction("1")]),
    deepgram.FunctionCallResponse("1", "weather", "sunny"),
    deepgram.LatencyReport(),
    deepgram.FrustrationDetected(1, escalated=True),
    deepgram.ThinkLiveUpdated(),
    deepgram.History("user", "Hello."),
    deepgram.PromptUpdated(),
    deepgram.ThinkUpdated(),
    deepgram.SpeakUpdated(),
    deepgram.ListenUpdated(),
    deepgram.InjectionRefused(""),
    deepgram.Warning("", ""),
    deepgram.Error("", ""),
    deepgram.CustomFromThinkProvider("{}"),
    deepgram.UnknownAgentMessage("Novelty"),
    CallAnnounced(),
    inputs.ProcessDied(ResumedCall()),
    inputs.CallerReturning(),
    inputs.AgentLegRefused(429),
    inputs.AgentLegUnreachable("no such host"),
    inputs.LegLost("agent"),
    inputs.LegLost("caller"),
    inputs.LateTurn("Hello?"),
    inputs.SpareWelcomed("request-2"),
    inputs.SpareReady(),
    inputs.SpareLost("closed"),
    inputs.LegStalled("caller"),
    inputs.LegRecovered("caller"),
    inputs.GarbageReceived("agent", "bad JSON"),
    inputs.ToolBegan("1"),
    inputs.ToolFinished("1", "sunny", "answered"),
    *(Requested(9, each) for each in (requests.HangUp("agent"), requests.Mute(True))),
    *(Requested(9, each) for each in (requests.TakeOver("Ann"), requests.HandBack("They pay."))),
    inputs.OperatorLost(),
    inputs.RequestCancelled(1),
    inputs.HandoffBegun(),
    inputs.HandoffDone("busy"),
    inputs.CallOver(),
    inputs.NobodyReached(Slug.LINE_BUSY),
    ServerStopped(),
    inputs.Released(CallReleased("handed_over")),
    inputs.CallBroke("KeyError"),
]
_LEAVE: Final = Requested(1, requests.Leave(SendDigits("1"), "One moment."))
_TALKING: Final[list[Given]] = [START, WELCOME, APPLIED]
WAYS: Final[dict[Phase, list[Given]]] = {
    Phase.WAITING: [CallAnnounced(), WELCOME],
    Phase.SETTLING: [START, WELCOME],
    Phase.TALKING: _TALKING,
    Phase.BARGE_IN: [*_TALKING, agent("One two."), speech(400), BARGE_IN],
    Phase.CLOSING: [*_TALKING, _LEAVE],
    Phase.AWAY: [*_TALKING, _LEAVE, agent("One moment."), AUDIO_DONE],
    Phase.ENDED: [*_TALKING, STOP],
}


def call_in(phase: Phase) -> Playbook:
    call = Playbook()
    for each in WAYS[phase]:
        call >> each << ...
    return call << phase


def test_there_is_a_sample_of_every_input() -> None:
    assert {type(each) for each in SAMPLES} == set(get_args(Input))


def test_every_pair_is_handled_or_ignored_on_purpose() -> None:
    pairs = list(product(Phase, get_args(Input)))
    assert [pair for pair in pairs if (pair in HANDLERS) is (pair in IGNORED)] == []


@pytest.mark.parametrize("phase", Phase)
def test_every_input_is_taken_in_every_phase(phase: Phase) -> None:
    for sample in SAMPLES:
        call = call_in(phase)
        before = call.commanded()
        call >> sample << ...
        assert not before
        if (phase, type(sample)) in IGNORED:
            call << phase


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(Phase), st.lists(st.sampled_from(SAMPLES), max_size=8))
def test_every_pair_is_taken_after_any_others(phase: Phase, samples: list[Input]) -> None:
    call = call_in(phase)
    for number, sample in enumerate(samples):
        if isinstance(sample, Requested):
            sample = Requested(10 + number, sample.request)
        # Of an agent leg that is not there nothing comes.
        if call.contract.dialled or not type(sample).__module__.startswith("offhook.deepgram"):
            call >> sample << ...


def test_a_pair_in_neither_table_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(handlers.HANDLERS, (Phase.TALKING, twilio.Mark))
    call = call_in(Phase.TALKING)
    with pytest.raises(UnexpectedInputError, match="Mark while talking"):
        call >> mark("0:160")
    call >> BARGE_IN << ...


# --- the agent's leg -----------------------------------------------------------------------------

STEPS: Final = list(product(LinkState, LinkStep))


@pytest.mark.parametrize(("state", "step"), STEPS)
def test_the_agents_leg_takes_only_steps_of_its_table(state: LinkState, step: LinkStep) -> None:
    pair = (state, step)
    if pair in LINK_IGNORED:
        assert phases.link_after(state, step) is state
    elif pair in LINK_TRANSITIONS:
        assert phases.link_after(state, step) is LINK_TRANSITIONS[pair]
    else:
        with pytest.raises(KeyError):
            phases.link_after(state, step)


@pytest.mark.parametrize("state", LinkState)
def test_what_deepgram_says_is_in_one_table_or_the_other(state: LinkState) -> None:
    for step in (LinkStep.WELCOME_CAME, LinkStep.SETTINGS_APPLIED, LinkStep.CALL_ENDED):
        assert ((state, step) in LINK_TRANSITIONS) is not ((state, step) in LINK_IGNORED)


def test_every_step_of_the_agents_leg_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: set[tuple[LinkState, LinkStep]] = set()

    def link_after(state: LinkState, step: LinkStep) -> LinkState:
        taken.add((state, step))
        return phases.link_after(state, step)

    monkeypatch.setattr("offhook.call.agent_link.link_after", link_after)
    unused: list[Given] = [CallAnnounced(), WELCOME, APPLIED, inputs.LegLost("agent")]
    conversations: list[list[Given]] = [
        [*unused, WELCOME, APPLIED, STOP],
        [CallAnnounced(), WELCOME, WELCOME, STOP],
        [START, APPLIED, STOP],
        [START, key("1"), Requested(1, requests.Leave(SendDigits("1"))), STOP, START],
        [START, WELCOME, Requested(1, requests.Leave(SendDigits("1")))],
        [*_TALKING, STOP],
        [CallAnnounced(), WELCOME, APPLIED, WELCOME, APPLIED],
        [*_TALKING, inputs.LegLost("agent"), WELCOME, APPLIED, STOP],
        [
            *(START, inputs.LegLost("agent"), Wait(0), WELCOME, inputs.LegLost("agent")),
            Requested(1, requests.Leave(SendDigits("1"))),
        ],
    ]
    for conversation in conversations:
        call = Playbook()
        for each in conversation:
            call >> each << ...
    assert taken <= set(LINK_TRANSITIONS) | LINK_IGNORED
    assert taken >= set(LINK_TRANSITIONS)
