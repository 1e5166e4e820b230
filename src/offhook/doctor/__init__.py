"""Checks of a whole set-up: accounts, numbers, the public URL, this machine."""
