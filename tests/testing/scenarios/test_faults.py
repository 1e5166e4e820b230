"""Scenarios in which something goes wrong on purpose."""

import asyncio
from pathlib import Path

import pytest
from typer.testing import CliRunner

from offhook import yamlfile
from offhook.cli import app
from offhook.clock import LoopClock
from offhook.errors import UserError
from offhook.testing.faults.fault import read
from offhook.testing.scenarios import files, preparing, runner
from offhook.testing.scenarios import listeners as listening
from offhook.testing.scenarios.results import ScenarioResult
from offhook.testing.scenarios.scenario import Scenario

HERE = """\
config: offhook.yaml
script: {turns: [{hear: "What are your opening hours?", say: ["Of course, what else?"]}]}
"""


async def run(folder: Path, text: str, *specs: str) -> ScenarioResult:
    (folder / "offhook.yaml").write_text("{}\n")
    path = folder / "scenario.yaml"
    path.write_text(HERE + text)
    return await run_file(path, *specs)


async def run_file(path: Path, *specs: str) -> ScenarioResult:
    loaded = files.load_all([path], {})
    rendered = await preparing.rendering(loaded)
    async with listening.listeners(None, None) as listeners:
        cases = await preparing.prepare(
            loaded, files.Dialogues(None), listeners, rendered, None, {}, [read(s) for s in specs]
        )
        clock = LoopClock(asyncio.get_running_loop())
        (result,) = await runner.run(cases, clock, jobs=1)
    return result


async def test_a_scenario_has_its_faults_and_those_of_the_command_line(tmp_path: Path) -> None:
    result = await run(
        tmp_path,
        "steps:\n"
        "  - fault: agent:latency=100\n"
        "  - wait_for_agent\n"
        "  - fault: agent:unknown@sentence\n"
        "  - say: What are your opening hours?\n"
        "  - expect: what else\n"
        "  - fault: stream:drop\n"
        "  - wait: 0.2\n"
        "  - hang_up\n",
        "webhook:doubled@voice",
        "agent:close@function",
    )
    failures = {failure.what for failure in result.all_failures}
    # The agent calls no function: what did not happen proves nothing.
    assert "agent:close@function did not happen" in failures
    assert not any("31903" in what for what in failures), "it was broken on purpose"


async def test_a_placed_call_whose_answer_is_lost_is_rung_once_and_goes_on() -> None:
    path = Path("examples/acting/scenarios/rings-a-person.yaml")  # it expects one ring
    result = await run_file(path, "rest:lost@place")
    assert not result.all_failures


@pytest.mark.parametrize("spec", ["agent:lunch", "agent:close=1006", "5"])
def test_a_fault_that_is_none_is_a_mistake_with_its_place(spec: str) -> None:
    document = yamlfile.parse(f"steps: [{{fault: '{spec}'}}]", Path("a.yaml"))
    with pytest.raises(UserError, match=r"E-YAML-03 a\.yaml:1:"):
        yamlfile.validate(Scenario, document)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--to", "http://127.0.0.1:1/x", "--say", "Stop.", "--fault", "agent:close@8"],
        ["--say", "Stop.", "--fault", "agent:close@8"],
        ["--say", "Stop.", "--standin", "any", "--fault", "agent:lunch"],
    ],
)
def test_a_fault_needs_a_server_that_runs_here(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, ["rehearse", *arguments])
    assert done.exit_code == 2
    assert "--fault" in done.output


async def test_from_outside_no_fault_is_taken_as_survived(tmp_path: Path) -> None:
    path = tmp_path / "outside.yaml"
    path.write_text("steps: [{fault: agent:close}]")
    loaded = files.load_all([path], {})
    rendered = await preparing.rendering(loaded)
    target = runner.Target("http://127.0.0.1:1/x", None, "AC" + "0" * 32)
    async with listening.listeners(None, None) as listeners:
        with pytest.raises(UserError, match="around a server within the rehearsal") as error:
            await preparing.prepare(loaded, files.Dialogues(None), listeners, rendered, target, {})
    assert error.value.code == "E-SCENARIO-02"
