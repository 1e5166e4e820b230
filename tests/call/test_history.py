"""The conversation that a later session is handed: what is in it, and how much."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from offhook.call.history import BUDGET, ENTRY_MAX, ConversationHistory
from offhook.deepgram.messages import FinishedFunction, History, write
from offhook.events.types import AgentSaid, CallerSaid


def handed_on(history: ConversationHistory) -> list[dict[str, Any]]:
    return [msgspec.json.decode(write(entry)) for entry in history.so_far()]


def function(arguments: str = "{}", response: str = "ok", signature: str | None = None) -> Any:
    return FinishedFunction("1", "look_up", True, arguments, response, signature)


def test_it_has_the_documented_fields_and_no_others() -> None:
    """deepgram.md §2.8. Deepgram's own History has more, such as conversational_behavior."""
    history = ConversationHistory()
    history.said(CallerSaid("Hello.", 5, "presence_check"))
    history.said(AgentSaid("Hi", "Hi there.", 300, True, 10))
    history.ran(function(signature="s"))
    assert handed_on(history) == [
        {"type": "History", "role": "user", "content": "Hello."},
        {"type": "History", "role": "assistant", "content": "Hi"},
        {
            "type": "History",
            "function_calls": [
                {
                    "id": "1",
                    "name": "look_up",
                    "client_side": True,
                    "arguments": "{}",
                    "response": "ok",
                    "thought_signature": "s",
                }
            ],
        },
    ]
    assert History.__struct_fields__ == ("role", "content", "function_calls")
    told = b'{"type":"History","role":"user","content":"x","conversational_behavior":{"a":1}}'
    assert b"behavior" not in write(msgspec.json.decode(told, type=History))


def test_the_oldest_goes_first_functions_like_words() -> None:
    history = ConversationHistory()
    history.ran(function(response="first"))
    history.said(CallerSaid("second", 0))
    size = BUDGET // 8
    for _ in range(7):
        history.ran(function(response="x" * (size - 3)))
    assert [set(entry) - {"type"} for entry in handed_on(history)][:2] == [
        {"function_calls"},
        {"role", "content"},
    ]
    history.ran(function(response="y" * (size - 3)))
    assert handed_on(history)[0]["content"] == "second"
    history.ran(function(response="y" * (size - 3)))
    assert "function_calls" in handed_on(history)[0]


def test_one_huge_result_is_cut_visibly_and_leaves_what_was_said() -> None:
    history = ConversationHistory()
    history.said(CallerSaid("Look it up.", 0))
    history.ran(function("x" * 60_000, "y" * 1_000_000, "z" * 60_000))
    said, ran = handed_on(history)
    assert said["content"] == "Look it up."
    (call,) = ran["function_calls"]
    assert call["response"] == "y" * (ENTRY_MAX // 3 - 2) + " …"
    assert call["arguments"] == "{}"
    assert "thought_signature" not in call


@given(st.lists(st.tuples(st.integers(0, 30_000), st.booleans()), max_size=40))
def test_it_never_exceeds_its_budget(texts: list[tuple[int, bool]]) -> None:
    history = ConversationHistory()
    for size, is_function in texts:
        if is_function:
            history.ran(function("a" * size, "b" * size, "c" * size))
        else:
            history.said(CallerSaid("d" * size, 0))
    total = sum(len(str(entry.content or "")) for entry in history.so_far())
    for entry in history.so_far():
        for call in entry.function_calls or ():
            total += len(call.arguments) + len(call.response) + len(call.thought_signature or "")
    assert total <= BUDGET
