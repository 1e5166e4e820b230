"""Databases to test on, as the record has them."""

from tests.records.conftest import empty, engine, url

__all__ = ["empty", "engine", "url"]
