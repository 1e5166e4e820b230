"""A child process that cannot outlive this one (owner.py)."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final, Self

from offhook.serving.options import module_command

LINE_MAX: Final = 4096
"""Characters of a line of output; what is longer is cut."""


class OwnedProcess:
    """A command that runs in a session of its own, so that the terminal's Ctrl-C does not reach it.

    Its output is read by `lines` if it was started with `reads`; else it is this process's.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(
        cls, command: Sequence[str], environ: Mapping[str, str], *, reads: bool
    ) -> Self:
        """Start a command. Raises OSError if this machine starts no process any more."""
        output = asyncio.subprocess.PIPE if reads else None
        return cls(
            await asyncio.create_subprocess_exec(
                *module_command("offhook.dev.owner"),
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT if reads else None,
                env=dict(environ),
                start_new_session=True,
            )
        )

    async def lines(self) -> AsyncIterator[str]:
        """Yield the lines of the output, until the process has ended."""
        stdout = self._process.stdout
        assert stdout is not None  # it was started with `reads`
        rest = b""
        while data := await stdout.read(65536):
            *whole, rest = (rest + data).split(b"\n")
            rest = rest[-LINE_MAX:]
            for line in whole:
                yield line[:LINE_MAX].decode(errors="replace").rstrip()
        if rest:
            yield rest.decode(errors="replace").rstrip()

    async def ended(self) -> int:
        """Wait for the end of the process; return its exit code."""
        return await self._process.wait()

    @property
    def is_running(self) -> bool:
        """True until the process has ended."""
        return self._process.returncode is None

    def stop(self) -> None:
        """Ask the command to stop, which it may take its time for; once more: at once."""
        if os.name != "posix":
            self._close()  # no process can be asked there
        elif self.is_running:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)

    async def end(self) -> None:
        """End the command within seconds, and wait for that."""
        self._close()
        while self._process.stdout is not None and await self._process.stdout.read(65536):
            pass
        await self._process.wait()

    def _close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
