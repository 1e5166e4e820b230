"""Progress of a list: a file beside the list, which survives the end of this process.

Each line is a JSON object, written and synced before the run goes on: `ringing` before the server
is asked, `placed` when the CallSid is known, `over` when the call is over. A last line that was cut
does not count. The key of a row is made of the list's own id and the number:
the server rings once for each key, so a row of which only `ringing` is known may be asked again.
"""

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeAlias

from offhook.errors import UserError

SUFFIX: Final = ".progress"

State: TypeAlias = Literal["ringing", "placed", "over"]


class ListProgress:
    """The progress of one list with one agent. A context manager, which holds the file alone.

    Raises UserError E-LIST-03 when the file cannot be used, E-LIST-04 when it is of another agent
    and E-LIST-05 when another process has it.
    """

    def __init__(self, of: Path, agent: str) -> None:
        self.path: Final = of.with_name(of.name + SUFFIX)
        self._sids: dict[str, str] = {}
        self._over: dict[str, str] = {}
        self._asked: set[str] = set()
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise _unusable(self.path, error.strerror or "") from None
        try:
            self._claim()
            self._list = self._read(agent)
        except BaseException:
            os.close(self._fd)
            raise

    def key(self, number: str) -> str:
        """Return the row's idempotency key, which holds no number: the server keeps it for long."""
        return "list:" + hashlib.sha256(f"{self._list} {number}".encode()).hexdigest()

    @property
    def begun(self) -> bool:
        """True if an earlier run has called at least one person."""
        return bool(self._asked)

    def sid(self, number: str) -> str | None:
        """Return the CallSid of a row's call, as far as it is known."""
        return self._sids.get(number)

    def outcome(self, number: str) -> str | None:
        """Return the outcome of a row's call; None: it has not ended, or was not placed."""
        return self._over.get(number)

    def ringing(self, number: str) -> None:
        """Write that the server is about to be asked."""
        if number not in self._asked:
            self._asked.add(number)
            self._write({"number": number, "state": "ringing"})

    def placed(self, number: str, sid: str) -> None:
        """Write that the call was placed."""
        if self._sids.get(number) != sid:
            self._sids[number] = sid
            self._write({"number": number, "state": "placed", "sid": sid})

    def over(self, number: str, outcome: str) -> None:
        """Write that the call is over, or that no call will be made."""
        self._over[number] = outcome
        self._write({"number": number, "state": "over", "outcome": outcome})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def _claim(self) -> None:
        if os.name != "posix":
            return  # the server's keys alone hold then, which is enough
        import fcntl

        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                "E-LIST-05",
                f"Another process is at work on this list: it has {self.path}.",
                "Let it finish, or stop it.",
            ) from None

    def _read(self, agent: str) -> str:
        lines = self._lines()
        if not lines:
            made = secrets.token_hex(8)
            self._write({"list": made, "agent": agent})
            return made
        head, *rest = lines
        of = head.get("agent")
        if not isinstance(head.get("list"), str) or not isinstance(of, str):
            raise _unusable(self.path, "it does not begin as Offhook's own")
        if of != agent:
            raise UserError(
                "E-LIST-04",
                f"This list was begun with the agent {of}, as {self.path} says.",
                f"Go on with --agent {of}, or copy the list under another name.",
            )
        for line in rest:
            number = line.get("number", "")
            self._asked.add(number)
            if "sid" in line:
                self._sids[number] = line["sid"]
            if line.get("state") == "over":
                self._over[number] = line.get("outcome", "")
        return str(head["list"])

    def _lines(self) -> list[dict[str, Any]]:
        with self.path.open("rb") as file:
            content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.ftruncate(self._fd, whole)
        try:
            lines = [json.loads(line) for line in content[:whole].splitlines()]
        except ValueError:
            raise _unusable(self.path, "a line of it is not JSON") from None
        if not all(isinstance(line, dict) for line in lines):
            raise _unusable(self.path, "a line of it is no object")
        return lines

    def _write(self, line: dict[str, str]) -> None:
        data = json.dumps(line).encode() + b"\n"
        try:
            if os.write(self._fd, data) != len(data):
                raise OSError(0, "the disk is full")
            os.fsync(self._fd)
        except OSError as error:
            raise _unusable(self.path, error.strerror or "") from None


def _unusable(path: Path, why: str) -> UserError:
    return UserError(
        "E-LIST-03",
        f"The progress of the list, {path}, cannot be used: {why}.",
        "Let this user write there, with room on the disk. Without it, all are rung anew.",
    )
