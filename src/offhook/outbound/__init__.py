"""Calls that we place: see README.md in this folder."""
