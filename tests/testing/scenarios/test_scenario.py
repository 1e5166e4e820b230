"""Scenario files: what they may say, and what is said about their mistakes."""

from pathlib import Path

import pytest

from offhook.errors import UserError
from offhook.testing.scenarios import scenario
from offhook.testing.scenarios.expectation import (
    Bounds,
    Ended,
    ExpectCall,
    ExpectedFunction,
    ExpectTurn,
)
from offhook.testing.scenarios.scenario import BargeIn, HangUpStep, ScenarioStep, WaitForAgent
from offhook.testing.simulator.twilio.line_echo import EchoSettings
from offhook.yamlfile import InvalidFileError


def write(folder: Path, text: str) -> Path:
    path = folder / "caller.yaml"
    path.write_text(text)
    return path


def test_every_step_long_and_short(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """\
from: "+12025550199"
noise_dbfs: -60
echo: {delay_ms: 250}
steps:
  - wait_for_agent
  - wait_for_agent: {quiet_ms: 900, timeout: 5}
  - say: what are your OPENING hours
  - barge_in: {after_ms: 1200, say: caller-stop}
  - barge_in: {after: Monday to Friday, clip: noise.wav}
  - clip: music.wav
  - press: "12#"
  - wait: 0.5
  - stay_silent: 3
  - expect: Of course
  - hang_up:
""",
    )
    loaded = scenario.load(path)
    read = loaded.scenario
    assert (read.from_, read.to, read.noise_dbfs) == ("+12025550199", "+12025550100", -60)
    assert read.echo is not None
    assert read.echo.settings == EchoSettings(250, 12.0, 0)
    assert read.steps == (
        ScenarioStep(wait_for_agent=WaitForAgent()),
        ScenarioStep(wait_for_agent=WaitForAgent(quiet_ms=900, timeout=5)),
        ScenarioStep(say="what are your OPENING hours"),
        ScenarioStep(barge_in=BargeIn(after_ms=1200, say="caller-stop")),
        ScenarioStep(barge_in=BargeIn(after="Monday to Friday", clip="noise.wav")),
        ScenarioStep(clip="music.wav"),
        ScenarioStep(press="12#"),
        ScenarioStep(wait=0.5),
        ScenarioStep(stay_silent=3),
        ScenarioStep(expect=ExpectTurn(says=("Of course",))),
        ScenarioStep(hang_up=HangUpStep()),
    )
    assert [(sound, is_file) for sound, is_file, _ in loaded.sounds()] == [
        ("what are your OPENING hours", False),
        ("caller-stop", False),
        ("noise.wav", True),
        ("music.wav", True),
    ]
    assert loaded.beside("music.wav") == tmp_path / "music.wav"


def test_every_expectation_long_and_short(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """\
steps:
  - say: Hello?
  - expect: [Hello, you can]
  - expect:
      says: Hello
      matches: ["hel+o", "y.u"]
      means: greeting
      absent: [goodbye]
      within_ms: 900
      called: book_table
      timeout: 3
  - hang_up
expect:
  called: [order_status, {function: book_table, arguments: {people: 2}}]
  not_called: cancel
  ending: {slug: caller_hung_up, doing: nobody}
  duration_s: {at_most: 60}
  turns: 2
  dead_air_ms: 3000
""",
    )
    read = scenario.load(path).scenario
    assert read.steps[1].expect == ExpectTurn(says=("Hello", "you can"))
    assert read.steps[2].expect == ExpectTurn(
        says=("Hello",),
        matches=("hel+o", "y.u"),
        means=("greeting",),
        absent=("goodbye",),
        within_ms=900,
        called=(ExpectedFunction(function="book_table"),),
        timeout=3,
    )
    assert read.expect == ExpectCall(
        called=(
            ExpectedFunction(function="order_status"),
            ExpectedFunction(function="book_table", arguments={"people": 2}),
        ),
        not_called=("cancel",),
        ending=Ended(slug="caller_hung_up", doing="nobody"),
        duration_s=Bounds(at_most=60),
        turns=Bounds(at_least=2, at_most=2),
        dead_air_ms=3000,
    )


def test_several_callers_have_steps_of_their_own(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """\
name: Two at once
callers:
  ann: {steps: [{say: Hello?}, hang_up]}
  bob:
    from: "+12025550177"
    steps: [wait_for_agent, hang_up]
    expect: {turns: 1}
""",
    )
    loaded = scenario.load(path)
    assert list(loaded.scenario.people) == ["ann", "bob"]
    assert loaded.scenario.people["bob"].from_ == "+12025550177"
    assert loaded.person_at("bob") == ("callers", "bob")
    assert (loaded.name, str(loaded.place("callers", "bob", "expect"))) == (
        "Two at once",
        f"{path}:7:13",
    )


