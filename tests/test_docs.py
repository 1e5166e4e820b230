"""The pages and the code say the same."""

import ast
import re
import subprocess
import textwrap
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from tests.sources import syntax_tree

from offhook import config, yamlfile
from offhook.call.ending import Slug
from offhook.testing.scenarios import validation
from offhook.testing.scenarios.scenario import Loaded, Scenario
from offhook.testing.scenarios.validation import Sight
from offhook.testing.simulator.deepgram.script import Script
from offhook.testing.simulator.dialogue.file import Dialogue

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "offhook"
DOCS = ROOT / "docs"
CODE = re.compile(r"E-[A-Z]+-\d\d")


def committed() -> list[Path]:
    """Every file that is committed, or would be."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]


def pages() -> list[Path]:
    return [path for path in committed() if path.suffix == ".md"]


def sections(page: Path, level: int) -> dict[str, str]:
    """The text under each heading of that level, headings of a lower rank and all."""
    mark = "#" * level
    parts = re.split(rf"^(?=#{{1,{level}}} )", page.read_text(), flags=re.MULTILINE)
    found = {}
    for part in parts:
        title, _, text = part.partition("\n")
        if title.startswith(f"{mark} "):
            found[title.removeprefix(mark).strip()] = text
    return found


def rows(text: str) -> list[list[str]]:
    """The cells of every table in a text, without headers."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    rules = [index for index, row in enumerate(cells) if set("".join(row)) <= set("-: ")]
    return [row for index, row in enumerate(cells) if index not in rules and index + 1 not in rules]


def plain(text: str) -> str:
    """Without what only formats a page."""
    return " ".join(re.sub(r"^> ?", "", text, flags=re.MULTILINE).split())


