"""A simulated Twilio: accounts, calls, media streams, webhooks."""
