"""The table of transitions: complete, reachable, and as drawn in the README."""

from importlib import resources
from itertools import product

import pytest
from tests.call.playbook import (
    APPLIED,
    AUDIO_DONE,
    BARGE_IN,
    START,
    STOP,
    WELCOME,
    Given,
    Playbook,
    Speech,
    Wait,
    agent,
    key,
)
from tests.call.test_phrases import interrupted

from offhook.call import phases, requests
from offhook.call.call_settings import CallSettings
from offhook.call.handoff_actions import Dial
from offhook.call.inputs import (
    CallAnnounced,
    CallOver,
    HandoffDone,
    LegLost,
    ProcessDied,
    Requested,
)
from offhook.call.phases import TRANSITIONS, Phase, Step

IMPATIENT = CallSettings(silence_s=1)
TRANSFER = Requested(1, requests.Leave(Dial("desk", "+12025550123"), "I connect you."))
SWITCH = Requested(1, requests.SwitchAgent("billing", CallSettings(), "I connect you."))
TAKE_OVER = Requested(2, requests.TakeOver("Ann"))
LEAVE = Requested(3, requests.Leave(Dial("desk", "+12025550123"), by="operator"))


def test_every_transition_is_taken_by_some_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: set[tuple[Phase, Step]] = set()

    def after(phase: Phase, step: Step) -> Phase:
        taken.add((phase, step))
        return phases.after(phase, step)

    monkeypatch.setattr("offhook.call.call_state.after", after)
    settling: list[Given] = [START, WELCOME]
    talking: list[Given] = [*settling, APPLIED]
    barge_in: list[Given] = [*talking, agent("Hello."), Speech(bytes(1600)), BARGE_IN]
    closing: list[Given] = [*talking, Wait(0.5), Wait(0.5)]
    conversations: list[list[Given]] = [
        [CallAnnounced(), CallOver()],
        [ProcessDied(interrupted()), CallOver()],
        [*settling, STOP],
        [*settling, TRANSFER],
        [*settling, SWITCH],
        [*talking, STOP],
        [*barge_in, STOP],
        [*barge_in, AUDIO_DONE],
        [*talking, LegLost("agent")],
        [*barge_in, LegLost("agent")],
        [*closing, Wait(5)],
        [*closing, key("1")],
        [*talking, TRANSFER, agent("I connect you."), AUDIO_DONE, START],
        [*talking, TRANSFER, agent("I connect you."), AUDIO_DONE, HandoffDone("reached")],
        [*talking, SWITCH, agent("I connect you."), AUDIO_DONE],
        [*settling, LegLost("caller")],
        [*talking, LegLost("caller")],
        [*talking, TAKE_OVER, LEAVE],
        [*barge_in, TAKE_OVER, LEAVE],
        [*barge_in, LegLost("caller")],
    ]
    for conversation in conversations:
        playbook = Playbook(IMPATIENT, asks_after=True)
        for given in conversation:
            playbook >> given << ...
    assert taken == set(TRANSITIONS)


def test_only_what_the_table_holds_is_legal() -> None:
    for phase, step in product(Phase, Step):
        if (phase, step) in TRANSITIONS:
            assert phases.after(phase, step) is TRANSITIONS[phase, step]
        else:
            with pytest.raises(KeyError):
                phases.after(phase, step)


def test_every_phase_ends_and_nothing_follows_the_end() -> None:
    for phase in Phase:
        assert ((phase, Step.ENDED) in TRANSITIONS) == (phase is not Phase.ENDED)
    assert not [phase for phase, _ in TRANSITIONS if phase is Phase.ENDED]


def test_every_phase_and_every_step_is_used() -> None:
    assert {Phase.WAITING, *TRANSITIONS.values()} == set(Phase)
    assert {step for _, step in TRANSITIONS} == set(Step)


def test_the_readme_shows_the_table() -> None:
    readme = resources.files("offhook.call").joinpath("README.md").read_text(encoding="utf-8")
    assert f"```mermaid\n{phases.diagram()}\n```" in readme
