"""Counts and measurements of a server, for Prometheus."""
