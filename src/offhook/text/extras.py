"""Extras of this package, and the command that installs one where this Offhook is."""

import json
import shlex
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

TARGETS: Final = {"local": "setup", "postgres": "setup", "ears": "ears", "ngrok": "ngrok"}
"""Extra to the target of the Makefile that brings it into the environment of a checkout.

Each target brings what `make setup` does, too. tests/text/test_extras.py has every extra here.
"""


def install_command(extra: str) -> str:
    """Return the command that installs an extra, or several with commas, beside this Offhook.

    It installs from where this Offhook came: a checkout, a folder, a file, or the package index.
    """
    origin = _origin()
    folder = Path(unquote(urlsplit(origin).path)) if origin.startswith("file:") else None
    if folder is not None and folder.is_dir():
        is_set_up = Path(sys.prefix) == folder / ".venv" and (folder / "Makefile").is_file()
        if is_set_up:
            targets = sorted({TARGETS[each] for each in extra.split(",")} - {"setup"}) or ["setup"]
            return f"make -C {shlex.quote(str(folder))} {' '.join(targets)}"
        wanted = f"{folder}[{extra}]"
    else:
        wanted = f"offhook[{extra}] @ {origin}" if origin else f"offhook[{extra}]"
    python = shlex.quote(sys.executable)
    if find_spec("pip") is not None:
        return f"{python} -m pip install {shlex.quote(wanted)}"
    return f"uv pip install --python {python} {shlex.quote(wanted)}"


def _origin() -> str:
    """Return the URL from which this package was installed; empty if by its name."""
    try:
        told = metadata.distribution("offhook").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return ""
    url: dict[str, object] = json.loads(told) if told else {}
    vcs = url.get("vcs_info")
    if isinstance(vcs, dict):
        return f"{vcs.get('vcs', 'git')}+{url.get('url', '')}@{vcs.get('commit_id', 'HEAD')}"
    return str(url.get("url", ""))
