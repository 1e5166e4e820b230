"""Benchmark of an installation: simulated callers and an agent sink around a bridge."""
