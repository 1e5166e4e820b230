"""REST side of the simulated Twilio: an account whose requests act on simulated calls."""
