"""The record of calls: entries in a journal, and rows in a database. See README.md."""
