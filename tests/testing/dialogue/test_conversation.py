"""Conversations along a dialogue, as they read."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.testing.front_desk import DESK

from offhook import yamlfile
from offhook.testing.simulator.dialogue.conversation import DialogueConversation, Memory, Move
from offhook.testing.simulator.dialogue.file import Dialogue

CAN_DO = "You can ask for our opening hours, book a table, or ask about an order."
BOOKED = '{"booked": true, "table": 4}'


def desk(*offered: str) -> DialogueConversation:
    return DialogueConversation(DESK, frozenset(offered) if offered else None)


def dialogue(text: str) -> Dialogue:
    return Dialogue(yamlfile.parse(text, Path("d.yaml")))


def said(move: Move) -> str:
    return " ".join(move.say)


def ask(talk: DialogueConversation, *turns: str) -> str:
    """What is answered to the last of these turns."""
    move = Move()
    for turn in turns:
        move = talk.hear(turn)
    return said(move)


def called(move: Move) -> list[tuple[str, dict[str, Any]]]:
    return [(call.name, dict(call.arguments)) for call in move.calls]


# --- The front desk ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What are your opening hours?", "nine in the morning until six in the evening"),
        ("Are you open on Saturday?", "On Saturdays we open at ten, and we close at four"),
        ("Are you open on Sundays?", "We are closed on Sundays."),
        ("Are you open on Tuesday?", "on Tuesday we are open from nine"),
        ("Are you open today?", "from Monday to Friday"),
        ("Can I speak to a person?", "nobody is free"),
        ("Sorry, one more thing.", "Of course, what else?"),
        ("Thank you, goodbye.", "Thank you for calling. Goodbye!"),
        ("Hello there", CAN_DO),
    ],
)
def test_a_question_is_answered(question: str, answer: str) -> None:
    assert answer in ask(desk(), question)


def test_a_booking_bit_by_bit() -> None:
    talk = desk()
    assert ask(talk, "I would like to book a table.") == "Of course. For which day?"
    assert ask(talk, "On Friday, please.") == "At what time?"
    assert ask(talk, "seven") == "For how many people?"
    assert ask(talk, "two") == "A table for two, Friday at seven in the evening. Is that right?"
    move = talk.hear("Yes, that's right.")
    assert called(move) == [("book_table", {"day": "friday", "time": "19:00", "people": 2})]
    assert move.say == ()
    answer = "Your table is booked. It is table four. Can I help you with anything else?"
    assert said(talk.functions_answered([BOOKED])) == answer
    assert talk.memory.slots == {}


@pytest.mark.parametrize(
    ("first", "asked"),
    [
        ("A table for two.", "For which day?"),
        ("A table for two on Friday at seven.", "Is that right?"),
        ("Can I book a table for Friday at seven?", "For how many people?"),
    ],
)
def test_a_booking_asks_for_what_is_missing(first: str, asked: str) -> None:
    assert ask(desk(), first).endswith(asked)


def test_corrections_are_taken_over() -> None:
    talk = desk()
    ask(talk, "A table for two on Friday at seven.")
    assert "for three, Friday" in ask(talk, "No, for three people.")
    assert "Friday at half past six" in ask(talk, "no make it half past six")
    assert ask(talk, "No.") == "What would you like to change?"
    assert "for three, Saturday at half past six" in ask(talk, "make it saturday")
    assert called(talk.hear("yes"))[0][1] == {"day": "saturday", "time": "18:30", "people": 3}


def test_a_yes_with_something_new_is_a_correction_and_with_the_same_a_yes() -> None:
    talk = desk()
    ask(talk, "A table for two on Friday at seven.")
    assert "for three" in ask(talk, "yes for three")
    assert "Is that right?" in ask(talk, "for three people")
    assert called(talk.hear("yes please"))


def test_when_there_is_no_table_then_another_time_is_asked_for() -> None:
    talk = desk()
    ask(talk, "A table for two on Friday at seven.", "yes")
    full = talk.functions_answered(['{"booked": false, "reason": "full", "free": "20:00"}'])
    assert said(full) == (
        "I am sorry, we are full at that time. We have a table at eight in the evening."
        " At what time?"
    )
    assert "for two, Friday at eight in the evening" in ask(talk, "at eight")
    assert called(talk.hear("yes"))[0][1]["time"] == "20:00"
    assert "we have no table then" in said(talk.functions_answered(['{"booked": false}']))


def test_an_answer_without_a_field_is_told_without_it() -> None:
    talk = desk()
    ask(talk, "A table for two on Friday at seven.", "yes")
    answer = said(talk.functions_answered(['{"booked": true}']))
    assert answer.startswith("Your table is booked. Can I")


def test_another_question_in_between_does_not_lose_the_booking() -> None:
    talk = desk()
    ask(talk, "A table for two.")
    answer = ask(talk, "Are you open on Saturday?")
    assert answer.startswith("On Saturdays we open at ten")
    assert answer.endswith("For which day?")
    assert ask(talk, "saturday") == "At what time?"
    assert ask(talk, "mumble", "at seven").startswith("A table for two, Saturday")


def test_never_mind_leaves_the_booking() -> None:
    talk = desk()
    assert "anything else" in ask(talk, "A table for two.", "Never mind.")
    assert talk.memory.slots == {}
    assert ask(talk, "book a table") == "Of course. For which day?"


def test_an_order_is_asked_about_speculatively() -> None:
    talk = desk()
    assert ask(talk, "Is my order ready?") == "Of course. What is your order number?"
    move = talk.hear("My order number is four two one seven.")
    assert called(move) == [("order_status", {"number": "4217"})]
    assert move.calls[0].speculative
    assert "Yes, your order is ready." in said(talk.functions_answered(['{"status": "ready"}']))
    ask(talk, "is order 99 ready")
    assert "cannot find" in said(talk.functions_answered(['{"status": "unknown"}']))
    ask(talk, "is order 42 ready")
    assert "on its way" in said(talk.functions_answered(['{"status": "on its way"}']))


def test_a_cancelled_booking_is_made_by_another_yes() -> None:
    talk = desk()
    ask(talk, "A table for two on Friday at seven.", "yes")
    talk.functions_cancelled()
    assert "for three" in ask(talk, "No, for three people.")
    talk.hear("yes")
    talk.functions_cancelled()
    assert called(talk.hear("yes"))
    # What answers those that were called off is nobody's.
    talk.functions_cancelled()
    assert talk.functions_answered([BOOKED]) == Move()


@pytest.mark.parametrize(
    "content",
    ["", "nonsense", "[1]", '"booked"', "null", '{"error": "no"}', "{" * 2000, "\ud800", "7"],
)
def test_an_answer_that_is_none_is_apologised_for(content: str) -> None:
    talk = desk()
    ask(talk, "A table for two on Friday at seven.", "yes")
    assert said(talk.functions_answered([content])) == ("I am sorry, that did not work just now.")
    assert "opening" not in ask(talk, "thank you")


def test_fields_of_any_kind_are_spoken_or_passed_over() -> None:
    for table in ('"by the window"', "[1, 2]", "null", '"12:00"', "1e99", '{"a": 1}', "true"):
        talk = desk()
        ask(talk, "A table for two on Friday at seven.", "yes")
        move = talk.functions_answered([f'{{"booked": true, "table": {table}}}'])
        assert move.say[0].startswith("Your table is booked.")


def test_repeat_says_it_once_more() -> None:
    talk = desk()
    asked = ask(talk, "A table for two on Friday at seven.")
    assert ask(talk, "Can you repeat that?") == asked
    assert ask(talk, "say that again") == asked
    assert called(talk.hear("yes"))
    talk = desk()
    talk.said("Hello! How can I help you today?")
    assert ask(talk, "pardon") == "Hello! How can I help you today?"


# --- Bad lines -----------------------------------------------------------------------------------


def test_noise_is_asked_about_again_but_not_for_ever() -> None:
    talk = desk()
    answers = [said(talk.hear("a table", understood=False)) for _ in range(6)]
    assert answers[0] == "Sorry, I did not catch that."
    assert CAN_DO in answers[1]
    assert "call again later" in answers[2]
    assert answers[3:] == ["", "", ""]
    assert "nine in the morning" in ask(talk, "When are you open?")
    assert said(talk.hear("", understood=False)) == "Sorry, I did not catch that."


def test_noise_in_a_booking_has_the_question_asked_again() -> None:
    talk = desk()
    ask(talk, "A table for two.")
    assert said(talk.hear("", understood=False)) == "Sorry, I did not catch that. For which day?"


def test_off_topic_is_told_what_can_be_done() -> None:
    answer = ask(desk(), "Do you sell bicycles?")
    help_with = f"I am sorry, I cannot help you with that. {CAN_DO}"
    assert answer == f"You said: Do you sell bicycles. {help_with}"
    long = ask(desk(), " ".join(["blue"] * 400))
    assert long == f"You said: {' '.join(['blue'] * 15)} and so on. {help_with}"


def test_a_yes_or_no_to_nothing_is_no_topic() -> None:
    talk = desk()
    assert ask(talk, "yes") == "What can I do for you?"
    assert "Goodbye" in ask(talk, "No, thank you.")
    assert ask(talk, "book a table", "yes") == "Sorry, I did not catch that. For which day?"


def test_silence_is_asked_about_once() -> None:
    talk = desk()
    assert "I am still here." in said(talk.silence())
    assert [said(talk.silence()) for _ in range(3)] == ["", "", ""]
    ask(talk, "A table for two.")
    assert said(talk.silence()).endswith("For which day?")


def test_a_function_that_is_not_offered_is_said_so_in_words() -> None:
    talk = desk("order_status")
    assert talk.missing == {"book_table"}
    answer = ask(talk, "A table for two on Friday at seven.", "yes")
    assert answer == ("I am sorry, I cannot do that here. I was given no function book table.")
    assert called(talk.hear("is order 4217 ready"))
    assert desk().missing == frozenset()


def test_a_filler_is_there_for_slow_functions() -> None:
    talk = desk()
    ask(talk, "A table for two on Friday at seven.", "yes")
    assert said(talk.functions_are_slow()) == "One moment, please."
    assert "table four" in said(talk.functions_answered([BOOKED]))


def test_what_is_remembered_can_be_taken_back() -> None:
    talk = desk()
    ask(talk, "A table for two.")
    before = talk.memory
    ask(talk, "friday", "seven", "yes")
    talk.memory = before
    assert ask(talk, "saturday") == "At what time?"
    assert talk.memory.slots == {"people": 2, "day": "saturday"}


TURNS = [*DESK.caller_lines, "seven", "two", "friday", "never mind", "nonsense words", ""]


@given(
    st.lists(
        st.one_of(
            st.sampled_from(TURNS),
            st.sampled_from(["*answer", "*garbage", "*cancel", "*silence", "*slow"]),
            st.text(st.characters(exclude_characters="{"), max_size=20),  # it may be said back
        ),
        max_size=25,
    )
)
def test_any_conversation_goes_on(turns: list[str]) -> None:
    talk = desk()
    for turn in turns:
        match turn:
            case "*answer":
                move = talk.functions_answered([BOOKED])
            case "*garbage":
                move = talk.functions_answered(["{}", "?"])
            case "*cancel":
                talk.functions_cancelled()
                continue
            case "*silence":
                move = talk.silence()
            case "*slow":
                move = talk.functions_are_slow()
            case _:
                move = talk.hear(turn)
        assert all("{" not in text for text in move.say)
        for call in move.calls:
            assert all(value is not None for value in call.arguments.values())
    talk.memory = Memory()
    assert "nine" in ask(talk, "What are your opening hours?")


# --- What a file can say -------------------------------------------------------------------------


def test_several_functions_at_once_and_actions_that_call() -> None:
    talk = DialogueConversation(
        dialogue(
            """
