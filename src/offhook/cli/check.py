"""Command `offhook check`: check a configuration before any call."""

import functools
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
    """Check configuration and agent settings. Exit code 1 if there is an error.

    What is probably a mistake, such as a misspelt name, is an error here; a server starts all the
    same, and warns.
    """
    what, findings = _read(file)
    errors = sum(finding.level != "remark" for finding in findings)
    if as_json:
        rows = [_row(finding) for finding in findings]
        remarks = len(findings) - errors
        options.print_json({"errors": errors, "remarks": remarks, "findings": rows})
    else:
        _show(what, findings, errors)
    if errors:
        raise typer.Exit(1)


def _read(file: Path | None) -> "tuple[str, list[Finding]]":
    """Return what was checked, or the code of the first error, and everything that was found."""
    import os

    from offhook import config, yamlfile
    from offhook.config import newcomers
    from offhook.deepgram import settings

    if file is None and not config.FILE.exists():
        examined = config.examine(None, os.environ)  # what the environment sets may be wrong
        findings = [*examined.found.findings, *settings.tutorial()[1]]
        return examined.found.code or "The built-in settings", findings
    path = file or config.FILE
    found = yamlfile.Collected()
    remarks: tuple[Finding, ...] = ()
    document = found.attempt(functools.partial(yamlfile.read, path))
    kind = "nothing" if document is None else newcomers.kind_of(document)
    if document is not None and kind == "settings":

        def locate(loc: yamlfile.Loc, key: bool) -> yamlfile.Place:
            return document.place(loc, key=key)

        accepted = found.attempt(functools.partial(settings.accept, document.value, locate))
        remarks = accepted[1] if accepted is not None else ()
    elif kind == "agent":
        read = found.attempt(functools.partial(config.read_agent, path))
        remarks = read[1] if read is not None else ()
    elif kind == "app":
        examined = config.examine(path, os.environ)
        found, remarks = examined.found, examined.remarks
        found.add("E-DIAL-02", examined.by_rest)
    return found.code or str(path), [*found.findings, *remarks]


def _row(finding: "Finding") -> dict[str, str | int | None]:
    place = finding.place
    return {
        "level": _level(finding),
        "file": str(place.path) if place else None,
        "line": (place.line or None) if place else None,
        "column": (place.column or None) if place else None,
        "text": finding.text,
        "fix": finding.fix,
    }


def _level(finding: "Finding") -> str:
    """Return the level of a finding in this command, for which a mistake is an error."""
    return "remark" if finding.level == "remark" else "error"


def _show(what: str, findings: "list[Finding]", errors: int) -> None:
    from offhook.observability.console_output import inert

    for finding in sorted(findings, key=lambda finding: (finding.place is not None, finding.place)):
        where = typer.style(f"{finding.place} ", bold=True) if finding.place else ""
        is_error = finding.level != "remark"
        level = typer.style(_level(finding), fg="red" if is_error else "magenta", bold=is_error)
        _print(f"{where}{level} {inert(finding.text)}")
        _print(f"  → {inert(finding.fix)}")
    remarks = len(findings) - errors
    counts = f"{_count(errors, 'error')}, {_count(remarks, 'remark')}"
    verdict = "good"
    if errors:
        is_usable = all(finding.level != "error" for finding in findings)
        verdict = "probably mistaken" if is_usable else "not usable"
    _print(typer.style(f"{what}: {verdict} ({counts})", fg="red" if errors else None, bold=True))


def _print(line: str) -> None:
    """Print a line, in colour on a terminal: https://no-color.org."""
    import os

    typer.echo(line, color=False if os.environ.get("NO_COLOR") else None)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