@pytest.mark.parametrize(
    ("steps", "line", "says", "fix"),
    [
        ("- sey: Hello?", 2, '"sey"', 'Did you mean "say"?'),
        ("- wait: 1\n  - hangup", 3, '"hangup"', 'Did you mean "hang_up"?'),
        ("- {say: Hello?, wait: 1}", 2, "one thing", "say, clip, barge_in"),
        ("- wait: -1", 2, '"wait"', "Correct"),
        ("- press: 0123", 2, "number to YAML", "quotes"),
        ("- press: 12x", 2, '"press"', "Correct"),
        ("- barge_in: {say: Hello?}", 2, "one moment", "after_ms, for a time; after, for a phrase"),
        ("- barge_in: {say: Hello?, after_ms: 1, after: you}", 2, "one moment", "after_ms"),
        ("- barge_in: {after_ms: 1}", 2, "says one thing", "say, clip"),
        ("- barge_in: {say: a, clip: b.wav, after_ms: 1}", 2, "says one thing", "say, clip"),
        ("- wait_for_agent: {quite_ms: 1}", 2, '"quite_ms"', 'Did you mean "quiet_ms"?'),
        ("- 7", 2, "one thing", "say, clip, barge_in"),
        ("- wait: 1\nto: +12025550100", 3, "number to YAML", "quotes"),
        ("- expect: {within_ms: 0}", 2, "takes no time", "longest time"),
        ("- expect: {interrupted_within_ms: -5}", 2, "takes no time", "longest time"),
        ("- expect: {says: '...'}", 2, "no word", "Write words"),
        ("- expect: {matches: 'a('}", 2, "no regular expression", "says"),
        ("- expect: {says: Hello, absent: hello!}", 2, "to be absent", "Remove one"),
        (
            "- expect: {called: a, not_called: [b, a]}",
            2,
            "a is expected to be called",
            "Remove one",
        ),
        ("- expect: {timeout: 3}", 2, "Nothing is expected", "wait_for_agent"),
        ("- expect: {}", 2, "Nothing is expected", "says"),
        ("- expect: {sais: Hello}", 2, '"sais"', 'Did you mean "says"?'),
        ("- expect: {called: {function: a, arguments: {}, exactly: {}}}", 2, "Both", "Keep one"),
        ("- hang_up\nexpect: {ending: caller_hang_up}", 3, "No call ends", '"caller_hung_up"?'),
        ("- hang_up\nexpect: {ending: {slug: rejected, doing: caller}}", 3, "Twilio", "doing"),
        ("- hang_up\nexpect: {duration_s: {at_least: 9, at_most: 3}}", 3, "at most 3", "Exchange"),
        ("- hang_up\nexpect: {within_ms: 3}", 3, '"within_ms"', "Known here"),
        ("- say: Hello, {{nme}}.\nvars: {name: Ann}", 2, "nme", 'Did you mean "name"?'),
        ("- hang_up\ncallers: {ann: {steps: [hang_up]}}", 1, "steps, or callers", "Write one of"),
    ],
)
def test_a_mistake_is_named_with_its_line(
    tmp_path: Path, steps: str, line: int, says: str, fix: str
) -> None:
    path = write(tmp_path, f"steps:\n  {steps}\n")
    with pytest.raises(UserError) as problem:
        scenario.load(path)
    assert f"{path}:{line}:" in problem.value.what
    assert says in problem.value.what
    assert fix in problem.value.fix


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: x", "steps, or callers"),
        ("steps: []", "steps, or callers"),
        ("callers: {ann: {}}", "ann has nothing to do"),
        ("from: '+1'\ncallers: {ann: {steps: [hang_up]}}", "from belongs to none of them"),
    ],
)
def test_somebody_must_call(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InvalidFileError, match=says):
        scenario.load(write(tmp_path, text))


def test_variables_stand_for_text_and_for_numbers(tmp_path: Path) -> None:
    text = """\
vars: {day: friday, people: 2, from: "+12025550111"}
from: "{{from}}"
steps:
  - say: For {{ people }} on {{day}}.
  - expect: {called: {function: book, arguments: {people: "{{people}}", day: "{{day}}"}}}
"""
    path = write(tmp_path, text)
    read = scenario.load(path, {"day": "sunday", "other": "unused"}).scenario
    assert read.steps[0].say == "For 2 on sunday."
    assert read.steps[1].expect is not None
    assert read.steps[1].expect.called[0].arguments == {"people": 2, "day": "sunday"}
    assert read.from_ == "+12025550111"
    read = scenario.load(path, {"people": "12", "from": "+44"}).scenario
    assert read.steps[1].expect is not None
    assert read.steps[1].expect.called[0].arguments == {"people": 12, "day": "friday"}
    assert read.from_ == "+44"


def test_the_examples_can_be_read() -> None:
    files = sorted(Path("examples").rglob("rehearse/*.yaml"))
    assert files
    for file in files:
        scenario.load(file)
