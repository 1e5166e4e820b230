"""Tools that come with Offhook: an agent file lists them by their bare names.

Each is an ordinary tool (declare.py), made for one agent: its schema names that agent's
destinations, so that a model can ask for no other. CallControl does what it asks for, through the
`Call` that it is given.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from offhook.tools.builtin import control, notes, texts
from offhook.tools.files import AnyTool, Toolbox


class Destinations(NamedTuple):
    """The destinations that an agent file names, with their descriptions, which may be empty."""

    transfer: Mapping[str, str]
    texts: Mapping[str, str]


_MAKERS: Final[Mapping[str, Callable[[Destinations], AnyTool]]] = {
    "hang_up": lambda _: control.hang_up,
    "transfer_call": lambda named: control.transfer_call(named.transfer),
    "send_digits": lambda _: control.send_digits,
    "send_sms": lambda named: texts.send_sms(named.texts),
    "take_message": lambda _: notes.take_message,
    "stop_calling_me": lambda _: notes.stop_calling_me,
}

NAMES: Final = tuple(_MAKERS)


def offered(names: Iterable[str], destinations: Destinations) -> Toolbox:
    """Return the built-in tools of these names, which are among NAMES, for an agent of its own."""
    return MappingProxyType({name: _MAKERS[name](destinations) for name in names})
