"""Tasks and threads, each with an owner that survives its faults."""
