"""Routes of the calls of the account's numbers, and their restoration."""
