"""The profile of a churn: whose each stack is, and that what it names is there."""

import re
from pathlib import Path

import pytest
from bench.churn import FRAMES, OTHER, PARTS, by_part, part_of

import offhook

SOURCE = Path(offhook.__file__).parent


@pytest.mark.parametrize(
    ("stack", "part"),
    [
        ("net/websocket.py:on_ws_frame;serving/call_process.py:main", FRAMES),
        ("observability/log_format.py:_text;calls/session.py:_end", "log lines"),
        ("/usr/lib/hmac.py:digest;twilio/signature.py:sign;webhooks/auth.py:x", "signature"),
        ("call/handlers.py:_hang_up;call/call.py:receive", "end"),
        ("/usr/lib/asyncio/runners.py:run", OTHER),
        ("config/app_config.py:<module>;<frozen importlib._bootstrap>:_load", None),
    ],
)
def test_a_stack_is_of_its_innermost_part(stack: str, part: str | None) -> None:
    assert part_of(stack) == part


def test_stacks_of_the_start_are_not_counted() -> None:
    stacks = {"a.py:x;<frozen importlib._bootstrap>:y": 5, "journal/keeper.py:write": 2}
    assert by_part(stacks) == {"journal and live events": 2}


@pytest.mark.parametrize("beginning", [one for names in PARTS.values() for one in names])
def test_what_a_part_names_is_there(beginning: str) -> None:
    name, _, function = beginning.partition(":")
    files = [
        path for path in SOURCE.rglob("*.py") if str(path.relative_to(SOURCE)).startswith(name)
    ]
    assert files
    if function and not function.startswith("<"):
        assert any(re.search(rf"def {function}", path.read_text("utf-8")) for path in files)
