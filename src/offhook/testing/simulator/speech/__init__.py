"""Ears and a voice that need no account: open source engines in processes of their own."""
