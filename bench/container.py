"""make deploy-test: the steps of deploy/Dockerfile in a folder instead of an image.

    python -m bench.container

Runs what both stages COPY and RUN, literally, in a mount namespace in which /opt and /var/lib are
empty and /etc is a copy; then ENTRYPOINT and CMD as the image's user, with a configuration for the
stand-in, until HEALTHCHECK says that it is well, a call, and STOPSIGNAL. The base image is this
machine with its own Python, so what is not tried is the base image, the size of what comes of it,
and Docker. It needs Linux, root and the network of a package registry, and says so where one of
them is missing. Exits with 1 when a step fails.
"""

import asyncio
import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.deployed import called, first_of
from bench.proxies import SHORT, WrongError, free_port, must
from tests.cli.served import CLEAN, TOKEN
from tests.whole_server import QUICK

from offhook.clock import LoopClock
from offhook.concurrency.event_loop import run
from offhook.testing.simulator.deepgram import server as standin_server

ROOT: Final = Path(__file__).parents[1]
DOCKERFILE: Final = ROOT / "deploy" / "Dockerfile"
BEGIN: Final = """
set -e
mount --make-rprivate /
cp -a /etc/. "$FOLDER/etc/"
mkdir -p "$FOLDER/etc/offhook"
cp "$FOLDER"/offhook.yaml "$FOLDER/etc/offhook/"
mount --bind "$FOLDER/etc" /etc
for path in /opt /var/lib; do mount -t tmpfs tmpfs "$path"; done
export PATH="$FOLDER/bin:$PATH" PIP_ROOT_USER_ACTION=ignore
mkdir -p "$FOLDER/src"; cd "$FOLDER/src"
"""
KNOWN: Final = frozenset(
    [
        "ARG",
        "FROM",
        "WORKDIR",
        "RUN",
        "COPY",
        "LABEL",
        "ENV",
        "USER",
        "VOLUME",
        "EXPOSE",
        "STOPSIGNAL",
        "HEALTHCHECK",
        "ENTRYPOINT",
        "CMD",
    ]
)


def instructions() -> Iterator[tuple[str, str]]:
    """The instructions of the Dockerfile, each with its arguments in one line."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, rest = line.strip().partition(" ")
        if name:
            must(name in KNOWN, f"{name} is not known here")
            yield name, rest.strip()


def steps() -> Iterator[str]:
    """The commands of a shell that do what is copied and run."""
    for name, rest in instructions():
        if name == "RUN":
            yield rest
        elif name == "COPY" and not rest.startswith("--from"):
            *sources, target = rest.split()
            yield f'mkdir -p "{target}"'
            for source in sources:
                path = shlex.quote(str(ROOT / source))
                yield f'cp -r {path}{"/." if source.endswith("/") else ""} "{target}"'
        elif name == "ENV":
            yield f"export {rest}"


def last(name: str) -> str:
    return [rest for found, rest in instructions() if found == name][-1]


def script(standin: str) -> str:
    command = [*json.loads(last("ENTRYPOINT")), *json.loads(last("CMD"))]
    command += ["--deepgram-url", standin]
    user = shlex.quote(last("USER"))
    drop = f"setpriv --reuid {user} --regid {user} --clear-groups --no-new-privs"
    echoed = [f"echo {shlex.quote('+ ' + step)}\n{step}" for step in steps()]
    return "\n".join(
        (
            BEGIN,
            *echoed,
            f"cd {last('WORKDIR')}",
            f"exec {drop} {shlex.join(command)}",
        )
    )


async def health(pid: int, port: int) -> int:
    """Run HEALTHCHECK's command there; return its exit code."""
    _, _, command = last("HEALTHCHECK").partition("CMD")
    words = json.loads(command.replace("127.0.0.1:5000", f"127.0.0.1:{port}"))
    process = await asyncio.create_subprocess_exec(
        *("nsenter", "--target", str(pid), "--mount", "--pid"),
        *("env", "PATH=/opt/offhook/bin", *words),
        stderr=asyncio.subprocess.DEVNULL,
    )
    return await process.wait()


async def tried(folder: Path, port: int, standin: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork"),
        *("--mount-proc", "--kill-child"),
        *("bash", "-c", script(standin)),
        env=CLEAN | {"FOLDER": str(folder), "DEEPGRAM_API_KEY": "any", "TWILIO_AUTH_TOKEN": TOKEN},
        stdin=asyncio.subprocess.DEVNULL,
    )
    try:
        first = await first_of(process)
        while await health(first, port):
            must(process.returncode is None, "a step has failed")
            await asyncio.sleep(0.5)
        print("HEALTHCHECK is good", flush=True)
        await called(port, SHORT, folder)
        os.kill(first, getattr(signal, last("STOPSIGNAL")))
        must(await process.wait() == 0, "it does not end well")
        print("a call, and STOPSIGNAL: as they must be")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def prepared(folder: Path, port: int) -> None:
    """Make what the script finds in its folder: a Python, and a configuration."""
    folder.chmod(0o755)
    for name in ("etc", "bin"):
        (folder / name).mkdir()
    # The image's user must be able to run it, so it is not one in somebody's home.
    python = shutil.which("python3", path="/usr/local/bin:/usr/bin") or sys.executable
    (folder / "bin" / "python").symlink_to(Path(python).resolve())
    (folder / "offhook.yaml").write_text(
        f"server: {{port: {port}, operator_listen: '127.0.0.1:{free_port()}'}}\n"
        "records: {folder: /var/lib/offhook}\n"
    )


async def main(folder: Path, port: int) -> None:
    clock = LoopClock(asyncio.get_running_loop())
    standin = await standin_server.serve("127.0.0.1", 0, QUICK, clock)
    try:
        await tried(folder, port, standin.url)
    except WrongError as wrong:
        sys.exit(f"deploy/Dockerfile: {wrong}")
    finally:
        await standin.close()


if __name__ == "__main__":
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        sys.exit("This needs Linux and root. Nothing of deploy/Dockerfile was tried.")
    with tempfile.TemporaryDirectory(prefix="container-") as name:
        chosen = free_port()
        prepared(Path(name), chosen)
        run(main(Path(name), chosen))
