"""REST API for the operator, on the same port as Twilio's webhooks. See docs/api.md."""
