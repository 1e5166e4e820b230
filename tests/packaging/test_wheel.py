"""What is built: wheel and source archive, their description, and a first call with them."""

import ast
import email
import email.message
import importlib.metadata
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any, Final

import pytest
from packaging.requirements import Requirement
from tests.cli.test_demo import sides
from tests.sources import syntax_tree
from tests.test_docs import ROOT, anchors, committed
from tests.test_licences import SCRIPT

from offhook import __version__

UV: Final = ROOT / ".uv" / "bin" / "uv"
PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
REPOSITORY: Final[str] = PROJECT["project"]["urls"]["Source"]
WHEEL_MAX: Final = 3_000_000
LINK: Final = re.compile(r'(!?)\[[^\]]*\]\(([^)\s]+)\)|(?:src|href|srcset)="([^"]+)"')
CLEAN: Final = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("DEEPGRAM", "TWILIO", "OFFHOOK", "VIRTUAL_ENV", "PYTHONPATH"))
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source archive."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


def wheel_in(folder: Path) -> Path:
    return folder / f"offhook-{__version__}-py3-none-any.whl"


def metadata_in(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        return email.message_from_bytes(archive.read(f"offhook-{__version__}.dist-info/METADATA"))


def description_of(metadata: email.message.Message) -> str:
    text = metadata.get_payload()
    assert isinstance(text, str)
    return text


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def links_in(text: str) -> list[str]:
    return [inline or quoted for _, inline, quoted in LINK.findall(without_code(text))]


def test_the_description_can_be_read_elsewhere_than_in_the_repository(built: Path) -> None:
    """Every link is absolute, and leads to a file that is there, at this version."""
    text = description_of(metadata_in(wheel_in(built)))
    own = re.compile(
        rf"{re.escape(REPOSITORY)}/(?:blob|raw)/v{re.escape(__version__)}/([^#]*)#?(.*)"
    )
    found = 0
    for link in links_in(text):
        assert link.startswith(("https://", "#")), link
        if link.startswith(REPOSITORY):
            ours = own.fullmatch(link)
            assert ours is not None, link
            path = ROOT / ours[1]
            assert path.exists(), link
            assert not ours[2] or ours[2] in anchors(path), link
            found += 1
        elif link.startswith("#"):
            assert link[1:] in anchors(ROOT / "README.md"), link
    relative = [one for one in links_in((ROOT / "README.md").read_text("utf-8")) if ":" not in one]
    assert found == sum(not one.startswith("#") for one in relative) > 5


def test_the_source_archive_says_the_same_and_has_every_page(built: Path) -> None:
    base = f"offhook-{__version__}"
    with tarfile.open(built / f"{base}.tar.gz") as archive:
        names = set(archive.getnames())
        told = archive.extractfile(f"{base}/PKG-INFO")
        assert told is not None
        described = email.message_from_bytes(told.read())
    assert description_of(described) == description_of(metadata_in(wheel_in(built)))
    folders = ("src", "deploy", "docs", "examples", "requirements")
    for path in committed():
        name = path.relative_to(ROOT)
        if name.parts[0] in folders or (len(name.parts) == 1 and name.suffix == ".md"):
            assert f"{base}/{name.as_posix()}" in names
    assert not any(name.startswith((f"{base}/tests", f"{base}/.github")) for name in names)


def test_the_wheel_is_small_and_has_what_the_first_call_needs(built: Path) -> None:
    wheel = wheel_in(built)
    assert wheel.stat().st_size <= WHEEL_MAX
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    packed = {path.relative_to(ROOT / "src").as_posix() for path in committed()
              if path.is_relative_to(ROOT / "src")}  # fmt: skip
    assert packed - names == set()
    assert {name.partition("/")[0] for name in names} == {
        "offhook",
        f"offhook-{__version__}.dist-info",
    }


def test_its_name_is_its_command_so_that_uvx_finds_it(built: Path) -> None:
    metadata = metadata_in(wheel_in(built))
    assert metadata["Name"] == "offhook"
    assert PROJECT["project"]["scripts"] == {"offhook": "offhook.cli:main"}
    urls = dict(line.split(", ") for line in metadata.get_all("Project-URL") or ())
    assert urls == PROJECT["project"]["urls"]
    assert {"Source", "Documentation", "Changelog", "Issues"} <= urls.keys()


def test_one_place_names_the_repository() -> None:
    assert all(url.startswith(REPOSITORY) for url in PROJECT["project"]["urls"].values())
    own = REPOSITORY.rpartition("/")[2]
    mention = re.compile(rf"https://github\.com/[\w-]+/{own}\b")
    wrong = [
        f"{path.relative_to(ROOT)}: {found}"
        for path in committed()
        if path.suffix != ".ulaw"
        for found in mention.findall(path.read_text("utf-8", errors="replace"))
        if found != REPOSITORY
    ]
    assert wrong == []


def test_what_builds_it_is_locked() -> None:
    required = PROJECT["build-system"]["requires"]
    assert PROJECT["dependency-groups"]["build"] == required
    locked = (ROOT / "requirements" / "build.txt").read_text("utf-8")
    for name in required:
        assert re.search(rf"^{re.split('[>=]', name)[0]}==", locked, re.MULTILINE), name


def uv(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run uv with what `make setup` has brought here; by the network if that is not all there."""
    command = [str(UV), *map(str, arguments)]

    def ran(*more: str) -> subprocess.CompletedProcess[str]:
        environ = CLEAN | dict.fromkeys(more, "1")
        return subprocess.run(
            command, env=environ, cwd=folder, capture_output=True, text=True, check=False
        )

    done = ran("UV_OFFLINE")
    if done.returncode:
        done = ran()
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.long
@pytest.mark.limit(600)
def test_installed_alone_it_makes_the_first_call(built: Path, tmp_path: Path) -> None:
    """In an empty environment, with the locked dependencies, from a folder of its own."""
    locked = ROOT / "requirements" / "install.txt"
    environment = tmp_path / "environment"
    folder = "Scripts/python.exe" if sys.platform == "win32" else "bin/python"
    python = environment / folder
    uv("venv", environment, "--quiet", "--python", sys.executable, folder=tmp_path)
    installs = ("pip", "install", "--quiet", "--python", python)
    uv(*installs, "--require-hashes", "-r", locked, folder=tmp_path)
    uv(*installs, "--no-deps", wheel_in(built), folder=tmp_path)

    def ran(*command: str | Path) -> str:
        done = subprocess.run(
            [*map(str, command)],
            env=CLEAN | {"COLUMNS": "200"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    where = ran(python, "-c", "import offhook, sys; print(offhook.__file__, *sys.path)")
    assert str(ROOT) not in where, "the checkout is out of reach"
    assert ran(python, "-m", "offhook", "--version") == f"{__version__}\n"
    ran(python, "-c", "import offhook.serving.call_process, offhook.serving.operator_process")
    told = ran(python.with_name("offhook"), "demo", "--once")
    assert re.search("plays a script and understands nothing: .*pocketsphinx.* not installed", told)
    said = re.findall(r"  agent +(.+)", told)
    assert sum("(interrupted after" in each for each in said) == 1
    sides(tmp_path)

    # `uvx offhook`: by the name of the package, in an environment that uv makes.
    found = uv("tool", "run", "--quiet", "--python", sys.executable, "--constraints", locked,
               "--from", wheel_in(built), "offhook", "--version", folder=tmp_path)  # fmt: skip
    assert found.stdout == f"{__version__}\n"


def test_the_front_desk_of_the_wheel_is_that_of_the_examples() -> None:
    packed = ROOT / "src" / "offhook" / "testing" / "front_desk"
    names = {path.name for path in committed() if path.parent == packed}
    assert len(names) >= 4
    for name in names:
        assert (packed / name).read_bytes() == (ROOT / "examples/front-desk" / name).read_bytes()


NOT_ASKED_FOR: Final = {
    "pydantic_core": "pydantic brings exactly its own",
    "trustme": "`offhook bench --tls` asks the user for it, E-BENCH-03",
}


def imported() -> dict[str, Path]:
    """Top names that the package imports, and a file in which each is."""
    found: dict[str, Path] = {}
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(syntax_tree(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                names = [node.module]
            else:
                continue
            found |= {name.partition(".")[0]: path for name in names}
    return found


def test_what_is_imported_is_asked_for() -> None:
    """A package that only the tests ask for is not there where Offhook is installed alone."""
    project, canonical = PROJECT["project"], SCRIPT["canonical"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    asked = {canonical(Requirement(line).name) for line in (*project["dependencies"], *extras)}
    owners = importlib.metadata.packages_distributions()
    missing = {
        name: str(path.relative_to(ROOT))
        for name, path in imported().items()
        if name not in sys.stdlib_module_names | NOT_ASKED_FOR.keys() | {"offhook"}
        # One that is not installed here, of an extra, is known by its own name alone.
        if not {canonical(owner) for owner in owners.get(name, (name,))} & asked
    }
    assert missing == {}
