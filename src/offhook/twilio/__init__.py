"""Twilio's side of a call: what it sends, what it accepts, and how it signs."""
