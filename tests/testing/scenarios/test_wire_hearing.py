"""What was heard, from the messages on a server's two wires, on a clock that jumps."""

import msgspec
import pytest

from offhook.call.ending import Ending, Slug
from offhook.capture.tap import Direction, Kind, OnWire
from offhook.deepgram import messages
from offhook.events.types import Leg
from offhook.testing.scenarios.hearing import Stretch
from offhook.testing.scenarios.judge import ServersEnding
from offhook.testing.scenarios.wire_hearing import WireHearing
from offhook.testing.virtual_clock import VirtualClock
from offhook.twilio.messages import MediaWriter

SIX = "one two three four five six"


class Wires:
    """A server's two wires in a test's hands: its audio is passed on as soon as it comes."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.heard = WireHearing(self.clock)
        self.writer = MediaWriter("MZ1")

    def message(self, leg: Leg, direction: Direction, kind: Kind, data: bytes) -> None:
        self.heard.on_wire(OnWire(1000 * self.clock.now(), leg, direction, kind, data))

    def agent(self, message: messages.ServerMessage) -> None:
        self.message("agent", "in", "text", messages.write(message))

    def says(self, text: str, seconds: float = 0.0, *, passed_on: bool = True) -> None:
        self.agent(messages.ConversationText("assistant", text))
        self.receive(seconds)
        if passed_on:
            self.play(seconds)

    def receive(self, seconds: float, code: bytes = b"\x10") -> None:
        """In pieces of 100 ms."""
        for _ in range(round(seconds * 10)):
            self.message("agent", "in", "binary", code * 800)

    def play(self, seconds: float) -> None:
        for _ in range(round(seconds * 50)):
            self.message("caller", "out", "text", self.writer.play(b"\x10" * 160))

    def clear(self) -> None:
        self.message("caller", "out", "text", self.writer.clear)

    def stretch(self, began: float, ended: float, *, over: bool = True) -> str | None:
        return self.heard.words(Stretch(began, ended, over))


@pytest.fixture
def wires() -> Wires:
    return Wires()


def test_sentences_are_heard_when_their_audio_plays(wires: Wires) -> None:
    wires.says("Hello there.", 1.0)
    wires.says("How are you?", 1.0)
    wires.clock.run(5)
    wires.says("Still there?", 1.0)
    assert wires.stretch(0.0, 1.9) == "Hello there. How are you?"
    assert wires.stretch(5.0, 5.9) == "Still there?"
    assert wires.stretch(8.0, 9.0) == ""


def test_a_pause_between_two_sentences_is_between_their_stretches(wires: Wires) -> None:
    wires.says("Hello there.", 1.0)
    wires.says("How are you?", 1.0)
    wires.clock.run(2)
    first, second = Stretch(0.0, 0.5, True), Stretch(1.02, 1.9, True)
    assert [wires.heard.words(first), wires.heard.words(second)] == ["Hello there.", "How are you?"]
    assert [wires.heard.words(first), wires.heard.words(second)] == ["Hello there.", "How are you?"]


def test_a_sentence_that_plays_is_heard_word_by_word(wires: Wires) -> None:
    wires.says(SIX, 3.0)
    stretch = Stretch(0.0, 0.1)
    heard = []
    for stretch.ended in (0.1, 1.0, 2.0, 3.0):
        heard.append(wires.heard.words(stretch))
    assert heard == ["", "one two", "one two three four", SIX]


def test_a_sentence_with_a_pause_in_it_is_heard_in_two_stretches(wires: Wires) -> None:
    wires.says(SIX, 3.0)
    first, second = Stretch(0.0, 1.0, True), Stretch(1.6, 2.9, True)
    wires.clock.run(2.0)
    assert wires.heard.words(first) == "one two"
    assert wires.heard.words(second) == "three four five six"
    assert wires.heard.words(first) == "one two"


def test_a_sentence_is_over_when_only_silence_follows(wires: Wires) -> None:
    wires.says(SIX, 2.0)
    wires.receive(1.0, b"\xff")
    wires.play(1.0)
    stretch = Stretch(0.0, 1.9, True)
    wires.clock.run(2.5)
    assert wires.heard.words(stretch) == SIX
    wires.clear()  # a caller who speaks now cuts off nothing that is heard
    assert wires.heard.words(stretch) == SIX


def test_a_sentence_that_falls_quiet_is_heard_whole_when_it_is_over(wires: Wires) -> None:
    wires.says(SIX, 3.0)
    stretch = Stretch(0.0, 2.0, True)
    wires.clock.run(2.5)
    assert wires.heard.words(stretch) == "one two three four"
    wires.clock.run(0.6)
    assert wires.heard.words(stretch) == SIX


def test_what_a_clear_threw_away_was_not_heard(wires: Wires) -> None:
    wires.says(SIX, 3.0)
    wires.says("Nobody hears this.", 2.0)
    wires.clock.run(1.5)
    wires.clear()
    wires.receive(0.4)  # late audio of the sentence that was cut, which the server drops
    wires.clock.run(1.0)
    wires.says("Of course.", 1.0)
    assert wires.stretch(2.5, 3.5) == "Of course."
    assert wires.stretch(0.0, 1.5) == "one two three"


def test_what_had_played_before_a_clear_was_heard(wires: Wires) -> None:
    wires.says("Hello there.", 1.0)
    wires.clock.run(4)
    wires.clear()
    assert wires.stretch(0.0, 1.0) == "Hello there."


def test_a_greeting_that_waits_for_the_caller_is_heard_when_it_is_passed_on(wires: Wires) -> None:
    wires.says("Hello there.", 1.0, passed_on=False)
    wires.says("How are you?", 1.0, passed_on=False)
    wires.clock.run(3)
    wires.play(2.0)
    wires.clock.run(2)
    first, second = Stretch(3.0, 3.6, True), Stretch(4.1, 4.9, True)
    assert [wires.heard.words(first), wires.heard.words(second)] == ["Hello there.", "How are you?"]


def test_a_greeting_of_an_agent_that_was_lost_before_the_stream_is_not_heard(wires: Wires) -> None:
    """The audio of the next agent's greeting counted as that of both."""
    wires.agent(messages.Welcome("first"))
    wires.says("Hello.", 0.3, passed_on=False)
    wires.clock.run(1)
    wires.agent(messages.Welcome("second"))
    wires.says("Hello.", 1.0)
    assert wires.stretch(1.0, 2.0) == "Hello."


