"""Both vendors, simulated: a telephone call without accounts, on a real wire or in memory."""