intents: {ask: [how is it, how is $what], bye: [bye]}
slots: {what: {weather: [the weather, weather], traffic: [the traffic, traffic]}}
functions:
  weather: {arguments: {of: $what, unit: celsius}, example: {sky: [clear, grey]}}
  traffic: {arguments: {}, example: {jams: 2}}
anywhere:
  ask:
    - when: {what: [weather, traffic]}
      say: Let me see.
      call: [weather, traffic]
      then:
        - {when: {jams: 0}, say: "The sky is {sky}, no jams."}
        - "The sky is {sky}, {jams} jams."
    - Which?
  bye: {say: Bye., end: true}
"""
        )
    )
    assert ask(talk, "how is it") == "Which?"
    move = talk.hear("how is the traffic")
    assert said(move) == "Let me see."
    assert called(move) == [("weather", {"of": "traffic", "unit": "celsius"}), ("traffic", {})]
    assert [call.example for call in move.calls] == ['{"sky":"clear"}', '{"jams":2}']
    answered = talk.functions_answered(['{"sky": "grey"}', '{"jams": 3}'])
    assert said(answered) == "The sky is grey, three jams."
    talk.hear("how is the weather")
    assert said(talk.functions_answered(['{"sky": "grey"}', '{"jams": 0}'])).endswith("no jams.")
    assert talk.hear("bye").end


def test_replies_take_turns_and_menus_have_their_own_intents() -> None:
    talk = DialogueConversation(
        dialogue(
            """
