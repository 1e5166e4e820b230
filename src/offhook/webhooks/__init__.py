"""Twilio's HTTP requests, and the sockets it opens."""
