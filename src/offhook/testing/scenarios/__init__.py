"""Scenarios put to the test: run against a server, many at once, and judged."""