intents: {up: [up], down: [down], menu: [menu], other: [other]}
replies: {well: [Well., Now.]}
states:
  start: {on: {up: well}}
  menu: {say: "Up or down?", on: {up: {say: Up., to: start}, down: [{say: Down.}]}}
anywhere: {menu: {to: menu}, other: Other.}
misunderstood: {say: again, end: true}
"""
        )
    )
    assert [ask(talk, "up") for _ in range(3)] == ["Well.", "Now.", "Well."]
    assert ask(talk, "menu") == "Up or down?"
    assert ask(talk, "down") == "Down."
    assert ask(talk, "other") == "Other."
    assert ask(talk, "up") == "Up."
    assert talk.memory.state == "start"
    move = talk.hear("what")
    assert (said(move), move.end) == ("Sorry, I did not catch that.", True)


def test_a_state_may_call_without_needing_anything() -> None:
    talk = DialogueConversation(
        dialogue(
            """
intents: {go: [go now]}
functions: {f: {}}
states: {busy: {call: f, then: Done.}}
anywhere: {go: {say: Going., to: busy}}
"""
        )
    )
    move = talk.hear("go now")
    assert (said(move), called(move)) == ("Going.", [("f", {})])
    assert said(talk.functions_answered(["{}"])) == "Done."
    assert talk.memory.state == "start"
