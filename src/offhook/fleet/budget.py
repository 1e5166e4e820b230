"""The budget of agent sessions that all nodes share: its name, its size, and each node's part.

Deepgram counts the sessions of a project in a region (deepgram.md §1.3). The counted row is in
PostgreSQL (statements.py); with the database away each node has its even part.
"""

import hashlib
from typing import Final
from urllib.parse import urlsplit

from offhook.config import DeepgramSettings


class SharedBudget:
    """The budget of a key, which stands for its project, in a region, by the agent's host.

    Attributes:
        name: Names key and region in the database; the key cannot be told from it.
        most: Sessions at once; None: as many as Deepgram opens.
        taken: Sessions that are taken by all nodes, as of the last message.
        nodes_alive: Nodes that were alive at the last beat; 0 before the first.
    """

    def __init__(self, name: str, most: int | None, nodes: int) -> None:
        """Take the budget's name, its size, and the number of nodes that share it at least."""
        self.name: Final = name
        self.most: Final = most
        self.taken = 0
        self.nodes_alive = 0
        self._nodes = nodes

    @property
    def share(self) -> int | None:
        """Sessions that this node may have while the database is away; None: as many as opened.

        An autoscaler may have started more nodes than the configuration says.
        """
        if self.most is None:
            return None
        return self.most // max(self._nodes, self.nodes_alive)

    @classmethod
    def of(cls, settings: DeepgramSettings, nodes: int) -> "SharedBudget":
        """Return the budget of these settings."""
        key = settings.api_key.get_secret_value() if settings.api_key is not None else ""
        project = hashlib.sha256(b"offhook budget " + key.encode()).hexdigest()[:16]
        region = (urlsplit(settings.url).hostname or "")[:100]
        return cls(f"{project}@{region}", settings.max_sessions, nodes)
