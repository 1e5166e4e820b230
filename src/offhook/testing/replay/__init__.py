"""Replay of captured calls, and comparison with the capture: docs/captures.md."""