def words(node: ast.expr) -> list[str]:
    """What is certain of a text that is put together at run time."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        return [part for value in node.values for part in words(value)]
    return []


def modules(named: str) -> Iterator[tuple[Path, ast.Module]]:
    """The modules in whose text a pattern is found: to parse all takes a second."""
    for path in sorted(SRC.rglob("*.py")):
        text = path.read_text()
        if re.search(named, text):
            yield path, syntax_tree(text)


# --- docs/errors.md ------------------------------------------------------------------------------

ERRORS = DOCS / "errors.md"


def test_every_code_has_its_section_and_every_section_its_code() -> None:
    used = {code for path in SRC.rglob("*.py") for code in CODE.findall(path.read_text())}
    assert set(filter(CODE.fullmatch, sections(ERRORS, 3))) == used


def test_errors_say_what_the_page_quotes() -> None:
    quoted = {code: plain(text) for code, text in sections(ERRORS, 3).items()}
    checked = set()
    for path, tree in modules("UserError"):
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "UserError"):
                continue
            for code in words(node.args[0]):  # none: one that was raised before is told again
                checked.add(code)
                for said in map(words, node.args[1:]):
                    longest = max(said, key=len, default="").strip()
                    assert longest in quoted.get(code, ""), f"{path}:{node.lineno}"
    assert len(checked) > 10


def test_the_log_says_what_the_page_quotes() -> None:
    quoted = {code: plain(text) for code, text in sections(ERRORS, 3).items()}
    checked = set()
    line = re.compile(rf"({CODE.pattern}) (.*?)(%s|\. |$)")
    for path, tree in modules(CODE.pattern):
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
                continue
            found = line.match(node.value)
            if found:
                checked.add(found[1])
                assert found[2].strip(" .") in quoted.get(found[1], ""), f"{path}:{node.lineno}"
    assert checked == {
        "E-AGENT-05",
        "E-API-02",
        "E-API-26",
        "E-CAP-02",
        "E-DEV-04",
        "E-DG-02",
        "E-DG-03",
        "E-DG-04",
        "E-DG-05",
        "E-DG-06",
        "E-FLEET-05",
        "E-FLEET-06",
        "E-AUD-02",
        "E-AUD-05",
        "E-HOOK-02",
        "E-LINK-05",
        "E-LINK-08",
        "E-PROC-01",
        "E-PROC-02",
        "E-PROC-03",
        "E-OUT-26",
        "E-REC-06",
        "E-REC-07",
        "E-REC-09",
        "E-SEC-01",
        "E-SEC-02",
        "E-SEC-03",
        "E-SEC-04",
    }


def test_every_ending_is_in_the_table() -> None:
    table = rows(sections(ERRORS, 2)["Endings"])
    assert [row[:3] for row in table] == [[f"`{s.slug}`", s.fault, s.words] for s in Slug]
    assert all(all(row) for row in table)


def test_every_reason_for_refusing_a_stream_is_in_the_table() -> None:
    page = sections(ERRORS, 2)["Refused streams"]
    rules = ast.walk(syntax_tree((SRC / "calls/admission.py").read_text()))
    returned = [node.value for node in rules if isinstance(node, ast.Return)]
    waiting = ast.walk(syntax_tree((SRC / "webhooks/pending_streams.py").read_text()))
    refused = [
        n.args[0]
        for n in waiting
        if isinstance(n, ast.Call) and getattr(n.func, "attr", "") == "refuse"
    ]
    reasons = [text for value in [*returned, *refused] if value for text in words(value)]
    assert len(reasons) > 10
    assert [reason for reason in reasons if f"{reason.strip()}`" not in page] == []


# --- docs/configuration.md -----------------------------------------------------------------------

CONFIGURATION = DOCS / "configuration.md"


def test_commands_are_on_a_page_of_their_own() -> None:
    """`make pages` writes docs/cli.md; a note about a command stands there, under its table."""
    assert [title for title in sections(CONFIGURATION, 3) if title.startswith("offhook ")] == []


def commands(group: Any, base: str = "") -> Iterator[tuple[str, Any]]:
    """Every command that does something, by all of its words."""
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if hasattr(command, "commands"):
            yield from commands(command, f"{base}{name} ")
        else:
            yield base + name, command


def keys(model: type[BaseModel], base: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for python_name, field in model.model_fields.items():
        name = field.alias or python_name
        parts = [part for part in members(field.annotation) if issubclass(part, BaseModel)]
        if not parts or name == "destinations":
            yield base + name, field
        for part in parts:
            yield from keys(part, f"{base}{name}.")


def members(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type) and not typing.get_args(annotation):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from members(argument)


@pytest.mark.parametrize(
    ("title", "model"), [("offhook.yaml", config.AppConfigFile), ("Agent files", config.Agent)]
)
def test_every_key_is_in_its_table_with_its_default(title: str, model: type[BaseModel]) -> None:
    table = {row[0].strip("`"): row for row in rows(sections(CONFIGURATION, 2)[title])}
    known = dict(keys(model))
    assert known.keys() - table.keys() == set()
    parts = {key.rpartition(".")[0] for key in known}
    assert table.keys() - known.keys() - parts == set()
    for key, field in known.items():
        default = field.default
        if isinstance(default, bool):
            assert table[key][1].strip("`") in (("on", "true") if default else ("off", "false"))
        elif isinstance(default, tuple):
            assert all(name in table[key][1] for name in default)
        elif isinstance(default, int | float):
            shown = f"{default:g}" if isinstance(default, float) else str(default)
            assert table[key][1] == f"`{shown}`"
        elif isinstance(default, str) and default:
            assert table[key][1] == f"`{default}`"


def test_every_variable_of_the_environment_is_in_its_table() -> None:
    source = "".join(path.read_text() for path in (SRC / "config").glob("*.py"))
    read = re.findall(r'"((?:DEEPGRAM|TWILIO|OFFHOOK)_[A-Z_]+)"', source)
    table = rows(sections(CONFIGURATION, 2)["Environment"])
    assert {row[0].strip("`") for row in table} == set(read)


# --- What pages share ----------------------------------------------------------------------------


def examples() -> Iterator[tuple[str, str]]:
    """Every YAML example that is one whole file, with the page and line on which it begins."""
    for page in pages():
        text = page.read_text()
        for found in re.finditer(r"^ *```yaml\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
            if "..." not in found[1]:
                line = text.count("\n", 0, found.start()) + 2
                yield f"{page.relative_to(ROOT)}:{line}", textwrap.dedent(found[1])


TOOL = 'from offhook.tools import tool\n\n\n@tool\ndef hours() -> str:\n    """Say when."""\n'


@pytest.mark.parametrize(("where", "text"), list(examples()))
def test_the_examples_can_be_used(where: str, text: str, tmp_path: Path) -> None:
    document = yamlfile.parse(text, Path(where))
    if "steps" in document.value:
        loaded = Loaded(yamlfile.validate(Scenario, document), document)
        validation.check(loaded, None, Sight("", words=True, inside=True))
    elif "turns" in document.value:
        yamlfile.validate(Script, document)
    elif "intents" in document.value:
        Dialogue(document)
    elif "settings" in document.value:
        path = tmp_path / "agent.yaml"
        path.write_text(text)
        (tmp_path / "tools.py").write_text(TOOL)  # README's own: tests/test_readme.py
        config.read_agent(path)
    else:
        yamlfile.validate(config.AppConfigFile, document)


def test_links_lead_somewhere() -> None:
    broken = []
    for page in pages():
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if "://" in link:
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path) if path else page
            if not target.exists() or (anchor and anchor not in anchors(target)):
                broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert broken == []


def test_files_that_the_table_of_a_room_names_are_there() -> None:
    missing = []
    for page in pages():
        if not page.is_relative_to(SRC):
            continue
        firsts = "\n".join(row[0] for row in rows(page.read_text()))
        missing += [
            f"{page.relative_to(ROOT)}: {name}"
            for name in re.findall(r"`([\w/.]+(?:\.py|/))`", firsts)
            if not ((page.parent / name).exists() or (SRC / name).exists())
        ]
    assert missing == []


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_what_is_assumed_has_a_step_that_settles_it() -> None:
    source = "".join(path.read_text() for path in SRC.rglob("*.py"))
    page = (DOCS / "live-checks.md").read_text()
    assert page.count("| Step that settles it |") == len(re.findall(r"^\| ---", page, re.MULTILINE))
    table = rows(page)
    assert len(table) > 30
    for row in table:
        assert len(row) == 4, row[0]
        assert all(row), row[0]
        for name in re.findall(r"`([\w./]+)`", row[1]):
            if name.endswith(".py"):
                assert (SRC / name).is_file(), name
            elif name.endswith(".ts"):
                assert (ROOT / name).is_file(), name
            else:
                assert name.rpartition(".")[2] in source, name


def test_no_file_names_a_registry_or_a_folder_of_ours() -> None:
    hosts = [
        "".join(parts)
        for parts in [
            ("pypi", ".org"),
            ("python", "hosted"),
            ("npm", "js.org"),
            ("npm", "js.com"),
            ("yarn", "pkg.com"),
            ("anaconda", ".org"),
            ("crates", ".io"),
        ]
    ]
    folders = "|".join(("work", "tmp"))
    wrong = re.compile("|".join(map(re.escape, hosts)) + rf"|(?<![\w.~*-])/(?:{folders})(?![\w-])")
    found = []
    for path in committed():
        if path.suffix == ".ulaw":
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if wrong.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}")
    assert found == []


# --- what is promised has a test ------------------------------------------------------------

SECURITY = ROOT / "docs" / "security.md"
RELIABILITY = ROOT / "docs" / "reliability.md"
RECORDS = ROOT / "docs" / "records.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
EXPLAINED = re.compile(
    r"^(Twilio signs|The webhook's TwiML|A Bin is|One line for|`serve --capture)"
)
"""How a paragraph begins that explains what the promises under it are about."""


@cache
def functions_in(path: Path) -> frozenset[str]:
    """The test functions of a file."""
    tree = syntax_tree(path.read_text())
    functions = (
        node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return frozenset(one.name for one in functions if one.name.startswith("test_"))


def blocks(text: str) -> Iterator[str]:
    """Every paragraph, item of a list and row of a table; no headings, no heads of tables."""
    text = re.sub(r"^\|.*\|\n\|[-:| ]+\|\n", "", text, flags=re.MULTILINE)
    for part in re.split(r"\n\s*\n|\n(?=- |\d+\. |\|)|\n(?=#)|(?<=\n)(?=#)", text):
        block = re.sub(r"^#+ .*\n?", "", part.strip()).strip()
        if block:
            yield " ".join(block.split())


def unshown(text: str) -> list[str]:
    """What is promised in a text without a test."""
    return [one for one in blocks(text) if not NAMED.search(one) and not EXPLAINED.match(one)]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_test_that_a_page_names_is_there(page: Path) -> None:
    named = NAMED.findall(page.read_text())
    missing = [
        f"{file}::{test}"
        for file, test in named
        if not (ROOT / file).exists() or test not in functions_in(ROOT / file)
    ]
    assert missing == []


@pytest.mark.parametrize("page", [SECURITY, RELIABILITY, RECORDS], ids=lambda page: page.name)
def test_every_promise_names_a_test(page: Path) -> None:
    assert unshown(sections(page, 2)["Promises"]) == []


@pytest.mark.parametrize(("page", "least"), [(SECURITY, 9), (RELIABILITY, 8)])
def test_every_section_of_promises_has_one(page: Path, least: int) -> None:
    parts = re.split(r"^### ", sections(page, 2)["Promises"], flags=re.MULTILINE)[1:]
    assert len(parts) >= least
    assert [part.splitlines()[0] for part in parts if not NAMED.search(part)] == []


def test_a_promise_without_a_test_is_found_out() -> None:
    text = (
        "\n### A\n\nThis is so.\n\n- This too. `tests/x.py::test_x`\n- And\n  this.\n\n"
        "| a | b |\n| --- | --- |\n| c | d |\n| e | `tests/x.py::test_x` |\n"
    )
    assert unshown(text) == ["This is so.", "- And this.", "| c | d |"]
