"""Options by which PostgreSQL and a node notice within 15 s that the other one has vanished.

By default the kernels take two hours, and the transactions of a node without power keep their
locks for so long. Only TCP has them: the ends of a local socket vanish with their processes.
"""

from typing import Any, Final

IDLE_S: Final = 5
"""Seconds of silence after which an end is asked whether it is there."""

AGAIN_S: Final = 3
"""Seconds between two questions."""

TIMES: Final = 3
"""Questions without an answer after which it is not there."""

UNANSWERED_MS: Final = 12_000
"""Milliseconds for which what was sent may stay without an answer."""

NODE_NOTICES: Final[dict[str, Any]] = {
    "keepalives": 1,
    "keepalives_idle": IDLE_S,
    "keepalives_interval": AGAIN_S,
    "keepalives_count": TIMES,
    "tcp_user_timeout": UNANSWERED_MS,
}
"""Parameters of the driver by which a node detects a lost server (libpq, "Parameter Key Words")."""

POSTGRES_NOTICES: Final = (
    f"-c tcp_keepalives_idle={IDLE_S} -c tcp_keepalives_interval={AGAIN_S}"
    f" -c tcp_keepalives_count={TIMES} -c tcp_user_timeout={UNANSWERED_MS}"
)
"""Parameters of the server by which it detects a lost client (PostgreSQL, "TCP Settings")."""
