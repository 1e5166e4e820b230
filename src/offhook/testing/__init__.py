"""Simulators of Twilio and Deepgram: calls without accounts, over real sockets or in memory."""
