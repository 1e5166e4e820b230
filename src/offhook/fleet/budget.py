"""The budget of agent sessions that all nodes share: its name, its size, and each node's part.

Deepgram counts the sessions of a project in a region (deepgram.md §1.3). The counted row is in
PostgreSQL (statements.py); with the database away each node has its even part.
"""

import hashlib
from typing import Final
from urllib.parse import urlsplit

from offhook.config import DeepgramSettings


class SharedBudget:
    """The budget of a project, by its key, in a region, by the agent's host.

    Attributes:
        name: Names project and region in the database; the key cannot be told from it.
        most: Sessions at once; None: as many as Deepgram opens.
        share: Sessions that this node may have while the database is away; None likewise.
        taken: Sessions that are taken by all nodes, as of the last message.
    """

    def __init__(self, name: str, most: int | None, nodes: int) -> None:
        """Take the budget's name, its size, and the number of nodes that share it."""
        self.name: Final = name
        self.most: Final = most
        self.share: Final = None if most is None else most // nodes
        self.taken = 0

    @classmethod
    def of(cls, settings: DeepgramSettings, nodes: int) -> "SharedBudget":
        """Return the budget of these settings."""
        key = settings.api_key.get_secret_value() if settings.api_key is not None else ""
        project = hashlib.sha256(b"offhook budget " + key.encode()).hexdigest()[:16]
        region = (urlsplit(settings.url).hostname or "")[:100]
        return cls(f"{project}@{region}", settings.max_sessions, nodes)
