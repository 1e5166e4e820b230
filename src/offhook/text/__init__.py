"""Texts from outside: cleaned, shown, matched."""
