"""Tasks and threads whose owners survive faults in them."""
