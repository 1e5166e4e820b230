"""Settings: three forms, completed, nothing lost, and every mistake with its line."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.deepgram import changes as changes_of
from offhook.deepgram import settings
from offhook.deepgram.changes import Change
from offhook.deepgram.messages import (
    FinishedFunction,
    History,
    UpdateListen,
    UpdatePrompt,
    UpdateSpeak,
    UpdateThink,
    read_ours,
    write,
)
from offhook.deepgram.settings import Settings
from offhook.errors import UserError
from offhook.yamlfile import InvalidFileError

LINE = {"encoding": "mulaw", "sample_rate": 8000}
AUDIO = {"input": LINE, "output": {**LINE, "container": "none"}}
UUID = "7AB1e2c4-9d4b-4f0a-8b1e-0123456789ab"


def sent(accepted: Settings, **options: Any) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(accepted.message(**options))
    return message


# --- What is sent ---


@pytest.mark.parametrize(
    "pasted",
    [
        {"greeting": "Hi", "new_in_2027": {"deep": [1, None]}},
        {"agent": {"greeting": "Hi", "new_in_2027": {"deep": [1, None]}}},
        {
            "type": "Settings",
            "audio": {"input": LINE, "output": LINE},
            "agent": {"greeting": "Hi", "new_in_2027": {"deep": [1, None]}},
        },
    ],
)
def test_the_agent_block_and_the_whole_message_come_to_the_same(pasted: dict[str, Any]) -> None:
    accepted, _ = settings.accept(pasted)
    assert sent(accepted) == {
        "type": "Settings",
        "audio": AUDIO,
        "agent": {"greeting": "Hi", "new_in_2027": {"deep": [1, None]}},
    }
    assert accepted.greeting == "Hi"
    assert not accepted.stored


def test_nothing_unknown_is_lost_wherever_it_stands() -> None:
    pasted = {
        "new_root": 1,
        "tags": ["a"],
        "audio": {"new_audio": True, "output": {"new_output": 2}},
        "agent": {
            "think": [{"provider": {"type": "new", "new_provider": {}}, "new_think": "x"}],
            "speak": {"provider": {"type": "new"}},
        },
    }
    message = sent(settings.accept(pasted)[0])
    assert message["new_root"] == 1
    assert message["tags"] == ["a"]
    assert message["audio"] == {
        "new_audio": True,
        "input": LINE,
        "output": {**AUDIO["output"], "new_output": 2},
    }
    assert message["agent"] == pasted["agent"]


def test_a_stored_agent_is_its_uuid_with_our_audio() -> None:
    accepted, remarks = settings.accept(UUID)
    assert remarks == ()
    assert accepted.stored
    assert accepted.greeting is None
    assert not accepted.listens_with_flux
    assert sent(accepted) == {"type": "Settings", "audio": AUDIO, "agent": UUID}
    context = [History(role="user", content="hi")]
    resumed = accepted.message(greeting=False, context=context, changes=[UpdatePrompt("p")])
    assert resumed == accepted.message()
    whole, _ = settings.accept({"tags": ["t"], "agent": UUID})
    assert sent(whole)["tags"] == ["t"]


def test_a_resumed_session_has_its_history_and_no_greeting() -> None:
    accepted, _ = settings.accept(
        {
            "greeting": "Hi",
            "context": {"messages": [{"type": "History", "role": "user", "content": "before"}]},
        }
    )
    history = [
        History(role="assistant", content="then"),
        History(function_calls=[FinishedFunction("1", "f", True, "{}", "ok")]),
    ]
    agent = sent(accepted, greeting=False, context=history)["agent"]
    assert "greeting" not in agent
    assert agent["context"]["messages"] == [
        {"type": "History", "role": "user", "content": "before"},
        {"type": "History", "role": "assistant", "content": "then"},
        {
            "type": "History",
            "function_calls": [
                {
                    "id": "1",
                    "name": "f",
                    "client_side": True,
                    "arguments": "{}",
                    "response": "ok",
                }
            ],
        },
    ]
    assert sent(accepted)["agent"]["greeting"] == "Hi"
    assert len(sent(accepted)["agent"]["context"]["messages"]) == 1


OWN: dict[str, Any] = {
    "listen": {
        "provider": {
            "type": "deepgram",
            "model": "nova-3",
            "language": "en-US",
            "keyterms": ["Offhook"],
        }
    },
    "think": {
        "provider": {"type": "open_ai", "model": "gpt-4o-mini"},
        "prompt": "You help {{caller}}.",
    },
    "speak": {"provider": {"type": "deepgram", "model": "aura-2-thalia-en"}},
}
FLUX = {"type": "deepgram", "version": "v2", "model": "flux-general-multi"}
OTHER_VOICE = {"provider": {"type": "deepgram", "model": "aura-2-arcas-en"}}
OTHER_MIND = {"provider": {"type": "open_ai", "model": "gpt-4o"}, "prompt": "New.", "functions": []}


def resumed(*changes: Change) -> dict[str, Any]:
    """Return the agent block of a session that begins after changes of the one before."""
    kept: tuple[Change, ...] = ()
    for change in changes:
        kept = changes_of.kept(kept, change)
    accepted, _ = settings.accept(OWN)
    functions = [{"name": "f"}]
    agent: dict[str, Any] = sent(
        accepted,
        changes=kept,
        functions=functions,
        fill=lambda text: text.replace("{{caller}}", "me"),
    )["agent"]
    return agent


def test_a_later_session_begins_as_the_earlier_one_had_become() -> None:
    before = resumed()
    assert before["think"]["prompt"] == "You help me."
    assert resumed(UpdateSpeak(OTHER_VOICE)) == {**before, "speak": OTHER_VOICE}
    assert resumed(UpdateSpeak(OWN["speak"]), UpdateSpeak([OTHER_VOICE]))["speak"] == [OTHER_VOICE]
    assert resumed(UpdateThink(OTHER_MIND)) == {**before, "think": OTHER_MIND}


def test_prompts_are_appended_until_think_is_replaced() -> None:
    think = resumed(UpdatePrompt("Be brief."), UpdatePrompt("Be kind."))["think"]
    assert think["prompt"] == "You help me.\n\nBe brief.\n\nBe kind."
    assert think["functions"] == [{"name": "f"}]
    several = resumed(
        UpdatePrompt("Lost."), UpdateThink([OTHER_MIND, {"provider": {}}]), UpdatePrompt("Last.")
    )["think"]
    assert [each["prompt"] for each in several] == ["New.\n\nLast.", "Last."]


def test_what_a_change_of_the_listener_leaves_out_stays_but_its_hints() -> None:
    """deepgram.md §2.13; fields of the other family would have the Settings refused (§2.4)."""
    flux = {**FLUX, "language_hints": ["en"], "eot_threshold": 0.8}
    listen = resumed(UpdateListen({"provider": flux}))["listen"]
    assert listen == {"provider": {**flux, "keyterms": ["Offhook"]}}
    later = UpdateListen({"provider": {**FLUX, "keyterms": []}})
    listen = resumed(UpdateListen({"provider": flux}), later)["listen"]
    assert listen == {"provider": {**FLUX, "keyterms": [], "eot_threshold": 0.8}}
    nova = {"type": "deepgram", "version": "v1", "model": "nova-3", "language": "de"}
    listen = resumed(UpdateListen({"provider": flux}), UpdateListen({"provider": nova}))["listen"]
    assert listen == {"provider": {**nova, "keyterms": ["Offhook"]}}
    assert settings.accept({**OWN, "listen": listen})


def test_however_often_an_agent_is_changed_one_change_of_each_kind_is_kept() -> None:
    kept: tuple[Change, ...] = ()
    for _ in range(3):
        for change in (
            UpdateThink(OTHER_MIND),
            UpdatePrompt("p"),
            UpdateSpeak(OTHER_VOICE),
            UpdateListen({"provider": FLUX}),
        ):
            kept = changes_of.kept(kept, change)
    assert len(kept) == 4


def test_flux_is_recognised() -> None:
    provider = {"type": "deepgram", "version": "v2", "model": "flux-general-en"}
    assert settings.accept({"listen": {"provider": provider}})[0].listens_with_flux
    assert not settings.tutorial()[0].listens_with_flux


def test_equal_settings_are_equal_and_show_nothing() -> None:
    one, other = settings.tutorial()[0], settings.tutorial()[0]
    assert one == other
    assert hash(one) == hash(other)
    assert one != settings.accept(UUID)[0]
    secret, _ = settings.accept({"think": {"provider": {"type": "x"}, "prompt": "canary"}})
    assert "canary" not in repr(secret)


def test_the_tutorial_is_accepted_with_remarks_on_what_is_dated() -> None:
    accepted, remarks = settings.tutorial()
    assert accepted.greeting == "Hello! How can I help you today?"
    assert [remark.text.split(" ")[0] for remark in remarks] == [
        "listen",
        "keyterms",
        "agent.language",
        "think",
        "speak",
    ]


# --- Whatever is pasted ---

NAMES = [
    *("type", "agent", "audio", "input", "output", "encoding", "tags", "listen", "think", "speak"),
    *("provider", "version", "model", "endpoint", "url", "prompt", "functions", "parameters"),
    *("name", "speed", "expressivity", "eot_threshold", "eager_eot_threshold", "keyterms"),
    *("context", "messages", "greeting", "language", "temperature", "context_length", "volume"),
]
WORDS = ["deepgram", "open_ai", "groq", "cartesia", "v1", "v2", "flux-kit-en", "nova-3", UUID]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS)
PASTED = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES) | st.integers() | st.text(), inner, max_size=6)
    ),
    max_leaves=30,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES[:10], PASTED)) | PASTED)
def test_anything_is_either_accepted_or_refused(pasted: Any) -> None:
    try:
        accepted, _ = settings.accept(pasted)
    except InvalidFileError:
        return
    assert sent(accepted, greeting=False, context=[History(role="user", content="x")])


# --- What is changed in a session ---

LISTEN: dict[str, Any] = {"type": "deepgram", "version": "v2", "model": "flux-general-en"}
BRAIN: dict[str, Any] = {
    "provider": {"type": "open_ai", "model": "gpt-4o-mini"},
    "prompt": "Greet {{name}}.",
}
TOOL = {"name": "book", "description": "Book.", "parameters": {}}
SEARCH = {"name": "search", "endpoint": {"url": "https://example.com"}}


def with_functions(*functions: Any) -> Settings:
    return Settings({"think": [{**BRAIN, "functions": list(functions)}, BRAIN]})


def test_a_think_block_without_functions_keeps_those_that_there_are() -> None:
    own = with_functions(SEARCH)
    change = own.change("think", BRAIN, [TOOL])
    assert change == UpdateThink({**BRAIN, "functions": [SEARCH, TOOL]})
    change = own.change("think", [BRAIN, {**BRAIN, "functions": []}], [TOOL])
    assert change == UpdateThink(
        [{**BRAIN, "functions": [SEARCH, TOOL]}, {**BRAIN, "functions": []}]
    )
    assert Settings({"think": BRAIN}).change("think", BRAIN) == UpdateThink(BRAIN)


def test_a_stored_agents_think_block_has_to_name_its_functions() -> None:
    stored = Settings(UUID)
    with pytest.raises(UserError, match="E-SET-02"):
        stored.change("think", BRAIN, [TOOL])
    whole = {**BRAIN, "functions": [TOOL]}
    assert stored.change("think", whole) == UpdateThink(whole)
    voice = {"provider": {"type": "deepgram", "model": "aura-2-thalia-en"}}
    assert stored.change("speak", voice) == UpdateSpeak(voice)
    assert stored.change("listen", {"provider": LISTEN}) == UpdateListen({"provider": LISTEN})


@pytest.mark.parametrize(
    ("part", "block", "what"),
    [
        ("think", {}, "think has no provider"),
        ("think", None, "agent.think must be a mapping"),
        ("think", {**BRAIN, "temperature": 1}, 'beside "provider"'),
        ("think", {**BRAIN, "prompt": "\ud800"}, "is no JSON"),
        ("think", {**BRAIN, "functions": [object()]}, "is no JSON"),
        ("speak", {"provider": {"type": "deepgram", "model": "flux-kit-en"}}, "is version v2"),
        ("speak", [], "speak is an empty list"),
        ("listen", {}, "listen has no provider"),
        ("listen", {"provider": {"type": "deepgram"}}, "no version"),
        ("listen", {"provider": {"version": "v2", "type": "deepgram"}}, "needs a model"),
        ("listen", {"provider": {"version": "v2", "model": "flux-general-en"}}, "no type"),
        ("listen", {"provider": {**LISTEN, "smart_format": True}}, "not allowed with Flux"),
    ],
)
def test_a_change_that_would_end_the_session_is_refused(
    part: settings.Part, block: Any, what: str
) -> None:
    with pytest.raises(InvalidFileError, match="E-SET-01") as refused:
        Settings({"think": BRAIN}).change(part, block)
    assert what in refused.value.what


@given(st.sampled_from(["think", "speak", "listen"]), PASTED)
def test_any_change_is_either_made_or_refused(part: settings.Part, block: Any) -> None:
    try:
        change = with_functions(SEARCH).change(part, block, [TOOL])
    except InvalidFileError:
        return
    assert read_ours(write(change)) == change
