"""Where the calls of the account's numbers go, and putting that back as it was."""
