"""Offhook answers a Twilio phone number with a Deepgram voice agent."""

__version__ = "0.1.0"
