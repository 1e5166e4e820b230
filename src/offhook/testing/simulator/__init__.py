"""Simulated Twilio and stand-in for Deepgram, with dialogue, recognition and synthesis."""
