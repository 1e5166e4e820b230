"""Options of `offhook serve`, which each of its processes receives as one argument."""

import contextlib
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # the supervisor needs the options, and no configuration
    from offhook.config import Overrides


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """Options of the command line; None is not set. They hold no secrets."""

    config: Path | None = None
    host: str | None = None
    port: int | None = None
    operator_listen: str | None = None
    public_url: str | None = None
    deepgram_url: str | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    unsigned: bool = False
    show: bool = False
    capture: Path | None = None

    def overrides(self) -> "Overrides":
        """Return the settings among the options."""
        from offhook.config import Overrides

        given = {field.name: getattr(self, field.name) for field in fields(Overrides)}
        return Overrides(**given | {"unsigned": self.unsigned or None})


_PATHS: Final = ("config", "tls_cert", "tls_key", "capture")


def process_command(
    module: str, options: ServeOptions, descriptors: Mapping[str, int | None]
) -> list[str]:
    """Return the command that runs a process of `offhook serve`, which is a module of Offhook."""
    given = {name: _plain(value) for name, value in asdict(options).items()}
    inherited = {name: fd for name, fd in descriptors.items() if fd is not None}
    arguments = json.dumps({"options": given, "descriptors": inherited})
    return [*module_command(module, installed_python(sys.argv[0])), arguments]


def installed_python(command: str) -> str:
    """Return the interpreter of the environment from which a command was started, as it is now.

    `/opt/offhook/current/bin/offhook` may lead into another environment by now, that of a newer
    version: processes that are started from then on are of it. Without an environment around the
    command it is this process's interpreter.
    """
    path = Path(command)
    with contextlib.suppress(OSError):
        while path.is_symlink():  # of the command alone, and not of the folders before it
            path = path.parent / path.readlink()
    python = path.parent / "python3"
    is_environment = (path.parent.parent / "pyvenv.cfg").is_file() and python.exists()
    return str(python) if is_environment else sys.executable


def module_command(module: str, python: str = sys.executable) -> list[str]:
    """Return the command that runs a module of Offhook as a process of its own."""
    # Where this process may import from, its children may; `-m` alone would add the folder.
    elsewhere = [] if sys.path[:1] in ([""], [str(Path.cwd())]) else ["-P"]
    return [python, *elsewhere, "-m", module]


def process_arguments(text: str) -> tuple[ServeOptions, dict[str, int]]:
    """Return the options and descriptors that `process_command` was given, without None.

    The supervisor may be of an older version: options that are not known here are ignored.
    """
    arguments = json.loads(text)
    known = {field.name for field in fields(ServeOptions)}
    given: dict[str, Any] = {n: v for n, v in arguments["options"].items() if n in known}
    for name in _PATHS:
        if given.get(name) is not None:
            given[name] = Path(given[name])
    return ServeOptions(**given), arguments["descriptors"]


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value
