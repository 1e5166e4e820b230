"""Output of `offhook standin`: settings, turns and functions of each session."""

from collections.abc import Callable
from functools import partial

from rich.console import Console
from rich.text import Text

from offhook.clock import Clock
from offhook.observability.console_output import inert
from offhook.testing.simulator.deepgram.functions import WatchedCall
from offhook.testing.simulator.deepgram.settings import StandInSettings
from offhook.testing.simulator.deepgram.standin import SpokenLine, StandIn
from offhook.testing.simulator.dialogue.file import Dialogue

_PROMPT_MAX = 300
"""Maximum number of characters of a prompt to print."""

_STYLES = {"user": "cyan", "assistant": "green", "function": "magenta", "session": ""}


class StandInLog:
    """Prints one line for each event, with the seconds since its session began."""

    def __init__(self, console: Console, clock: Clock, dialogue: Dialogue | None) -> None:
        self._console = console
        self._clock = clock
        self._called = set() if dialogue is None else set(dialogue.content.functions)

    def watch(self, session: StandIn) -> None:
        """Print the events of a session that has not opened yet."""
        print_ = partial(self._print, session.request_id[:4], self._clock.now())
        session.on_settings = partial(self._settings, print_)
        session.on_line = partial(_line, print_)
        session.on_call = partial(_call, print_)

    def _settings(self, print_: "Callable[[str, str], None]", settings: StandInSettings) -> None:
        if settings.prompt:
            more = "..." if len(settings.prompt) > _PROMPT_MAX else ""
            print_("session", f"prompt: {settings.prompt[:_PROMPT_MAX]}{more}")
        offered = set(settings.functions)
        print_("session", f"functions: {', '.join(sorted(offered)) or 'none'}")
        missing = set() if settings.is_stored else self._called - offered
        if missing:
            print_(
                "session",
                f"the dialogue also calls {', '.join(sorted(missing))}, which these Settings do not"
                " offer: it will say so",
            )

    def _print(self, name: str, since: float, who: str, words: str) -> None:
        line = Text()
        line.append(f"{self._clock.now() - since:7.2f} s  {name}  ", "dim")
        line.append(f"{who:10}", _STYLES[who])
        line.append(inert(words))
        self._console.print(line, soft_wrap=True)


def _line(print_: Callable[[str, str], None], line: SpokenLine) -> None:
    print_(line.role, f"{line.content}  [{line.meant}]" if line.meant else line.content)


def _call(print_: Callable[[str, str], None], called: WatchedCall) -> None:
    if called.cancelled:
        print_("function", f"{called.name} was cancelled")
    elif called.response is not None:
        print_("function", f"{called.name} answered {called.response}")
    else:
        print_("function", f"{called.name}({called.arguments})")
