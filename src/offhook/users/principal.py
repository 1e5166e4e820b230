"""Principal of a request: identity and role."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final


class Role(Enum):
    """Permissions of a user; each role includes those before it.

    Roles have no order of their own, because a comparison of their names would be wrong: ask
    `includes`.
    """

    VIEWER = "viewer"
    """May read everything that is recorded, and follow live calls."""
    OPERATOR = "operator"
    """May act on calls, too: listen, talk, transfer, hang up, place calls."""
    ADMIN = "admin"
    """May do everything: users, erasing, reloading, the do-not-call list."""

    def includes(self, other: "Role") -> bool:
        """Return whether this role may do all that another one may do."""
        return _ORDER.index(self) >= _ORDER.index(other)


_ORDER: Final = tuple(Role)


@dataclass(frozen=True, slots=True)
class Principal:
    """Sender of a request: a user, the API token, or a link.

    `session` is the key of the browser's session (sessions.key_of), if it is from one.
    """

    name: str
    role: Role
    session: str | None = field(default=None, compare=False, repr=False)


API_TOKEN: Final = Principal("API token", Role.ADMIN)
"""Principal of the API token. The space keeps its name from being a user's."""

SIGN_IN_LINK: Final = Principal("sign-in link", Role.ADMIN)
"""Principal of a sign-in link that the server has printed."""

AUDIO_LINK: Final = Principal("link to a recording", Role.VIEWER)
"""Principal of a link to a recording, which opens that recording alone (api/links.py)."""
