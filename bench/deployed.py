"""make deploy-test: docs/deploy.md as it is written, with a real systemd, and calls to the result.

    python -m bench.deployed

Runs the page's `sh` blocks in the order of the page, in namespaces of their own (processes, mounts,
control groups), in which systemd is process 1, /etc is a copy, and /opt, /var/lib and /var/backups
are empty. What differs from the page: the ports, Deepgram is the stand-in, and
nobody answers as Twilio's REST API. Calls are made
through the service that was installed, one of them through a restart with its drain. It needs
Linux, root, systemd, and the network of a package registry, and says so where one of them is
missing. Exits with 1 when something is not as the page says.
"""

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
from bench.proxies import LONG, SHORT, WrongError, free_port, must
from tests.cli.served import CLEAN, TOKEN
from tests.whole_server import ACCOUNT, QUICK

from offhook import __version__
from offhook.clock import LoopClock
from offhook.concurrency.event_loop import run
from offhook.testing.simulator.deepgram import server as standin_server

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "deploy.md"
SYSTEMD: Final = Path("/lib/systemd/systemd")
TARGETS: Final = ("sysinit", "basic", "multi-user", "network-online", "shutdown", "umount", "final")
GROUPS: Final = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
TRIES: Final = 120
"""Attempts at what has to wait for a process, one a second."""
UNITS: Final = "/etc/systemd/system"
BOOT: Final = f"""
set -e
mount --make-rprivate /
cp -a /etc/. "$FOLDER/etc/"
rm -rf "$FOLDER{UNITS}"
cp -r "$FOLDER/units" "$FOLDER{UNITS}"
mount --bind "$FOLDER/etc" /etc
for path in /run /opt /var/lib; do mount -t tmpfs tmpfs "$path"; done
mkdir -p /run/systemd/system /run/lock /run/systemd/resolve
mkdir -p /usr/local/bin && mount --bind "$FOLDER/bin" /usr/local/bin
mkdir -p /var/backups && mount -t tmpfs tmpfs /var/backups
umount -R /sys/fs/cgroup
exec {SYSTEMD} --system --log-target=console --log-level=info --show-status=no \\
    systemd.unified_cgroup_hierarchy=1
"""


