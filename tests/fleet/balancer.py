"""HAProxy and nginx in front of the nodes of a fleet: round robin, and routing by node."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import psutil
import pytest
from tests.cli.served import CLEAN
from tests.waiting import until

PACKAGES: Final = {"haproxy": "haproxy", "nginx": "nginx-light"}


def require(program: str) -> None:
    """Skip the test where a program is not installed; in CI, fail it."""
    # Debian has them where PATH of an ordinary user has nothing.
    if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"):
        return
    missing = (
        f"THERE IS NO {program.upper()}: FLEETS BEHIND IT ARE NOT TESTED."
        f" On Debian: apt-get install {PACKAGES[program]}"
    )
    if os.environ.get("CI") == "true":
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)


def haproxy(folder: Path, bind: str, nodes: Mapping[str, str]) -> list[str]:
    """Write HAProxy's configuration for nodes at `host:port`; return its command."""
    servers = [f"    server {name} {at} check inter 1s fall 2 rise 1" for name, at in nodes.items()]
    own = "\n".join(
        f"backend node_{name}\n    option httpchk\n"
        "    http-check send meth GET uri /healthz hdr Host localhost\n"
        f"    http-check expect status 200\n{server}\n"
        for name, server in zip(nodes, servers, strict=True)
    )
    routes = "\n".join(
        f"    use_backend node_{name} if {{ path_reg ^/twilio/n/{name}(/|$) }}"
        f" {{ srv_is_up(node_{name}/{name}) }}"
        for name in nodes
    )
    text = f"""
global
    log stdout format raw local0 notice
defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 30s
    timeout tunnel 60s
    retries 3
    option redispatch
    retry-on conn-failure empty-response
frontend twilio
    bind {bind}
    http-request deny deny_status 404 unless {{ path /twilio }} or {{ path_beg /twilio/ }}
{routes}
    use_backend living if {{ nbsrv(ready) eq 0 }}
    default_backend ready
backend ready
    balance roundrobin
    option httpchk
    http-check send meth GET uri /readyz hdr Host localhost
    http-check expect status 200
{chr(10).join(servers)}
backend living
    balance roundrobin
    option httpchk
    http-check send meth GET uri /healthz hdr Host localhost
    http-check expect status 200
{chr(10).join(servers)}
{own}
"""
    (folder / "haproxy.cfg").write_text(text)
    return ["haproxy", "-W", "-db", "-f", f"{folder}/haproxy.cfg"]


def nginx(folder: Path, bind: str, nodes: Mapping[str, str]) -> list[str]:
    """Write nginx's configuration for nodes at `host:port`; return its command."""
    servers = "\n".join(f"    server {at} max_fails=1 fail_timeout=2s;" for at in nodes.values())
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # A node that does not answer hands its requests to the others: its server comes first.
    own = "\n".join(
        f"upstream node_{name} {{\n    server {at} max_fails=1 fail_timeout=2s;\n"
        + "\n".join(f"    server {other} backup;" for other in nodes.values() if other != at)
        + "\n}"
        for name, at in nodes.items()
    )
    routes = "\n".join(
        f"    location ~ ^/twilio/n/{name}(/|$) {{ proxy_pass http://node_{name}; }}"
        for name in nodes
    )
    text = f"""daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 4096; }}
http {{
access_log off;
{temporary}
map $http_upgrade $offhook_connection {{ default upgrade; "" ""; }}
upstream ready {{
{servers}
}}
{own}
server {{
    listen {bind};
    proxy_http_version 1.1;
    proxy_set_header Host $host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $offhook_connection;
    proxy_buffering off;
    proxy_request_buffering off;
    proxy_connect_timeout 2s;
    proxy_read_timeout 60s;
    proxy_next_upstream error timeout http_503 non_idempotent;
{routes}
    location /twilio {{ proxy_pass http://ready; }}
    location / {{ return 404; }}
}}
}}
"""
    (folder / "nginx.conf").write_text(text)
    return ["nginx", "-p", str(folder), "-c", f"{folder}/nginx.conf", "-e", "stderr"]


BALANCERS: Final[Mapping[str, Callable[[Path, str, Mapping[str, str]], list[str]]]] = {
    "haproxy": haproxy,
    "nginx": nginx,
}


@asynccontextmanager
async def balancer(
    program: str, folder: Path, address: str, port: int, nodes: Mapping[str, str]
) -> AsyncIterator[None]:
    """Run a balancer at an address until the end of the block."""
    require(program)
    command = BALANCERS[program](folder, f"{address}:{port}", nodes)
    path = f"{CLEAN.get('PATH', '')}:/usr/sbin:/sbin"
    with (folder / f"{program}.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *command, env=CLEAN | {"PATH": path}, cwd=folder, stdout=log, stderr=log
        )
    try:
        await until(lambda: process.returncode is not None or _listens(address, port))
        assert process.returncode is None, (folder / f"{program}.log").read_text()
        yield
    finally:
        if process.returncode is None:
            children = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGKILL)
            for child in children:
                with contextlib.suppress(psutil.Error):
                    child.kill()
        await process.wait()


def _listens(address: str, port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((address, port)) == 0
