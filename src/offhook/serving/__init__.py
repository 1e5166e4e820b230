"""Composition and life of the server."""
