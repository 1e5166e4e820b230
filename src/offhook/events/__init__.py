"""Events of a call, and their subscribers."""
