"""make deploy-test: calls through nginx, HAProxy and Caddy, by the files of deploy/, over TLS.

    python -m bench.proxies [nginx] [haproxy] [caddy]

In front of a real `offhook serve` that knows no public URL, so that the signature must be right for
the Host that the proxy hands on. For each proxy: a call is made; in the middle of a second one the
proxy is told to read its configuration again, and the server to stop. The live call must go on to
its end, a new one must get the agent's `busy` meanwhile, and what is not Twilio's must be 404.
Exits with 1 when something is not so, or when a proxy that is asked for is not installed.
"""

import argparse
import asyncio
import shutil
import signal
import socket
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlencode

import httpx2
import psutil
import trustme
from tests.cli.served import CLEAN, Serving, serving
from tests.waiting import until
from tests.whole_server import ACCOUNT, TOKEN

from offhook.concurrency.event_loop import run
from offhook.twilio.signature import HEADER, sign

DEPLOY: Final = Path(__file__).parents[1] / "deploy"

INSTALLED_BY: Final = {
    "nginx": "apt-get install nginx-light",
    "haproxy": "apt-get install haproxy",
    "caddy": "apt-get install caddy, version 2.7 or later",
}

SHORT: Final = """
steps:
  - wait_for_agent
  - say: What are your opening hours?
  - wait_for_agent
  - hang_up
expect: {ending: caller_hung_up}
"""

LONG: Final = SHORT.replace("  - hang_up", "  - wait: 6\n  - say: What are your opening hours?\n"
                            "  - wait_for_agent\n  - hang_up")  # fmt: skip
"""A call that still talks when the proxy has read its configuration again, and the server stops."""


class WrongError(Exception):
    """Raised when something is not as it must be."""


@dataclass(frozen=True)
class Files:
    """A folder for a proxy, a certificate for localhost, and the addresses of both sides."""

    folder: Path
    port: int
    upstream: str

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def authority(self) -> Path:
        return self.folder / "authority.pem"

    @property
    def both(self) -> Path:
        return self.folder / "both.pem"


def changed(text: str, *changes: tuple[str, str]) -> str:
    """Return a configuration with the names of this machine; each change must be of one place."""
    for old, new in changes:
        if text.count(old) != 1:
            raise WrongError(f"{old!r} is there {text.count(old)} times")
        text = text.replace(old, new)
    return text


def nginx(files: Files) -> list[str]:
    text = changed(
        (DEPLOY / "nginx.conf").read_text("utf-8"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{files.port} ssl;"),
        ("server_name voice.example.com;", "server_name localhost;"),
        ("/etc/ssl/voice.example.com/chain.pem", str(files.both)),
        ("/etc/ssl/voice.example.com/key.pem", str(files.both)),
        ("server 127.0.0.1:5000;", f"server {files.upstream};"),
    )
    (files.folder / "offhook.conf").write_text(text)
    return nginx_command(files.folder)


def nginx_command(folder: Path) -> list[str]:
    """Return the command that runs nginx with `offhook.conf`, and writes into the folder alone."""
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}include {folder}/offhook.conf;\n}}\n"
    )
    return ["nginx", "-p", str(folder), "-c", f"{folder}/nginx.conf", "-e", "stderr"]


def haproxy(files: Files) -> list[str]:
    text = changed(
        (DEPLOY / "haproxy.cfg").read_text("utf-8"),
        ("bind :443 ssl", f"bind 127.0.0.1:{files.port} ssl"),
        ("/etc/ssl/voice.example.com/both.pem", str(files.both)),
        ("server one 127.0.0.1:5000", f"server one {files.upstream}"),
    )
    (files.folder / "haproxy.cfg").write_text(text)
    return ["haproxy", "-W", "-db", "-f", f"{files.folder}/haproxy.cfg"]


def caddy(files: Files) -> list[str]:
    # Without files of the certificate Caddy would ask a public authority for one.
    text = changed(
        (DEPLOY / "Caddyfile").read_text("utf-8"),
        ("{$OFFHOOK_HOST} {", f"{files.url} {{\n\ttls {files.both} {files.both}"),
        ("{$OFFHOOK_UPSTREAM:127.0.0.1:5000}", files.upstream),
    )
    own = f"{{\n\tauto_https disable_redirects\n\tadmin unix/{files.folder}/admin\n}}\n"
    (files.folder / "Caddyfile").write_text(own + text)
    return ["caddy", "run", "--config", f"{files.folder}/Caddyfile", "--adapter", "caddyfile"]


def by_signal(number: signal.Signals) -> Callable[[Files, asyncio.subprocess.Process], list[str]]:
    return lambda files, process: ["kill", f"-{number.value}", str(process.pid)]


def caddy_reload(files: Files, process: asyncio.subprocess.Process) -> list[str]:
    config = f"{files.folder}/Caddyfile"
    address = f"unix/{files.folder}/admin"
    return ["caddy", "reload", "--force", "--config", config, "--address", address]


PROXIES: Final = {
    "nginx": (nginx, by_signal(signal.SIGHUP)),
    "haproxy": (haproxy, by_signal(signal.SIGUSR2)),
    "caddy": (caddy, caddy_reload),
}
"""The command of each proxy, and the one that has it read its configuration again."""


