"""The REST side of the simulated Twilio: an account whose requests really act."""
