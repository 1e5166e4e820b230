"""Twilio's HTTP requests, and the sockets that Twilio opens."""
