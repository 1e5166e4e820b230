"""What tells of calls: the log, the terminal, metrics."""
