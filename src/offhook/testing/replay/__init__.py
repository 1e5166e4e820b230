"""Captured calls, made again and compared: docs/captures.md."""
