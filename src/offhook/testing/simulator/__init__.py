"""A simulated Twilio and a stand-in for Deepgram, with a dialogue and speech."""
