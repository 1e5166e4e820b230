"""The files of a new agent: what they hold, and how they are written without loss."""
