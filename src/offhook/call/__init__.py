"""Decisions of one phone call, without sockets, a clock or waiting. See README.md."""
