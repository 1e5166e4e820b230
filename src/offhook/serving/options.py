"""Options of `offhook serve`, which each of its processes receives as one argument."""

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
    return [*module_command(module), arguments]


def module_command(module: str) -> list[str]:
    """Return the command that runs a module of Offhook as a process of its own."""
    # Where this process may import from, its children may; `-m` alone would add the folder.
    elsewhere = [] if sys.path[:1] in ([""], [str(Path.cwd())]) else ["-P"]
    return [sys.executable, *elsewhere, "-m", module]


def process_arguments(text: str) -> tuple[ServeOptions, dict[str, int]]:
    """Return the options and descriptors that `process_command` was given, without None."""
    arguments = json.loads(text)
    given: dict[str, Any] = arguments["options"]
    for name in _PATHS:
        if given[name] is not None:
            given[name] = Path(given[name])
    return ServeOptions(**given), arguments["descriptors"]


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value