def test_a_sentence_without_audio_is_not_heard(wires: Wires) -> None:
    wires.says("Nothing but text.")
    wires.says("Hello there.", 1.0)
    assert wires.stretch(0.0, 1.0) == "Hello there."


def test_functions_are_seen_and_which_were_called_off_and_answered(wires: Wires) -> None:
    wires.clock.run(2)
    calls = [
        messages.FunctionCall("1", "book", '{"day": "friday"}'),
        messages.FunctionCall("2", "off", "{}"),
        messages.FunctionCall("3", "odd", "not JSON"),
        messages.FunctionCall("4", "list", "[1]"),
    ]
    wires.agent(messages.FunctionCallRequest(calls))
    wires.agent(messages.FunctionCallCancelled([messages.CancelledFunction("2")]))
    seen = [(one.at, one.name, dict(one.arguments)) for one in wires.heard.functions()]
    assert seen == [(2, "book", {"day": "friday"}), (2, "off", {}), (2, "odd", {}), (2, "list", {})]
    assert [one.name for one in wires.heard.functions() if one.called_off] == ["off"]
    answer = b'{"type": "FunctionCallResponse", "id": "1", "name": "book", "content": "{}"}'
    for text in (answer, b"not JSON", b'{"type": "FunctionCallResponse", "id": "none"}'):
        wires.heard.on_wire(OnWire(2000, "agent", "out", "text", text))
    assert [one.name for one in wires.heard.functions() if one.answered] == ["book"]


def test_what_the_caller_was_taken_for(wires: Wires) -> None:
    wires.clock.run(1)
    wires.agent(messages.ConversationText("user", "Hello?"))
    assert [(one.at, one.text) for one in wires.heard.taken_for] == [(1, "Hello?")]


def test_nonsense_on_the_wires_is_the_servers_business(wires: Wires) -> None:
    wires.message("agent", "in", "text", b"{")
    wires.message("agent", "in", "text", msgspec.json.encode({"type": "Newest"}))
    wires.message("caller", "out", "text", b"{")
    wires.message("caller", "in", "text", b"{}")
    wires.message("agent", "out", "binary", b"\x10" * 160)
    wires.play(1.0)
    assert wires.stretch(0.0, 1.0) == ""


async def test_how_the_server_says_that_the_call_ended(wires: Wires) -> None:
    wires.heard.on_ended(Ending(Slug.AGENT_LOST))
    assert wires.heard.ending == ServersEnding("agent_lost", "agent")
    assert wires.heard.ended.is_set()
