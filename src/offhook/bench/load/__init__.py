"""The load: simulated callers and an agent sink, in processes on cores of their own."""
