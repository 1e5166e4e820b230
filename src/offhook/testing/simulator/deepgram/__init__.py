"""Stand-in for Deepgram's Voice Agent."""
