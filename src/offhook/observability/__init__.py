"""Reports about calls: the log, the terminal, metrics."""
