"""Versions of the schema: a file for each, named by its number."""
