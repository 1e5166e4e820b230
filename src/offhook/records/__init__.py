"""What a call leaves behind: lines in a journal, and rows in a database. See README.md."""
