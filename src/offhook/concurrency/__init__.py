"""Tasks and threads whose owners survive faults in them, and the event loop of a process."""
