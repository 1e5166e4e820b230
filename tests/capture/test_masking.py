"""What is masked in messages, and what is left as it was."""

from typing import Any

import pytest

from offhook.capture.masking import MASK, Masks
from offhook.deepgram import settings

CANARY = "canary-0123456789abcdef"
"""Long enough to be looked for wherever it stands."""


@pytest.mark.parametrize(
    "message",
    [
        {"agent": {"think": {"endpoint": {"url": "u", "headers": {"x-anything": CANARY}}}}},
        {"agent": {"think": {"endpoint": {"url": f"https://model.example/v1?key={CANARY}"}}}},
        {"agent": {"think": {"endpoint": {"url": f"https://user:{CANARY}@model.example/v1"}}}},
        {"agent": {"think": {"endpoint": {"url": f"https://model.example/hooks/{CANARY}"}}}},
        {"agent": {"think": {"endpoint": {"url": f"no url at all {CANARY}"}}}},
        {"agent": {"think": {"endpoint": {"url": f"https://[{CANARY}"}}}},
        {"agent": {"speak": {"provider": {"credentials": {"access_key_id": CANARY}}}}},
        {"agent": {"speak": {"provider": {"credentials": {"type": "sts", "new_field": CANARY}}}}},
        {"agent": {"think": [{"provider": {"api_key": CANARY}}]}},
        {"agent": {"think": {"provider": {"apiKey": CANARY}}}},
        {"agent": {"think": {"provider": {"apikey": [CANARY]}}}},
        {"functions": [{"name": "f", "endpoint": {"url": "u", "headers": {"a": CANARY}}}]},
        {"functions": [{"name": "f", "auth": {"deep": [{"deeper": CANARY}]}}]},
        {"start": {"customParameters": {"token": CANARY, "mine": CANARY}}},
        {"start": {"accountSid": CANARY}},
        {"Authorization": f"Token {CANARY}"},
        {"a": [{"session_token": CANARY}]},
    ],
)
def test_secrets_are_masked_by_the_names_under_which_they_stand(message: Any) -> None:
    masked = Masks(()).message(message)
    assert CANARY not in str(masked)
    assert MASK in str(masked)


def test_what_is_no_secret_is_left() -> None:
    message = {
        "type": "Settings",
        "agent": {
            "greeting": "Hello! Any key question?",
            "listen": {"provider": {"type": "deepgram", "keyterms": ["Offhook"], "version": "v2"}},
            "think": {
                "prompt": "Be kind. The password is no secret in a prompt.",
                "endpoint": {"url": "https://model.example:8443"},
                "functions": [
                    {
                        "name": "book",
                        "parameters": {
                            "type": "object",
                            "properties": {"key": {"type": "string", "enum": ["a", "b"]}},
                        },
                    }
                ],
            },
        },
        "ttt_token_latency": 0.25,
        "max_tokens": 7,
        "done": True,
        "nothing": None,
    }
    assert Masks(()).message(message) == message


def test_the_origin_of_an_endpoint_and_the_names_of_headers_stay() -> None:
    endpoint = {"url": "https://u:p@model.example:81/v1/chat?a=b", "headers": {"x-a": "b", "n": 1}}
    assert Masks(()).message({"endpoint": endpoint}) == {
        "endpoint": {"url": f"https://model.example:81/{MASK}", "headers": {"x-a": MASK, "n": MASK}}
    }


def test_what_was_masked_once_is_found_wherever_it_is_quoted() -> None:
    masks = Masks(("a-key-of-the-process",))
    masks.message({"endpoint": {"headers": {"authorization": f"Bearer {CANARY}"}}})
    told = {"type": "Error", "description": f"refused {CANARY}!", "x": ["a-key-of-the-process"]}
    expected = {"type": "Error", "description": f"refused {MASK}!", "x": [MASK]}
    assert masks.message(told) == expected
    assert masks.text(f"4001 {CANARY}") == f"4001 {MASK}"


def test_a_short_value_is_not_looked_for_in_what_is_said() -> None:
    masks = Masks(("any",))
    masks.message({"headers": {"x-tenant": "northwind"}})
    said = {"content": "Do you have any questions about Northwind? northwind dental"}
    assert masks.message(said) == said


def test_the_seed_settings_are_left_as_they_are() -> None:
    import msgspec

    message = msgspec.json.decode(settings.tutorial()[0].message())
    assert Masks(()).message(message) == message
