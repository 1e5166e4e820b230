"""A tunnel: a program that makes a port of this machine reachable at an https origin."""

import asyncio
import importlib.util
import os
import re
import shutil
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

from offhook.dev.owned_process import OwnedProcess
from offhook.errors import UserError
from offhook.observability.console_output import inert
from offhook.serving.options import module_command
from offhook.text.extras import install_command

OPEN_S: Final = 60.0
"""Seconds that opening a tunnel may take."""

_LAST_LINES: Final = 20
_MISTAKE: Final = re.compile(r"\b(ERR|error|failed)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TunnelProgram:
    """The command of a tunnel, and what it prints.

    `address` finds the origin in a line, `is_open` what is printed once the tunnel can be used.
    """

    name: str
    command: tuple[str, ...]
    address: re.Pattern[str]
    is_open: re.Pattern[str]


def find_program(local: str, environ: Mapping[str, str]) -> TunnelProgram:
    """Return the tunnel of this machine to an http or https origin: cloudflared, else ngrok.

    Raises UserError E-DEV-01 when neither is installed, and E-DEV-02 when ngrok has no token.
    """
    cloudflared = shutil.which("cloudflared", path=environ.get("PATH"))
    if cloudflared is not None:
        return TunnelProgram(
            "cloudflared",
            # An empty file of its own: a user's config.yml may have rules that answer 404.
            (
                cloudflared,
                *("tunnel", "--config", os.devnull, "--no-autoupdate"),
                *("--no-tls-verify", "--url", local),
            ),
            # api.trycloudflare.com is in the message about a tunnel that was refused.
            re.compile(r"https://(?!api\.)[a-z0-9-]+\.trycloudflare\.com(?![\w.-])"),
            re.compile(r"Registered tunnel connection"),
        )
    if importlib.util.find_spec("ngrok") is None:
        raise UserError(
            "E-DEV-01",
            "There is no tunnel by which Twilio could reach this machine: neither the program"
            " cloudflared, which needs no account, nor the package ngrok is installed; and"
            " --public-url names no host of yours.",
            f"Install ngrok: {install_command('ngrok')}",
        )
    if not environ.get("NGROK_AUTHTOKEN"):
        raise UserError(
            "E-DEV-02",
            "The tunnel of ngrok needs a token. Looked in: NGROK_AUTHTOKEN, .env.",
            "Set it there (dashboard.ngrok.com, Your Authtoken), or install cloudflared.",
        )
    line = re.compile(r"(?<=^tunnel )https://\S+$")
    return TunnelProgram("ngrok", (*module_command("offhook.dev.ngrok_tunnel"), local), line, line)


class Tunnel:
    """One run of a tunnel's program after the other: `open` it, and again when it has `ended`."""

    def __init__(self, program: TunnelProgram, environ: Mapping[str, str]) -> None:
        self.program: Final = program
        self._environ = environ
        self._process: OwnedProcess | None = None
        self._said: deque[str] = deque(maxlen=_LAST_LINES)
        self._lines: AsyncIterator[str] | None = None

    async def open(self) -> str:
        """Open the tunnel, and return its origin. Raises UserError E-DEV-03."""
        await self.close()
        self._said.clear()
        why = "it took too long"
        try:
            process = await OwnedProcess.start(self.program.command, self._environ, reads=True)
            self._process = process
            self._lines = process.lines()
            async with asyncio.timeout(OPEN_S):
                origin = await self._opened(self._lines)
            if origin is not None:
                return origin
            why = f"it has ended with exit code {await process.ended()}"
        except OSError as error:  # a time-out is one, without words of the system
            why = error.strerror or why
        await self.close()
        raise UserError(
            "E-DEV-03",
            f"The tunnel of {self.program.name} was not opened: {why}.{self._last_words()}",
            "Check this machine's connection; or give a public host of your own: --public-url.",
        )

    async def ended(self) -> None:
        """Wait until the tunnel's program has ended."""
        assert self._process is not None  # it was opened
        assert self._lines is not None
        async for line in self._lines:
            self._said.append(line)
        await self._process.ended()

    async def close(self) -> None:
        """End the tunnel's program, if it runs."""
        process, self._process = self._process, None
        if process is not None:
            await process.end()

    async def _opened(self, lines: AsyncIterator[str]) -> str | None:
        """Return the origin once the tunnel is open; None if the program ends before."""
        origin = None
        async for line in lines:
            self._said.append(line)
            if (found := self.program.address.search(line)) is not None:
                origin = found[0]
            if origin is not None and self.program.is_open.search(line):
                return origin
        return None

    def _last_words(self) -> str:
        """Return the last line in which the program has told of a mistake, if it has."""
        lines = [
            line for line in self._said if re.search(r"\b(ERR|error|failed)\b", line, re.IGNORECASE)
        ]
        return f" It said: {inert(lines[-1])[:300]}" if lines else ""
