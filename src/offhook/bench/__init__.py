"""What this installation carries, measured: simulated callers and an agent sink around a bridge."""
