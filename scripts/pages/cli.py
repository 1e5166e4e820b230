"""docs/cli.md: what `--help` of every command says, with the notes that stand under it by hand."""

import re
from collections.abc import Iterator
from typing import Any, Final

import typer.main

from offhook.cli import app

_PART: Final = re.compile(r"^## (offhook .*)$", re.MULTILINE)
_TABLE: Final = re.compile(r"(?<=<!-- commands -->\n).*?(?=<!-- end -->)", re.DOTALL)
_END: Final = "<!-- end of help -->"


def page(text: str) -> str:
    """Return the page anew: its introduction, then each command with the notes it had."""
    intro, *parts = _PART.split(text)
    notes = {
        title: part.partition(_END)[2].strip()
        for title, part in zip(parts[::2], parts[1::2], strict=True)
    }
    listed = list(_commands(typer.main.get_command(app)))
    intro = _TABLE.sub(lambda _: _overview(listed), intro)
    sections = [_section(name, command, notes.get(name, "")) for name, command in listed]
    return "\n\n".join([intro.strip(), *sections]) + "\n"


def _commands(group: Any, base: str = "offhook ") -> Iterator[tuple[str, Any]]:
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if hasattr(command, "commands"):
            yield from _commands(command, f"{base}{name} ")
        elif not command.hidden:
            yield base + name, command


def _overview(listed: list[tuple[str, Any]]) -> str:
    lines = ["| Command | What it does |", "| --- | --- |"]
    for name, command in listed:
        link = f"[`{name}`](#{name.replace(' ', '-')})"
        lines.append(f"| {link} | {_cell(_paragraphs(command)[0])} |")
    return "\n".join(lines) + "\n"


def _section(name: str, command: Any, notes: str) -> str:
    context = typer.Context(command, info_name=name)
    records = (parameter.get_help_record(context) for parameter in command.params)
    rows = [f"| `{_cell(_option(each[0]))}` | {_cell(each[1])} |" for each in records if each]
    table = (
        ["\n".join(["| Argument or option | Meaning |", "| --- | --- |", *rows])] if rows else []
    )
    parts = [
        f"## {name}",
        f"```\n{_usage(name, command)}\n```",
        *_paragraphs(command),
        *table,
        _END,
    ]
    return "\n\n".join([*parts, notes] if notes else parts)


def _paragraphs(command: Any) -> list[str]:
    return [" ".join(part.split()) for part in command.help.split("\n\n")]


def _usage(name: str, command: Any) -> str:
    pieces = command.collect_usage_pieces(typer.Context(command, info_name=name))
    return " ".join([name, *map(_argument, pieces)])


def _argument(text: str) -> str:
    """Return an argument once in brackets where Typer and its metavar both write some."""
    text = re.sub(r"^\{(.*)\}$", r"\1", text)
    return re.sub(r"^\[(\[[^\]]*\](?:\.\.\.)?)\](?:\.\.\.)?$", r"\1", text)


def _option(text: str) -> str:
    """Return options and placeholder as the page writes them: `--port N`, not `--port <int>`."""
    if not text.startswith("-"):
        return _argument(re.sub(r" <.*>$", "", text))
    kinds = {"int": "N", "float": "N", "path": "PATH", "str": "TEXT"}
    return re.sub(r"<(\w+)( range)?>", lambda kind: kinds.get(kind[1], kind[1].upper()), text)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
