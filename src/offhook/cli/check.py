"""Command `offhook check`: check a configuration before any call."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from offhook.cli import options

if TYPE_CHECKING:
    from offhook.yamlfile import Finding


def check(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="An offhook.yaml, an agent file, or Settings as JSON. Default: ./offhook.yaml if"
            " it exists, else the settings of Deepgram's tutorial.",
            show_default=False,
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Check configuration and agent settings. Exit code 1 if there is an error."""
    from offhook.yamlfile import InvalidFileError

    try:
        what, findings = _read(file)
    except InvalidFileError as bad:
        what, findings = bad.code, bad.findings
    errors = sum(finding.level == "error" for finding in findings)
    if as_json:
        rows = [_row(finding) for finding in findings]
        remarks = len(findings) - errors
        options.print_json({"errors": errors, "remarks": remarks, "findings": rows})
    else:
        _show(what, findings, errors)
    if errors:
        raise typer.Exit(1)


def _read(file: Path | None) -> "tuple[str, tuple[Finding, ...]]":
    """Return what was checked, and the remarks about it.

    Raises InvalidFileError if there are errors.
    """
    import os

    from offhook import config, yamlfile
    from offhook.deepgram import settings

    if file is None and not config.FILE.exists():
        return "The built-in settings", settings.tutorial()[1]
    path = file or config.FILE
    document = yamlfile.read(path)
    keys = set(document.value) if isinstance(document.value, dict) else set()
    if "settings" in keys:
        return str(path), config.read_agent(path)[1]
    if path.suffix == ".json" or keys & {"type", "agent", "audio", "listen", "think", "speak"}:
        remarks = settings.accept(document.value, lambda loc, key: document.place(loc, key=key))[1]
        return str(path), remarks
    loaded = config.load(path, os.environ)
    loaded.require_rest_of_agents()
    return str(path), loaded.remarks


def _row(finding: "Finding") -> dict[str, str | int | None]:
    place = finding.place
    return {
        "level": finding.level,
        "file": str(place.path) if place else None,
        "line": place.line if place else None,
        "column": place.column if place else None,
        "text": finding.text,
        "fix": finding.fix,
    }


def _show(what: str, findings: "tuple[Finding, ...]", errors: int) -> None:
    from offhook.observability.console_output import inert

    for finding in sorted(findings, key=lambda finding: (finding.place is not None, finding.place)):
        where = typer.style(f"{finding.place} ", bold=True) if finding.place else ""
        is_error = finding.level == "error"
        level = typer.style(finding.level, fg="red" if is_error else "yellow", bold=is_error)
        _print(f"{where}{level} {inert(finding.text)}")
        _print(f"  → {inert(finding.fix)}")
    remarks = len(findings) - errors
    counts = f"{_count(errors, 'error')}, {_count(remarks, 'remark')}"
    verdict = "not usable" if errors else "good"
    _print(typer.style(f"{what}: {verdict} ({counts})", fg="red" if errors else "green"))


def _print(line: str) -> None:
    """Print a line, in colour on a terminal: https://no-color.org."""
    import os

    typer.echo(line, color=False if os.environ.get("NO_COLOR") else None)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
