"""HAProxy and nginx in front of several nodes, by the files of deploy/, for tests and benches."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from bench.proxies import DEPLOY, WrongError, changed, nginx_command, started

NODES: Final = {"a": "10.0.0.1:5000", "b": "10.0.0.2:5000", "c": "10.0.0.3:5000"}
"""The nodes of the files, each with its address there."""

PROXIES: Final = ("haproxy", "nginx")


@asynccontextmanager
async def fleet_proxy(
    name: str, folder: Path, port: int, nodes: Mapping[str, str], certificate: Path | None = None
) -> AsyncIterator[str]:
    """Run a proxy in front of nodes `a`, `b` and `c` while entered; yield its URL.

    `nodes` has the address of each. Without a certificate the proxy speaks HTTP. What it logs is in
    the file `log` of the folder.
    """
    tls = "" if certificate is None else " ssl"
    if name == "haproxy":
        tls += "" if certificate is None else f" crt {certificate}"
        own = (
            "bind :443 ssl crt /etc/ssl/voice.example.com/both.pem",
            f"bind 127.0.0.1:{port}{tls}",
        )
        text = changed((DEPLOY / "haproxy-fleet.cfg").read_text("utf-8"), own)
        (folder / "haproxy.cfg").write_text(placed(text, nodes))
        command = ["haproxy", "-W", "-db", "-f", f"{folder}/haproxy.cfg"]
    else:
        text = changed(
            (DEPLOY / "nginx-fleet.conf").read_text("utf-8"),
            ("listen 443 ssl;", f"listen 127.0.0.1:{port}{tls};"),
            ("server_name voice.example.com;", "server_name localhost;"),
        )
        text = re.sub(r"/etc/ssl/voice.example.com/(chain|key).pem", str(certificate), text)
        if certificate is None:
            text = re.sub(r"^ +ssl_certificate.*$", "", text, flags=re.MULTILINE)
        (folder / "offhook.conf").write_text(placed(text, nodes))
        command = nginx_command(folder)
    with (folder / "log").open("ab") as log:
        async with started(command, folder, port, log):
            yield f"http{'s' if certificate else ''}://localhost:{port}"


def placed(text: str, nodes: Mapping[str, str]) -> str:
    """Return a configuration with the addresses of these nodes."""
    for node, address in NODES.items():
        if address not in text:
            raise WrongError(f"{address} is not there")
        text = text.replace(address, nodes[node])
    return text
