"""Captures: every message of both sockets of a call, in a file."""