@asynccontextmanager
async def proxy(name: str, files: Files) -> AsyncIterator[Callable[[], list[str]]]:
    """Run a proxy until it listens; yield what returns the command of its reload."""
    command, reload = PROXIES[name]
    async with started(command(files), files.folder, files.port) as process:
        yield lambda: reload(files, process)


@asynccontextmanager
async def started(
    command: list[str], folder: Path, port: int, log: IO[bytes] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a proxy while entered, once it listens; end it with all of its workers.

    What it prints is written into `log`, or printed.
    """
    process = await asyncio.create_subprocess_exec(
        *command, env=CLEAN | {"HOME": str(folder)}, cwd=folder, stdout=log, stderr=log
    )
    try:
        await until(lambda: process.returncode is not None or listens(port))
        if process.returncode is not None:
            raise WrongError(f"{command[0]} does not start")
        yield process
    finally:
        children = psutil.Process(process.pid).children(recursive=True) if running(process) else []
        if running(process):
            process.kill()
        await process.wait()
        for child in children:
            if child.is_running():
                child.kill()


def running(process: asyncio.subprocess.Process) -> bool:
    return process.returncode is None


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def certified(folder: Path, upstream: str) -> Files:
    files = Files(folder, free_port(), upstream)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(files.authority))
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(files.both))
    return files


async def rehearsed(files: Files, scenario: str) -> None:
    """Make a call through the proxy, as the command line does; it must go as the scenario says."""
    path = files.folder / f"call-{len(scenario)}.yaml"
    path.write_text(scenario)
    url = f"{files.url}/twilio/voice"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "offhook", "rehearse", str(path), "--to", url, "--json"),
        env=CLEAN | {"TWILIO_AUTH_TOKEN": TOKEN, "SSL_CERT_FILE": str(files.authority)},
        cwd=files.folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    if process.returncode:
        raise WrongError(f"the call went wrong: {out.decode()[-2000:]}{err.decode()[-2000:]}")


async def new_call(files: Files, path: str = "/twilio/voice") -> httpx2.Response:
    """Ask as Twilio does about a new call."""
    form = {"CallSid": "CA" + "9" * 32, "AccountSid": ACCOUNT, "From": "+1", "To": "+12025550100"}
    headers = {
        HEADER: sign(TOKEN, f"https://localhost{path}", form.items()),
        "Content-Type": "application/x-www-form-urlencoded",
    }
    trusted = ssl.create_default_context(cafile=str(files.authority))
    async with httpx2.AsyncClient(verify=trusted, trust_env=False, timeout=60) as http:
        return await http.post(files.url + path, content=urlencode(form), headers=headers)


def must(holds: bool, what: str) -> None:
    if not holds:
        raise WrongError(what)


async def tried(name: str, folder: Path) -> None:
    async with serving(folder) as server:
        files = certified(folder, server.url.removeprefix("http://"))
        async with proxy(name, files) as reload:
            for path in ("/healthz", "/readyz", "/metrics", "/twiliox"):
                answer = await new_call(files, path)
                must(answer.status_code == 404, f"{path} is answered with {answer.status_code}")
            await rehearsed(files, SHORT)
            print(f"{name}: a call, its webhook and its stream signed for the host", flush=True)
            async with asyncio.TaskGroup() as group:
                live = group.create_task(rehearsed(files, LONG))
                await server.until_said("caller is on the line", times=2)
                await asyncio.sleep(1)  # some audio through the connection as it is
                reloading = await asyncio.create_subprocess_exec(*reload(), cwd=folder)
                must(await reloading.wait() == 0, "the proxy does not reload")
                await asyncio.sleep(1)  # its old workers leave, if they do
                server.process.send_signal(signal.SIGTERM)
                await until_draining(server)
                answer = await new_call(files)
                must(answer.status_code == 200, f"a new call gets {answer.status_code}")
                must("<Connect" not in answer.text, "a new call gets a stream")
                must(not live.done(), "the call is over too soon for what is tried")
            print(f"{name}: a call through a reload of the proxy and the server's drain")
            must(await server.end() == 0, "the server does not end well")
    lost = [line for line in server.said.splitlines() if "E-SEC" in line or "leg_lost" in line]
    must(not lost, f"the log says: {lost}")


async def until_draining(server: Serving) -> None:
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:
        while (await http.get(f"{server.url}/readyz")).json()["state"] != "draining":  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def require(name: str) -> None:
    if shutil.which(name) is None:
        sys.exit(f"{name} is not installed, so nothing was tried.\n  → {INSTALLED_BY[name]}")


async def main(names: list[str]) -> None:
    wrong: list[Exception] = []
    for name in names:
        with tempfile.TemporaryDirectory(prefix="proxy-") as folder:
            try:
                await tried(name, Path(folder))
            except* WrongError as group:
                print(f"WRONG {name}: {first_of(group)}")
                wrong.append(group)
    if wrong:
        sys.exit(1)
    print(f"{len(names)} proxies, all as they must be")


def first_of(group: BaseExceptionGroup[WrongError]) -> BaseException:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*PROXIES, []], metavar="PROXY")
    chosen = parser.parse_args().names or [*PROXIES]
    for one in chosen:
        require(one)
    run(main(chosen))
