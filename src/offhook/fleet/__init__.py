"""Nodes that share calls: their directory in PostgreSQL, its heartbeat, tokens and live lines."""
