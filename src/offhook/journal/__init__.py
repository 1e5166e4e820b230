"""The journal: every event of every call on disk within milliseconds, in files of its process."""
