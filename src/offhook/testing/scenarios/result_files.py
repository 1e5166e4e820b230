"""Results in files for programs: JSON, and JUnit XML for CI."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from offhook.errors import UserError
from offhook.testing.scenarios.caller import CallReport
from offhook.testing.scenarios.printing import too_late
from offhook.testing.scenarios.results import CallResult, Failure, ScenarioResult

_NOT_XML: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML cannot contain, not even escaped."""


def as_json(results: Sequence[ScenarioResult]) -> dict[str, Any]:
    """Return the results for JSON.

    Times are in seconds from the answer of each call, durations in milliseconds.
    """
    unjudged = sum(not result.is_judged for result in results)
    passed = sum(result.passed for result in results)
    return {
        "passed": passed,
        "failed": len(results) - passed - unjudged,
        "not_judged": unjudged,
        "scenarios": [
            {
                "name": result.name,
                "file": result.loaded.file,
                "passed": result.passed,
                "judged": result.is_judged,
                "attempts": result.attempts,
                "seconds": round(result.seconds, 3),
                "words_heard": result.how,
                "failures": [_failure(failure) for failure in result.all_failures],
                "calls": [_call(call) for call in result.calls.values()],
            }
            for result in results
        ],
    }


def write_junit(results: Sequence[ScenarioResult], path: Path) -> None:
    """Write a JUnit file, one test case for each scenario. Raises UserError E-SCENARIO-05.

    A scenario that could not be judged counts as an `error`, not as a `failure`.
    """
    unjudged = sum(not result.is_judged for result in results)
    failed = sum(not result.passed for result in results) - unjudged
    suite = ElementTree.Element(
        "testsuite",
        name="offhook rehearse",
        tests=str(len(results)),
        failures=str(failed),
        errors=str(unjudged),
        skipped="0",
        time=f"{sum(result.seconds for result in results):.3f}",
    )
    for result in results:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=_xml(result.loaded.file),
            name=_xml(result.name),
            file=_xml(result.loaded.file),
            time=f"{result.seconds:.3f}",
        )
        told = [str(failure) for failure in result.all_failures]
        if not result.is_judged:
            told.insert(0, too_late(result))
        if told:
            kind = "failure" if result.is_judged else "error"
            failure = ElementTree.SubElement(case, kind, message=_xml(told[0]))
            failure.text = _xml("\n".join(told))
        out = ElementTree.SubElement(case, "system-out")
        lines = [str(line) for call in result.calls.values() for line in call.lines()]
        out.text = _xml("\n".join(lines))
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    try:
        ElementTree.ElementTree(suites).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise UserError(
            "E-SCENARIO-05",
            f"The report cannot be written to {path}: {error.strerror}.",
            "Name a file that can be written with --junit.",
        ) from None


def _xml(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def _failure(failure: Failure) -> dict[str, Any]:
    place = failure.place
    return {
        "what": failure.what,
        "file": None if place is None else str(place.path),
        "line": None if place is None else place.line,
        "at": None if failure.at is None else round(failure.at, 3),
    }


def _call(call: CallResult) -> dict[str, Any]:
    return {
        "caller": call.caller,
        "failures": [_failure(failure) for failure in call.failures],
        "conversation": [
            {"at": round(line.at, 3), "who": line.who, "text": line.text, "remark": line.remark}
            for line in call.lines()
        ],
        **_report(call.report),
    }


def _report(report: CallReport) -> dict[str, Any]:
    def at(time: float | None) -> float | None:
        return None if time is None else round(time - report.answered_at, 3)

    def ms(seconds: float | None) -> int | None:
        return None if seconds is None else round(1000 * seconds)

    return {
        "call_sid": report.call_sid,
        "ending": report.ending,
        "seconds": at(report.ended_at),
        "said": [
            {
                "text": said.text,
                "barge_in": said.barge_in,
                "began": at(said.began),
                "ended": at(said.ended),
                "answered_after_ms": ms(said.time_to_answer),
                "silenced_agent_after_ms": ms(said.time_to_silence),
            }
            for said in report.caller.said
        ],
        "streams": [
            {
                "stream_sid": stream.stream_sid,
                "ended_by": stream.ended_by,
                "frames_sent": len(stream.sent_at),
                "frames_dropped": stream.dropped,
                "cleared": [at(time) for time in stream.cleared_at],
                "heard": [
                    {"began": at(burst.began), "ended": at(burst.ended), "cut_by": burst.cut_by}
                    for burst in stream.bursts
                ],
            }
            for stream in report.streams
        ],
        "verbs": [
            {"name": verb.name, "attributes": verb.attributes, "text": verb.text}
            for verb in report.verbs
        ],
        "notes": [{"code": note.code, "text": note.text} for note in report.notes],
    }
