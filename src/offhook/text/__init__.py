"""Texts of others: cleaned, shown, matched."""
