"""A stand-in for Deepgram's Voice Agent."""
