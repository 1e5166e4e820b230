"""Operators of a live call, on a clock that jumps: what they hear, and what the caller hears."""

import json
from base64 import b64decode, b64encode
from itertools import pairwise
from typing import Any

import pytest
from tests.calls.test_session import Rehearsal
from tests.memory_sockets import connect_in_memory
from tests.whole_server import ASK, GREET, voice

from offhook.audio import FRAME_BYTES, SILENCE
from offhook.call.operator_voice import RETURN_S, SILENT_S
from offhook.call.phrases import Phrases
from offhook.call.requests import AskDigits, HandBack, HangUp
from offhook.calls.operators import GARBAGE_MAX, GATHER_S, GATHERED_MAX, OPERATORS_MAX
from offhook.calls.session import Session
from offhook.clock import Timer
from offhook.events.types import (
    AgentSaid,
    AgentTold,
    CallEnded,
    ListeningBegan,
    ListeningEnded,
    OperatorHandedBack,
    OperatorTookOver,
)
from offhook.net.websocket import Channel, Closed
from offhook.testing.scenarios.scenario import ScenarioStep

WAIT = ScenarioStep.model_validate({"wait": 60})
LOUD = b"\x2a" * FRAME_BYTES
"""A frame of the operator's that nothing else on the line resembles."""


