"""Who speaks when, under anything that a client may do, in memory."""

from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as examined
from hypothesis import strategies as st
from tests.testing.dialogue.line import BOOK, ORDER, Line, SlowVoice, settings
from tests.testing.front_desk import DESK

from offhook.deepgram import messages
from offhook.testing.simulator.deepgram.script import Conduct
from offhook.testing.simulator.dialogue.dialogue_policy import conversing
from offhook.testing.simulator.speech import clips
from offhook.testing.simulator.speech.engines import Transcript

YES = clips.load("caller-yes")
COUGH = clips.load("caller-opening-hours")[800:1600]
FLUX = {"provider": {"type": "deepgram", "version": "v2", "model": "flux-general-en"}}
THINK = {"provider": {"type": "open_ai", "model": "m"}, "functions": [BOOK]}

WORDS = st.sampled_from([*DESK.caller_lines, "seven", "friday", "nonsense", ""])
BEHAVIOR = st.sampled_from(["default", "queue", "interrupt"])
ACTIONS = st.one_of(
    st.tuples(st.just("speak"), WORDS, st.booleans()),
    st.tuples(st.just("cough")),
    st.tuples(st.just("inject"), BEHAVIOR),
    st.tuples(st.just("write"), WORDS),
    st.tuples(st.just("force")),
    st.tuples(st.just("think"), st.booleans()),
    st.tuples(st.just("answer"), st.sampled_from(['{"booked": true}', "", "?"])),
    st.tuples(st.just("writable"), st.booleans()),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.05, 0.3, 1.0, 5.0, 30.0])),
)


def act(line: Line, action: tuple[Any, ...], open_: dict[str, str]) -> None:
    match action:
        case ("speak", words, understood):
            line.speech_to_text.words = [Transcript(words, understood)]
            line.speech = YES
            line.clock.run(0.7)
        case ("cough",):
            line.speech = COUGH
            line.clock.run(0.2)
        case ("inject", behavior):
            line.send(messages.InjectAgentMessage("Please hold the line.", behavior))
        case ("write", words):
            line.send(messages.InjectUserMessage(words))
        case ("force",):
            line.send(messages.ForceEndTurn())
        case ("think", more):
            line.send(messages.UpdateThink({**THINK, "functions": [BOOK, ORDER] if more else []}))
        case ("answer", content):
            for id_, name in open_.items():
                line.send(messages.FunctionCallResponse(name, content, id_))
        case ("writable", writable):
            line.standin.on_writable(writable)
        case ("wait", seconds):
            line.clock.run(seconds)


def calls(line: Line) -> dict[str, str]:
    """Calls that the client was asked for, and was not told to forget."""
    found: dict[str, str] = {}
    for message in line.log:
        if isinstance(message, messages.FunctionCallRequest):
            found |= {call.id: call.name for call in message.functions}
        elif isinstance(message, messages.FunctionCallCancelled):
            for call in message.functions:
                assert call.id in found, "nobody was asked for it"
                del found[call.id]
    return found


@examined(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=25,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
@given(st.lists(ACTIONS, max_size=12), st.sampled_from([0.0, 0.05, 0.6, -1]), st.booleans())
def test_whatever_happens_the_line_comes_to_rest(
    actions: list[tuple[Any, ...]], recognised_s: float, slow: bool
) -> None:
    line = Line(
        partial(conversing, DESK, conduct=Conduct(function_ms=8000)),
        recognised_s=recognised_s,
        **({"voice": lambda clock: SlowVoice(clock, pieces=15)} if slow else {}),
    ).settle(settings(BOOK, ORDER, listen=FLUX, greeting="Hello! How can I help you today?"))
    for action in actions:
        act(line, action, calls(line))
        line.clock.run(0.02)
    line.standin.on_writable(True)
    line.speech = b""
    line.clock.run(40)
    assert line.of(messages.Error) == []
    assert line.closed is None
    assert not line.standin.audible
    # Every utterance is over, and none is over twice.
    kinds = [kind for kind in line.kinds() if kind in ("audio", "AgentAudioDone")]
    assert kinds[-1:] in ([], ["AgentAudioDone"])
    for call in line.standin.calls:
        assert call.cancelled or call.response is not None, "waited for for ever"
        assert not (call.cancelled and call.response is not None)
    line.log.clear()
    line.answers = lambda call: '{"status": "ready"}'
    line.speech_to_text.after, line.speech_to_text.words = 0.05, []
    line.send(messages.UpdateThink({**THINK, "functions": [BOOK, ORDER]}))
    assert "We are closed on Sundays." in line.say("are you open on sunday")


@pytest.mark.parametrize("recognised_s", [0.0, 0.05, 0.6])
@pytest.mark.parametrize("spoken_s", [0.5, 0.9, 1.0, 1.1])
def test_what_is_written_behind_a_forced_end_comes_after_the_words(
    recognised_s: float, spoken_s: float
) -> None:
    """As keys come right behind speech: in its middle, and where the turn has only paused."""
    line = Line(
        partial(conversing, DESK, conduct=Conduct(silence_ms=300, reply_ms=600)),
        recognised_s=recognised_s,
    ).settle(settings(BOOK, ORDER, listen=FLUX))
    line.speech_to_text.words = [Transcript("are you open on sunday", True)]
    line.speech = YES
    line.clock.run(spoken_s)
    assert "UserStartedSpeaking" in line.kinds(), "else this shows nothing"
    assert not [said for said in line.of(messages.ConversationText) if said.role == "user"]
    line.send(messages.ForceEndTurn())
    line.send(messages.InjectUserMessage("(The caller pressed 12 on the keypad.)"))
    line.clock.run(10)
    users = [said.content for said in line.of(messages.ConversationText) if said.role == "user"]
    assert users == ["are you open on sunday", "(The caller pressed 12 on the keypad.)"]