def blocks(section: str) -> list[str]:
    """The `sh` blocks of a section of the page, whatever the rank of its heading."""
    parts = re.split(r"^#+ (.+)$", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    text = dict(zip(parts[1::2], parts[2::2], strict=True))[section]
    return re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@dataclass
class Machine:
    """The namespaces, by the process that is their first, and the variables of the page."""

    pid: int
    tree: Path
    environ: dict[str, str]

    async def sh(self, script: str) -> str:
        """Run a script there; return what it printed. Raises WrongError when it fails."""
        code, said = await self.tried(script)
        if code:
            raise WrongError(f"this failed with {code}:\n{script}\n{said}")
        return said

    async def tried(self, script: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *("nsenter", "--target", str(self.pid), "--mount", "--pid", "--cgroup", "--uts"),
            *("bash", "-c", f'set -e\ncd "{self.tree}"\n{script}'),
            env=self.environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        return process.returncode or 0, said.decode("utf-8", "replace")

    async def until(self, script: str) -> str:
        """Run a script until it succeeds; return what it printed. Raises WrongError."""
        for _ in range(TRIES):
            code, said = await self.tried(script)
            if not code:
                return said
            await asyncio.sleep(1)
        raise WrongError(f"this does not succeed:\n{script}\n{said}")

    async def section(self, title: str) -> None:
        found = blocks(title)
        must(bool(found), f"the page has no block under {title}")
        for block in found:
            await self.sh(block)
        print(f"done as the page says: {title}", flush=True)


@asynccontextmanager
async def machine(folder: Path, tree: Path, environ: dict[str, str]) -> AsyncIterator[Machine]:
    """Boot systemd in namespaces; end it with everything in them."""
    for name in ("etc", "units", "bin"):
        (folder / name).mkdir()
    for name in TARGETS:
        (folder / "units" / f"{name}.target").write_text("[Unit]\nDefaultDependencies=no\n")
    (folder / "units" / "default.target").symlink_to("multi-user.target")
    with (folder / "systemd.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork"),
            *("--uts", "--cgroup", "--mount-proc"),
            *("--kill-child", "bash", "-c", BOOT),
            env=environ | {"FOLDER": str(folder), "container": "other", "SYSTEMD_UNIT_PATH": UNITS},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        first = await first_of(process)
        made = Machine(first, tree, environ | {"SYSTEMD_UNIT_PATH": UNITS})
        while (await made.tried("systemctl is-system-running"))[1].strip() not in (
            "running",
            "degraded",
        ):
            if process.returncode is not None:
                raise WrongError("systemd does not start: " + (folder / "systemd.log").read_text())
            await asyncio.sleep(0.2)
        yield made
    except BaseException:
        print((folder / "systemd.log").read_text("utf-8", "replace")[-6000:])
        raise
    finally:
        if process.returncode is None:
            process.kill()  # and by --kill-child process 1 of the namespace, and so all of it
        await process.wait()


async def first_of(process: asyncio.subprocess.Process) -> int:
    """Return the id of the process that is the first of its namespace."""
    while True:
        children = psutil.Process(process.pid).children()
        if children:
            return children[0].pid
        await asyncio.sleep(0.05)


def leave_no_groups() -> None:
    """Remove the control groups that systemd has made, once the last process in them is gone."""
    for _ in range(50):
        remove_groups()
        if not any((root / "system.slice").exists() for root in GROUPS):
            return
        time.sleep(0.2)


def remove_groups() -> None:
    for root in GROUPS:
        for name in ("system.slice", "init.scope"):
            top = root / name
            if (root / "cgroup.procs").exists() and top.is_dir():
                for group in (*sorted(top.rglob("*"), reverse=True), top):
                    with contextlib.suppress(OSError):  # somebody else's, or not empty yet
                        if group.is_dir() and not (group / "cgroup.procs").read_text():
                            group.rmdir()


async def called(port: int, scenario: str, folder: Path) -> None:
    """Make a call as Twilio does, signed, from outside."""
    path = folder / f"call-{len(scenario)}.yaml"
    path.write_text(scenario)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "offhook", "rehearse", str(path), "--json"),
        *("--to", f"http://127.0.0.1:{port}/twilio/voice", "--public-url", "https://localhost"),
        env=CLEAN | {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": TOKEN},
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    must(process.returncode == 0, f"the call went wrong: {said.decode()[-3000:]}")


@asynccontextmanager
async def live_call(there: Machine, port: int, folder: Path) -> AsyncIterator[None]:
    """Have a call while entered; it must go to its end as its scenario says."""
    async with asyncio.TaskGroup() as group:
        call = group.create_task(called(port, LONG, folder))
        while " 1 " not in f" {await live(there)} ":
            must(not call.done(), "the call did not begin")
            await asyncio.sleep(0.2)
        await asyncio.sleep(1)
        yield


async def live(there: Machine) -> str:
    """Return how many calls the server says that it has."""
    code = (
        "import json, urllib.request as u;"
        f"print(json.load(u.urlopen('http://127.0.0.1:{there.environ['PORT']}/readyz'))['live'])"
    )
    return (await there.tried(f'python3 -c "{code}"'))[1].strip()


async def tried(there: Machine, port: int, folder: Path, standin: str) -> None:
    await there.section("Install")
    (config,) = blocks("Configuration and secrets")
    await there.sh(config)
    own = f"{{port: {port}, operator_listen: '127.0.0.1:{free_port()}', public_url:"
    yaml = "/etc/offhook/offhook.yaml"
    await there.sh(f'sed -i "s|{{public_url:|{own}|" {yaml}')
    nobody = f"http://127.0.0.1:{free_port()}"  # no request of a test goes to Twilio
    added = f"deepgram: {{url: '{standin}'}}\ntwilio: {{api_url: '{nobody}'}}\n"
    await there.sh(f"cat >> {yaml} <<'END'\n{added}END\noffhook check {yaml}")
    print("done as the page says: Configuration and secrets", flush=True)
    await there.section("systemd")
    print(await there.sh("systemctl status offhook | head -12"))
    await called(port, SHORT, folder)
    (listing,) = blocks("The number")
    listed = await there.until(listing)  # the operator process makes the database at its start
    must("2025550" in listed or "caller" in listed, f"no call is listed: {listed}")

    agent = "/etc/offhook/agent.yaml"
    await there.sh(f"sed -i 's/Hello!/Good day!/' {agent}; systemctl reload offhook")
    await there.sh(f"cp {agent} {agent}.good; echo 'settings: [' > {agent}")
    code, _ = await there.tried("systemctl reload offhook")
    must(code != 0, "a mistake in an agent file is not told by systemctl reload")
    await there.sh(f"mv {agent}.good {agent}; systemctl is-active offhook")
    print("done as the page says: reload", flush=True)

    await there.section("Backup")
    (drained,) = blocks("Upgrade")
    before = await there.sh("systemctl show --property MainPID offhook")
    async with live_call(there, port, folder):
        await there.sh(drained)
    after = await there.sh("systemctl show --property MainPID offhook")
    must(before == after, "the service was restarted")
    print("done as the page says: Upgrade with a reload, in the middle of a call", flush=True)
    restarts = await there.sh("systemctl show --property NRestarts offhook")
    must(restarts.strip() == "NRestarts=0", f"it was restarted otherwise than told: {restarts}")
    await called(port, SHORT, folder)
    await there.sh("systemctl stop offhook")
    result = await there.sh("systemctl show --property Result offhook")
    must(result.strip() == "Result=success", f"it did not end well: {result}")


def packed(folder: Path) -> Path:
    """Make a folder with what the page's commands find: the wheel, and two folders of ours."""
    folder.chmod(0o755)  # the service's user looks into it
    tree = folder / "tree"
    for one in ("deploy", "requirements"):
        shutil.copytree(ROOT / one, tree / one)
    build = (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tree / "dist"))
    subprocess.run(build, cwd=ROOT, check=True)
    return tree


async def main(folder: Path, tree: Path) -> None:
    port = free_port()
    environ = CLEAN | {
        "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "VERSION": __version__,
        "PORT": str(port),
        "DEEPGRAM_API_KEY": "any",
        "TWILIO_ACCOUNT_SID": ACCOUNT,
        "TWILIO_AUTH_TOKEN": TOKEN,
        "OFFHOOK_HOST": "localhost",
    }
    clock = LoopClock(asyncio.get_running_loop())
    standin = await standin_server.serve("127.0.0.1", 0, QUICK, clock)
    try:
        async with machine(folder, tree, environ) as there:
            await tried(there, port, folder, standin.url)
    finally:
        await standin.close()
        leave_no_groups()
    print("everything is as docs/deploy.md says")


def missing() -> Sequence[str]:
    """Return what this machine does not have."""
    found = [name for name in ("unshare", "nsenter", "systemctl") if shutil.which(name) is None]
    if not SYSTEMD.exists():
        found.append("systemd")
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        found.append("Linux and root")
    return found


if __name__ == "__main__":
    if lacking := missing():
        sys.exit(f"Not here: {', '.join(lacking)}. Nothing of docs/deploy.md was tried.")
    with tempfile.TemporaryDirectory(prefix="deployed-") as name:
        run(main(Path(name), packed(Path(name))))