class Page:
    """An operator's page: what it was sent, and a microphone that sends 50 frames a second."""

    channel: Channel

    def __init__(self, rehearsal: Rehearsal, by: str, *, speaks: bool) -> None:
        self._clock = rehearsal.clock
        self._rehearsal = rehearsal
        self.got: list[dict[str, Any]] = []
        self.closed: Closed | None = None
        self.frame = LOUD
        self._timer: Timer | None = None
        operators = self.session.operators
        stream = operators.speaking(by) if speaks else operators.listening(by)
        connect_in_memory(rehearsal.clock, self, stream)

    @property
    def session(self) -> Session:
        (entry,) = self._rehearsal.calls.registry.live.values()
        assert entry.session is not None
        return entry.session

    def on_open(self, socket: Channel) -> None:
        self.channel = socket

    def on_text(self, text: bytes) -> None:
        self.got.append(json.loads(text))

    def on_binary(self, data: bytes) -> None:
        raise AssertionError

    def on_writable(self, writable: bool) -> None:
        pass

    def on_close(self, closed: Closed) -> None:
        self.closed = closed
        self.be_silent()

    def send(self, message: Any) -> None:
        self.channel.send_text(json.dumps(message).encode())

    def speak(self) -> None:
        self.send({"event": "media", "payload": b64encode(self.frame).decode()})
        self._timer = self._clock.call_at(self._clock.now() + 0.02, self.speak)

    def be_silent(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    @property
    def is_closed(self) -> bool:
        return self.closed is not None

    def events(self) -> list[str]:
        return [each["event"] for each in self.got if each["event"] not in ("media", "clear")]

    def told(self, event: str) -> dict[str, Any]:
        (one,) = [each for each in self.got if each["event"] == event]
        return one

    def heard(self, track: str) -> bytes:
        media = [each for each in self.got if each["event"] == "media"]
        return b"".join(b64decode(each["payload"]) for each in media if each["track"] == track)


class Desk(Rehearsal):
    """A call that has been greeted, and operators."""

    def __init__(self, *steps: ScenarioStep, **options: Any) -> None:
        super().__init__(GREET, *steps, WAIT, **options)
        self.clock.run(5)

    def listener(self, by: str = "Ann") -> Page:
        return Page(self, by, speaks=False)

    def speaker(self, by: str = "Ann") -> Page:
        page = Page(self, by, speaks=True)
        page.speak()
        self.clock.run(0.1)
        return page

    @property
    def session(self) -> Session:
        (entry,) = self.calls.registry.live.values()
        assert entry.session is not None
        return entry.session

    def ask(self, request: Any) -> tuple[bool, str]:
        replies: list[tuple[bool, str]] = []
        self.session.ask(request, lambda done, what: replies.append((done, what)))
        self.clock.run(1)
        (reply,) = replies
        return reply

    def of(self, *kinds: type) -> list[object]:
        return [each for each in self.events if isinstance(each, kinds)]

    def caller_hears(self, seconds: float) -> bytes:
        """What the caller hears from now on."""
        before = len(self.stream.heard)
        self.clock.run(seconds)
        return bytes(self.stream.heard[before:])


# --- listening -----------------------------------------------------------------------------------


def test_a_listener_hears_both_sides_as_they_are_on_the_wire() -> None:
    desk = Desk(ASK, GREET)
    page = desk.listener()
    sent, spoken = desk.stream, len(desk.stream.spoken)
    desk.clock.run(8)
    assert desk.agent_said()[-1] == "Of course, what else?"
    # The last 20 ms may be on the way.
    assert bytes(sent.spoken[spoken:]).startswith(page.heard("caller")[FRAME_BYTES * 2 : -400])
    assert voice("Of course, what else?")[160:-160] in page.heard("agent")
    assert desk.of(ListeningBegan) == [ListeningBegan("Ann")]


def caller_gaps(page: Page) -> set[int]:
    media = [each for each in page.got if each["event"] == "media" and each["track"] == "caller"]
    return {later["ms"] - before["ms"] for before, later in pairwise(media)}


def test_whoever_listens_is_a_tenth_of_a_second_behind_and_who_speaks_is_not() -> None:
    desk = Desk(ASK)
    bob, ann = desk.listener("Bob"), desk.speaker("Ann")
    desk.clock.run(3)
    assert caller_gaps(ann) == {20}
    # A timer begins with the first frame of a message, and the sixth is the next one's.
    assert caller_gaps(bob) <= {GATHER_S * 1000, GATHER_S * 1000 + 20}
    assert len(bob.heard("caller")) > 2.8 * 8000
    ann.be_silent()


def test_a_burst_of_the_agents_is_sent_in_messages_that_a_stream_takes() -> None:
    desk = Desk()
    page = desk.listener()
    desk.clock.run(0.1)
    before = len(page.heard("agent"))
    desk.session.operators.hear_agent(bytes(range(256)) * 400)  # more than a line may have
    desk.clock.run(0.2)
    assert page.heard("agent")[before:].endswith(bytes(range(256)) * 400)
    media = [each for each in page.got if each["event"] == "media"]
    assert max(len(b64decode(each["payload"])) for each in media) <= GATHERED_MAX


def test_whoever_begins_to_listen_in_mid_answer_hears_the_rest_of_it() -> None:
    desk = Desk(ASK)
    while len(desk.session.unheard()) < 8000:
        desk.clock.run(0.02)
    page, heard_before = desk.listener(), len(desk.stream.heard)
    desk.clock.run(8)
    rest = page.heard("agent")
    assert len(rest) >= 8000
    heard = bytes(desk.stream.heard)
    # Where the caller is in it is known to some 20 ms, by the clock between two marks.
    assert abs(heard.find(rest) - heard_before) <= 2 * FRAME_BYTES


def test_what_the_agent_did_not_get_to_say_is_taken_back() -> None:
    barge_in = ScenarioStep.model_validate({"barge_in": {"after_ms": 300, "say": "Stop."}})
    desk = Desk(ASK, barge_in)
    page = desk.listener()
    desk.clock.run(12)
    assert {"event": "clear"} in page.got


def test_while_nobody_listens_the_audio_takes_its_shortest_path() -> None:
    desk = Desk()
    session = desk.session
    leg = session._stream.leg
    assert leg is not None
    plain = leg._recorder
    pages = [desk.listener("Ann"), desk.listener("Bob")]
    assert leg._recorder is not plain
    for page in pages:
        page.channel.close()
    desk.clock.run(0.1)
    assert leg._recorder is plain
    (ann, bob) = desk.of(ListeningEnded)
    assert isinstance(ann, ListeningEnded)
    assert isinstance(bob, ListeningEnded)
    assert [ann.by, bob.by] == ["Ann", "Bob"]


def test_a_listener_who_reads_too_slowly_gets_no_old_audio_and_harms_nobody() -> None:
    desk = Desk()
    slow, other = desk.listener("Ann"), desk.listener("Bob")
    stream = desk.session.operators._streams[0]
    stream.on_writable(False)
    desk.clock.run(2)
    before = len(slow.got)
    stream.on_writable(True)
    desk.clock.run(1)
    assert len(other.heard("caller")) > 2.9 * 8000
    assert len(slow.got) - before <= 52


def test_a_secret_is_not_heard_by_listeners() -> None:
    desk = Desk(ASK, GREET)
    page = desk.listener()
    replies: list[Any] = []
    desk.session.ask(AskDigits("", 4, 30.0), lambda *reply: replies.append(reply))
    desk.clock.run(4)
    assert len(desk.stream.spoken) > 8000
    assert set(page.heard("caller")) <= set(SILENCE)


def test_the_end_is_told_before_the_call_is_over() -> None:
    desk = Desk()
    page = desk.listener()
    desk.session.ask(HangUp("operator"), lambda *_: None)
    desk.clock.run(1)
    assert page.events() == ["end"]
    assert page.closed is not None
    kinds = [type(each) for each in desk.events]
    assert kinds.index(ListeningEnded) < kinds.index(CallEnded)


def test_no_more_than_so_many() -> None:
    desk = Desk()
    for number in range(OPERATORS_MAX):
        desk.listener(f"user {number}")
    page = desk.listener("one more")
    desk.clock.run(0.1)
    assert page.events() == ["refused"]
    assert page.closed is not None


# --- taking over ---------------------------------------------------------------------------------


def test_the_caller_hears_the_operator_and_then_the_agent_again() -> None:
    desk = Desk()
    ann = desk.speaker()
    assert ann.told("taken") == {"event": "taken", "by": "Ann"}
    heard = desk.caller_hears(2)
    assert heard[1600:-1600] == b"\x2a" * len(heard[1600:-1600])
    assert desk.ask(HandBack("They pay on Monday."))[0]
    assert ann.told("returned") == {"event": "returned", "by": "Ann", "why": "asked"}
    assert ann.events() == ["taken", "returned", "end"]
    assert ann.closed is not None
    told = [each.text for each in desk.of(AgentTold) if isinstance(each, AgentTold)]
    assert [text for text in told if "They pay on Monday." in text]
    heard = desk.caller_hears(4)
    assert set(heard) - set(SILENCE + LOUD), "the agent speaks again"
    assert b"\x2a" * 160 not in heard


def test_the_one_who_speaks_does_not_hear_themselves_and_others_do() -> None:
    desk = Desk()
    bob = desk.listener("Bob")
    ann = desk.speaker("Ann")
    desk.clock.run(2)
    assert LOUD in bob.heard("agent")
    assert not ann.heard("agent")
    assert len(ann.heard("caller")) > 8000


def test_the_second_is_refused_and_told_who_has_it() -> None:
    desk = Desk()
    ann, bob = desk.speaker("Ann"), desk.speaker("Bob")
    refused = {"event": "refused", "by": "Ann", "why": "Ann is speaking with the caller"}
    assert bob.told("refused") == refused
    assert bob.closed is not None
    assert ann.closed is None
    assert desk.of(OperatorTookOver) == [OperatorTookOver("Ann")]
    ann.be_silent()


def test_the_same_person_in_another_window_goes_on_there() -> None:
    desk = Desk()
    before, after = desk.speaker(), desk.speaker()
    assert before.told("returned")["why"] == "elsewhere"
    assert before.closed is not None
    assert after.events() == ["taken"]
    heard = desk.caller_hears(1)
    assert LOUD * 20 in heard
    assert not desk.of(OperatorHandedBack)


@pytest.mark.parametrize("why", ["lost", "silent"])
def test_an_operator_who_is_gone_leaves_the_caller_with_the_agent(why: str) -> None:
    desk = Desk()
    ann = desk.speaker()
    desk.clock.run(1)
    ann.be_silent()
    if why == "lost":
        ann.channel.abort()
    desk.clock.run((RETURN_S if why == "lost" else SILENT_S) + 0.1)
    (back,) = desk.of(OperatorHandedBack)
    assert isinstance(back, OperatorHandedBack)
    assert back.why == why
    assert Phrases().operator_lost in [
        e.text for e in desk.of(AgentTold) if isinstance(e, AgentTold)
    ]
    assert set(desk.caller_hears(4)) - set(SILENCE), "the agent speaks"
    assert ann.closed is not None


def test_one_who_leaves_on_purpose_hands_back_at_once() -> None:
    desk = Desk()
    ann = desk.speaker()
    ann.channel.close()
    desk.clock.run(0.2)
    (back,) = desk.of(OperatorHandedBack)
    assert isinstance(back, OperatorHandedBack)
    assert (back.by, back.why) == ("Ann", "asked")


def test_the_operator_who_comes_back_in_time_goes_on() -> None:
    desk = Desk()
    desk.speaker().channel.abort()
    desk.clock.run(RETURN_S - 1)
    ann = desk.speaker()
    desk.clock.run(10)
    assert ann.events() == ["taken"]
    assert not desk.of(OperatorHandedBack)


def test_the_callers_hang_up_is_told() -> None:
    desk = Desk()
    ann = desk.speaker()
    desk.stream.hang_up()
    desk.clock.run(1)
    assert ann.events() == ["taken", "returned", "end"]
    assert ann.told("returned")["why"] == "call_over"
    assert [e.why for e in desk.of(OperatorHandedBack) if isinstance(e, OperatorHandedBack)] == [
        "call_over"
    ]


def test_the_operators_words_are_no_utterance_of_the_agents() -> None:
    desk = Desk(ASK)
    ann = desk.speaker()
    desk.clock.run(8)
    said = desk.of(AgentSaid)
    ann.be_silent()
    assert [each.text for each in said if isinstance(each, AgentSaid)] == [
        "Hello! How can I help you today?"
    ]


def test_a_frame_of_nonsense_is_counted_and_then_ends_the_stream() -> None:
    desk = Desk()
    ann = desk.speaker()
    ann.be_silent()
    nonsense: list[Any] = [
        [],
        {"event": "media", "payload": "AAAA"},
        {"event": "media"},
        "x",
        {"event": 1},
    ]
    for message in nonsense:
        ann.send(message)
    ann.channel.send_text(b"\xff\xfe")
    ann.channel.send_text(b"[" * 50_000)
    ann.send({"event": "novelty"})
    desk.clock.run(0.1)
    assert ann.events() == ["taken"]
    for _ in range(GARBAGE_MAX):
        ann.send([])
    desk.clock.run(0.1)
    assert ann.is_closed
    assert not desk.endings


def test_a_fault_in_a_stream_ends_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    bad, good = desk.listener("Ann"), desk.listener("Bob")

    def broken(text: bytes) -> None:
        raise RuntimeError("boom")

    channel = desk.session.operators._streams[0]._channel
    monkeypatch.setattr(channel, "send_text", broken)
    desk.clock.run(2)
    assert not bad.got
    assert len(good.heard("caller")) > 8000
    assert not desk.endings
