"""What became of scenarios, for people and for programs."""

import io
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console
from tests.testing.telephone import Telephone, Words

from offhook import yamlfile
from offhook.errors import UserError
from offhook.testing.scenarios import printing, result_files
from offhook.testing.scenarios.caller import CallReport
from offhook.testing.scenarios.hearing import SeenFunctionCall
from offhook.testing.scenarios.lateness import Lateness
from offhook.testing.scenarios.results import CallResult, Failure, ScenarioResult
from offhook.testing.scenarios.scenario import Loaded, Scenario, ScenarioStep
from offhook.testing.scenarios.wire_hearing import TakenFor, WireHearing
from offhook.testing.virtual_clock import VirtualClock

HOSTILE = "We are \x1b[31mopen\x00 \ud800<b>]]>&amp;"
PATH = Path("folder/a.yaml")


def result(*failures: Failure, name: str = "Hours", said: str = "We are open.") -> ScenarioResult:
    steps = [ScenarioStep(say="question"), ScenarioStep(press="1"), ScenarioStep(stay_silent=1)]
    telephone = Telephone(*steps, hearing=Words(said, None))
    telephone.run([(1.0, 2.0), (2.8, 3.5)], 4.0)
    telephone.caller.call_ended()
    report = CallReport("AC", "CA1", telephone.caller, 0.0, 4.0, "caller_hung_up")
    wire = WireHearing(VirtualClock())
    wire.taken_for.append(TakenFor(0.9, "question"))
    wire._functions["1"] = SeenFunctionCall(0.95, "book", {"day": "friday"})
    document = yamlfile.parse("steps: [hang_up]", PATH)
    loaded = Loaded(Scenario(name=name, steps=(ScenarioStep.model_validate("hang_up"),)), document)
    return ScenarioResult(
        loaded, {"caller": CallResult("caller", report, list(failures), wire)}, "from the wire"
    )


def printed(*results: ScenarioResult) -> str:
    out = io.StringIO()
    console = Console(file=out, width=40, highlight=False)
    for one in results:
        printing.show(console, one)
    printing.sum_up(console, results)
    return out.getvalue()


def test_a_conversation_is_printed_as_it_was_heard() -> None:
    assert printed(result()) == (
        "passed  Hours  4.0 s\n"
        "     0.1 s  caller  question  (answered after 600 ms)\n"
        "     0.6 s  caller  [key 1]\n"
        "     0.8 s  caller  [silent for 1.0 s]\n"
        '     0.9 s  call    taken for "question"\n'
        "     0.9 s  call    calls book(day='friday')\n"
        "     1.0 s  agent   We are open.\n"
        "     2.8 s  agent   [speech]\n"
        "     4.0 s  call    over: caller hung up\n"
        "\n"
        "Words that were heard: from the wire.\n"
        "1 passed\n"
    )


def test_what_failed_is_printed_with_place_and_time() -> None:
    place = yamlfile.Place(PATH, 3, 5)
    text = printed(result(Failure("it was late", place, 1.5), Failure("31920 refused")), result())
    assert "FAILED  Hours" in text
    assert f"✗ {PATH}:3:5 at 1.5 s: it was late\n" in text
    assert "✗ 31920 refused\n" in text
    assert "1 passed, 1 failed: Hours\n" in text


def test_what_could_not_be_judged_is_no_failure(tmp_path: Path) -> None:
    late = replace(result(Failure("it was late")), late=Lateness(1.25, 2.0, 9.0), attempts=3)
    text = printed(late, result())
    assert "NOT JUDGED  Hours" in text
    assert "this machine was too busy to judge: it was up to 1.2 s late, 2.0 s in all" in text
    assert "1 passed, 1 not judged: Hours\n" in text
    told = result_files.as_json([late, result()])
    assert (told["passed"], told["failed"], told["not_judged"]) == (1, 0, 1)
    assert [one["judged"] for one in told["scenarios"]] == [False, True]
    result_files.write_junit([late, result()], tmp_path / "out.xml")
    suite = ElementTree.parse(tmp_path / "out.xml").getroot()[0]
    assert (suite.get("failures"), suite.get("errors")) == ("0", "1")
    (error,) = suite.iter("error")
    assert "too busy" in str(error.get("message"))


def test_nothing_that_was_heard_commands_the_terminal() -> None:
    text = printed(result(Failure(HOSTILE), name=HOSTILE, said=HOSTILE))
    assert "\x1b" not in text
    assert "\x00" not in text


def test_a_junit_file_is_xml_whatever_was_said(tmp_path: Path) -> None:
    path = tmp_path / "out.xml"
    result_files.write_junit([result(Failure(HOSTILE), name=HOSTILE, said=HOSTILE), result()], path)
    suite = ElementTree.parse(path).getroot()[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("time")) == ("2", "1", "8.000")
    bad, good = suite
    assert "open" in str(bad.get("name"))
    assert "<b>]]>&amp;" in str(bad[0].text)
    assert good.findtext("system-out", "").splitlines()[0].endswith("(answered after 600 ms)")


def test_a_junit_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="E-SCENARIO-05"):
        result_files.write_junit([result()], tmp_path)


def test_json_has_all_of_it() -> None:
    place = yamlfile.Place(PATH, 3, 5)
    made = result_files.as_json([result(Failure("it was late", place, 1.5))])
    assert json.loads(json.dumps(made)) == made
    (scenario,) = made["scenarios"]
    late = {"what": "it was late", "file": str(PATH), "line": 3, "at": 1.5}
    assert (made["passed"], made["failed"], scenario["passed"]) == (0, 1, False)
    assert scenario["failures"] == scenario["calls"][0]["failures"] == [late]
    assert scenario["calls"][0]["said"][0]["answered_after_ms"] == 600
    assert scenario["calls"][0]["conversation"][0] == {
        "at": 0.12,
        "who": "caller",
        "text": "question",
        "remark": "answered after 600 ms",
    }
