"""Implementation of `offhook rehearse`: read and check the scenarios, call, report."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer
from rich.console import Console

from offhook import config as configuration
from offhook.cli import rehearsal_progress, replay_report
from offhook.clock import Clock, LoopClock
from offhook.config import Overrides, ServerSettings, TwilioSettings
from offhook.errors import UserError
from offhook.recordings import rehearsals
from offhook.testing.faults.fault import Fault, FaultError, read
from offhook.testing.replay import captured
from offhook.testing.replay.comparison import compare_call
from offhook.testing.replay.replayer import AgentWireTap, call_again
from offhook.testing.scenarios import (
    files,
    listeners,
    own_server,
    preparing,
    printing,
    result_files,
    runner,
    scenario,
)
from offhook.testing.scenarios.own_server import OwnServer
from offhook.testing.scenarios.results import ScenarioResult
from offhook.testing.scenarios.runner import ScenarioRun, Target
from offhook.testing.scenarios.scenario import Loaded
from offhook.testing.scenarios.wire_hearing import until_over
from offhook.testing.simulator.deepgram import server as standin_server
from offhook.testing.simulator.deepgram.script import Script
from offhook.testing.simulator.dialogue import agent_file, agents
from offhook.testing.simulator.dialogue.file import Dialogue
from offhook.testing.simulator.speech.answer_delays import AnswerDelays
from offhook.testing.simulator.speech.render import Rendered
from offhook.testing.simulator.twilio.call_report import CallParty, LegReport
from offhook.twilio.signature import SharedKey

FAILED: Final = 1
NOT_JUDGED: Final = 3
"""Exit code when this machine was too busy to judge the agent. Code 2 is wrong use."""

_ANY_HOST: Final = ("0.0.0.0", "::")  # noqa: S104 - what a server listens on, which is not dialled


@dataclass(frozen=True, slots=True)
class RehearsalOptions:
    """Options of the command line."""

    paths: Sequence[Path]
    say: str | None
    clip: Path | None
    replay: Path | None
    to: str | None
    """URL to call; None for the server of offhook.yaml on this machine."""
    run_server: bool
    config: Path | None
    standin: Path | None
    faults: Sequence[str]
    variables: Mapping[str, str]
    jobs: int
    out: Path | None
    junit: Path | None
    as_json: bool
    public_url: str | None
    signing_key: str | None
    unsigned: bool


class Rehearsal:
    """A run of `offhook rehearse`."""

    def __init__(self, given: RehearsalOptions, environ: Mapping[str, str]) -> None:
        self._options = given
        self._environ = environ
        self._console = Console(highlight=False, stderr=given.as_json)
        self._delays = AnswerDelays()

    async def run(self) -> int:
        """Call and report. Return the exit code, 0 if all calls met their expectations."""
        given = self._options
        clock = LoopClock(asyncio.get_running_loop())
        if given.replay is not None:
            return 0 if await self._replay(given.replay, clock) else FAILED
        faults = self._faults()
        loaded = self._loaded()
        if faults and not given.run_server and any(one.scenario.config is None for one in loaded):
            raise typer.BadParameter(
                "--fault needs a server that the rehearsal runs itself: add --config offhook.yaml"
                " (with your key), or --standin DIALOGUE (without one)."
            )
        agent = self._agent()
        with self._console.status("preparing what the callers say"):
            rendered = await preparing.rendering(loaded)
        dialogues = files.Dialogues(
            agent if isinstance(agent, Dialogue) else None, files.greetings(loaded)
        )
        async with (
            self._target_of(loaded, agent, clock) as (target, own),
            listeners.listeners(own, self._deepgram_key(own), self._delays) as heard,
        ):
            cases = await preparing.prepare(
                loaded, dialogues, heard, rendered, target, self._environ, faults
            )
            results = await self._watched(cases, clock)
        self._report(results, rendered)
        if any(not result.passed and result.is_judged for result in results):
            return FAILED
        return 0 if all(result.passed for result in results) else NOT_JUDGED

    async def _replay(self, path: Path, clock: Clock) -> bool:
        """Repeat a captured call. Return whether it went as captured."""
        capture = captured.read(path)
        async with self._target(self._agent(), clock) as (target, own):
            call_sid = "CA" + secrets.token_hex(16)
            wires = AgentWireTap() if own is not None else None
            if own is not None and wires is not None:
                own.watch(call_sid, wires)
            report = await call_again(
                target.url,
                capture,
                clock=clock,
                auth_token=target.auth_token,
                account_sid=target.account_sid,
                call_sid=call_sid,
                public_url=target.public_url,
            )
            if wires is not None:
                await until_over(wires.over)
        told = None if wires is None else wires.told()
        out = self._options.out or rehearsals.DEFAULT
        _write(report, out)
        verdict = compare_call(capture, report, told)
        return replay_report.report(capture, verdict, out, as_json=self._options.as_json)

    # --- what is to run ---

    def _faults(self) -> list[Fault]:
        try:
            return [read(text) for text in self._options.faults]
        except FaultError as error:
            raise typer.BadParameter(f"--fault: {error}") from None

    def _loaded(self) -> list[Loaded]:
        given = self._options
        if given.say is not None:
            return [Loaded(scenario.asking(given.say))]
        if given.clip is not None:
            return [Loaded(scenario.asking(str(given.clip), clip=True))]
        loaded = files.load_all(files.find(given.paths), given.variables)
        wrong = files.unknown_variable(loaded, given.variables)
        if wrong is not None:
            raise typer.BadParameter(wrong)
        return loaded

    # --- who is called ---

    def _agent(self) -> Script | Dialogue | None:
        """Return the stand-in's script or dialogue, or None for Deepgram's agent."""
        standin = self._options.standin
        return None if standin is None else agent_file.read(standin)

    @asynccontextmanager
    async def _target_of(
        self, loaded: Sequence[Loaded], standin: Script | Dialogue | None, clock: Clock
    ) -> AsyncIterator[tuple[Target | None, OwnServer | None]]:
        """Open the target of scenarios without a configuration of their own, if there are any."""
        if all(one.scenario.config is not None for one in loaded):
            yield None, None
            return
        async with self._target(standin, clock) as found:
            yield found

    @asynccontextmanager
    async def _target(
        self, standin: Script | Dialogue | None, clock: Clock
    ) -> AsyncIterator[tuple[Target, OwnServer | None]]:
        """Open the target of calls, and the server, if this command runs it."""
        given = self._options
        if not given.run_server:
            yield self._elsewhere(), None
            return
        environ = self._environ
        overrides = configuration.NOTHING
        async with AsyncExitStack() as stack:
            if standin is not None:
                ready = await stack.enter_async_context(agents.ready(standin, delays=self._delays))
                server = await standin_server.serve("127.0.0.1", 0, ready.agent, clock)
                stack.push_async_callback(server.close)
                environ = {**environ, "DEEPGRAM_API_KEY": "any"}
                overrides = Overrides(deepgram_url=server.url)
            loaded = configuration.load(given.config, environ, overrides=overrides)
            if loaded.deepgram.api_key is None:
                raise UserError(
                    "E-SCENARIO-06",
                    "No agent answers: there is no --standin, and DEEPGRAM_API_KEY is not set.",
                    "Give --standin DIALOGUE.yaml, or set DEEPGRAM_API_KEY for Deepgram's agent.",
                )
            own = await stack.enter_async_context(own_server.run(loaded, clock))
            account = loaded.twilio.account_sid or "AC" + "0" * 32
            yield Target(own.url, own.token, account), own

    def _deepgram_key(self, own: OwnServer | None) -> str | None:
        """Return Deepgram's key, to transcribe what a server elsewhere says."""
        if own is not None:
            return None
        key = configuration.load(None, self._environ).deepgram.api_key
        return None if key is None else key.get_secret_value()

    def _elsewhere(self) -> Target:
        given = self._options
        loaded = configuration.load(
            None, self._environ, overrides=Overrides(public_url=given.public_url)
        )
        server = loaded.server
        return Target(
            given.to or _webhook_here(server),
            None if given.unsigned else self._signer(loaded.twilio),
            loaded.twilio.account_sid or "AC" + "0" * 32,
            server.public_url,
        )

    def _signer(self, twilio: TwilioSettings) -> str | SharedKey:
        """Return what signs: the shared key that was named, else the Auth Token.

        Raises UserError E-REH-03 or E-REH-06.
        """
        key = self._options.signing_key
        if key is not None:
            secret = twilio.signing_secrets.get(key)
            if secret is None:
                known = ", ".join(twilio.signing_secrets) or "it has none"
                raise UserError(
                    "E-REH-06",
                    f'TWILIO_SIGNING_SECRETS has no secret for the key "{key}".',
                    f"Add ID=SECRET to it, or name a key that it has: {known}.",
                )
            return SharedKey(key, secret.get_secret_value())
        if not twilio.auth_tokens:
            raise UserError(
                "E-REH-03",
                "TWILIO_AUTH_TOKEN is not set, so the call cannot be signed as Twilio signs it.",
                "Set it to the token that the server has, name a shared key with --signing-key, or"
                " give both of them --unsigned.",
            )
        return twilio.auth_tokens[0].get_secret_value()

    # --- what became of it ---

    async def _watched(self, cases: Sequence[ScenarioRun], clock: Clock) -> list[ScenarioResult]:
        """Run the cases. Show on a terminal what they do."""
        running = rehearsal_progress.RunningScenarios()
        with rehearsal_progress.shown(self._console, len(cases), running) as progress:

            def ended(result: ScenarioResult) -> None:
                running.end(result.name)
                progress.advance(progress.task_ids[0])
                if not self._options.as_json:
                    printing.show(progress.console, result)

            return await runner.run(
                cases,
                clock,
                jobs=self._options.jobs,
                delays=self._delays,
                began=lambda case: running.begin(case.loaded.name),
                calling=lambda case, caller: running.begin(case.loaded.name, caller),
                ended=ended,
            )

    def _report(self, results: Sequence[ScenarioResult], rendered: Rendered) -> None:
        recordings = self._write_recordings(results)
        if self._options.junit is not None:
            result_files.write_junit(results, self._options.junit)
        if self._options.as_json:
            more = {
                "synthesised": rendered.synthesised,
                "recordings": [str(path) for path in recordings],
            }
            print(json.dumps(result_files.as_json(results) | more, indent=2))
        else:
            printing.show_voices(self._console, rendered.synthesised)
            printing.sum_up(self._console, results)
            printing.show_recordings(self._console, recordings)

    def _write_recordings(self, results: Sequence[ScenarioResult]) -> list[Path]:
        """Write the calls as WAV files, as --out says."""
        out = self._options.out
        calls = [(result, call) for result in results for call in result.calls.values()]
        if len(calls) > 1 and out is None:
            return []
        written = []
        path = out or rehearsals.DEFAULT
        for result, call in calls:
            if len(calls) > 1:
                assert out is not None  # returned above
                out.mkdir(parents=True, exist_ok=True)
                whose = f"-{call.caller}" if len(result.calls) > 1 else ""
                path = out / f"{Path(result.loaded.file).stem}{whose}.wav"
            _write(call.report, path)
            written.append(path)
        return written


def _webhook_here(server: ServerSettings) -> str:
    """Return the URL of the voice webhook of the server on this machine."""
    if server.port == 0:
        raise typer.BadParameter("server.port is 0, which takes any port: give --to URL.")
    host = "127.0.0.1" if server.host in _ANY_HOST else server.host
    scheme = "http" if server.tls_cert is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{server.port}/twilio/voice"


def _write(report: LegReport[CallParty], path: Path) -> None:
    """Write a call as WAV. Raises UserError E-REH-04."""
    try:
        report.write_wav(path)
    except OSError as error:
        raise UserError(
            "E-REH-04",
            f"The call cannot be written to {path}: {error.strerror}.",
            "Name a file that can be written with --out.",
        ) from None
