"""Every road to a dial: each is named here, goes through the dialling policy, and tells an event.

A road is a place that makes TwiML with `<Dial>`, or asks Twilio to create a call. They are found in
the source: one that is not named here fails, and so does a name without its place.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.sources import syntax_tree

import offhook
from offhook.call.ending import Ending, Slug
from offhook.calls import farewells as farewells_module
from offhook.calls.farewells import Farewells
from offhook.config import Agent
from offhook.events.types import Dialled, DialRefused, Event
from offhook.policy.dial_policy import DialPolicy, DialRules

SOURCE: Final = Path(offhook.__file__).parent

SIMULATED: Final = ("testing", "bench")
"""Folders of the simulated Twilio and of benchmarks, from which nobody is rung."""

TWIML: Final = "twilio/twiml.py"

TAGS: Final = {
    *("Dial", "Number", "Sip", "Client", "Queue", "Sim", "Conference", "Application"),
    "WhatsApp",
}
"""`<Dial>`, and what it can ring or join (twilio.md §2.6)."""

REST: Final = {"create_call", "create_participant"}

MAKERS: Final = {
    ("twiml", "dial"): "the caller is transferred, or to the number of a farewell, and below",
    ("twiml", "wait_in"): "rings nobody: the person in the conference was rung by `_ring`",
    ("responses", "fallback"): "the agent file's fallback.dial",
    ("responses", "busy"): "the agent file's busy.dial",
}
"""Module and name of the functions that give a `<Dial>`."""

DIALS: Final = re.compile("|".join([*REST, *(name for name, _ in MAKERS)]))
"""Names without which a file dials nowhere: to parse all takes a second."""

ROADS: Final = {
    # --- what a <Dial> is made in ---
    (TWIML, "dial", "Dial"): "the number or SIP address of a <Dial>",
    (TWIML, "dial", "Number"): "the same",
    (TWIML, "dial", "Sip"): "the same",
    (TWIML, "wait_in", "Dial"): "a conference",
    (TWIML, "wait_in", "Conference"): "the same",
    ("calls/responses.py", "fallback", "twiml.dial"): "the agent file's fallback.dial",
    ("calls/responses.py", "busy", "twiml.dial"): "the agent file's busy.dial",
    # --- who hands it to Twilio ---
    ("webhooks/call_flow.py", "_continue", "twiml.dial"): "DialPolicy.begin_transfer; Dialled",
    (
        "webhooks/call_flow.py",
        "_continue",
        "twiml.wait_in",
    ): "DialPolicy.begin_transfer, at the ring",
    ("calls/transfers.py", "answer", "twiml.wait_in"): "DialPolicy.begin_transfer, at the ring",
    ("calls/transfers.py", "_ring", "create_call"): "DialPolicy.begin_transfer; Dialled",
    (
        "calls/farewells.py",
        "fallback",
        "responses.fallback",
    ): "DialPolicy.check_last_resort; Dialled",
    ("calls/farewells.py", "busy", "responses.busy"): "DialPolicy.check_last_resort; Dialled",
    (
        "cli/twiml.py",
        "_fallback",
        "responses.fallback",
    ): "config checks it (E-DIAL-01); printed, and Twilio is given nothing",
    ("outbound/outbound_calls.py", "_create", "create_call"): "PlacementChecks.count; CallBegan",
}


def roads() -> Iterator[tuple[str, str, str]]:
    """File, function and what it calls, for every place from which something is dialled."""
    for path in sorted(SOURCE.rglob("*.py")):
        file = path.relative_to(SOURCE).as_posix()
        if file.startswith(SIMULATED):
            continue
        text = path.read_text(encoding="utf-8")
        if file != TWIML and DIALS.search(text) is None:
            continue
        for function in ast.walk(syntax_tree(text)):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for node in ast.walk(function):
                    called = _dials(node, file)
                    if called is not None:
                        yield file, function.name, called


def _dials(node: ast.AST, file: str) -> str | None:
    if isinstance(node, ast.Constant) and file == TWIML:
        return str(node.value) if node.value in TAGS else None
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return None
    called = node.func
    if called.attr in REST:
        return called.attr
    if isinstance(called.value, ast.Name) and (called.value.id, called.attr) in MAKERS:
        return f"{called.value.id}.{called.attr}"
    return None


def test_every_road_to_a_dial_is_known() -> None:
    assert set(roads()) == set(ROADS)


def test_no_dial_is_written_by_hand() -> None:
    for path in SOURCE.rglob("*.py"):
        if path.relative_to(SOURCE).parts[0] in SIMULATED:
            continue
        builds = path == SOURCE / TWIML
        for node in ast.walk(syntax_tree(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert "<Dial>" not in node.value.replace("`<Dial>`", ""), path
                assert "<Number" not in node.value, path
            elif not builds:
                named = getattr(node, "attr", getattr(node, "name", None))
                assert named not in ("Element", "SubElement"), f"{path} builds XML"


def test_whatever_makes_a_dial_is_a_maker() -> None:
    """By whatever name it is used, a function that gives a <Dial> is looked for everywhere."""
    builders = {
        (Path(file).stem, function)
        for file, function, _ in ROADS
        if file in (TWIML, "calls/responses.py")
    }
    assert builders == set(MAKERS)
    for path in sorted(SOURCE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if DIALS.search(text) is None:
            continue
        for node in ast.walk(syntax_tree(text)):
            if isinstance(node, ast.ImportFrom) and not path.as_posix().startswith(SIMULATED):
                of = (node.module or "").rpartition(".")[2]
                taken = {(of, alias.name) for alias in node.names}
                assert not taken & set(MAKERS), f"{path} takes it out of its module"
                renamed = {alias.name for alias in node.names if alias.asname}
                assert not renamed & {"twiml", "responses"}, path


# --- the numbers that take over ---

US: Final = "+12025550123"
AFTER: Final = "https://voice.example.com/twilio/after?last=1"


class Taken:
    """Farewells of one agent whose fallback and busy numbers are given, with what they told."""

    def __init__(self, to: str, rules: DialRules | None = None) -> None:
        self.events: list[Event] = []
        self.dial_policy = DialPolicy(rules or DialRules())
        self.farewells = Farewells(self.dial_policy, lambda sid, event: self.events.append(event))
        parts = {"fallback": {"dial": to}, "busy": {"dial": to}}
        self.agent = Agent.model_validate({"settings": 0, **parts})

    def ended(self, sid: str, how: Slug) -> str:
        return self.farewells.after_ending(sid, self.agent, Ending(how), AFTER)


async def test_no_limit_strands_a_caller_who_was_let_down() -> None:
    taken = Taken(US, DialRules(calls_per_hour=1, spend_per_hour=0.2))
    assert await taken.dial_policy.check("call", US, 0.0) is None
    assert await taken.dial_policy.check("call", US, 1.0) is not None
    assert "<Number>" in taken.ended("CA1", Slug.AGENT_LOST)
    assert "<Number>" in taken.ended("CA2", Slug.AGENT_BUSY)
    assert taken.events == [Dialled("fallback", "", US), Dialled("busy", "", US)]


def test_one_farewell_for_each_ending() -> None:
    taken = Taken(US)
    first = taken.ended("CA1", Slug.AGENT_LOST)
    assert taken.ended("CA1", Slug.AGENT_LOST) == first
    assert taken.farewells.hang_up("CA1") == first
    assert taken.events == [Dialled("fallback", "", US)]


def test_no_number_that_costs_much_takes_over() -> None:
    for to in ("+19005550123", "+881612345678", "+14415550123", "sip:a@b.example"):
        taken = Taken(to)
        for sid, how in (("CA1", Slug.AGENT_LOST), ("CA2", Slug.AGENT_BUSY)):
            assert "<Dial" not in taken.ended(sid, how)
        assert [type(event) for event in taken.events] == [DialRefused, DialRefused]


def test_farewells_are_forgotten_in_their_turn() -> None:
    taken = Taken(US)
    for number in range(farewells_module.REMEMBERED_MAX + 1):
        taken.ended(f"CA{number}", Slug.TRANSFERRED)
    assert taken.farewells.given("CA0") is None
    assert taken.farewells.given("CA1") is not None
