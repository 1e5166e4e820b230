"""Command `offhook bench`: measure how many calls this machine carries."""

from pathlib import Path
from typing import Annotated

import typer

from offhook.cli import options

BASELINES = Path("bench/baselines")


def bench(
    config: options.Config = None,
    calls: Annotated[
        int,
        typer.Option(
            help="Number of simultaneous calls at which bridges are compared.", min=1, max=4000
        ),
    ] = 50,
    seconds: Annotated[
        float,
        typer.Option(help="Length of the measurement in each run, in seconds.", min=1, max=60),
    ] = 5,
    search: Annotated[
        bool,
        typer.Option(
            help="Also search for the most calls that one core carries, and measure at half of"
            " them. Takes about eight minutes."
        ),
    ] = True,
    tls: Annotated[bool, typer.Option("--tls", help="Use TLS to the agent in every run.")] = False,
    baselines: Annotated[
        Path | None,
        typer.Option(
            help=f"Folder of bridges to compare with. Default: {BASELINES}, if it exists."
        ),
    ] = None,
    as_json: options.Json = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Write a plot of delay and CPU against calls to this file.", metavar="FILE.svg"
        ),
    ] = None,
) -> None:
    """Measure this installation with simulated calls on loopback, and compare other bridges."""
    import os
    import tempfile

    import msgspec
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    from offhook import config as configuration
    from offhook.bench import commands, record_searches, runner, suite, usage
    from offhook.bench import report as reporting
    from offhook.bench.figures import Level
    from offhook.bench.plot import plot as draw
    from offhook.cli.progress import Elapsed
    from offhook.concurrency.event_loop import run
    from offhook.errors import UserError

    usage.require_known_system()
    # Here a wrong configuration is one error message, not one from each process of the run.
    loaded = configuration.load(config, {"DEEPGRAM_API_KEY": "loopback"})
    if loaded.agent_for(None) is None:
        raise UserError(
            "E-BENCH-05",
            "No default line: the simulated callers call no number that the file knows.",
            "Add a line `default` to lines, or give another file with --config.",
        )
    if baselines is None and BASELINES.is_dir():
        baselines = BASELINES
    others = runner.baselines(baselines) if baselines is not None else []
    if plot is not None:
        _write(plot, "")  # now, and not after eight minutes
    plan = suite.BenchPlan(calls=calls, seconds=seconds, search=search, tls=tls)
    columns = (TextColumn("{task.description}"), BarColumn(), Elapsed())
    console = Console(stderr=True, highlight=False)
    with (
        Progress(
            *columns, console=console, refresh_per_second=2, disable=not console.is_interactive
        ) as progress,
        tempfile.TemporaryDirectory(prefix="offhook-bench-") as folder,
    ):
        task = progress.add_task("starting", total=suite.expected(plan, len(others)))

        def on_level(level: Level) -> None:
            bound = " (bound by the load)" if level.bound_by_load else ""
            name = f"{level.bridge}, {level.calls} {level.kind}: {level.cpu_us:.0f} µs{bound}"
            progress.update(task, description=name, advance=1)

        # Users have bytecode, from their second start on; here it may be forbidden to write it.
        environ = {"PYTHONPYCACHEPREFIX": str(Path(folder) / "bytecode"), **os.environ}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        database, costs = None, []
        if search:
            progress.update(task, description=f"writing {record_searches.CALLS} calls")
            database = Path(folder) / "calls.db"
            record_searches.make_database(database)
            costs = commands.costs(database, environ)
        bench = runner.Bench(runner.Cores(), environ)
        report = run(suite.Suite(bench, config, others, plan, on_level).run(costs, database))
    if plot is not None:
        _write(plot, draw(report.levels))
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    else:
        reporting.show(report, Console(highlight=False))
    if not all(level.clean for level in report.at_start if level.bridge == runner.OFFHOOK):
        raise typer.Exit(1)


def _write(plot: Path, drawn: str) -> None:
    """Write the plot. Raises UserError E-BENCH-06."""
    from offhook.errors import UserError

    try:
        plot.write_text(drawn, encoding="utf-8")
    except OSError as error:
        raise UserError(
            "E-BENCH-06",
            f"The plot cannot be written to {plot}: {error.strerror}.",
            "Name a file that can be written with --plot.",
        ) from None
