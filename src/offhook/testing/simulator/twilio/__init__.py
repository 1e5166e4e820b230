"""Simulated Twilio: accounts, calls, media streams, webhooks."""
